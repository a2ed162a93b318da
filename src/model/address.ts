/**
 * IP addresses as canonical text and as bytes. Strict on the way in (no leading zeros in IPv4, no zone ids, no
 * IPv4-mapped IPv6, which would be the same 16 bytes as an IPv4 address), RFC 5952 on the way out.
 */
import type { Address, Family } from "./types.js";

const DOT = 46;
const COLON = 58;
const ZERO = 48;

/**
 * Canonical text of an address, or undefined when it is not one.
 * Returns the very string it was given when that is canonical IPv4 already (100,000 endpoints are parsed at start).
 */
export function parseAddress(text: string): Address | undefined {
  if (text.length > 45) return undefined;
  if (text.indexOf(":") < 0) return parseV4Value(text) === undefined ? undefined : (text as Address);
  const groups = parseV6Groups(text);
  if (groups === undefined || isMapped(groups)) return undefined;
  return formatV6(groups) as Address;
}

/** Family of canonical text, addresses and prefixes alike. */
export function family(text: string): Family {
  return text.indexOf(":") < 0 ? 4 : 6;
}

/** 16 bytes, network order; IPv4 as ::ffff:a.b.c.d, as the kernel's maps hold it. */
export function addressBytes(address: Address): Uint8Array {
  const bytes = new Uint8Array(16);
  if (family(address) === 4) {
    const value = parseV4Value(address) ?? 0;
    bytes[10] = bytes[11] = 0xff;
    for (let i = 0; i < 4; i++) bytes[12 + i] = (value >>> (24 - 8 * i)) & 0xff;
    return bytes;
  }
  const groups = parseV6Groups(address) ?? [];
  groups.forEach((group, i) => {
    bytes[2 * i] = group >>> 8;
    bytes[2 * i + 1] = group & 0xff;
  });
  return bytes;
}

/** Inverse of addressBytes: ::ffff:a.b.c.d becomes IPv4 text. Throws RangeError unless there are exactly 16 bytes. */
export function addressFromBytes(bytes: Uint8Array): Address {
  if (bytes.length !== 16) throw new RangeError(`an address has 16 bytes, not ${bytes.length}`);
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  return (isMapped(groups) ? bytes.subarray(12).join(".") : formatV6(groups)) as Address;
}

/** IPv4 text as an unsigned 32-bit number, or undefined. */
export function parseV4Value(text: string): number | undefined {
  let value = 0;
  let octet = -1;
  let octets = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : DOT;
    if (code === DOT) {
      if (octet < 0 || ++octets > 4) return undefined;
      value = value * 256 + octet;
      octet = -1;
    } else {
      if (code < ZERO || code > ZERO + 9 || octet === 0) return undefined;
      octet = (octet < 0 ? 0 : octet * 10) + code - ZERO;
      if (octet > 255) return undefined;
    }
  }
  return octets === 4 ? value : undefined;
}

/** The eight 16-bit groups of IPv6 text (RFC 4291 §2.2, all three forms), or undefined. */
export function parseV6Groups(text: string): number[] | undefined {
  const gap = text.indexOf("::");
  if (gap < 0) {
    const groups = splitGroups(text, true);
    return groups?.length === 8 ? groups : undefined;
  }
  if (text.indexOf("::", gap + 1) >= 0) return undefined;
  const head = gap === 0 ? [] : splitGroups(text.slice(0, gap), false);
  const tail = gap + 2 === text.length ? [] : splitGroups(text.slice(gap + 2), true);
  if (head === undefined || tail === undefined || head.length + tail.length > 7) return undefined;
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

function splitGroups(text: string, mayEndInV4: boolean): number[] | undefined {
  const groups: number[] = [];
  let start = 0;
  while (start <= text.length) {
    let end = text.indexOf(":", start);
    if (end < 0) end = text.length;
    if (mayEndInV4 && end === text.length && text.indexOf(".", start) >= 0) {
      const value = parseV4Value(text.slice(start));
      if (value === undefined) return undefined;
      groups.push(Math.floor(value / 65536), value % 65536);
      return groups;
    }
    const group = parseHex(text, start, end);
    if (group === undefined || groups.length === 8) return undefined;
    groups.push(group);
    start = end + 1;
  }
  return groups;
}

function parseHex(text: string, start: number, end: number): number | undefined {
  if (end === start || end - start > 4) return undefined;
  let value = 0;
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i) | 0x20;
    if (code >= 97 && code <= 102) value = value * 16 + code - 87;
    else if (text.charCodeAt(i) >= ZERO && text.charCodeAt(i) < COLON) value = value * 16 + text.charCodeAt(i) - ZERO;
    else return undefined;
  }
  return value;
}

/** RFC 5952 §4: lower case, no leading zeros, "::" for the first longest run of two or more zero groups. */
export function formatV6(groups: readonly number[]): string {
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > bestLength) [best, bestLength] = [i, length];
    i += length;
  }
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  return best < 0 ? hex(groups) : `${hex(groups.slice(0, best))}::${hex(groups.slice(best + bestLength))}`;
}

function isMapped(groups: readonly number[]): boolean {
  return groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0);
}
