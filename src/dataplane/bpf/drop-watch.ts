/**
 * Listening to what the programs drop (bpf/drop.h): a lease in `drop_watch`, refreshed while we live, and the ring `drop_event`. There is
 * one ring and one lease for a host, so one watcher at a time.
 */
import { RingBuffer } from "#libbpf";
import { decode, encode, sizeOf, type RecordOf } from "../../abi/codec.js";
import { Direction, Limits, Reason } from "../../abi/layout.gen.js";
import { fromBytes, toBytes, u32 } from "../../abi/records.js";
import { DataplaneError } from "../../errors.js";
import { factsOf, type FrameFacts } from "./drop-frame.js";
import { explainReason } from "./reasons.js";
import type { Tables } from "./tables.js";

export interface DroppedPacket extends FrameFacts {
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Number of the endpoint that it is counted at; 0: none is known. */
  readonly endpoint: number;
  readonly reason: string;
  readonly sentence: string;
  readonly direction: "ingress" | "egress";
  /** Number of the Deny rule; 0: it was none. */
  readonly rule: number;
  /** Where the program met it. */
  readonly ifindex: number;
  /** Bytes of the frame. */
  readonly length: number;
  /** Identifier of a tag that the kernel took out; 0: none. */
  readonly vlan: number;
}

export interface DropFilter {
  /** Undefined: every reason but those that are no fault. */
  readonly reasons?: readonly number[];
  /** What is counted at this endpoint, or met at its tap. */
  readonly port?: { readonly number: number; readonly ifindex: number };
  /** At most so many a second. */
  readonly rate: number;
}

export interface DropWatch {
  /** To be called every second or so. @throws DataplaneError WATCHED when another watcher has taken the lease */
  refresh(): void;
  /** Drops that fit and were not told, since the last call: over the rate, or the ring was full. */
  missed(): bigint;
  close(): void;
}

/** Nanoseconds: a watcher that was killed costs the programs something for so long. */
const LEASE = 5_000_000_000n;
const ZERO = u32(0);
const HARMLESS: readonly number[] = [Reason.ARP_ABSORBED, Reason.ND_ABSORBED];
const WINDOWS_A_SECOND = 1_000_000_000 / Limits.DROP_WINDOW;

/** @throws DataplaneError WATCHED naming the other's pid */
export function watchDrops(tables: Tables, filter: DropFilter, onDrop: (drop: DroppedPacket) => void): DropWatch {
  const began = process.hrtime.bigint();
  const reasons = filter.reasons ?? Object.values(Reason).filter((reason) => !HARMLESS.includes(reason));
  const wish = {
    reasons: reasons.reduce((mask, reason) => mask | (1n << BigInt(reason)), 0n),
    endpoint: filter.port?.number ?? 0,
    // 0 is no interface, and the programs compare.
    ifindex: filter.port?.ifindex ?? 0,
    most: Math.max(1, Math.round(filter.rate / WINDOWS_A_SECOND)),
    pid: process.pid,
  };
  const refresh = (): void => {
    const held = lease(tables);
    const now = process.hrtime.bigint();
    if (held.pid !== process.pid && held.until > now)
      throw new DataplaneError(
        "WATCHED",
        `another torbie drop watch (pid ${held.pid}) runs on this host, and the kernel tells only one: stop it first`,
      );
    tables.set("drop_watch", ZERO, toBytes(encode("drop_watch", { ...wish, until: now + LEASE })));
  };
  refresh();
  let told = missedEver(tables);
  // CLOCK_MONOTONIC, as in bpf_ktime_get_ns().
  const epoch = BigInt(Date.now()) * 1_000_000n - began;
  const ring = new RingBuffer(tables.raw("drop_event"), (bytes) => {
    const event = parseDrop(bytes, epoch);
    // What a former watcher left unread.
    if (event !== undefined && event.at >= began) onDrop(event.drop);
  });
  return {
    refresh,
    missed: () => {
      const now = missedEver(tables);
      const missed = now - told;
      told = now;
      return missed;
    },
    close: () => {
      ring.close();
      if (lease(tables).pid === process.pid)
        tables.set("drop_watch", ZERO, toBytes(encode("drop_watch", { pid: process.pid })));
    },
  };
}

const at = <S extends "drop_watch" | "drop_seen">(tables: Tables, name: S): RecordOf<S> =>
  decode(name, fromBytes(tables.get(name, ZERO) ?? toBytes(Buffer.alloc(sizeOf(name)))));
const lease = (tables: Tables): RecordOf<"drop_watch"> => at(tables, "drop_watch");
const missedEver = (tables: Tables): bigint => at(tables, "drop_seen").missed;

/** @param epoch nanoseconds from 1970 to the zero of CLOCK_MONOTONIC. Undefined: a record of another length. Pure. */
export function parseDrop(
  bytes: Buffer,
  epoch: bigint,
): { readonly at: bigint; readonly drop: DroppedPacket } | undefined {
  if (bytes.length < sizeOf("drop_event")) return undefined;
  const event = decode("drop_event", bytes.subarray(0, sizeOf("drop_event")));
  const { name, sentence } = explainReason(event.reason);
  return {
    at: event.time,
    drop: {
      ...factsOf(event.frame.subarray(0, event.captured)),
      time: Number((event.time + epoch) / 1_000_000n),
      endpoint: event.endpoint,
      reason: name,
      sentence,
      direction: event.direction === Direction.EGRESS ? "egress" : "ingress",
      rule: event.rule,
      ifindex: event.ifindex,
      length: event.length,
      vlan: event.vlan & 0x0fff,
    },
  };
}
