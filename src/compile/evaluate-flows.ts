/** Flows as S5 and D3 mean them: one entry for both directions, with a state and a time it was last seen. */
import type { EndpointId } from "../model/types.js";
import { TCP, type Tuple } from "./evaluate-frame.js";

/** Who is at one end of a packet: a local endpoint, this host itself, or someone off this host. */
export type Side = EndpointId | "host" | "remote";

export type FlowState = "NEW" | "REPLIED" | "SYN_SENT" | "ESTABLISHED" | "FIN" | "CLOSING" | "CLOSED" | "ICMP";

export interface Flow {
  /** In the direction of its first packet. */
  readonly tuple: Tuple;
  readonly opener: Side;
  readonly other: Side;
  /** That side judges every packet by its rules. */
  openerStateless: boolean;
  otherStateless: boolean;
  state: FlowState;
  finOpener: boolean;
  finOther: boolean;
  /** The other side has sent something. */
  answered: boolean;
  seen: number;
  generation: number;
  rule?: string;
}

export interface Hit {
  readonly flow: Flow;
  /** In the direction of its opener. */
  readonly forward: boolean;
}

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;

/** Seconds without a packet after which an entry is gone. */
export const TIMEOUTS: Readonly<Record<FlowState, number>> = {
  NEW: 30,
  REPLIED: 180,
  SYN_SENT: 30,
  ESTABLISHED: 86_400,
  FIN: 120,
  CLOSING: 30,
  CLOSED: 10,
  ICMP: 30,
};
const OTHER_PROTOCOL_TIMEOUT = 600;
const UDP_LIKE: ReadonlySet<number> = new Set([17, 136]);

const REPLY_OF: Readonly<Record<4 | 6, ReadonlyMap<number, number>>> = {
  4: new Map([
    [8, 0],
    [13, 14],
    [15, 16],
    [17, 18],
  ]),
  6: new Map([
    [128, 129],
    [139, 140],
  ]),
};

/** Request type of an ICMP query, whether this is the request or its reply. */
function requestType(tuple: Tuple): number | undefined {
  const type = tuple.icmp?.type;
  for (const [request, reply] of REPLY_OF[tuple.family]) if (type === request || type === reply) return request;
  return undefined;
}

export function isQueryReply(tuple: Tuple): boolean {
  return tuple.icmp !== undefined && requestType(tuple) !== undefined && requestType(tuple) !== tuple.icmp.type;
}

/** ICMP and ICMPv6 open flows by requests only; everything else does by any packet. */
export function mayOpen(tuple: Tuple): boolean {
  return tuple.icmp === undefined || requestType(tuple) === tuple.icmp.type;
}

export function isSyn(protocol: number, flags: number): boolean {
  return protocol === TCP && (flags & (SYN | ACK | RST)) === SYN;
}

export class FlowTable {
  private readonly flows = new Map<string, Flow>();

  /** The live entry for a packet, whichever way it goes; expired ones are forgotten on the way. */
  find(tuple: Tuple, now: number): Hit | undefined {
    const key = keyOf(tuple);
    const flow = key === undefined ? undefined : this.flows.get(key);
    if (key === undefined || flow === undefined) return undefined;
    if (now - flow.seen > timeoutOf(flow)) {
      this.flows.delete(key);
      return undefined;
    }
    const forward = flow.tuple.source === tuple.source && flow.tuple.ports?.source === tuple.ports?.source;
    return { flow, forward };
  }

  open(flow: Flow): void {
    const key = keyOf(flow.tuple);
    if (key !== undefined) this.flows.set(key, flow);
  }

  remove(tuple: Tuple): void {
    const key = keyOf(tuple);
    if (key !== undefined) this.flows.delete(key);
  }
}

/** Whatever a TCP segment says, it is a beginning: it must be answered soon. */
export function firstState(tuple: Tuple): Pick<Flow, "state" | "finOpener" | "finOther" | "answered"> {
  const state = tuple.icmp !== undefined ? "ICMP" : tuple.protocol === TCP ? "SYN_SENT" : "NEW";
  return { state, finOpener: false, finOther: false, answered: false };
}

/** A packet that passed on the flow. */
export function touch({ flow, forward }: Hit, flags: number, now: number): void {
  flow.seen = now;
  const confirmed = forward && flow.answered;
  if (!forward) flow.answered = true;
  if (flow.state === "NEW" && !forward) flow.state = "REPLIED";
  if (flow.tuple.protocol !== TCP) return;
  if ((flags & RST) !== 0) flow.state = "CLOSED";
  else if ((flags & FIN) !== 0) {
    if (forward) flow.finOpener = true;
    else flow.finOther = true;
    if (flow.state !== "CLOSED") flow.state = flow.finOpener && flow.finOther ? "CLOSING" : "FIN";
    // An answer alone proves nothing: whoever forged the sender of a SYN gets none.
  } else if (flow.state === "SYN_SENT" && confirmed) flow.state = "ESTABLISHED";
}

/** Whether a packet that finds an entry starts anew all the same: a SYN from the other side, or on a closing entry. */
export function startsAnew({ flow, forward }: Hit, tuple: Tuple, flags: number): boolean {
  if (!isSyn(tuple.protocol, flags)) return false;
  return !forward || flow.state === "CLOSING" || flow.state === "CLOSED";
}

function timeoutOf(flow: Flow): number {
  const { protocol, icmp } = flow.tuple;
  const known = protocol === TCP || icmp !== undefined || UDP_LIKE.has(protocol);
  return known ? TIMEOUTS[flow.state] : OTHER_PROTOCOL_TIMEOUT;
}

/** The same text for both directions; undefined for what is never remembered. */
function keyOf(tuple: Tuple): string | undefined {
  const { family, protocol, source, destination, ports, icmp } = tuple;
  const request = icmp === undefined ? undefined : requestType(tuple);
  if (icmp !== undefined && request === undefined) return undefined;
  const ends = [`${source} ${ports?.source ?? 0}`, `${destination} ${ports?.destination ?? 0}`].sort();
  // Who asks is part of it: a question the other way is another flow.
  const query = icmp === undefined ? "" : `${icmp.id} ${request} ${icmp.code} ${mayOpen(tuple) ? source : destination}`;
  return [family, protocol, ...ends, query].join("|");
}
