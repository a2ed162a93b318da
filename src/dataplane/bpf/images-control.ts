/** `control`: limits, timeouts and switches that every packet reads. Pure. */
import { ControlFlag, FlowState, FlowStateNames, Limits } from "../../abi/layout.gen.js";
import { parse, record, type Bytes } from "../../abi/records.js";
import type { RecordOf } from "../../abi/codec.js";
import { NOTHING_SERVED, type Served } from "../../model/services.js";

export type FlowStateName = Exclude<keyof typeof FlowState, "FLOW_STATES" | "FLOW_DEAD">;

/** Seconds without a packet after which a flow may be reclaimed; those of Linux's conntrack, so that nothing idle ends sooner. */
export const DEFAULT_TIMEOUTS: Readonly<Partial<Record<string, number>>> = {
  FLOW_NEW: 30,
  FLOW_REPLIED: 180,
  FLOW_SYN_SENT: 120,
  FLOW_ESTABLISHED: 432_000,
  FLOW_CLOSING: 120,
  FLOW_CLOSED: 10,
  FLOW_ICMP: 30,
  FLOW_FIN: 120,
  FLOW_OTHER: 600,
  FLOW_FRAGMENT: 30,
};

export interface ControlWish {
  readonly generation: number;
  /** Numbers of the endpoints in use. */
  readonly endpoints: Iterable<number>;
  /** What it was: accounts of numbers that are no longer in use may still hold flows, which the programs reclaim up to this limit. */
  readonly endpointLimit?: number;
  readonly flowLimit: number;
  readonly hz: number;
  readonly timeouts: Readonly<Partial<Record<string, number>>>;
  readonly localPrefixes: boolean;
  readonly prefixes: boolean;
  readonly floating: boolean;
  readonly hostToGuest: boolean;
  /** S7; absent: nothing. */
  readonly served?: Served;
}

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));

/** D7: shares of the flow table for so many ports. */
export function flowShares(
  flowLimit: number,
  ports: number,
): { guaranteed: number; reserve: number; port_limit: number; flow_limit: number } {
  const guaranteed = clamp(Math.floor(flowLimit / 4 / Math.max(1, ports)), 16, 8192);
  const half = Math.floor(flowLimit / 2);
  return {
    guaranteed,
    reserve: Math.min(2 * guaranteed * Math.max(1, ports), half),
    port_limit: half,
    flow_limit: flowLimit,
  };
}

/** By number of the state, in jiffies, at most what a signed difference of 32 bits can tell apart. */
export function timeoutsInJiffies(timeouts: Readonly<Partial<Record<string, number>>>, hz: number): number[] {
  return Array.from({ length: FlowState.FLOW_STATES }, (_, state) => {
    const name = FlowStateNames[state] ?? "";
    return clamp(Math.round((timeouts[name] ?? DEFAULT_TIMEOUTS[name] ?? 0) * hz), 0, 0x7fffffff);
  });
}

function servedFlags({ metadata, names }: Served): number {
  return (
    (metadata.includes(4) ? ControlFlag.CONTROL_METADATA_IPV4 : 0) |
    (metadata.includes(6) ? ControlFlag.CONTROL_METADATA_IPV6 : 0) |
    (names ? ControlFlag.CONTROL_NAMES : 0)
  );
}

export function controlValue(wish: ControlWish): Bytes {
  const numbers = [...wish.endpoints];
  return record("control", {
    generation: wish.generation >>> 0,
    endpoint_limit: Math.min(Math.max(wish.endpointLimit ?? 0, Math.max(0, ...numbers) + 1), Limits.MAX_ENDPOINTS),
    ...flowShares(wish.flowLimit, numbers.length),
    flags:
      (wish.localPrefixes ? ControlFlag.CONTROL_LOCAL_PREFIXES : 0) |
      (wish.prefixes ? ControlFlag.CONTROL_PREFIXES : 0) |
      (wish.floating ? ControlFlag.CONTROL_FLOATING : 0) |
      (wish.hostToGuest ? ControlFlag.CONTROL_HOST_TO_GUEST : 0) |
      servedFlags(wish.served ?? NOTHING_SERVED),
    timeout: timeoutsInJiffies(wish.timeouts, wish.hz),
  });
}

/**
 * What must be said before the rest is written: the new limits and timeouts, but neither a lower endpoint limit nor a switch off that
 * entries still there depend on; and not yet the new generation.
 */
export function controlBefore(from: Bytes, to: Bytes): Bytes {
  const [was, will]: readonly RecordOf<"control">[] = [parse("control", from), parse("control", to)];
  if (was === undefined || will === undefined) return to;
  const keep = ControlFlag.CONTROL_LOCAL_PREFIXES | ControlFlag.CONTROL_PREFIXES | ControlFlag.CONTROL_FLOATING;
  return record("control", {
    ...will,
    generation: was.generation,
    endpoint_limit: Math.max(was.endpoint_limit, will.endpoint_limit),
    flags: will.flags | (was.flags & keep),
  });
}
