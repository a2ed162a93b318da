/**
 * Following ranges from a revision on: one stream with one watcher a range. Silence is noticed: at every tick one more watcher is made and,
 * once etcd has said so, cancelled; three ticks without a word end the watch. (A progress request would do, but etcd 3.3 does not know it, and
 * the gRPC proxy does not answer it.) Ticks are counted, not the clock, which may jump.
 */
import { setImmediate as turn } from "node:timers/promises";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import { castGrpcError, type IEvent, type IWatchRequest, type IWatchResponse } from "etcd3";
import type { KeyRange } from "./etcd-keys.js";
import type { EtcdSession } from "./etcd-session.js";
import { toPut } from "./etcd-snapshot.js";
import type { KeyChange } from "./types.js";

const BATCH_KEYS = 200;
const BATCH_BYTES = 256 * 1024;
const MISSED = 3;

/** A range and where to begin in it. */
export interface WatchedRange extends KeyRange {
  /** First revision whose changes are wanted. */
  from: bigint;
}

/** The revision from which a watch should begin exists no more. */
export class CompactedError extends Error {}

export interface WatchHandlers {
  /** Every watcher is in place. */
  created(header: IWatchResponse["header"]): void;
  /** A batch, in order; a promise holds the next one back. May throw, which ends the watch. */
  changes(changes: readonly KeyChange[]): void;
  /** Anything came from etcd: it lives, and `header` is how far it is. */
  heard(header: IWatchResponse["header"]): void;
}

export class EtcdWatch {
  private readonly queue: { readonly event: IEvent; readonly range: WatchedRange }[] = [];
  private draining = false;
  private readonly rangeOf = new Map<string, WatchedRange>();
  private created = 0;
  private unanswered = 0;
  private stream: ClientDuplexStream<IWatchRequest, IWatchResponse> | undefined;
  private end: (error: Error | undefined) => void = () => undefined;

  /** @param ranges their `from` follows what has been handed on, for a later watch to go on from */
  constructor(
    private readonly session: EtcdSession,
    private readonly ranges: readonly WatchedRange[],
    private readonly handlers: WatchHandlers,
    private readonly heartbeat: number,
  ) {}

  /** Resolves after stop(). @throws CompactedError, etcd3's errors, what a handler threw */
  async run(): Promise<void> {
    const stream = await this.session.watch();
    this.stream = stream;
    const beat = setInterval(() => this.tick(), this.heartbeat);
    try {
      await new Promise<void>((resolve, reject) => {
        this.end = (error) => (error === undefined ? resolve() : reject(error));
        stream.on("data", (response: IWatchResponse) => this.receive(response));
        stream.on("error", (error: Error) => this.end(castGrpcError(error)));
        stream.on("end", () => this.end(new Error("etcd ended the watch")));
        for (const { start, end, from } of this.ranges)
          stream.write({
            create_request: { key: start, range_end: end, start_revision: String(from), fragment: true },
          });
      });
    } finally {
      clearInterval(beat);
      this.queue.length = 0;
      this.end = () => undefined;
      stream.removeAllListeners("data");
      // Cancelling is an error to the stream.
      stream.removeAllListeners("error").on("error", () => undefined);
      stream.cancel();
    }
  }

  stop(): void {
    this.end(undefined);
  }

  /** Ends it as if the stream had failed. */
  fail(error: unknown): void {
    this.end(error instanceof Error ? error : new Error(String(error)));
  }

  private receive(response: IWatchResponse): void {
    this.unanswered = 0;
    const { header, watch_id, created, canceled, compact_revision, cancel_reason, events } = response;
    if (created && this.created === this.ranges.length) {
      this.handlers.heard(header);
      if (!canceled) this.stream?.write({ cancel_request: { watch_id } });
      return;
    }
    if (canceled && this.created === this.ranges.length && !this.rangeOf.has(watch_id)) return;
    if (canceled) {
      const compacted = compact_revision !== "0" || cancel_reason.includes("compacted");
      const why = `etcd cancelled the watch: ${cancel_reason || "no reason given"}`;
      return this.end(compacted ? new CompactedError(why) : castGrpcError(new Error(cancel_reason || why)));
    }
    this.handlers.heard(header);
    if (created) {
      // etcd answers in the order of the requests.
      const range = this.ranges[this.created++];
      if (range !== undefined) this.rangeOf.set(watch_id, range);
      if (this.created === this.ranges.length) this.handlers.created(header);
      return;
    }
    const range = this.rangeOf.get(watch_id);
    if (range === undefined) return;
    for (const event of events) this.queue.push({ event, range });
    if (this.queue.length > 0 && !this.draining) void this.drain();
  }

  /** What came together is handed on together, but never so much at once that all else waits. */
  private async drain(): Promise<void> {
    this.draining = true;
    try {
      await turn();
      while (this.queue.length > 0) {
        const batch = this.takeBatch();
        this.handlers.changes(batch.map(({ event }) => toChange(event)));
        // Inclusive: a revision may be handed on in parts, and doing one again changes nothing.
        for (const { event, range } of batch) range.from = BigInt(event.kv.mod_revision);
        if (this.queue.length > 0) await turn();
      }
    } catch (error) {
      this.fail(error);
    } finally {
      this.draining = false;
    }
  }

  private takeBatch(): { readonly event: IEvent; readonly range: WatchedRange }[] {
    let count = 0;
    let bytes = 0;
    for (const { event } of this.queue) {
      count++;
      bytes += event.kv.value.length;
      if (count >= BATCH_KEYS || bytes >= BATCH_BYTES) break;
    }
    return this.queue.splice(0, count);
  }

  private tick(): void {
    if (this.unanswered >= MISSED)
      return this.end(new Error(`etcd has not answered for ${(this.unanswered * this.heartbeat) / 1000} s`));
    this.unanswered++;
    const key = this.ranges[0]?.start;
    if (key !== undefined && this.created === this.ranges.length) this.stream?.write({ create_request: { key } });
  }
}

function toChange({ type, kv }: IEvent): KeyChange {
  return (type as string).toUpperCase() === "DELETE" ? { op: "delete", key: kv.key.toString("utf8") } : toPut(kv);
}
