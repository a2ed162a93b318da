/** A real etcd, real taps and a real agent in the network namespace of this process; for what is measured from outside. */
import { execFileSync, spawn, type ChildProcess, type ExecFileSyncOptions } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Etcd3 } from "etcd3";
import type { AgentStatus } from "../agent/status.js";
import { stop } from "../demo/world/command.js";
import { PATIENCE } from "../demo/world/patience.js";
import { Workspace } from "../demo/world/workspace.js";
import { endpointsPrefix } from "../status/keys.js";
import { HOSTNAME, member, type Entry } from "./cloud.js";

const ETCD = "http://127.0.0.1:23790";
const PEER = "http://127.0.0.1:23800";
/** Entries in one transaction: etcd takes at most 128 operations. */
const BATCH = 100;
/** Members that are written before the next are made. */
const AT_ONCE = 1_000;
const TAP_GROUP = 4242;
const LIMIT = 120_000 * PATIENCE;

interface LabStatus {
  readonly inSync: boolean;
  readonly enforced: number;
  readonly writes: number;
}

export class Lab {
  readonly pinDir: string;
  private readonly directory: string;
  private readonly client = new Etcd3({ hosts: ETCD });
  private readonly children: ChildProcess[] = [];
  private readonly made: string[] = [];
  private read: { readonly ino: number; readonly at: number; readonly status: LabStatus } | undefined;

  private constructor(private readonly workspace: Workspace) {
    this.pinDir = workspace.pinDir;
    this.directory = workspace.directory;
  }

  static async create(): Promise<Lab> {
    const lab = new Lab(await Workspace.create());
    // Without an address the kernel looks for one at every interface, with each route (inet_select_addr); no compute host is like that.
    execFileSync("ip", ["address", "replace", "192.0.2.1/32", "dev", "lo"]);
    const urls = ["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD, "--listen-peer-urls", PEER];
    const peers = ["--initial-advertise-peer-urls", PEER, "--initial-cluster", `default=${PEER}`];
    lab.start("etcd", ["--data-dir", join(lab.directory, "etcd"), ...urls, ...peers, "--log-level", "error"]);
    await lab.until(
      "etcd serves",
      async () => (await lab.client.maintenance.status().catch(() => undefined)) !== undefined,
    );
    return lab;
  }

  private start(file: string, args: readonly string[]): ChildProcess {
    // etcd tells of its elections there.
    const child = spawn(file, args, { stdio: ["pipe", "pipe", file === "etcd" ? "ignore" : "inherit"] });
    child.stdout.on("data", () => undefined);
    this.children.push(child);
    return child;
  }

  /** Asks every few milliseconds. */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const started = performance.now();
    while (!(await holds())) {
      if (performance.now() - started > LIMIT) throw new Error(`${what}: not within ${LIMIT / 1000} s`);
      const dead = this.children.find(({ exitCode }) => exitCode !== null);
      if (dead !== undefined)
        throw new Error(`${what}: ${dead.spawnfile} has ended with status ${String(dead.exitCode)}`);
      await sleep(5);
    }
  }

  /** In order when they fit in one transaction, else several transactions at once. */
  async put(...entries: readonly Entry[]): Promise<void> {
    const parts = Array.from({ length: Math.ceil(entries.length / BATCH) }, (_, i) =>
      entries.slice(i * BATCH, (i + 1) * BATCH),
    );
    await Promise.all(
      parts.map((part) =>
        this.client
          .if("none", "Version", "==", 0)
          .then(...part.map(({ key, value }) => this.client.put(key).value(JSON.stringify(value))))
          .commit(),
      ),
    );
  }

  /** Endpoints of other hosts, from this number on. */
  async putMembers(first: number, count: number): Promise<void> {
    for (let i = 0; i < count; i += AT_ONCE)
      await this.put(...Array.from({ length: Math.min(AT_ONCE, count - i) }, (_, k) => member(first + i + k)));
  }

  async taps(names: readonly string[]): Promise<void> {
    this.made.push(...names);
    const [ready] = [once(this.start("build/taps", names).stdout ?? process.stdin, "data")];
    await ready;
  }

  /** Starts the agent; does not wait for anything. */
  agent(dataplane: "bpf" | "iptables" = "bpf", program = "bin/torbie"): ChildProcess {
    const source = ["--datastore", "etcd", "--etcd-endpoints", ETCD, "--hostname", HOSTNAME, "--uplinks", "lo"];
    const places = ["--pin-dir", this.pinDir, "--run-dir", join(this.directory, "run")];
    const state = ["--state-dir", join(this.directory, "state"), "--log-level", "warn"];
    return this.start(program, ["agent", "--dataplane", dataplane, ...source, ...places, ...state]);
  }

  /** Ends an agent; nothing waits for it any more. */
  async end(agent: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    this.children.splice(this.children.indexOf(agent), 1);
    await stop(agent, signal);
    rmSync(join(this.directory, "run", "status.json"), { force: true }); // what the next one says is to be told from it
  }

  /** What the agent's status file says; `writes`: all that it has written so far. */
  status(): LabStatus {
    const file = join(this.directory, "run", "status.json");
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats === undefined) return { inSync: false, enforced: 0, writes: 0 };
    // Read once: with thousands of endpoints reading it again and again would take the core that the agent needs.
    if (this.read?.ino !== stats.ino || this.read.at !== stats.mtimeMs) {
      const { datastore, endpoints, totalWrites } = JSON.parse(readFileSync(file, "utf8")) as AgentStatus;
      const enforced = endpoints.filter((one) => one.enforced).length;
      const status = { inSync: datastore.state === "in-sync", enforced, writes: totalWrites };
      this.read = { ino: stats.ino, at: stats.mtimeMs, status };
    }
    return this.read.status;
  }

  /** How much the agent has written when it has been quiet for a while. */
  async settled(): Promise<number> {
    for (let writes = this.status().writes; ;) {
      await sleep(1_500); // longer than the status file may be behind
      const now = this.status().writes;
      if (now === writes) return now;
      writes = now;
    }
  }

  /** How many endpoints have a status in etcd that says "up". */
  async reportedUp(): Promise<number> {
    const prefix = endpointsPrefix("", HOSTNAME);
    const found = Object.values(await this.client.getAll().prefix(prefix).json()) as { status?: unknown }[];
    return found.filter(({ status }) => status === "up").length;
  }

  /** All at once: the kernel waits for its readers with each that goes alone, 30 ms and more. */
  private removeTaps(): void {
    if (this.made.length === 0) return;
    const input = this.made.map((name) => `link set dev ${name} group ${TAP_GROUP}\n`).join("");
    const quiet: ExecFileSyncOptions = { stdio: ["pipe", "ignore", "ignore"], timeout: LIMIT };
    try {
      execFileSync("ip", ["-batch", "-"], { ...quiet, input });
      execFileSync("ip", ["link", "delete", "group", String(TAP_GROUP)], quiet);
    } catch {
      // They go with who holds them.
    }
  }

  async close(): Promise<void> {
    this.client.close();
    this.removeTaps();
    for (const child of this.children.reverse()) if (child.exitCode === null) await stop(child);
    this.workspace.remove();
  }
}
