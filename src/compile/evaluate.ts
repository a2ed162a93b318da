/**
 * The reference evaluator (D8): what S1-S6 and S9 mean, for one frame at a time, in the plainest way. It works on the model, not
 * on what the compiler made of it, and is the judge of both dataplanes; speed is not its business.
 */
import type { Address, EndpointId, Family, LocalWorkload, Mac, Model } from "../model/types.js";
import { Gate, isError, isLocal, type Admitted } from "./evaluate-admit.js";
import { kindOf } from "./evaluate-address.js";
import type { Side } from "./evaluate-flows.js";
import {
  decremented,
  TCP,
  UDP,
  parseAddresses,
  parseEthernet,
  parseIp,
  type Ethernet,
  type Packet,
} from "./evaluate-frame.js";
import { checkGuestPacket } from "./evaluate-guest.js";
import { arp, discovery, type NeighbourResult } from "./evaluate-neighbour.js";
import type { At, EvaluatorOptions, Interfaces, Outcome, ReasonName, Tap } from "./evaluate-types.js";
import { World } from "./evaluate-world.js";
import { METADATA_ADDRESS, METADATA_PORT, NAMES_PORT, NOTHING_SERVED, type Served } from "../model/services.js";
import { isSingle } from "../model/cidr.js";

export * from "./evaluate-types.js";

const ARP = 0x0806;
const FAMILIES: ReadonlyMap<number, Family> = new Map([
  [0x0800, 4],
  [0x86dd, 6],
]);

export class Evaluator {
  private world: World;
  private readonly held: ReadonlySet<EndpointId>;
  private readonly gate: Gate;
  /** Address that several local endpoints have → the last to say that it is there. */
  private readonly announcers: Map<Address, EndpointId>;
  private readonly fib: NonNullable<EvaluatorOptions["fib"]>;
  private readonly hostToGuest: boolean;
  private readonly served: Served;

  constructor(model: Model, interfaces: Interfaces, options: EvaluatorOptions = {}) {
    this.held = options.held ?? new Set();
    this.world = new World(model, interfaces, this.held);
    this.gate = new Gate(this.world);
    this.fib = options.fib ?? (() => "uplink");
    this.hostToGuest = options.hostToGuest ?? true;
    this.served = options.served ?? NOTHING_SERVED;
    this.announcers = new Map(options.announcers);
  }

  /** D3: flows that are known are judged again at their next packet. */
  update(model: Model, interfaces: Interfaces = this.world.interfaces): void {
    this.world = new World(model, interfaces, this.held);
    this.gate.update(this.world);
  }

  /** Flows begun until now: it grows with a packet that belongs to none that is known. */
  get opened(): number {
    return this.gate.opened;
  }

  /** @param now seconds, never going back. */
  receive(at: At, frame: Uint8Array, now: number): Outcome {
    if ("uplink" in at) return this.fromUplink(frame, now);
    return "host" in at || "other" in at ? this.towardsTap(at, frame, now) : this.fromGuest(at.tap, frame, now);
  }

  private fromGuest(name: string, frame: Uint8Array, now: number): Outcome {
    const workload = this.world.atTap(name);
    const tap = this.world.interfaces.taps.get(name);
    if (workload === undefined || tap === undefined) return drop("NO_ENDPOINT");
    if (workload.blocked !== undefined) return drop("ENDPOINT_IS_BLOCKED", workload.id);
    if (!workload.adminUp) return drop("ADMIN_DOWN", workload.id);
    const eth = parseEthernet(frame);
    if (typeof eth === "string") return drop(eth, workload.id);
    if (eth.type === ARP) return this.neighbour(workload, arp(this.world, workload, tap, eth, this.served));
    const family = FAMILIES.get(eth.type);
    if (family === undefined) return drop("UNKNOWN_ETHERTYPE", workload.id);
    const packet = parseIp(eth.bytes.subarray(14), family);
    if (typeof packet === "string") return drop(packet, workload.id);
    return this.guestPacket(workload, tap, eth, packet, now);
  }

  private guestPacket(workload: LocalWorkload, tap: Tap, eth: Ethernet, packet: Packet, now: number): Outcome {
    const isHostAddress = (address: Address): boolean => this.fib(address) === "local-host";
    if (isDiscovery(packet, workload.portSecurity)) {
      if (eth.destination !== tap.hostMac && !eth.destination.startsWith("33:33:"))
        return drop("WRONG_DESTINATION_MAC", workload.id);
      return this.neighbour(workload, discovery(this.world, workload, tap, eth, packet, isHostAddress, this.served));
    }
    const check = checkGuestPacket(
      {
        world: this.world,
        workload,
        tap,
        isHostAddress,
        served: this.served,
        answersHost: () => this.gate.answersHost(packet, workload.id, now),
      },
      eth,
      packet,
    );
    if (check === "host") return { verdict: "host" };
    if (check !== "judge") return drop(check.refused, workload.id);
    const judged = this.behindNat(packet);
    const admission = this.gate.admit(judged, workload.id, (one) => this.route(one.destination), now);
    if ("refused" in admission) return { ...drop(admission.refused, admission.endpoint), ...noted(admission) };
    return this.send(eth, judged, admission, workload.id);
  }

  private fromUplink(frame: Uint8Array, now: number): Outcome {
    const eth = parseEthernet(frame);
    const family = typeof eth === "string" || eth.bytes.length !== frame.length ? undefined : FAMILIES.get(eth.type);
    if (typeof eth === "string" || family === undefined) return { verdict: "host" };
    const ends = parseAddresses(eth.bytes.subarray(14), family);
    if (ends === undefined) return { verdict: "host" };
    const receiver = this.route(this.standsFor(ends.destination) ?? ends.destination);
    if (!isLocal(receiver)) {
      // Whoever it is for: a local guest does not come from outside.
      const forged =
        typeof parseIp(eth.bytes.subarray(14), family) === "string" ? undefined : this.world.onlyLocal(ends.source);
      return forged === undefined ? { verdict: "host" } : drop("UPLINK_SPOOFED", forged);
    }
    const packet = this.judgeable(eth, family, receiver);
    if ("verdict" in packet) return packet;
    const admission = this.gate.admit(packet, "remote", () => receiver, now);
    if ("refused" in admission) return { ...drop(admission.refused, admission.endpoint), ...noted(admission) };
    // A shared address whose flow belongs elsewhere: not for a guest of this host.
    return isLocal(admission.receiver) ? this.send(eth, packet, admission) : { verdict: "host" };
  }

  /** The packet, or the drop that it deserves for what it is, whatever the rules say. */
  private judgeable(eth: Ethernet, family: Family, receiver: EndpointId): Packet | Outcome {
    const packet = parseIp(eth.bytes.subarray(14), family);
    if (typeof packet === "string") return drop(packet, receiver);
    const forged = this.world.onlyLocal(packet.source);
    if (forged !== undefined) return drop("UPLINK_SPOOFED", forged);
    if (packet.source === packet.destination) return drop("SELF", receiver);
    const kind = kindOf(packet.source);
    // RFC 3927 §2.6.2, RFC 4291 §2.5.6: no router forwards them.
    if (kind === "link-local") return drop("LINK_LOCAL", receiver);
    return kind === "unicast" ? this.behindNat(packet) : drop("MARTIAN", receiver);
  }

  /** S8: a floating IP that leads to a guest; not where it is the host's own address. */
  private standsFor(external: Address): Address | undefined {
    return this.fib(external) === "local-host" ? undefined : this.world.standsFor(external);
  }

  /** What is to a floating IP is judged as to the address that it stands for. */
  private behindNat(packet: Packet): Packet {
    const internal = this.standsFor(packet.destination);
    return internal === undefined ? packet : { ...packet, destination: internal, floating: packet.destination };
  }

  /** At the tap's egress: what the stack is about to send to the guest. Hop limit and MTU were its business. */
  private towardsTap(at: { readonly tap: string; readonly host?: true }, frame: Uint8Array, now: number): Outcome {
    const workload = this.world.atTap(at.tap);
    if (workload === undefined) return drop("NO_ENDPOINT");
    if (workload.blocked !== undefined) return drop("ENDPOINT_IS_BLOCKED", workload.id);
    if (!workload.adminUp) return drop("ADMIN_DOWN", workload.id);
    const deliver: Outcome = { verdict: "deliver", to: workload.id, frame };
    const eth = parseEthernet(frame);
    const family = typeof eth === "string" ? undefined : FAMILIES.get(eth.type);
    if (at.host === true) {
      if (typeof eth === "string" || family === undefined) return deliver;
      const packet = parseIp(eth.bytes.subarray(14), family);
      if (typeof packet === "string") return packet === "FRAGMENT_TINY" ? deliver : drop(packet, workload.id);
      // Errors are part of routing, not the host's own wish (S2).
      if (isError(packet)) return deliver;
      if (!this.hostToGuest) return drop("HOST_TO_GUEST_OFF", workload.id);
      if (kindOf(packet.destination) !== "multicast" && !isServiceAnswer(packet, this.served))
        this.gate.passFromHost(packet, workload.id, now);
      return deliver;
    }
    if (typeof eth === "string") return drop(eth, workload.id);
    if (family === undefined) return drop("UNKNOWN_ETHERTYPE", workload.id);
    return this.judgeTowardsTap(eth, family, workload, deliver, now);
  }

  private judgeTowardsTap(
    eth: Ethernet,
    family: Family,
    workload: LocalWorkload,
    deliver: Outcome,
    now: number,
  ): Outcome {
    const packet = this.judgeable(eth, family, workload.id);
    if ("verdict" in packet) return packet;
    if (kindOf(packet.destination) === "multicast") return drop("MULTICAST", workload.id);
    if (workload.portSecurity && this.world.owned(workload, packet.destination) === undefined) {
      return drop("RECEIVER_GONE", workload.id);
    }
    const admission = this.gate.admit(packet, "remote", () => workload.id, now);
    if ("refused" in admission) return { ...drop(admission.refused, admission.endpoint), ...noted(admission) };
    return admission.receiver === workload.id
      ? { ...deliver, ...noted(admission) }
      : drop("RECEIVER_GONE", workload.id);
  }

  private send(eth: Ethernet, packet: Packet, admission: Admitted, from?: EndpointId): Outcome {
    const { receiver } = admission;
    const why = noted(admission);
    if (receiver === "host") return { verdict: "host", ...why };
    if (packet.floating !== undefined) return { verdict: "stack", why: "floating", ...why };
    if (!isLocal(receiver) && this.fib(packet.destination) !== "uplink") return drop("NO_ROUTE", from);
    if (packet.hopLimit <= 1) return { verdict: "stack", why: "hop-limit", ...why };
    if (packet.options) return { verdict: "stack", why: "options", ...why };
    if (!isLocal(receiver) && this.isRoutedHere(packet.destination)) return { verdict: "stack", why: "routed", ...why };
    const frame = decremented(eth.bytes, packet.family);
    if (!isLocal(receiver)) return { verdict: "forward", frame, ...why };
    const workload = this.world.model.locals.get(receiver);
    const tap = workload === undefined ? undefined : this.world.tapOf(workload);
    if (workload === undefined || tap === undefined) return drop("RECEIVER_GONE", receiver);
    if (tap.mtu > 0 && packet.bytes.length > tap.mtu) return { verdict: "stack", why: "too-big", ...why };
    frame.set(octets(this.world.owned(workload, packet.destination)?.mac ?? workload.mac), 0);
    frame.set(octets(tap.hostMac), 6);
    return { verdict: "deliver", to: receiver, frame, ...why };
  }

  /** Whether the host's routes lead to a guest that owns a prefix with the address. Of a single address that others have too announcements decide. */
  private isRoutedHere(destination: Address): boolean {
    const hit = this.world.receivers(destination);
    return hit !== undefined && !isSingle(hit.prefix) && isLocal(this.route(destination));
  }

  /** Who gets what is sent to an address: the last to announce it, else the lowest id; else where the host's routes lead. */
  private route(destination: Address): Side {
    const hit = this.world.receivers(destination);
    const beyond = this.fib(destination);
    // A guest that owns a prefix does not thereby own the host's addresses in it.
    if (hit === undefined || (beyond === "local-host" && !isSingle(hit.prefix)))
      return beyond === "local-host" ? "host" : "remote";
    const announcer = this.announcers.get(destination);
    return announcer !== undefined && hit.ids.includes(announcer) ? announcer : (hit.ids[0] ?? "remote");
  }

  private neighbour(workload: LocalWorkload, result: NeighbourResult): Outcome {
    if ("announced" in result && result.announced !== undefined) {
      const hit = this.world.receivers(result.announced);
      if (hit !== undefined && isSingle(hit.prefix) && hit.ids.includes(workload.id))
        this.announcers.set(result.announced, workload.id);
    }
    if (result.do === "reply") return { verdict: "reply", frame: result.frame };
    return result.do === "host" ? { verdict: "host" } : drop(result.reason, workload.id);
  }
}

/** Known by its address, without a flow. A client's port is 1024 or above. */
function isServiceAnswer({ family, protocol, source, ports }: Packet, { metadata, names }: Served): boolean {
  if (ports === undefined) return false;
  if (protocol === TCP && ports.source === METADATA_PORT)
    return metadata.includes(family) && source === METADATA_ADDRESS[family];
  return names && (protocol === TCP || protocol === UDP) && ports.source === NAMES_PORT && ports.destination >= 1024;
}

/** What the link is about; a guest without port security may send router advertisements, which then go nowhere by themselves. */
function isDiscovery({ family, icmp }: Packet, portSecurity: boolean): boolean {
  if (family !== 6 || icmp === undefined) return false;
  return [133, 135, 136].includes(icmp.type) || (portSecurity && [134, 137].includes(icmp.type));
}

function drop(reason: ReasonName, endpoint?: EndpointId): Extract<Outcome, { verdict: "drop" }> {
  return { verdict: "drop", reason, ...(endpoint === undefined ? {} : { endpoint }) };
}

function noted(from: {
  readonly rule?: string;
  readonly logged?: readonly string[];
}): Pick<Outcome, "rule" | "logged"> {
  return {
    ...(from.rule === undefined ? {} : { rule: from.rule }),
    ...(from.logged === undefined || from.logged.length === 0 ? {} : { logged: from.logged }),
  };
}

function octets(mac: Mac): number[] {
  return mac.split(":").map((octet) => parseInt(octet, 16));
}
