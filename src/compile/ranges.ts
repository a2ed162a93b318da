/** Arithmetic on ranges of a 16-bit space: ports, and ICMP written as type << 8 | code. */
import type { PortRange } from "../model/types.js";

const LAST = 0xffff;

/** The same numbers as disjoint, ascending ranges that do not touch. */
export function normalise(ranges: readonly PortRange[]): PortRange[] {
  const result: { first: number; last: number }[] = [];
  for (const { first, last } of [...ranges].sort((a, b) => a.first - b.first)) {
    const previous = result.at(-1);
    if (previous !== undefined && first <= previous.last + 1) previous.last = Math.max(previous.last, last);
    else result.push({ first, last });
  }
  return result;
}

/** Every number of 0..65535 that is in none of the ranges; normalised. */
export function complement(ranges: readonly PortRange[]): PortRange[] {
  const result: PortRange[] = [];
  let next = 0;
  for (const { first, last } of normalise(ranges)) {
    if (first > next) result.push({ first: next, last: first - 1 });
    next = last + 1;
  }
  if (next <= LAST) result.push({ first: next, last: LAST });
  return result;
}

/** Numbers that are in both; normalised. */
export function intersect(a: readonly PortRange[], b: readonly PortRange[]): PortRange[] {
  const [left, right] = [normalise(a), normalise(b)];
  return left.flatMap((x) =>
    right
      .map((y) => ({ first: Math.max(x.first, y.first), last: Math.min(x.last, y.last) }))
      .filter(({ first, last }) => first <= last),
  );
}

export function isEverything(ranges: readonly PortRange[]): boolean {
  const [only, second] = normalise(ranges);
  return only !== undefined && second === undefined && only.first === 0 && only.last === LAST;
}

/** An aligned block of the 16-bit space: the `length` leading bits of `value` (0..16), the bits below are 0. */
export interface PortPrefix {
  readonly value: number;
  readonly length: number;
}

/** The fewest aligned blocks that cover exactly first..last, ascending; at most 30. */
export function portPrefixes({ first, last }: PortRange): PortPrefix[] {
  const result: PortPrefix[] = [];
  for (let at = first; at <= last;) {
    // The largest block that starts here (its alignment) and does not reach past the end.
    let bits = at === 0 ? 16 : 31 - Math.clz32(at & -at);
    while (at + 2 ** bits - 1 > last) bits--;
    result.push({ value: at, length: 16 - bits });
    at += 2 ** bits;
  }
  return result;
}
