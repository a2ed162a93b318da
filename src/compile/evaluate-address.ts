/** Kinds of address that the semantics tell apart (RFC 6890, 4291). Works on canonical text. */
import { contains } from "../model/cidr.js";
import type { Address, Mac, Prefix } from "../model/types.js";
import { formatV6 } from "../model/address.js";

export type AddressKind = "unicast" | "multicast" | "martian" | "link-local" | "unspecified";

const KINDS: readonly (readonly [string, AddressKind])[] = [
  ["0.0.0.0/32", "unspecified"],
  ["255.255.255.255/32", "multicast"],
  ["0.0.0.0/8", "martian"],
  ["127.0.0.0/8", "martian"],
  ["169.254.0.0/16", "link-local"],
  ["224.0.0.0/4", "multicast"],
  ["240.0.0.0/4", "martian"],
  ["::/128", "unspecified"],
  ["::1/128", "martian"],
  ["fe80::/10", "link-local"],
  ["ff00::/8", "multicast"],
];

/** Broadcast counts as multicast, an IPv4-mapped IPv6 address as a martian. */
export function kindOf(address: Address): AddressKind {
  if (isMapped(address)) return "martian";
  return KINDS.find(([prefix]) => contains(prefix as Prefix, address))?.[1] ?? "unicast";
}

/** IPv4-mapped IPv6. Only a packet can hold one: the model has none. */
export function isMapped(address: Address): boolean {
  return contains("::ffff:0:0/96" as Prefix, address) && address.includes(":");
}

/** fe80::/64 with the modified EUI-64 of a MAC (RFC 4291 appendix A). */
export function linkLocalOf(mac: Mac): Address {
  const o = mac.split(":").map((octet) => parseInt(octet, 16));
  const at = (i: number): number => o[i] ?? 0;
  return formatV6([
    0xfe80,
    0,
    0,
    0,
    ((at(0) ^ 2) << 8) | at(1),
    (at(2) << 8) | 0xff,
    0xfe00 | at(3),
    (at(4) << 8) | at(5),
  ]) as Address;
}
