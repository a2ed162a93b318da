/** Addresses between text and the bytes of rtnetlink (network byte order). Pure. */
import { isIPv4, isIPv6 } from "node:net";
import type { Address, Family, Mac, Prefix } from "../model/types.js";

/** @param bytes 4 or 16. Text as RFC 5952 §4 (longest run of two or more zero groups, the first of equals, is "::"). */
export function addressText(bytes: Uint8Array): Address {
  if (bytes.length === 4) return bytes.join(".") as Address;
  if (bytes.length !== 16) throw new RangeError(`an address has 4 or 16 bytes, not ${bytes.length}`);
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  const text = groups.map((group) => group.toString(16));
  if (best.at < 0) return text.join(":") as Address;
  return `${text.slice(0, best.at).join(":")}::${text.slice(best.at + best.length).join(":")}` as Address;
}

/** The reverse; a canonical address of the model never fails, anything else throws RangeError. */
export function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split(".").map(Number));
  if (!isIPv6(address) || address.includes("%")) throw new RangeError(`not an address: ${JSON.stringify(address)}`);
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const hex = (high: string | undefined, low: string | undefined): string =>
    ((Number(high) << 8) | Number(low)).toString(16);
  const text = dotted === null ? address : `${dotted[1]}${hex(dotted[2], dotted[3])}:${hex(dotted[4], dotted[5])}`;
  const [head = "", tail] = text.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill("0"), ...right];
  const bytes = Buffer.alloc(16);
  groups.forEach((group, i) => bytes.writeUInt16BE(parseInt(group, 16), 2 * i));
  return bytes;
}

export const familyOf = (text: string): Family => (text.includes(":") ? 6 : 4);

export interface PrefixParts {
  readonly family: Family;
  readonly bytes: Buffer;
  /** In bits. */
  readonly length: number;
}

/** "address/length" taken apart. */
export function prefixParts(prefix: Prefix): PrefixParts {
  const slash = prefix.lastIndexOf("/");
  return {
    family: familyOf(prefix),
    bytes: addressBytes(prefix.slice(0, slash)),
    length: Number(prefix.slice(slash + 1)),
  };
}

/** Whether every address of `inner` is one of `outer`; families never mix. */
export function contains(outer: PrefixParts, inner: PrefixParts): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) return false;
  for (let bit = 0; bit < outer.length; bit += 8) {
    const mask = outer.length - bit >= 8 ? 0xff : (0xff00 >> (outer.length - bit)) & 0xff;
    if ((((outer.bytes[bit >> 3] ?? 0) ^ (inner.bytes[bit >> 3] ?? 0)) & mask) !== 0) return false;
  }
  return true;
}

export const overlaps = (a: PrefixParts, b: PrefixParts): boolean => contains(a, b) || contains(b, a);

export const macText = (bytes: Uint8Array): Mac =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":") as Mac;
export const macBytes = (mac: Mac): Buffer => Buffer.from(mac.replaceAll(":", ""), "hex");
