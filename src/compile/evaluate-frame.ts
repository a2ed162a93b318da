/** Frames taken apart, as the evaluator sees them. Pure and slow on purpose: RFC 791, 8200, 792, 4443, 9293. */
import { formatV6 } from "../model/address.js";
import { isMapped } from "./evaluate-address.js";
import type { Address, Family } from "../model/types.js";
import type { ReasonName } from "./evaluate-types.js";

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const ICMPV6 = 58;
export const PORT_PROTOCOLS: ReadonlySet<number> = new Set([TCP, UDP, 132, 136, 33]);

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
const MOST_EXTENSION_HEADERS = 8;

export interface Ethernet {
  /** "aa:bb:…" */
  readonly destination: string;
  readonly source: string;
  readonly type: number;
  /** Offset of what follows the header, a VLAN 0 tag included. */
  readonly payload: number;
  /** The frame without its VLAN 0 tag. */
  readonly bytes: Uint8Array;
}

export interface Fragment {
  readonly id: number;
  /** Bytes. */
  readonly offset: number;
  readonly more: boolean;
  /** What the IP or fragment header says comes next: part of what ties fragments together. */
  readonly protocol: number;
  /** Of a first fragment: bytes from the start of what is shared out to the end of the fixed L4 header. */
  readonly headerEnd: number;
}

/** What rules and flows are about. */
export interface Tuple {
  readonly family: Family;
  readonly protocol: number;
  readonly source: Address;
  readonly destination: Address;
  /** What it is to on the wire, where `destination` is what that stands for (S8). */
  readonly floating?: Address;
  /** Present for TCP, UDP, SCTP, UDP-Lite and DCCP. */
  readonly ports?: { readonly source: number; readonly destination: number };
  /** Present for ICMP in IPv4 and ICMPv6 in IPv6. `id` is what a query carries in bytes 4-5. */
  readonly icmp?: { readonly type: number; readonly code: number; readonly id: number };
}

export interface Packet extends Tuple {
  /** L3 header onward, cut to the length that the header says. */
  readonly bytes: Uint8Array;
  readonly hopLimit: number;
  /** IPv4 options or an IPv6 hop-by-hop header. */
  readonly options: boolean;
  readonly fragment?: Fragment;
  /** TCP flags byte. */
  readonly flags: number;
  /** From the L4 header on; empty for a later fragment. */
  readonly l4: Uint8Array;
}

export const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
export const macAt = (bytes: Uint8Array, at: number): string =>
  Array.from(bytes.subarray(at, at + 6), (octet) => octet.toString(16).padStart(2, "0")).join(":");
/** A mapped address stays IPv6 text here, so that it can be refused. */
export const v6At = (bytes: Uint8Array, at: number): Address =>
  formatV6(Array.from({ length: 8 }, (_, i) => u16(bytes, at + 2 * i))) as Address;
export const v4At = (bytes: Uint8Array, at: number): Address => bytes.subarray(at, at + 4).join(".") as Address;

/** VLAN 0 counts as untagged, one other tag (or two tags) does not. */
export function parseEthernet(frame: Uint8Array): Ethernet | ReasonName {
  if (frame.length < 14) return "MALFORMED";
  let bytes = frame;
  let type = u16(frame, 12);
  if (isVlan(type)) {
    if (frame.length < 18) return "MALFORMED";
    if ((u16(frame, 14) & 0x0fff) !== 0) return "VLAN_TAGGED";
    bytes = new Uint8Array(frame.length - 4);
    bytes.set(frame.subarray(0, 12));
    bytes.set(frame.subarray(16), 12);
    type = u16(bytes, 12);
    if (isVlan(type)) return "VLAN_TAGGED";
  }
  return { destination: macAt(bytes, 0), source: macAt(bytes, 6), type, payload: 14, bytes };
}

const isVlan = (type: number): boolean => type === 0x8100 || type === 0x88a8;

/** Source and destination alone, where the rest can't be read; undefined when not even they are there. */
export function parseAddresses(
  bytes: Uint8Array,
  family: Family,
): { source: Address; destination: Address } | undefined {
  if (bytes.length < (family === 4 ? 20 : 40)) return undefined;
  return family === 4
    ? { source: v4At(bytes, 12), destination: v4At(bytes, 16) }
    : { source: v6At(bytes, 8), destination: v6At(bytes, 24) };
}

/** @param whole false for the packet inside an ICMP error, which is cut short. */
export function parseIp(bytes: Uint8Array, family: Family, whole = true): Packet | ReasonName {
  return family === 4 ? parseV4(bytes, whole) : parseV6(bytes, whole);
}

function parseV4(raw: Uint8Array, whole: boolean): Packet | ReasonName {
  const header = ((raw[0] ?? 0) & 15) * 4;
  const total = u16(raw, 2);
  if (raw.length < 20 || (raw[0] ?? 0) >> 4 !== 4 || header < 20 || total < header || raw.length < header)
    return "MALFORMED";
  if (whole && raw.length < total) return "MALFORMED";
  const bytes = raw.subarray(0, total);
  const bad = whole ? badOption(bytes.subarray(20, header)) : undefined;
  if (bad !== undefined) return bad;
  const word = u16(bytes, 6);
  const protocol = bytes[9] ?? 0;
  const offset = (word & 0x1fff) * 8;
  const more = (word & 0x2000) !== 0;
  const base = {
    family: 4 as const,
    protocol,
    source: v4At(bytes, 12),
    destination: v4At(bytes, 16),
    bytes,
    hopLimit: bytes[8] ?? 0,
    options: header > 20,
  };
  return withL4(
    {
      ...base,
      ...(offset > 0 || more
        ? { fragment: { id: u16(bytes, 4), offset, more, protocol, headerEnd: fixedHeader(protocol) } }
        : {}),
    },
    bytes.subarray(header),
    whole,
  );
}

/** Loose and strict source routes are refused; what runs out of its header is malformed. */
function badOption(options: Uint8Array): ReasonName | undefined {
  for (let at = 0; at < options.length;) {
    const type = options[at] ?? 0;
    if (type === 0) return undefined;
    if (type === 131 || type === 137) return "SOURCE_ROUTE";
    const length = type === 1 ? 1 : (options[at + 1] ?? 0);
    if (length < 1 || (type !== 1 && length < 2) || at + length > options.length) return "MALFORMED";
    at += length;
  }
  return undefined;
}

function parseV6(raw: Uint8Array, whole: boolean): Packet | ReasonName {
  const total = 40 + u16(raw, 4);
  if (raw.length < 40 || (raw[0] ?? 0) >> 4 !== 6 || (whole && raw.length < total)) return "MALFORMED";
  const bytes = raw.subarray(0, total);
  const base = {
    family: 6 as const,
    source: v6At(bytes, 8),
    destination: v6At(bytes, 24),
    bytes,
    hopLimit: bytes[7] ?? 0,
  };
  if (whole && (isMapped(base.source) || isMapped(base.destination))) return "MARTIAN";
  let next = bytes[6] ?? 0;
  let at = 40;
  let options = false;
  let fragment: Fragment | undefined;
  for (let count = 0; ; count++) {
    const later = fragment !== undefined && fragment.offset > 0;
    if (later || ![HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS].includes(next)) break;
    if (count === MOST_EXTENSION_HEADERS || (next === HOP_BY_HOP && count > 0) || (next === FRAGMENT && fragment)) {
      return "EXTENSION_HEADERS";
    }
    const length = next === FRAGMENT ? 8 : ((bytes[at + 1] ?? 0) + 1) * 8;
    if (at + 8 > bytes.length || at + length > bytes.length)
      return fragment?.more === true ? "FRAGMENT_TINY" : "MALFORMED";
    if (next === ROUTING && whole && bytes[at + 3] !== 0) return "SOURCE_ROUTE";
    if (next === HOP_BY_HOP) options = true;
    if (next === FRAGMENT) {
      const word = u16(bytes, at + 2);
      fragment = {
        id: u16(bytes, at + 4) * 65536 + u16(bytes, at + 6),
        offset: word & 0xfff8,
        more: (word & 1) !== 0,
        protocol: bytes[at] ?? 0,
        headerEnd: at + length,
      };
    }
    next = bytes[at] ?? 0;
    at += length;
  }
  if (fragment !== undefined) fragment = { ...fragment, headerEnd: at - fragment.headerEnd + fixedHeader(next) };
  return withL4(
    { ...base, protocol: next, options, ...(fragment === undefined ? {} : { fragment }) },
    bytes.subarray(at),
    whole,
  );
}

type Base = Omit<Packet, "flags" | "l4">;

/** IANA's 255, which nobody may send. */
const RESERVED = 255;

function withL4(base: Base, l4: Uint8Array, whole: boolean): Packet | ReasonName {
  const { fragment, protocol, family } = base;
  if (fragment !== undefined && fragment.offset > 0) {
    // RFC 3128: it would be laid over a header that was judged.
    if (fragment.offset === 8 && leastL4(protocol) > 8) return "FRAGMENT_TINY";
    return { ...base, flags: 0, l4: new Uint8Array(0) };
  }
  if (protocol === RESERVED) return "MALFORMED";
  const icmp = protocol === (family === 4 ? ICMP : ICMPV6);
  const ported = PORT_PROTOCOLS.has(protocol);
  const least = !ported && !icmp ? 0 : whole ? leastL4(protocol) : 8;
  if (l4.length < least) return fragment?.more === true ? "FRAGMENT_TINY" : "MALFORMED";
  if (whole && protocol === TCP && (l4[12] ?? 0) >> 4 < 5) return "MALFORMED";
  return {
    ...base,
    l4,
    flags: protocol === TCP ? (l4[13] ?? 0) : 0,
    ...(ported ? { ports: { source: u16(l4, 0), destination: u16(l4, 2) } } : {}),
    ...(icmp ? { icmp: { type: l4[0] ?? 0, code: l4[1] ?? 0, id: u16(l4, 4) } } : {}),
  };
}

/** The fixed header: TCP, SCTP and DCCP; 8 for all others that are looked into. */
function leastL4(protocol: number): number {
  return protocol === TCP ? 20 : protocol === 132 || protocol === 33 ? 12 : 8;
}

/** What of an L4 header no later fragment may lie over. */
function fixedHeader(protocol: number): number {
  return PORT_PROTOCOLS.has(protocol) || protocol === ICMP || protocol === ICMPV6 ? leastL4(protocol) : 0;
}

/** The frame with its hop limit one lower, and the IPv4 checksum adjusted (RFC 1624) without looking at the rest. */
export function decremented(frame: Uint8Array, family: Family): Uint8Array {
  const out = frame.slice();
  const at = 14 + (family === 4 ? 8 : 7);
  out[at] = (out[at] ?? 0) - 1;
  if (family === 4) {
    const sum = u16(out, 24) + 0x100;
    const folded = (sum >= 0xffff ? sum + 1 : sum) & 0xffff;
    out[24] = folded >> 8;
    out[25] = folded & 0xff;
  }
  return out;
}
