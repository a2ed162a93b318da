/** ARP and neighbour discovery on a tap: who is answered, what a guest may claim (S4, S6; RFC 826, 5227, 4861). */
import { addressBytes } from "../model/cidr.js";
import type { Address, LocalWorkload, Mac } from "../model/types.js";
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

export function arp(world: World, workload: LocalWorkload, tap: Tap, eth: Ethernet): NeighbourResult {
  const bytes = eth.bytes.subarray(14);
  const operation = u16(bytes, 6);
  const fits = bytes.length >= 28 && u16(bytes, 0) === 1 && u16(bytes, 2) === 0x0800 && bytes[4] === 6 && bytes[5] === 4;
  if (!fits || (operation !== 1 && operation !== 2)) return MALFORMED;
  if (eth.destination !== "ff:ff:ff:ff:ff:ff" && eth.destination !== tap.hostMac) {
    return { do: "drop", reason: "WRONG_DESTINATION_MAC" };
  }
  const [sender, target, hardware] = [v4At(bytes, 14), v4At(bytes, 24), macAt(bytes, 8)];
  const probe = sender === "0.0.0.0";
  if (workload.portSecurity) {
    const mac = probe && operation === 1 ? workload.mac : world.owned(workload, sender)?.mac;
    if (mac === undefined || eth.source !== mac || hardware !== mac) return { do: "drop", reason: "SPOOFED_ARP" };
  }
  if (operation === 2) return { do: "host", announced: sender };
  if (sender === target) return { ...ABSORB_ARP, announced: sender };
  if (kindOf(target) !== "unicast" || !isAnswered(world, workload, target, probe)) return ABSORB_ARP;
  return { do: "reply", frame: arpReply(eth, tap.hostMac) };
}

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

/** Neighbour and router discovery from a guest: types 133 to 137, no fragment. */
export function discovery(world: World, workload: LocalWorkload, tap: Tap, eth: Ethernet, packet: Packet): NeighbourResult {
  const { type, code } = packet.icmp ?? { type: 0, code: 0 };
  if (type === 134 || type === 137) return { do: "drop", reason: "ROUTER_ADVERTISEMENT" };
  if (packet.hopLimit !== 255 || code !== 0 || packet.fragment !== undefined) return MALFORMED;
  const solicitation = type === 133;
  if (packet.l4.length < (solicitation ? 8 : 24)) return MALFORMED;
  const option = linkLayerOption(packet.l4.subarray(solicitation ? 8 : 24), type === 136 ? 2 : 1);
  if (option === "malformed") return MALFORMED;
  if (packet.source === "::" && type !== 135) return { do: "drop", reason: "UNSPECIFIED_SOURCE" };
  if (workload.portSecurity && !isTrueSource(world, workload, tap, eth, packet, option)) return SPOOFED_ND;
  if (solicitation) return toHost(tap, packet) ? { do: "host" } : ABSORB_ND;
  const target = v6At(packet.l4, 8);
  if (kindOf(target) === "multicast") return MALFORMED;
  return type === 135 ? solicited(world, workload, tap, eth, packet, target) : advertised(world, workload, tap, eth, packet, target);
}

function isTrueSource(
  world: World, workload: LocalWorkload, tap: Tap, eth: Ethernet, packet: Packet, option: string | undefined,
): boolean {
  const { source } = packet;
  if (option !== undefined && option !== eth.source) return false;
  if (packet.icmp?.type === 135 && source === "::") return true;
  return claims(world, workload, tap, eth, source);
}

/** Whether the address may be spoken for from the frame's source MAC. */
function claims(world: World, workload: LocalWorkload, tap: Tap, eth: Ethernet, address: Address): boolean {
  if (kindOf(address) === "link-local") return address !== linkLocalOf(tap.hostMac) && eth.source === workload.mac;
  return world.owned(workload, address)?.mac === eth.source;
}

function solicited(
  world: World, workload: LocalWorkload, tap: Tap, eth: Ethernet, packet: Packet, target: Address,
): NeighbourResult {
  if (packet.source === "::") return ABSORB_ND;
  const kind = kindOf(target);
  const wanted =
    kind === "link-local"
      ? target === linkLocalOf(tap.hostMac)
      : kind === "unicast" && packet.source !== target && isAnswered(world, workload, target, false);
  return wanted ? { do: "reply", frame: advertisement(eth, packet, target, tap.hostMac) } : ABSORB_ND;
}

function advertised(
  world: World, workload: LocalWorkload, tap: Tap, eth: Ethernet, packet: Packet, target: Address,
): NeighbourResult {
  if (workload.portSecurity && !claims(world, workload, tap, eth, target)) return SPOOFED_ND;
  return toHost(tap, packet) ? { do: "host", announced: target } : { ...ABSORB_ND, announced: target };
}

/** Link-scope multicast or the host's link-local address: discovery never goes further than the host. */
function toHost(tap: Tap, packet: Packet): boolean {
  return packet.destination.startsWith("ff02:") || packet.destination === linkLocalOf(tap.hostMac);
}

/** Text of the first link-layer address option of this type. */
function linkLayerOption(options: Uint8Array, wanted: number): string | undefined | "malformed" {
  let found: string | undefined;
  for (let at = 0; at < options.length; ) {
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
