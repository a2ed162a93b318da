/**
 * A directory with a BPF file system of its own, for one agent: whatever is pinned goes when it is unmounted, and an agent
 * of the machine itself (/sys/fs/bpf/torbie, /run/torbie) is not met. Named by pid, and swept like the namespaces.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isAlive } from "./namespace.js";
import { command } from "./command.js";

const PARENT = "/run";
const OURS = /^tb-(\d+)-/;
const alive = new Set<string>();

function removeNow(directory: string): void {
  try {
    execFileSync("umount", ["--lazy", join(directory, "bpf")], { stdio: "ignore", timeout: 10_000 });
  } catch {
    // Was not mounted.
  }
  rmSync(directory, { recursive: true, force: true });
}

process.on("exit", () => alive.forEach(removeNow));

function sweep(): void {
  for (const name of readdirSync(PARENT)) {
    const pid = OURS.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) removeNow(join(PARENT, name));
  }
}

export class Workspace {
  /** For --pin-dir: does not exist yet, in a BPF file system. */
  readonly pinDir: string;
  /** For --run-dir. */
  readonly runDir: string;

  private constructor(readonly directory: string) {
    this.pinDir = join(directory, "bpf", "torbie");
    this.runDir = join(directory, "run");
  }

  static async create(): Promise<Workspace> {
    sweep();
    const directory = mkdtempSync(join(PARENT, `tb-${process.pid}-`));
    alive.add(directory);
    const mountPoint = join(directory, "bpf");
    mkdirSync(mountPoint);
    await command(["mount", "-t", "bpf", "bpf", mountPoint]);
    return new Workspace(directory);
  }

  remove(): void {
    if (alive.delete(this.directory)) removeNow(this.directory);
  }
}
