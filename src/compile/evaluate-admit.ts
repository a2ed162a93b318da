/** Whether a packet may pass between two sides: flows first, then rules, and ICMP errors by what they are about (S5, D3). */
import type { EndpointId, LocalWorkload } from "../model/types.js";
import {
  firstState,
  FlowTable,
  isQueryReply,
  mayOpen,
  startsAnew,
  touch,
  type Flow,
  type Hit,
  type Side,
} from "./evaluate-flows.js";
import { parseIp, type Fragment, type Packet, type Tuple } from "./evaluate-frame.js";
import { Judge, type Direction, type Judgement } from "./evaluate-policy.js";
import type { ReasonName } from "./evaluate-types.js";
import type { World } from "./evaluate-world.js";

export interface Refused {
  readonly refused: ReasonName;
  readonly endpoint?: EndpointId;
  readonly rule?: string;
  readonly logged?: readonly string[];
}
export interface Admitted {
  readonly receiver: Side;
  readonly rule?: string;
  readonly logged?: readonly string[];
}
export type Admission = Refused | Admitted;

/** Finds who gets what is sent to the packet's destination, where no flow says so. */
export type Route = (packet: Packet) => Side;

const ERRORS_V4: ReadonlySet<number> = new Set([3, 4, 11, 12]);
const FREE: Judgement = { allowed: true, denied: false, stateless: false, logged: [] };
const FRAGMENT_SECONDS = 30;

export class Gate {
  private readonly flows = new FlowTable();
  private readonly fragments = new Map<
    string,
    { receiver: Side; seen: number; generation: number; headerEnd: number; rule?: string }
  >();
  private judgeNow: Judge;
  private generation = 0;
  /** Flows begun until now. */
  opened = 0;

  constructor(private world: World) {
    this.judgeNow = new Judge(world.model);
  }

  /** D3: every flow is judged again at its next packet. */
  update(world: World): void {
    this.world = world;
    this.judgeNow = new Judge(world.model);
    this.generation++;
  }

  admit(packet: Packet, sender: Side, route: Route, now: number): Admission {
    const fragment = packet.fragment;
    // RFC 6946: alone in its fragment header it is whole.
    if (fragment === undefined || (fragment.offset === 0 && !fragment.more))
      return this.admitWhole(packet, sender, route, now);
    const key = fragmentKey(packet, fragment, sender);
    if (fragment.offset === 0) {
      const admission = this.admitWhole(packet, sender, route, now);
      if ("receiver" in admission)
        this.fragments.set(key, {
          ...admission,
          seen: now,
          generation: this.generation,
          headerEnd: fragment.headerEnd,
        });
      return admission;
    }
    const first = this.fragments.get(key);
    if (first === undefined || now - first.seen > FRAGMENT_SECONDS || first.generation !== this.generation) {
      return { refused: "FRAGMENT_WITHOUT_FIRST", ...at(sender !== "remote" ? sender : route(packet)) };
    }
    if (fragment.offset < first.headerEnd)
      return { refused: "FRAGMENT_TINY", ...at(sender !== "remote" ? sender : route(packet)) };
    const unfit = this.unfit(first.receiver);
    return unfit ?? { receiver: first.receiver, ...(first.rule === undefined ? {} : { rule: first.rule }) };
  }

  /** Whether admit() would pass a guest's packet on to the host: it answers what the host began (S9), or is an error about it. */
  answersHost(packet: Packet, sender: EndpointId, now: number): boolean {
    if (packet.fragment !== undefined && packet.fragment.offset > 0) {
      return this.fragments.get(fragmentKey(packet, packet.fragment, sender))?.receiver === "host";
    }
    const inner = this.inner(packet);
    if (inner === "about-error") return false;
    if (inner !== undefined) {
      const hit = this.related(inner, packet, sender, now);
      return hit !== undefined && this.sides(hit).sender === "host";
    }
    const hit = this.live(packet, sender, now);
    return hit !== undefined && !startsAnew(hit, packet, packet.flags) && this.sides(hit).receiver === "host";
  }

  /** S9: nobody judges what the host originates; it is remembered so that the answers find their way. */
  passFromHost(packet: Packet, receiver: EndpointId, now: number): void {
    if (packet.fragment !== undefined && packet.fragment.offset > 0) return;
    const hit = this.live(packet, "host", now);
    const mine = hit !== undefined && this.sides(hit).receiver === receiver && !startsAnew(hit, packet, packet.flags);
    if (mine) touch(hit, packet.flags, now);
    else if (mayOpen(packet)) this.open(packet, "host", receiver, false, false, now, undefined);
  }

  private admitWhole(packet: Packet, sender: Side, route: Route, now: number): Admission {
    if (isError(packet)) {
      return this.admitError(packet, sender, route, now);
    }
    const hit = this.live(packet, sender, now);
    if (hit === undefined || startsAnew(hit, packet, packet.flags))
      return this.admitFirst(packet, sender, route(packet), now);
    const { receiver } = this.sides(hit);
    const verdict = this.judgeStatelessHalves(hit, packet, sender, receiver);
    if ("receiver" in verdict) touch(hit, packet.flags, now);
    return verdict;
  }

  private admitFirst(packet: Packet, sender: Side, receiver: Side, now: number): Admission {
    const judged = this.judgeBoth(packet, sender, receiver);
    if ("refused" in judged) return judged;
    const { out, into } = judged;
    const tracked = (isLocal(sender) && !out.stateless) || (isLocal(receiver) && !into.stateless);
    const rule = isLocal(receiver) ? into.rule : out.rule;
    if (mayOpen(packet)) {
      if (tracked) this.open(packet, sender, receiver, out.stateless, into.stateless, now, rule);
      else this.flows.remove(packet);
    }
    return { receiver, ...(rule === undefined ? {} : { rule }), logged: [...out.logged, ...into.logged] };
  }

  /** S5: passes with the live flow that it is about; else by the rules, as what it is. */
  private admitError(packet: Packet, sender: Side, route: Route, now: number): Admission {
    const inner = this.inner(packet);
    if (inner === "about-error") {
      return { refused: "ICMP_ERROR_ABOUT_ERROR", ...at(isLocal(sender) ? sender : route(packet)) };
    }
    const hit = inner === undefined ? undefined : this.related(inner, packet, sender, now);
    let verdict: Admission;
    if (hit !== undefined) {
      const receiver = this.sides(hit).sender;
      const { rule } = hit.flow;
      verdict = this.unfit(receiver) ?? { receiver, ...(rule === undefined ? {} : { rule }) };
    } else {
      const receiver = route(packet);
      const judged = this.judgeBoth(packet, sender, receiver);
      const rule = "refused" in judged ? undefined : isLocal(receiver) ? judged.into.rule : judged.out.rule;
      verdict = "refused" in judged ? judged : { receiver, ...(rule === undefined ? {} : { rule }) };
    }
    if ("refused" in verdict && /^(POLICY|DENIED)/.test(verdict.refused))
      return { ...verdict, refused: "ICMP_ERROR_UNRELATED" };
    return verdict;
  }

  /** The packet that an ICMP error is about; undefined when this is no error or nothing can be read of it. */
  private inner(packet: Packet): Packet | "about-error" | undefined {
    if (!isError(packet)) return undefined;
    const inner = parseIp(packet.l4.subarray(8), packet.family, false);
    if (typeof inner === "string" || (inner.fragment !== undefined && inner.fragment.offset > 0)) return undefined;
    return isError(inner) ? "about-error" : inner;
  }

  /** The flow of the inner packet, if the receiver of the error sent it, to the sender of the error or beyond. */
  private related(inner: Packet, error: Packet, sender: Side, now: number): Hit | undefined {
    if (inner.source !== (error.floating ?? error.destination)) return undefined;
    const hit = this.flows.find({ ...inner, source: error.destination }, now);
    if (hit === undefined) return undefined;
    if (this.sides(hit).receiver !== sender || !this.stillAllowed(hit.flow)) return undefined;
    // Of a stateless half nothing is remembered: the rules decide.
    return hit.flow.openerStateless || hit.flow.otherStateless ? undefined : hit;
  }

  /** The entry that holds for this packet from this sender: live, and allowed under the present rules. */
  private live(packet: Packet, sender: Side, now: number): Hit | undefined {
    const hit = this.flows.find(packet, now);
    return hit !== undefined && this.sides(hit).sender === sender && this.stillAllowed(hit.flow) ? hit : undefined;
  }

  private sides({ flow, forward }: Hit): { sender: Side; receiver: Side } {
    return forward ? { sender: flow.opener, receiver: flow.other } : { sender: flow.other, receiver: flow.opener };
  }

  /** D3: once after a change, in the opener's direction; what is refused is forgotten. */
  private stillAllowed(flow: Flow): boolean {
    if (flow.generation === this.generation) return true;
    const { tuple, opener, other } = flow;
    const out = this.judgeHalf(opener, "egress", tuple);
    const into = this.judgeHalf(other, "ingress", tuple);
    const stateful = opener === "host" || (isLocal(opener) && !out.stateless) || (isLocal(other) && !into.stateless);
    const placed = this.stillAt(opener, tuple.source) && this.stillAt(other, tuple.destination);
    const displaced = this.displaced(opener, tuple.source, false) || this.displaced(other, tuple.destination, true);
    if (!out.allowed || !into.allowed || !stateful || !placed || displaced) {
      this.flows.remove(tuple);
      return false;
    }
    flow.openerStateless = out.stateless;
    flow.otherStateless = into.stateless;
    flow.generation = this.generation;
    return true;
  }

  /** A local endpoint must still have the address; an address off this host must not have come here (migration). */
  private stillAt(side: Side, address: Tuple["source"]): boolean {
    if (side === "host") return true;
    if (side === "remote") return this.world.onlyLocal(address) === undefined;
    const workload = this.world.model.locals.get(side);
    return workload !== undefined && (!workload.portSecurity || this.world.owned(workload, address) !== undefined);
  }

  /** It can't be reached, and another endpoint with the address can. The one that opened the flow may do so without its tap. */
  private displaced(side: Side, address: Tuple["source"], asReceiver: boolean): boolean {
    const unfit = this.unfit(side);
    if (unfit === undefined || (!asReceiver && unfit.refused === "RECEIVER_GONE")) return false;
    return this.world.receivers(address)?.ids.some((id) => id !== side && this.unfit(id) === undefined) ?? false;
  }

  private judgeStatelessHalves(hit: Hit, packet: Packet, sender: Side, receiver: Side): Admission {
    const { flow, forward } = hit;
    const outStateless = forward ? flow.openerStateless : flow.otherStateless;
    const intoStateless = forward ? flow.otherStateless : flow.openerStateless;
    const out = outStateless ? this.judgeHalf(sender, "egress", packet) : FREE;
    if (!out.allowed) return refusal(out, "EGRESS", sender);
    const unfit = this.unfit(receiver);
    if (unfit !== undefined) return unfit;
    const into = intoStateless ? this.judgeHalf(receiver, "ingress", packet) : FREE;
    if (!into.allowed) return refusal(into, "INGRESS", receiver);
    return {
      receiver,
      ...(flow.rule === undefined ? {} : { rule: flow.rule }),
      logged: [...out.logged, ...into.logged],
    };
  }

  private judgeBoth(packet: Tuple, sender: Side, receiver: Side): Refused | { out: Judgement; into: Judgement } {
    const out = this.judgeHalf(sender, "egress", packet);
    if (!out.allowed) return refusal(out, "EGRESS", sender);
    if (receiver === "host") return { refused: "HOST_UNREACHABLE_TO_GUEST", ...at(sender) };
    const unfit = this.unfit(receiver);
    if (unfit !== undefined) return unfit;
    const into = this.judgeHalf(receiver, "ingress", packet);
    if (!into.allowed) return refusal(into, "INGRESS", receiver);
    return { out, into };
  }

  private judgeHalf(side: Side, direction: Direction, tuple: Tuple): Judgement {
    if (!isLocal(side)) return FREE;
    const workload = this.world.model.locals.get(side);
    if (workload === undefined) return { ...FREE, allowed: false };
    return workload.portSecurity ? this.judgeNow.judge(workload, direction, tuple) : FREE;
  }

  /** Why a local receiver can't be given anything now. */
  unfit(side: Side): Refused | undefined {
    if (!isLocal(side)) return undefined;
    const workload: LocalWorkload | undefined = this.world.model.locals.get(side);
    if (workload === undefined) return { refused: "RECEIVER_GONE", endpoint: side };
    if (!workload.adminUp || this.world.isBlocked(workload)) return { refused: "RECEIVER_DOWN", endpoint: side };
    return this.world.tapOf(workload) === undefined ? { refused: "RECEIVER_GONE", endpoint: side } : undefined;
  }

  private open(
    packet: Packet,
    opener: Side,
    other: Side,
    openerStateless: boolean,
    otherStateless: boolean,
    now: number,
    rule: string | undefined,
  ): void {
    if (isQueryReply(packet)) return;
    const { family, protocol, source, destination, ports, icmp } = packet;
    const tuple: Tuple = {
      family,
      protocol,
      source,
      destination,
      ...(ports ? { ports } : {}),
      ...(icmp ? { icmp } : {}),
    };
    this.opened++;
    this.flows.open({
      tuple,
      opener,
      other,
      openerStateless,
      otherStateless,
      ...firstState(packet),
      seen: now,
      generation: this.generation,
      ...(rule === undefined ? {} : { rule }),
    });
  }
}

/** RFC 792; RFC 4443: every type below 128. */
export function isError({ family, icmp }: Tuple): boolean {
  return icmp !== undefined && (family === 4 ? ERRORS_V4.has(icmp.type) : icmp.type < 128);
}

export function isLocal(side: Side): side is EndpointId {
  return side !== "host" && side !== "remote";
}

function fragmentKey(packet: Packet, fragment: Fragment, sender: Side): string {
  return [packet.source, packet.destination, fragment.id, fragment.protocol, packet.family, sender].join("|");
}

function at(side: Side): { endpoint?: EndpointId } {
  return isLocal(side) ? { endpoint: side } : {};
}

function refusal(judgement: Judgement, where: "EGRESS" | "INGRESS", side: Side): Refused {
  const { denied, rule, logged } = judgement;
  return {
    refused: `${denied ? "DENIED" : "POLICY"}_${where}`,
    ...at(side),
    ...(rule === undefined ? {} : { rule }),
    logged,
  };
}
