/**
 * Calico's data model in etcd, followed for as long as the agent lives. The states, and what leads from one to the next:
 *
 *   connecting ─ a session, logged in ─► held ─ judged to be ours (etcd-identity.ts) ─► snapshot ─ read to its end ─► following
 *       ▲                                 ▲  └─ ours, and nothing missed since ─────────────────────────────────────►    │
 *       │                                 └──────────── its ClusterInformation changed for the worse ────────────────────┤
 *       └─ waited (backoff.ts) ── lost ◄── any error, or silence ────────────────────────────────────────────────────────┘
 */
import { setTimeout as delay } from "node:timers/promises";
import type { EtcdSettings } from "../config/etcd.js";
import { watchedPrefixes } from "../model/keys.js";
import type { Problem } from "../problems.js";
import { Backoff } from "./backoff.js";
import { readCredentials } from "./etcd-credentials.js";
import { describeEtcdError } from "./etcd-errors.js";
import { clusterOf, IdentityFile, judge, type Found } from "./etcd-identity.js";
import { CLUSTER_KEY, rangeOf } from "./etcd-keys.js";
import { EtcdMemory } from "./etcd-memory.js";
import { alarms, foreignKinds } from "./etcd-notices.js";
import { CALL_TIMEOUT, EtcdSession } from "./etcd-session.js";
import { Batches, readRange } from "./etcd-snapshot.js";
import { CompactedError, EtcdWatch, type WatchedRange } from "./etcd-watch.js";
import type { Datastore, DatastoreEvent, KeyChange } from "./types.js";

export type EtcdState = "stopped" | "connecting" | "held" | "snapshot" | "following" | "waiting";

export interface EtcdDatastoreOptions {
  readonly settings: EtcdSettings;
  /** Where the identity file is kept. */
  readonly stateDir: string;
  /** Milliseconds; for tests. */
  readonly timing?: Partial<Timing>;
}

export interface Timing {
  /** For one call. */
  readonly call: number;
  /** Between signs of life; three that are missing are a loss. */
  readonly heartbeat: number;
  /** Between looks at an etcd of which nothing may be applied. */
  readonly hold: number;
  readonly backoffFirst: number;
  readonly backoffMost: number;
  /** Between looks for alarms, which also prove that calls get through. */
  readonly alarms: number;
}

const TIMING: Timing = {
  call: CALL_TIMEOUT,
  heartbeat: 5_000,
  hold: 3_000,
  backoffFirst: 100,
  backoffMost: 30_000,
  alarms: 60_000,
};

export class EtcdDatastore implements Datastore {
  readonly description: string;
  private readonly timing: Timing;
  private readonly backoff: Backoff;
  private readonly memory: EtcdMemory;
  private readonly stopping = new AbortController();
  private onEvent: (event: DatastoreEvent) => void = () => undefined;
  private running: Promise<void> | undefined;
  private attempts = 0;
  /** What was handed on in full, and where its followers go on; undefined: a snapshot is needed. */
  private known: { readonly ranges: readonly WatchedRange[]; readonly found: Found } | undefined;
  private notices = new Map<string, readonly Problem[]>();
  private present: EtcdState = "stopped";

  constructor(private readonly options: EtcdDatastoreOptions) {
    this.timing = { ...TIMING, ...options.timing };
    this.backoff = new Backoff(this.timing.backoffFirst, this.timing.backoffMost);
    this.description = `etcd ${options.settings.endpoints.join(",")}`;
    this.memory = new EtcdMemory(new IdentityFile(options.stateDir), (problems) => this.notice("memory", problems));
  }

  get state(): EtcdState {
    return this.present;
  }

  /** @throws ConfigError when a file of credentials cannot be read */
  async start(onEvent: (event: DatastoreEvent) => void): Promise<void> {
    await readCredentials(this.options.settings);
    await this.memory.open();
    this.onEvent = onEvent;
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
    await this.memory.close();
    this.present = "stopped";
  }

  private get stopped(): boolean {
    return this.stopping.signal.aborted;
  }

  private async run(): Promise<void> {
    const { endpoints, login } = this.options.settings;
    while (!this.stopped) {
      const endpoint = endpoints[this.attempts++ % endpoints.length] as string;
      let session: EtcdSession | undefined;
      try {
        this.present = "connecting";
        session = await this.connect(endpoint);
        await this.serve(session);
      } catch (error) {
        if (this.stopped) break;
        this.onEvent({ type: "lost", reason: describeEtcdError(error, endpoint, login?.username) });
      } finally {
        session?.close();
      }
      if (!this.stopped) await this.pause();
    }
  }

  private async connect(endpoint: string): Promise<EtcdSession> {
    const known = await readCredentials(this.options.settings);
    return EtcdSession.open(endpoint, known, { timeout: this.timing.call, signal: this.stopping.signal });
  }

  /** The other members are tried at once, the round again after a wait. */
  private async pause(): Promise<void> {
    this.present = "waiting";
    if (this.attempts % this.options.settings.endpoints.length === 0) await this.sleep(this.backoff.next());
  }

  /** Returns when the agent stops. @throws whatever ends the connection */
  private async serve(session: EtcdSession): Promise<void> {
    while (!this.stopped) {
      const found = await this.admitted(session);
      if (this.stopped) return;
      try {
        if (!(await this.continues(session, found))) await this.snapshot(session, found);
        await this.follow(session);
      } catch (error) {
        // A pinned or a watched revision is gone: what is needed is a new snapshot, not another member.
        if (!isCompacted(error)) throw error;
        this.known = undefined;
        await this.sleep(this.backoff.next());
      }
    }
  }

  /** Waits until what is there may be applied. */
  private async admitted(session: EtcdSession): Promise<Found> {
    let said: string | undefined;
    for (;;) {
      const found = await this.readFound(session);
      const problem = await this.memory.judge(found);
      if (problem === undefined || this.stopped) return found;
      this.present = "held";
      this.known = undefined;
      if (said !== problem.what) this.onEvent({ type: "held", problem });
      said = problem.what;
      await this.sleep(this.timing.hold);
    }
  }

  private async readFound(session: EtcdSession): Promise<Found> {
    const { header, kvs } = await session.kv.range({ key: Buffer.from(CLUSTER_KEY) });
    const { cluster_id: clusterId, revision } = header;
    return { clusterId, revision: BigInt(revision), ...clusterOf(kvs[0]?.value.toString("utf8")) };
  }

  /** Whether what was handed on can be followed from where it was left. @throws etcd's "compacted" when that is gone */
  private async continues(session: EtcdSession, found: Found): Promise<boolean> {
    const { known } = this;
    if (known?.found.clusterId !== found.clusterId) return false;
    const oldest = [...known.ranges.map(({ from }) => from), found.revision].reduce((a, b) => (a < b ? a : b));
    // Asked for, since a watch that begins too early is first accepted and then cancelled.
    await session.kv.range({ key: Buffer.from(CLUSTER_KEY), keys_only: true, revision: String(oldest) });
    return true;
  }

  private async snapshot(session: EtcdSession, found: Found): Promise<void> {
    this.present = "snapshot";
    this.known = undefined;
    this.onEvent({ type: "snapshot-begin" });
    const ranges = watchedPrefixes(this.options.settings.region).map(rangeOf);
    const batches = new Batches();
    for (const range of ranges) {
      for await (const page of readRange(session, range, String(found.revision))) {
        for await (const changes of batches.of(page)) {
          if (this.stopped) return;
          this.onEvent({ type: "changes", changes });
        }
      }
    }
    this.known = { ranges: ranges.map((range) => ({ ...range, from: found.revision + 1n })), found };
    await this.memory.applied(found);
    this.onEvent({ type: "in-sync" });
    // Should this fail, so does the watch, which says so.
    void foreignKinds(session).then(
      (problems) => this.notice("kinds", problems),
      () => undefined,
    );
  }

  /** Until the agent stops or the ClusterInformation is no longer right. */
  private async follow(session: EtcdSession): Promise<void> {
    const { known } = this;
    if (known === undefined || this.stopped) return;
    const resumed = this.present !== "snapshot";
    let heard = 0;
    const watch = new EtcdWatch(
      session,
      known.ranges,
      {
        created: () => {
          this.present = "following";
          if (resumed) this.onEvent({ type: "in-sync" });
        },
        heard: ({ revision }) => {
          this.memory.heard(BigInt(revision));
          // One that is lost again and again as soon as it is found is left alone for longer and longer.
          if (++heard > 2 * known.ranges.length) this.backoff.reset();
        },
        changes: (changes) => {
          if (this.worsened(known.found, changes)) watch.stop();
          else this.onEvent({ type: "changes", changes });
        },
      },
      this.timing.heartbeat,
    );
    const stop = (): void => watch.stop();
    this.stopping.signal.addEventListener("abort", stop);
    const look = setInterval(() => {
      alarms(session).then(
        (problems) => this.notice("alarms", problems),
        (error: unknown) => watch.fail(error),
      );
    }, this.timing.alarms);
    try {
      await watch.run();
    } finally {
      clearInterval(look);
      this.stopping.signal.removeEventListener("abort", stop);
    }
  }

  /** A ClusterInformation among the changes that forbids to apply them. Says so at once: the gate must not wait for the next look. */
  private worsened(found: Found, changes: readonly KeyChange[]): boolean {
    const change = changes.findLast(({ key }) => key === CLUSTER_KEY);
    if (change === undefined) return false;
    const text = change.op === "put" && "text" in change.value ? change.value.text : undefined;
    const { cluster, fault } = clusterOf(text);
    const problem = judge(this.memory.known, {
      ...found,
      revision: this.memory.known?.revision ?? found.revision,
      cluster,
      ...(fault !== undefined && { fault }),
    });
    if (problem === undefined) return false;
    this.known = undefined;
    this.present = "held";
    this.onEvent({ type: "held", problem });
    return true;
  }

  private notice(source: string, problems: readonly Problem[]): void {
    if (JSON.stringify(problems) === JSON.stringify(this.notices.get(source) ?? [])) return;
    this.notices.set(source, problems);
    if (!this.stopped) this.onEvent({ type: "problems", problems: [...this.notices.values()].flat() });
  }

  private async sleep(milliseconds: number): Promise<void> {
    await delay(milliseconds, undefined, { signal: this.stopping.signal }).catch(() => undefined);
  }
}

/** etcd says so of a range with an error, of a watch by cancelling it. */
function isCompacted(error: unknown): boolean {
  return (
    error instanceof CompactedError ||
    (error instanceof Error && error.message.includes("required revision has been compacted"))
  );
}
