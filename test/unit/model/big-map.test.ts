import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BigMap, BigSet } from "../../../src/model/big-map.js";

const key = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.nat(99).map((n) => `10.65.0.${n}/32`),
);
const steps = fc.array(
  fc.record(
    { do: fc.constantFrom("set", "delete", "clear" as const), key, value: fc.nat() },
    { noNullPrototype: true },
  ),
  { maxLength: 200 },
);

describe("BigMap and BigSet", () => {
  it("hold what a Map and a Set hold after the same calls", () => {
    fc.assert(
      fc.property(steps, (all) => {
        const [map, set] = [new BigMap<string, number>(), new BigSet<string>()];
        const [plain, plainSet] = [new Map<string, number>(), new Set<string>()];
        for (const step of all) {
          if (step.do === "set") {
            map.set(step.key, step.value);
            plain.set(step.key, step.value);
            set.add(step.key);
            plainSet.add(step.key);
          } else if (step.do === "delete") {
            expect(map.delete(step.key)).toBe(plain.delete(step.key));
            expect(set.delete(step.key)).toBe(plainSet.delete(step.key));
          } else if (step.value % 20 === 0) for (const each of [map, plain, set, plainSet]) each.clear();
          expect(map.get(step.key)).toBe(plain.get(step.key));
          expect(map.has(step.key)).toBe(plain.has(step.key));
          expect(set.has(step.key)).toBe(plainSet.has(step.key));
          expect([map.size, set.size]).toEqual([plain.size, plainSet.size]);
        }
        expect(new Map(map)).toEqual(plain);
        expect(new Set(set)).toEqual(plainSet);
        expect([...map.keys()].sort()).toEqual([...plain.keys()].sort());
        expect([...map.values()].sort()).toEqual([...plain.values()].sort());
        expect([...set.entries()].every(([a, b]) => a === b)).toBe(true);
        const seen: string[] = [];
        map.forEach((value, at) => seen.push(`${at}=${value}`));
        expect(seen).toHaveLength(plain.size);
      }),
    );
  });

  it("an entry may go while it is looked at", () => {
    const map = new BigMap<string, number>();
    for (let i = 0; i < 1000; i++) map.set(`10.0.${i >> 8}.${i & 255}`, i);
    for (const [at, value] of map) if (value % 2 === 0) map.delete(at);
    expect(map.size).toBe(500);
  });
});
