/** ARP and neighbour discovery on a tap: who is answered, what a guest may claim (S4, S6; RFC 826, 5227, 4861). */
import { addressBytes } from "../model/cidr.js";
import { METADATA_ADDRESS, type Served } from "../model/services.js";
import type { Address, Family, LocalWorkload, Mac } from "../model/types.js";
import { kindOf, linkLocalOf } from "./evaluate-address.js";
import { macAt, u16, v4At, v6At, type Ethernet, type Packet } from "./evaluate-frame.js";
import type { ReasonName, Tap } from "./evaluate-types.js";
import type { World } from "./evaluate-world.js";

/** `announced`: the guest said that this address is where it is. */
export type NeighbourResult =
  | { readonly do: "drop"; readonly reason: ReasonName; readonly announced?: Address }
  | { readonly do: "reply"; readonly frame: Uint8Array }
  | { readonly do: "host"; readonly announced?: Address };

type Dropped = Extract<NeighbourResult, { do: "drop" }>;
const ABSORB_ARP: Dropped = { do: "drop", reason: "ARP_ABSORBED" };
const ABSORB_ND: Dropped = { do: "drop", reason: "ND_ABSORBED" };
const SPOOFED_ND: Dropped = { do: "drop", reason: "SPOOFED_ND" };
const MALFORMED: Dropped = { do: "drop", reason: "MALFORMED" };

export function arp(world: World, workload: LocalWorkload, tap: Tap, eth: Ethernet, served: Served): NeighbourResult {
  const bytes = eth.bytes.subarray(14);
  const operation = u16(bytes, 6);
  const fits =
    bytes.length >= 28 && u16(bytes, 0) === 1 && u16(bytes, 2) === 0x0800 && bytes[4] === 6 && bytes[5] === 4;
  if (!fits) return MALFORMED;
  if (eth.destination !== "ff:ff:ff:ff:ff:ff" && eth.destination !== tap.hostMac) {
    return { do: "drop", reason: "WRONG_DESTINATION_MAC" };
  }
  const [sender, target, hardware] = [v4At(bytes, 14), v4At(bytes, 24), macAt(bytes, 8)];
  const probe = sender === "0.0.0.0";
  if (workload.portSecurity) {
    const mac = probe && operation === 1 ? workload.mac : world.owned(workload, sender)?.mac;
    if (mac === undefined || hardware !== mac) return { do: "drop", reason: "SPOOFED_ARP" };
    if (eth.source !== mac && eth.source !== workload.mac) return { do: "drop", reason: "SPOOFED_MAC" };
  }
  if (operation !== 1 && operation !== 2) return MALFORMED;
  if (operation === 2 && probe) return { do: "drop", reason: "SPOOFED_ARP" };
  if (operation === 2)
    return eth.destination === tap.hostMac ? { do: "host", announced: sender } : { ...ABSORB_ARP, announced: sender };
  if (sender === target) return { ...ABSORB_ARP, announced: sender };
  const answered = kindOf(target) === "unicast" || isMetadata(target, 4, served);
  if (!answered || !isAnswered(world, workload, target, probe)) return ABSORB_ARP;
  return { do: "reply", frame: arpReply(eth, tap.hostMac) };
}

const isMetadata = (target: Address, family: Family, { metadata }: Served): boolean =>
  metadata.includes(family) && target === METADATA_ADDRESS[family];

/** An address of its own is answered for only when it is a pair that someone else may hold just now, and never to a probe. */
function isAnswered(world: World, workload: LocalWorkload, target: Address, probe: boolean): boolean {
  const own = world.owned(workload, target);
  return own === undefined || (own.kind === "pair" && !probe && world.isElsewhere(workload, target));
}

function arpReply(eth: Ethernet, hostMac: Mac): Uint8Array {
  const out = eth.bytes.slice();
  const mac = macOctets(hostMac);
  out.set(eth.bytes.subarray(6, 12), 0);
  out.set(mac, 6);
  out[21] = 2;
  out.set(mac, 22);
  out.set(eth.bytes.subarray(38, 42), 28);
  out.set(eth.bytes.subarray(22, 32), 32);
  return out;
}

/** Neighbour and router discovery from a guest: types 133 to 137, right behind the IPv6 header. */
export function discovery(
  world: World,
  workload: LocalWorkload,
  tap: Tap,
  eth: Ethernet,
  packet: Packet,
  isHostAddress: (address: Address) => boolean,
  served: Served,
): NeighbourResult {
  const type = packet.icmp?.type ?? 0;
  if (packet.hopLimit !== 255 || packet.bytes.length - packet.l4.length !== 40) return MALFORMED;
  if (type === 134 || type === 137) return { do: "drop", reason: "ROUTER_ADVERTISEMENT" };
  const solicitation = type === 133;
  if (packet.l4.length < (solicitation ? 8 : 24)) return MALFORMED;
  const option = linkLayerOption(packet.l4.subarray(solicitation ? 8 : 24), type === 136 ? 2 : 1);
  if (option === "malformed") return MALFORMED;
  if (packet.source === "::" && type !== 135) return { do: "drop", reason: "UNSPECIFIED_SOURCE" };
  const fault = workload.portSecurity ? sourceFault(world, workload, tap, eth, packet.source) : undefined;
  if (fault !== undefined) return { do: "drop", reason: fault };
  const reaches =
    packet.destination.startsWith("ff02:") ||
    packet.destination === linkLocalOf(tap.hostMac) ||
    isHostAddress(packet.destination);
  const target = solicitation ? undefined : v6At(packet.l4, 8);
  if (workload.portSecurity && option !== undefined) {
    const mac = type === 136 ? macFor(world, workload, tap, target ?? packet.source) : eth.source;
    if (option !== mac) return SPOOFED_ND;
  }
  if (target === undefined) return reaches ? { do: "host" } : ABSORB_ND;
  if (type === 135) return solicited(world, workload, tap, eth, packet, target, served);
  if (workload.portSecurity && macFor(world, workload, tap, target) === undefined) return SPOOFED_ND;
  // What is said to all has been heard; what answers the host goes there, and never further.
  const answer = reaches && eth.destination === tap.hostMac;
  return answer ? { do: "host", announced: target } : { ...ABSORB_ND, announced: target };
}

function sourceFault(
  world: World,
  workload: LocalWorkload,
  tap: Tap,
  eth: Ethernet,
  source: Address,
): ReasonName | undefined {
  const mac = source === "::" ? workload.mac : macFor(world, workload, tap, source);
  if (mac === undefined) return "SPOOFED_ND";
  return eth.source === mac || eth.source === workload.mac ? undefined : "SPOOFED_MAC";
}

/** The MAC under which it may speak for an address; undefined: not at all. Any link-local address but the host's is its own. */
function macFor(world: World, workload: LocalWorkload, tap: Tap, address: Address): Mac | undefined {
  if (kindOf(address) === "link-local") return address === linkLocalOf(tap.hostMac) ? undefined : workload.mac;
  return world.owned(workload, address)?.mac;
}

function solicited(
  world: World,
  workload: LocalWorkload,
  tap: Tap,
  eth: Ethernet,
  packet: Packet,
  target: Address,
  served: Served,
): NeighbourResult {
  if (packet.source === "::") return ABSORB_ND;
  const kind = kindOf(target);
  const wanted =
    kind === "link-local"
      ? target === linkLocalOf(tap.hostMac) || isMetadata(target, 6, served)
      : kind === "unicast" && packet.source !== target && isAnswered(world, workload, target, false);
  return wanted ? { do: "reply", frame: advertisement(eth, packet, target, tap.hostMac) } : ABSORB_ND;
}

/** Text of the first link-layer address option of this type. */
function linkLayerOption(options: Uint8Array, wanted: number): string | undefined | "malformed" {
  let found: string | undefined;
  for (let at = 0; at < options.length;) {
    const length = (options[at + 1] ?? 0) * 8;
    if (length === 0 || at + length > options.length) return "malformed";
    if (options[at] === wanted) found ??= macAt(options, at + 2);
    at += length;
  }
  return found;
}

/** Flags: router, solicited, override. The host answers as the router that it is, for whatever it routes to. */
function advertisement(eth: Ethernet, packet: Packet, target: Address, hostMac: Mac): Uint8Array {
  const out = new Uint8Array(14 + 40 + 32);
  const mac = macOctets(hostMac);
  out.set(eth.bytes.subarray(6, 12), 0);
  out.set(mac, 6);
  out.set([0x86, 0xdd, 0x60], 12);
  out.set([0, 32, 58, 255], 18);
  out.set(addressBytes(target), 22);
  out.set(packet.bytes.subarray(8, 24), 38);
  out.set([136, 0, 0, 0, 0xe0], 54);
  out.set(addressBytes(target), 62);
  out.set([2, 1, ...mac], 78);
  const sum = checksum([out.subarray(22, 54), Uint8Array.of(0, 0, 0, 32, 0, 0, 0, 58), out.subarray(54)]);
  out.set([sum >> 8, sum & 0xff], 56);
  return out;
}

function checksum(parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) for (let i = 0; i < part.length; i += 2) sum += u16(part, i);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return ~sum & 0xffff;
}

function macOctets(mac: string): number[] {
  return mac.split(":").map((octet) => parseInt(octet, 16));
}
