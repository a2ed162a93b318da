import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { complement, intersect, isEverything, normalise, portPrefixes } from "../../../src/compile/ranges.js";
import type { PortRange } from "../../../src/model/types.js";

const range = fc
  .tuple(
    fc.oneof(fc.integer({ min: 0, max: 65535 }), fc.constantFrom(0, 1, 65534, 65535)),
    fc.integer({ min: 0, max: 65535 }),
  )
  .map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
const ranges = fc.array(range, { maxLength: 5 });
const has = (list: readonly PortRange[], port: number): boolean =>
  list.some(({ first, last }) => first <= port && port <= last);
/** Where anything can change: the edges of the ranges and their neighbours. */
const edges = (...lists: (readonly PortRange[])[]): number[] =>
  [0, 65535, ...lists.flat().flatMap(({ first, last }) => [first - 1, first, last, last + 1])].filter(
    (port) => port >= 0 && port <= 65535,
  );

describe("ranges", () => {
  test("normalised ranges are disjoint, ascending, apart, and hold the same ports", () => {
    fc.assert(
      fc.property(ranges, (list) => {
        const result = normalise(list);
        for (const [i, { first, last }] of result.entries()) {
          expect(first).toBeLessThanOrEqual(last);
          if (i > 0) expect(first).toBeGreaterThan((result[i - 1]?.last ?? 0) + 1);
        }
        for (const port of edges(list)) expect(has(result, port)).toBe(has(list, port));
      }),
    );
  });

  test("the complement holds exactly the others, the intersection what both hold", () => {
    fc.assert(
      fc.property(ranges, ranges, (a, b) => {
        for (const port of edges(a, b)) {
          expect(has(complement(a), port)).toBe(!has(a, port));
          expect(has(intersect(a, b), port)).toBe(has(a, port) && has(b, port));
        }
      }),
    );
  });

  test("touching ranges that fill the space are everything", () => {
    expect(
      isEverything([
        { first: 100, last: 65535 },
        { first: 0, last: 99 },
      ]),
    ).toBe(true);
    expect(isEverything([{ first: 1, last: 65535 }])).toBe(false);
    expect(complement([{ first: 0, last: 65535 }])).toEqual([]);
  });
});

describe("port prefixes", () => {
  test("cover the range exactly, once, aligned, and no two could be one", () => {
    fc.assert(
      fc.property(range, ({ first, last }) => {
        const prefixes = portPrefixes({ first, last });
        let next = first;
        for (const { value, length } of prefixes) {
          expect(value).toBe(next);
          expect(value % 2 ** (16 - length)).toBe(0);
          next = value + 2 ** (16 - length);
        }
        expect(next).toBe(last + 1);
        for (const [i, { value, length }] of prefixes.entries()) {
          const sibling = prefixes[i + 1];
          expect(
            sibling?.length === length &&
              sibling.value === value + 2 ** (16 - length) &&
              value % 2 ** (17 - length) === 0,
          ).toBe(false);
        }
      }),
    );
  });

  test("of one port, of all ports, and of the worst case", () => {
    expect(portPrefixes({ first: 80, last: 80 })).toEqual([{ value: 80, length: 16 }]);
    expect(portPrefixes({ first: 0, last: 65535 })).toEqual([{ value: 0, length: 0 }]);
    expect(portPrefixes({ first: 1, last: 65534 })).toHaveLength(30);
  });
});
