/** What a dropped frame was, from its first bytes: as much as can be read, whatever is wrong with it. Pure. */
import { macAt, parseAddresses, parseIp, u16, v4At } from "../../compile/evaluate-frame.js";
import type { Address, Family } from "../../model/types.js";

export interface FrameEnd {
  /** "" where it can't be read. */
  readonly mac: string;
  /** Null: neither IP nor ARP, or cut off before. */
  readonly address: Address | null;
  /** 0 where the protocol has none, or it can't be read. */
  readonly port: number;
}

export interface FrameFacts {
  /** Null: cut off before. */
  readonly etherType: number | null;
  readonly family: Family | null;
  /** IANA number; null: not IP, or its headers can't be read. */
  readonly protocol: number | null;
  readonly source: FrameEnd;
  readonly destination: FrameEnd;
  /** ICMP and ICMPv6. */
  readonly icmp: { readonly type: number; readonly code: number } | null;
  /** RFC 826: 1 asks, 2 answers; source and destination are sender and target. */
  readonly arp: { readonly operation: number; readonly senderMac: string } | null;
  /** Of a later fragment: bytes before it. */
  readonly fragmentOffset: number | null;
}

const ARP = 0x0806;
const FAMILIES: Readonly<Record<number, Family>> = { 0x0800: 4, 0x86dd: 6 };
const isVlan = (type: number): boolean => type === 0x8100 || type === 0x88a8;
/** After the Ethernet header: the target's address ends here. */
const ARP_LENGTH = 28;

/** @param frame from the destination MAC on; tags that are still inside are skipped */
export function factsOf(frame: Uint8Array): FrameFacts {
  const end = (mac: string, address: Address | null = null, port = 0): FrameEnd => ({ mac, address, port });
  const nothing = { family: null, protocol: null, icmp: null, arp: null, fragmentOffset: null };
  if (frame.length < 14) return { ...nothing, etherType: null, source: end(""), destination: end("") };
  const [from, to] = [macAt(frame, 6), macAt(frame, 0)];
  let at = 12;
  while (isVlan(u16(frame, at)) && at + 6 <= frame.length) at += 4;
  const etherType = u16(frame, at);
  const payload = frame.subarray(at + 2);
  const base = { ...nothing, etherType };
  if (etherType === ARP && payload.length >= ARP_LENGTH)
    return {
      ...base,
      source: end(from, v4At(payload, 14)),
      destination: end(to, v4At(payload, 24)),
      arp: { operation: u16(payload, 6), senderMac: macAt(payload, 8) },
    };
  const family = FAMILIES[etherType];
  if (family === undefined) return { ...base, source: end(from), destination: end(to) };
  const packet = parseIp(payload, family, false);
  if (typeof packet === "string") {
    const addresses = parseAddresses(payload, family);
    return {
      ...base,
      family,
      source: end(from, addresses?.source ?? null),
      destination: end(to, addresses?.destination ?? null),
    };
  }
  const { protocol, source, destination, ports, icmp, fragment } = packet;
  return {
    ...base,
    family,
    protocol,
    source: end(from, source, ports?.source ?? 0),
    destination: end(to, destination, ports?.destination ?? 0),
    icmp: icmp === undefined ? null : { type: icmp.type, code: icmp.code },
    fragmentOffset: fragment !== undefined && fragment.offset > 0 ? fragment.offset : null,
  };
}
