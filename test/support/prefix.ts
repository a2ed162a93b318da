/** Addresses as numbers, for oracles and generators. Shares no code with src/, so that a mistake there can't hide here. */
import { address } from "./packet.js";

export interface Prefix {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
}

export const familyOf = (text: string): 4 | 6 => (text.includes(":") ? 6 : 4);
/** Texts are few, and asked for very often. */
function remembered<T>(of: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    let value = known.get(text);
    if (value === undefined) known.set(text, (value = of(text)));
    return value;
  };
}

const bitsOf = (family: 4 | 6): number => (family === 4 ? 32 : 128);

export const numberOf = remembered((text: string): bigint =>
  address(text).reduce((sum, octet) => (sum << 8n) | BigInt(octet), 0n),
);

/** "10.65.0.1", "fd00:65:0:0:0:0:0:10": one text for each address. */
export function textOfNumber(family: 4 | 6, value: bigint): string {
  const v4 = { parts: 4, bits: 8, base: 10, mark: "." };
  const { parts, bits, base, mark } = family === 4 ? v4 : { parts: 8, bits: 16, base: 16, mark: ":" };
  const part = (i: number): bigint => BigInt.asUintN(bits, value >> BigInt(bits * (parts - 1 - i)));
  return Array.from({ length: parts }, (_, i) => part(i).toString(base)).join(mark);
}

export const canonical = remembered((text: string): string => textOfNumber(familyOf(text), numberOf(text)));

/** Host bits do not matter: "198.51.100.7/24". Without a length: the one address. */
export const prefixOf = remembered((text: string): Prefix => {
  const [start = "", length] = text.split("/");
  const family = familyOf(start);
  const host = BigInt(bitsOf(family) - Number(length ?? bitsOf(family)));
  const first = (numberOf(start) >> host) << host;
  return { family, first, last: first + (1n << host) - 1n };
});

export function contains(prefix: string, text: string): boolean {
  const { family, first, last } = prefixOf(prefix);
  const value = numberOf(text);
  return family === familyOf(text) && first <= value && value <= last;
}

/** Its first and last address, and those next to them outside. */
export function edges(prefix: string): { readonly inside: string[]; readonly outside: string[] } {
  const { family, first, last } = prefixOf(prefix);
  const show = (value: bigint): string => textOfNumber(family, value);
  return {
    inside: [...new Set([first, last])].map(show),
    outside: [
      ...(first > 0n ? [show(first - 1n)] : []),
      ...(last + 1n < 1n << BigInt(bitsOf(family)) ? [show(last + 1n)] : []),
    ],
  };
}
