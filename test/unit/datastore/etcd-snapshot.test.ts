/** A snapshot's pages, cut into what one turn of the event loop can take. */
import type { IKeyValue } from "etcd3";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Batches } from "../../../src/datastore/etcd-snapshot.js";

const page = (count: number, bytes = 100): IKeyValue[] =>
  Array.from(
    { length: count },
    (_, n) =>
      ({
        key: Buffer.from(`/calico/${n}`),
        value: Buffer.alloc(bytes, "x"),
        mod_revision: "7",
      }) as unknown as IKeyValue,
  );

/** Sizes of the batches when a key costs the taker so many milliseconds. */
async function sizes(batches: Batches, clock: { now: number }, kvs: IKeyValue[], cost: number): Promise<number[]> {
  const found: number[] = [];
  for await (const batch of batches.of(kvs)) {
    clock.now += batch.length * cost;
    found.push(batch.length);
  }
  return found;
}

describe("batches of a snapshot", () => {
  it("grow to what the taker can do in some milliseconds, also from one page to the next", async () => {
    const clock = { now: 0 };
    const batches = new Batches(() => clock.now);
    expect((await sizes(batches, clock, page(1_000), 0.1)).slice(0, 5)).toEqual([20, 40, 80, 80, 80]);
    expect((await sizes(batches, clock, page(1_000), 1)).slice(0, 3)).toEqual([80, 8, 8]);
  });

  it("are small after a pause, and soon as before", async () => {
    const clock = { now: 0 };
    const batches = new Batches(() => clock.now);
    await sizes(batches, clock, page(1_000), 0.1);
    expect(await sizes(batches, clock, page(80), 100)).toEqual([80]);
    expect((await sizes(batches, clock, page(1_000), 0.1)).slice(0, 8)).toEqual([1, 2, 4, 8, 16, 32, 64, 80]);
  });

  it("hold no more than 256 KiB, or one key", async () => {
    const batches = new Batches(() => 0);
    const found = await sizes(batches, { now: 0 }, page(50, 100_000), 0);
    expect(Math.max(...found)).toBe(3);
    expect(await sizes(batches, { now: 0 }, page(2, 1 << 20), 0)).toEqual([1, 1]);
  });

  it("hand on every key once and in order, whatever it costs", () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.nat(700), { maxLength: 4 }), fc.double({ min: 0, max: 50 }), async (pages, cost) => {
        const clock = { now: 0 };
        const batches = new Batches(() => clock.now);
        for (const count of pages) {
          const keys: string[] = [];
          for await (const batch of batches.of(page(count))) {
            clock.now += batch.length * cost;
            keys.push(...batch.map(({ key }) => key));
          }
          expect(keys).toEqual(page(count).map(({ key }) => key.toString()));
        }
      }),
      { numRuns: 30 },
    ));
});
