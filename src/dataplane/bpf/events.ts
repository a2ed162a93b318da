/** The ring buffer's records as typed events. */
import { RingBuffer, type BpfMap } from "#libbpf";
import { decode, sizeOf } from "../../abi/codec.js";
import { Action, Direction, EventKind } from "../../abi/layout.gen.js";
import { addressFromBytes } from "../../model/cidr.js";
import type { Address, Family } from "../../model/types.js";

/** A packet that a Log rule matched. */
export interface LogEvent {
  /** Number of the endpoint at whose side it was judged; see PinnedState.name. */
  readonly endpoint: number;
  readonly rule: number;
  readonly direction: "ingress" | "egress";
  readonly family: Family;
  /** IANA number. */
  readonly protocol: number;
  readonly source: Address;
  readonly destination: Address;
  /** 0 where the protocol has none. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Bytes of the packet. */
  readonly length: number;
  /** What the rule does besides: always "log" for now. */
  readonly action: number;
}

/** Undefined for a record of a kind or length that this version does not know. */
export function parseEvent(bytes: Buffer): LogEvent | undefined {
  if (bytes.length < sizeOf("event")) return undefined;
  const event = decode("event", bytes.subarray(0, sizeOf("event")));
  if (event.kind !== EventKind.EVENT_LOG || event.action > Action.ACTION_PASS) return undefined;
  return {
    endpoint: event.endpoint,
    rule: event.rule,
    direction: event.direction === Direction.EGRESS ? "egress" : "ingress",
    family: event.family === 6 ? 6 : 4,
    protocol: event.protocol,
    source: addressFromBytes(event.source),
    destination: addressFromBytes(event.destination),
    sourcePort: event.source_port,
    destinationPort: event.destination_port,
    length: event.length,
    action: event.action,
  };
}

/** Calls back for each event until the returned function is called. One reader at a time. */
export function readEvents(map: BpfMap, onEvent: (event: LogEvent) => void): () => void {
  const ring = new RingBuffer(map, (bytes) => {
    const event = parseEvent(bytes);
    if (event !== undefined) onEvent(event);
  });
  return () => ring.close();
}
