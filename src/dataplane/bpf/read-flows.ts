/** The flow table in words, one flow at a time. Pure. */
import { FlowFlag, FlowState, NameKind } from "../../abi/layout.gen.js";
import { parse, readAddress, toBytes, type Bytes } from "../../abi/records.js";
import type { RecordOf } from "../../abi/codec.js";
import { ICMP, ICMPV6 } from "../../model/protocols.js";
import type { Address, Family } from "../../model/types.js";
import { stateName, type Names } from "./decode-map.js";

export interface FlowEnd {
  readonly address: Address;
  /** 0 where the protocol has none. */
  readonly port: number;
  /** Endpoint number; 0: not on this host. */
  readonly endpoint: number;
  /** What people call that port of this host. */
  readonly name: string | null;
  readonly packets: bigint;
  readonly bytes: bigint;
}

export interface PinnedFlow {
  readonly key: Bytes;
  readonly family: Family;
  /** IANA number. */
  readonly protocol: number;
  /** Who sent the first packet, and to whom. */
  readonly from: FlowEnd;
  readonly to: FlowEnd;
  /** ICMP queries: what is asked. */
  readonly icmp: { readonly type: number; readonly code: number; readonly identifier: number } | null;
  /** "established", "syn sent", …; "expired": its entry may go. */
  readonly state: string;
  /** Seconds since the last packet; null: the kernel does not say (conntrack). */
  readonly idle: number | null;
  /** Seconds until it may go; negative: it may. */
  readonly left: number;
  /** The rule that let it in, at the side judged last. */
  readonly rule: string | null;
  readonly host: boolean;
  readonly halfOpen: boolean;
  readonly stateless: boolean;
}

export interface FlowClock {
  /** Low 32 bits of jiffies now. */
  readonly now: number;
  readonly hz: number;
  /** control.timeout, jiffies by state. */
  readonly timeouts: readonly number[];
}

export function decodeFlow(keyBytes: Bytes, valueBytes: Bytes, names: Names, clock: FlowClock): PinnedFlow | undefined {
  const value = parse("flow", valueBytes);
  if (value.state === FlowState.FLOW_DEAD) return undefined;
  const key = parse("flow_key", keyBytes);
  const opener = (value.flags & FlowFlag.FLOW_OPENER_HI) !== 0 ? 1 : 0;
  const queries = key.asker !== 0 && (key.protocol === ICMP || key.protocol === ICMPV6);
  const idle = ((clock.now - value.last_seen) | 0) / clock.hz;
  const timeout = (clock.timeouts[value.state] ?? 0) / clock.hz;
  const end = (side: 0 | 1): FlowEnd => endOf(key, value, side, queries, names);
  const [icmpType = 0, identifier = 0] = [key.port[1], key.port[0]];
  return {
    key: keyBytes,
    family: key.family === 6 ? 6 : 4,
    protocol: key.protocol,
    from: end(opener),
    to: end(opener === 0 ? 1 : 0),
    icmp: queries ? { type: icmpType >> 8, code: icmpType & 0xff, identifier } : null,
    state: idle >= timeout ? "expired" : stateName(value.state),
    idle,
    left: timeout - idle,
    rule: value.rule === 0 ? null : (names.name(NameKind.NAME_RULE, value.rule) ?? `rule ${value.rule}`),
    host: (value.flags & FlowFlag.FLOW_HOST) !== 0,
    halfOpen: (value.flags & FlowFlag.FLOW_HALF_OPEN) !== 0,
    stateless: (value.flags & (FlowFlag.FLOW_STATELESS_LO | FlowFlag.FLOW_STATELESS_HI)) !== 0,
  };
}

function endOf(
  key: RecordOf<"flow_key">,
  value: RecordOf<"flow">,
  side: 0 | 1,
  queries: boolean,
  names: Names,
): FlowEnd {
  const endpoint = value.endpoint[side] ?? 0;
  return {
    address: readAddress(toBytes(Buffer.from(key.address.subarray(side * 16, side * 16 + 16)))),
    port: queries ? 0 : (key.port[side] ?? 0),
    endpoint,
    name: endpoint === 0 ? null : (names.port(endpoint) ?? `endpoint ${endpoint}`),
    packets: value.packets[side] ?? 0n,
    bytes: value.bytes[side] ?? 0n,
  };
}
