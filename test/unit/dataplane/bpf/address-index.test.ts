import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressKey, parse, record, u32, type Bytes } from "../../../../src/abi/records.js";
import { IndexedMaps } from "../../../../src/dataplane/bpf/indexed-maps.js";
import { NumbersAtRest, REST } from "../../../../src/dataplane/bpf/numbers-at-rest.js";
import type { Address } from "../../../../src/model/types.js";
import { indexed, MemoryMaps } from "./memory.js";

const value = (...classes: number[]): Bytes => record("classes", { number: classes, count: classes.length });
/** Two blocks of IPv4, and an IPv6 prefix whose last bytes look the same. */
const ADDRESSES = [10, 11].flatMap((third) =>
  Array.from({ length: 6 }, (_, i) => `10.0.${third}.${i * 51}` as Address),
);
const ALL = [...ADDRESSES, "2001:db8::a00:a33" as Address, "2001:db8::1" as Address];

const answer = (maps: MemoryMaps, address: Address): Bytes | undefined =>
  indexed(maps, address) ?? maps.of("remote").get(addressKey(address));

const change = fc.record({
  address: fc.constantFrom(...ALL),
  classes: fc.option(fc.uniqueArray(fc.integer({ min: 16, max: 19 }), { minLength: 1, maxLength: 2 })),
});
const batches = fc.array(fc.array(change, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 12 });

function write(maps: IndexedMaps, changes: readonly { address: Address; classes: readonly number[] | null }[]): void {
  const last = new Map(changes.map(({ address, classes }) => [address, classes]));
  const [sets, deletes] = [[...last].filter(([, c]) => c !== null), [...last].filter(([, c]) => c === null)];
  if (sets.length > 0)
    maps.write(
      "remote",
      sets.map(([address, classes]) => [addressKey(address), value(...(classes ?? []))]),
      () => undefined,
    );
  if (deletes.length > 0)
    maps.write(
      "remote",
      deletes.map(([address]) => [addressKey(address), undefined]),
      () => undefined,
    );
}

describe("the index of addresses", () => {
  it("says what `remote` says, and after every single write what it said or will say", () => {
    fc.assert(
      fc.property(batches, fc.nat({ max: 11 }), (steps, restart) => {
        const kernel = new MemoryMaps();
        let now = 0;
        let maps = new IndexedMaps(kernel, () => now);
        steps.forEach((step, i) => {
          now += 1000;
          if (i === restart) {
            maps = new IndexedMaps(kernel, () => now);
            maps.dump("remote");
          }
          const before = new Map(ALL.map((address) => [address, answer(kernel, address)]));
          const after = new Map(before);
          for (const { address, classes } of step) after.set(address, classes === null ? undefined : value(...classes));
          kernel.onWrite = () => {
            for (const address of ALL) {
              const said = answer(kernel, address);
              if (said !== before.get(address)) expect(said).toBe(after.get(address));
            }
          };
          write(maps, step);
          kernel.onWrite = () => undefined;
          for (const address of ALL) {
            expect(answer(kernel, address)).toBe(after.get(address));
            expect(kernel.of("remote").get(addressKey(address))).toBe(after.get(address));
          }
        });
      }),
    );
  });

  it("is mended by reading back, whatever is in it", () => {
    const lists = fc.dictionary(fc.integer({ min: 1, max: 4 }).map(String), fc.integer({ min: 16, max: 18 }));
    const places = fc.array(fc.tuple(fc.constantFrom(0, 51, 102), fc.integer({ min: 0, max: 5 })), { maxLength: 3 });
    const blocks = fc.array(fc.tuple(fc.constantFrom(10, 11, 12), fc.integer({ min: 0, max: 3 }), places), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(batches, lists, blocks, (steps, garbage, strange) => {
        const kernel = new MemoryMaps();
        const maps = new IndexedMaps(kernel, () => 0);
        for (const step of steps) write(maps, step);
        for (const [number, one] of Object.entries(garbage)) kernel.of("class_list").set(u32(+number), value(one));
        for (const [third, number, entries] of strange) {
          kernel.of("block").set(`\x0a\0${String.fromCharCode(third)}\0` as Bytes, u32(number));
          const list = new Array<number>(256).fill(0);
          for (const [place, one] of entries) list[place] = one;
          kernel.of("member").set(u32(number), record("members", { list }));
        }
        const answers = new Map(ALL.map((address) => [address, indexed(kernel, address)]));
        const mended = new IndexedMaps(kernel, () => 0);
        mended.dump("remote");
        const misled = ALL.some((address) => {
          const said = answers.get(address);
          return said !== undefined && said !== kernel.of("remote").get(addressKey(address));
        });
        if (misled) expect(mended.misled()).toBe(true);
        mended.misled();
        mended.dump("remote");
        expect(mended.misled()).toBe(false);
        for (const address of ALL) {
          const remote = kernel.of("remote").get(addressKey(address));
          expect(answer(kernel, address)).toBe(remote);
          if (ADDRESSES.includes(address)) expect(indexed(kernel, address)).toBe(remote);
        }
        const numbers = [...kernel.of("block").values()];
        expect(new Set(numbers).size).toBe(numbers.length);
      }),
    );
  });

  it("costs one write for one member that comes or goes", () => {
    const kernel = new MemoryMaps();
    const maps = new IndexedMaps(kernel, () => 0);
    const all = (classes: number[]): { address: Address; classes: number[] }[] =>
      ADDRESSES.map((address) => ({ address, classes }));
    write(maps, all([16]));
    expect(parse("members", kernel.of("member").get(u32(1)) ?? u32(0)).list.filter((one) => one !== 0)).toHaveLength(6);
    const written: string[] = [];
    kernel.onWrite = (map) => written.push(map);
    write(maps, [{ address: "10.0.10.1" as Address, classes: [16] }]);
    write(maps, [{ address: "10.0.10.1" as Address, classes: null }]);
    // A list that nobody has yet waits for the next reading back.
    write(maps, [{ address: "10.0.10.0" as Address, classes: [17] }]);
    expect(written).toEqual(["remote", "member", "remote", "member", "remote", "member"]);
    expect(indexed(kernel, "10.0.10.0" as Address)).toBeUndefined();
    maps.dump("remote");
    expect(indexed(kernel, "10.0.10.0" as Address)).toBe(value(17));
  });

  it("leaves to `remote` what there is no number for", () => {
    const kernel = new MemoryMaps();
    const maps = new IndexedMaps(kernel, () => 0);
    for (let i = 0; i < 5000; i++)
      write(
        maps,
        [1, 2, 3, 4].map((last) => ({ address: `10.${i >> 8}.${i & 255}.${last}` as Address, classes: [16] })),
      );
    expect(kernel.of("block").size).toBe(4095);
    expect(answer(kernel, "10.19.135.4" as Address)).toBe(value(16));
  });
});

describe("numbers at rest", () => {
  it("are given to another only after a while", () => {
    let now = 0;
    const numbers = new NumbersAtRest(1, 4, () => now);
    expect([numbers.take(), numbers.take(), numbers.take(), numbers.take()]).toEqual([1, 2, 3, undefined]);
    numbers.giveBack(2);
    now = REST - 1;
    expect(numbers.take()).toBeUndefined();
    now = REST;
    expect(numbers.take()).toBe(2);
    numbers.rebuild(new Set([3]), [9]);
    expect(numbers.take()).toBeUndefined();
    now = 2 * REST;
    expect([numbers.take(), numbers.take(), numbers.take()].sort()).toEqual([1, 2, undefined]);
  });
});
