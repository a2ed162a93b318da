/**
 * IPv4 lives inside IPv6 in the maps (::ffff:0:0/96), so an IPv6 prefix shorter than that which starts with zeros would match IPv4 as well.
 * Pure.
 */
import { addressBytes, mappedLength, prefixFromBytes } from "../../model/cidr.js";
import { family } from "../../model/cidr.js";
import type { Address, Prefix } from "../../model/types.js";
import { prefixBytes } from "../../model/cidr.js";

export const ALL_IPV4 = "0.0.0.0/0" as Prefix;
const MAPPED = addressBytes("0.0.0.0" as Address);
const MAPPED_BITS = 96;

const bit = (bytes: Uint8Array, i: number): number => ((bytes[i >> 3] ?? 0) >> (7 - (i & 7))) & 1;

/** Whether an LPM lookup of an IPv4 address could find this IPv6 prefix. */
export function coversMapped(prefix: Prefix): boolean {
  if (family(prefix) === 4) return false;
  const length = mappedLength(prefix);
  if (length > MAPPED_BITS) return false;
  const bytes = prefixBytes(prefix);
  for (let i = 0; i < length; i++) if (bit(bytes, i) !== bit(MAPPED, i)) return false;
  return true;
}

/** The same addresses in prefixes that no IPv4 address is in: the prefix itself, or the siblings on the way down to ::ffff:0:0/96. */
export function withoutMapped(prefix: Prefix): readonly Prefix[] {
  if (!coversMapped(prefix)) return [prefix];
  const parts: Prefix[] = [];
  for (let length = mappedLength(prefix); length < MAPPED_BITS; length++) {
    const bytes = Uint8Array.from(MAPPED);
    bytes[length >> 3] = (bytes[length >> 3] ?? 0) ^ (0x80 >> (length & 7));
    for (let i = length + 1; i < 128; i++) bytes[i >> 3] = (bytes[i >> 3] ?? 0) & ~(0x80 >> (i & 7));
    parts.push(prefixFromBytes(bytes, length + 1));
  }
  return parts;
}
