/** An EtcdDatastore with a model behind it, and what it said, for tests to wait for. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EtcdSettings } from "../../src/config/etcd.js";
import { EtcdDatastore, type Timing } from "../../src/datastore/etcd.js";
import type { DatastoreEvent } from "../../src/datastore/types.js";
import { ModelStore } from "../../src/model/store.js";
import type { Problem } from "../../src/problems.js";

/** Short, so that faults are noticed within a test's patience; no test asserts on them. */
export const QUICK: Partial<Timing> = { call: 2_000, heartbeat: 300, hold: 50, backoffFirst: 20, backoffMost: 200 };

export class Follower {
  readonly events: DatastoreEvent[] = [];
  readonly store: ModelStore;
  readonly datastore: EtcdDatastore;
  private waiting: (() => void)[] = [];

  private constructor(
    settings: EtcdSettings,
    readonly stateDir: string,
    hostname: string,
    timing: Partial<Timing>,
  ) {
    this.store = new ModelStore(hostname);
    this.datastore = new EtcdDatastore({ settings, stateDir, timing: { ...QUICK, ...timing } });
  }

  static async start(
    settings: EtcdSettings,
    { stateDir = newStateDir(), hostname = "host1", timing = {} } = {},
  ): Promise<Follower> {
    const follower = new Follower(settings, stateDir, hostname, timing);
    await follower.datastore.start((event) => follower.take(event));
    return follower;
  }

  /** What was said since `take`n; forgets it. */
  forget(): void {
    this.events.length = 0;
  }

  get types(): string[] {
    return this.events.map(({ type }) => type).filter((type) => type !== "problems" && type !== "changes");
  }

  get held(): Problem | undefined {
    const last = this.events.findLast(({ type }) => ["held", "in-sync", "lost", "snapshot-begin"].includes(type));
    return last?.type === "held" ? last.problem : undefined;
  }

  get lostReason(): string | undefined {
    const last = this.events.findLast(({ type }) => type === "lost");
    return last?.type === "lost" ? last.reason : undefined;
  }

  get problems(): readonly Problem[] {
    const last = this.events.findLast(({ type }) => type === "problems");
    return last?.type === "problems" ? last.problems : [];
  }

  /** Keys that came, in order. */
  get keys(): string[] {
    return this.events.flatMap((event) => (event.type === "changes" ? event.changes.map(({ key }) => key) : []));
  }

  async until(what: string, condition: () => boolean, milliseconds = 15_000): Promise<void> {
    const end = Date.now() + milliseconds;
    while (!condition()) {
      const left = end - Date.now();
      if (left <= 0)
        throw new Error(
          `waited in vain for: ${what}; state ${this.datastore.state}, heard ${this.types.join(" ")}, lost: ${this.lostReason}, held: ${this.held?.what}`,
        );
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 200));
        this.waiting.push(() => (clearTimeout(timer), resolve()));
      });
    }
  }

  async inSync(): Promise<void> {
    await this.until("in-sync", () => this.store.inSync && this.datastore.state === "following");
  }

  async stop(): Promise<void> {
    await this.datastore.stop();
  }

  private take(event: DatastoreEvent): void {
    this.events.push(event);
    this.store.apply(event);
    for (const wake of this.waiting.splice(0)) wake();
  }
}

const made: string[] = [];

export function newStateDir(): string {
  const path = mkdtempSync(join(tmpdir(), "tb-state-"));
  made.push(path);
  return path;
}

export function removeStateDirs(): void {
  for (const path of made.splice(0)) rmSync(path, { recursive: true, force: true });
}

export function settingsFor(...endpoints: readonly string[]): EtcdSettings {
  return { endpoints, region: "no-region", namespace: "openstack" };
}
