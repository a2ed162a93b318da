/**
 * Prefixes and MACs as canonical text (see types.ts), and the arithmetic on them. Addresses: address.ts, exported here too.
 */
import {
  addressBytes,
  addressFromBytes,
  family,
  formatV6,
  parseAddress,
  parseV4Value,
  parseV6Groups,
} from "./address.js";
import type { Address, Mac, Prefix } from "./types.js";

export { addressBytes, addressFromBytes, family, parseAddress } from "./address.js";

/**
 * Canonical prefix of "address/length" or of a bare address (then /32 or /128); host bits are cleared.
 * Undefined for anything else: "10.0.0.0/24/32", "/33", "/08", zone ids, IPv4-mapped IPv6.
 */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) {
    const address = parseAddress(text);
    return address === undefined ? undefined : addressToPrefix(address);
  }
  const length = parseLength(text, slash + 1);
  if (length < 0 || slash > 45) return undefined;
  const bare = text.slice(0, slash);
  if (bare.indexOf(":") < 0) {
    const value = length > 32 ? undefined : parseV4Value(bare);
    if (value === undefined) return undefined;
    const masked = maskV4(value, length);
    return masked === value ? (text as Prefix) : (`${formatV4(masked)}/${length}` as Prefix);
  }
  const address = length > 128 ? undefined : parseAddress(bare);
  return address === undefined ? undefined : prefixOf(address, length);
}

/** The prefix of `length` bits that holds the address. Throws RangeError when the length is not one of its family. */
export function prefixOf(address: Address, length: number): Prefix {
  const v4 = family(address) === 4;
  if (!Number.isInteger(length) || length < 0 || length > (v4 ? 32 : 128)) {
    throw new RangeError(`/${length} is no prefix length of ${address}`);
  }
  if (v4) return `${formatV4(maskV4(parseV4Value(address) ?? 0, length))}/${length}` as Prefix;
  if (length === 128) return `${address}/128` as Prefix;
  const groups = (parseV6Groups(address) ?? []).map((group, i) => {
    const bits = Math.min(16, Math.max(0, length - 16 * i));
    return group & ((0xffff << (16 - bits)) & 0xffff);
  });
  return `${formatV6(groups)}/${length}` as Prefix;
}

/** /32 or /128. */
export function addressToPrefix(address: Address): Prefix {
  return `${address}/${family(address) === 4 ? 32 : 128}` as Prefix;
}

/** The network address: "10.0.0.0" of "10.0.0.0/8". */
export function prefixToAddress(prefix: Prefix): Address {
  return prefix.slice(0, prefix.indexOf("/")) as Address;
}

export function prefixLength(prefix: Prefix): number {
  return Number(prefix.slice(prefix.indexOf("/") + 1));
}

/** Whether it is one address: /32 or /128. */
export function isSingle(prefix: Prefix): boolean {
  return prefix.endsWith(family(prefix) === 4 ? "/32" : "/128");
}

/** Length in the 128-bit space of addressBytes: IPv4 lengths plus 96. */
export function mappedLength(prefix: Prefix): number {
  return prefixLength(prefix) + (family(prefix) === 4 ? 96 : 0);
}

/** First address of a prefix, 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. */
export function prefixBytes(prefix: Prefix): Uint8Array {
  return addressBytes(prefixToAddress(prefix));
}

/** Whether every address of `inner` (a prefix or an address) is in `outer`. False across families: ::/0 holds no IPv4. */
export function contains(outer: Prefix, inner: Prefix | Address): boolean {
  if (family(outer) !== family(inner)) return false;
  const other = inner.includes("/") ? (inner as Prefix) : addressToPrefix(inner as Address);
  const length = mappedLength(outer);
  return length <= mappedLength(other) && sameLeadingBits(prefixBytes(outer), prefixBytes(other), length);
}

/** Whether they share an address: one of them holds the other. */
export function overlaps(a: Prefix, b: Prefix): boolean {
  return contains(a, b) || contains(b, a);
}

/** Total order: IPv4 before IPv6, by address, shorter first. For stable output. */
export function comparePrefixes(a: Prefix, b: Prefix): number {
  const familyOrder = family(a) - family(b);
  if (familyOrder !== 0) return familyOrder;
  const [x, y] = [prefixBytes(a), prefixBytes(b)];
  for (let i = 0; i < 16; i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return prefixLength(a) - prefixLength(b);
}

/** Inverse of (prefixBytes, prefixLength). */
export function prefixFromBytes(bytes: Uint8Array, length: number): Prefix {
  return prefixOf(addressFromBytes(bytes), length);
}

const MAC = /^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/;

/** "aa:bb:cc:dd:ee:ff" in lower case, or undefined. */
export function parseMac(text: string): Mac | undefined {
  return MAC.test(text) ? (text.toLowerCase() as Mac) : undefined;
}

/** 6 bytes in the order they are on the wire. */
export function macBytes(mac: Mac): Uint8Array {
  return Uint8Array.from(mac.split(":"), (octet) => parseInt(octet, 16));
}

function parseLength(text: string, start: number): number {
  const digits = text.length - start;
  if (digits < 1 || digits > 3 || (digits > 1 && text.charCodeAt(start) === 48)) return -1;
  let length = 0;
  for (let i = start; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return length;
}

function maskV4(value: number, length: number): number {
  return length === 0 ? 0 : (value & (0xffffffff << (32 - length))) >>> 0;
}

function formatV4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

function sameLeadingBits(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  for (let i = 0; i * 8 < bits; i++) {
    const mask = bits - i * 8 >= 8 ? 0xff : (0xff << (8 - (bits - i * 8))) & 0xff;
    if ((((a[i] ?? 0) ^ (b[i] ?? 0)) & mask) !== 0) return false;
  }
  return true;
}
