/**
 * Network namespaces that belong to one process: their names begin with "tb-<pid>-", so that those of a process that
 * was killed can be told from those in use, and removed. Nothing outside them is ever touched.
 */
import { execFileSync, type ChildProcess, type SpawnOptions } from "node:child_process";
import { readdirSync } from "node:fs";
import { command, start, type CommandOptions } from "./command.js";

const DIRECTORY = "/run/netns";
const OURS = /^tb-(\d+)-/;
const alive = new Set<string>();
let counter = 0;

function removeNow(name: string): void {
  try {
    execFileSync("ip", ["netns", "del", name], { stdio: "ignore", timeout: 10_000 });
  } catch {
    // Gone already, or nothing more can be done for it: the next start sweeps it.
  }
}

process.on("exit", () => alive.forEach(removeNow));

/** Whether a process of this number exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Removes the namespaces whose process is dead; gives their names. */
export function sweep(): string[] {
  let names: string[];
  try {
    names = readdirSync(DIRECTORY);
  } catch {
    return []; // no namespace was ever made on this machine
  }
  const stale = names.filter((name) => {
    const pid = OURS.exec(name)?.[1];
    return pid !== undefined && !isAlive(Number(pid));
  });
  stale.forEach(removeNow);
  return stale;
}

export class Namespace {
  private constructor(
    readonly name: string,
    readonly path: string,
  ) {}

  /** Makes a namespace with `lo` up and without duplicate address detection, which would hold up every new address. */
  static async create(label: string): Promise<Namespace> {
    const name = `tb-${process.pid}-${counter++}-${label.replace(/[^A-Za-z0-9]/g, "_").slice(0, 20)}`;
    await command(["ip", "netns", "add", name]);
    alive.add(name);
    const namespace = new Namespace(name, `${DIRECTORY}/${name}`);
    await namespace.sysctl({
      "net.ipv6.conf.all.accept_dad": 0,
      "net.ipv6.conf.default.accept_dad": 0,
      "net.ipv6.conf.all.disable_ipv6": 0,
      "net.ipv6.conf.default.disable_ipv6": 0,
    });
    await namespace.ip("link set lo up");
    return namespace;
  }

  /**
   * The arguments that run a program in here. Not `ip netns exec`: that hides /sys/fs/bpf behind a fresh /sys.
   */
  argv(argv: readonly string[]): string[] {
    return ["nsenter", `--net=${this.path}`, "--", ...argv];
  }

  run(argv: readonly string[], options?: CommandOptions): Promise<string> {
    return command(this.argv(argv), options);
  }

  spawn(argv: readonly string[], options: SpawnOptions): ChildProcess {
    return start(this.argv(argv), options);
  }

  /** Lines of `ip -batch`, in one process. */
  async ip(...lines: readonly string[]): Promise<void> {
    await command(["ip", "-n", this.name, "-batch", "-"], { input: `${lines.join("\n")}\n` });
  }

  async sysctl(values: Readonly<Record<string, string | number>>): Promise<void> {
    await this.run(["sysctl", "-q", "-w", ...Object.entries(values).map(([key, value]) => `${key}=${value}`)]);
  }

  /** Processes inside it are the caller's to end first. */
  async remove(): Promise<void> {
    if (!alive.delete(this.name)) return;
    await command(["ip", "netns", "del", this.name]);
  }
}
