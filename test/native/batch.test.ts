import { describe, expect, it } from "vitest";
import { BpfMap, features } from "#libbpf";
import { DEVMAP_HASH, HASH, LPM_TRIE, LRU_HASH, NO_PREALLOC, PERCPU_HASH, bpfError, range, u32 } from "./support.js";

const hash = (maxEntries: number, type = HASH) => BpfMap.create({ type, keySize: 4, valueSize: 4, maxEntries });
const numbers = (buffer: Buffer) => Array.from({ length: buffer.length / 4 }, (_, i) => buffer.readUInt32LE(i * 4));

describe("many elements at once", () => {
  it("go in, come out and are taken away", () => {
    expect(features.batch()).toBe(true);
    const map = hash(200_000);
    const keys = range(150_000);
    map.setBatch(keys, keys, 150_000);
    const dump = map.dump();
    expect(dump.count).toBe(150_000);
    expect(new Set(numbers(dump.keys)).size).toBe(150_000);
    expect(dump.keys.equals(dump.values)).toBe(true);
    // Every third key is not there: the kernel stops at each, and the rest must still go.
    const some = range(300);
    for (let i = 0; i < 300; i += 3) expect(map.delete(u32(i))).toBe(true);
    expect(map.deleteBatch(some, 300)).toBe(200);
    expect(map.deleteBatch(some, 300)).toBe(0);
    expect(map.dump().count).toBe(149_700);
    map.setBatch(Buffer.alloc(0), Buffer.alloc(0), 0);
    expect(map.deleteBatch(Buffer.alloc(0), 0)).toBe(0);
    map.close();
  });

  it("a full map says how many were done before", () => {
    const map = hash(10);
    const error = bpfError(() => map.setBatch(range(15), range(15), 15));
    expect(error).toMatchObject({ code: "E2BIG", operation: "map update batch", done: 10 });
    expect(map.dump().count).toBe(10);
    map.close();
  });

  it("a dump survives buckets larger than its first buffer", () => {
    // Values of 64 KiB: four fit into the first chunk's budget, and a bucket may hold more than that.
    const map = BpfMap.create({ type: HASH, keySize: 4, valueSize: 65536, maxEntries: 300, flags: NO_PREALLOC });
    for (let i = 0; i < 300; i++) map.set(u32(i), Buffer.alloc(65536, i));
    const { count, keys, values } = map.dump();
    expect(count).toBe(300);
    for (let i = 0; i < 300; i++) expect(values[i * 65536]).toBe(keys.readUInt32LE(i * 4) & 255);
    map.close();
  });

  it("works on tries, LRU and per-CPU maps", () => {
    const trie = BpfMap.create({ type: LPM_TRIE, keySize: 8, valueSize: 4, maxEntries: 1000, flags: NO_PREALLOC });
    const keys = Buffer.concat(Array.from({ length: 500 }, (_, i) => Buffer.from([32, 0, 0, 0, 10, 0, i >> 8, i & 255])));
    trie.setBatch(keys, range(500), 500);
    expect(new Set(numbers(trie.dump().values)).size).toBe(500);
    expect(trie.deleteBatch(keys, 500)).toBe(500);
    trie.close();
    const lru = hash(1000, LRU_HASH);
    lru.setBatch(range(100), range(100), 100);
    expect(lru.dump().count).toBe(100);
    lru.close();
    const perCpu = BpfMap.create({ type: PERCPU_HASH, keySize: 4, valueSize: 4, maxEntries: 10 });
    perCpu.set(u32(1), Buffer.alloc([...perCpu.entries()].length + 8 * perCpuCount(perCpu)));
    expect(perCpu.dump().count).toBe(1);
    perCpu.close();
  });
});

/** How many CPUs a per-CPU value has, by what the map refuses. */
function perCpuCount(map: BpfMap): number {
  for (let cpus = 1; cpus < 4096; cpus++) {
    try {
      map.set(u32(0), Buffer.alloc(cpus * 8));
      map.delete(u32(0));
      return cpus;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  throw new Error("no length fits");
}

describe("without batch commands", () => {
  it("a map type that has none is filled, read and emptied one by one", () => {
    const map = BpfMap.create({ type: DEVMAP_HASH, keySize: 4, valueSize: 4, maxEntries: 100 });
    const loopback = u32(...Array.from({ length: 60 }, () => 1));
    map.setBatch(range(60), loopback, 60);
    expect(numbers(map.dump().keys).sort((a, b) => a - b)).toEqual(numbers(range(60)));
    expect(map.deleteBatch(range(100, 30), 100)).toBe(30);
    expect(map.dump().count).toBe(30);
    // An interface that does not exist, third of four.
    const error = bpfError(() => map.setBatch(range(4), u32(1, 1, 2 ** 31 - 1, 1), 4));
    expect(error.done).toBe(2);
    map.close();
  });

  it("hashes, LRU and tries give the same one by one as in a batch", () => {
    for (const [type, keySize, flags] of [
      [HASH, 4, 0],
      [LRU_HASH, 4, 0],
      [LPM_TRIE, 8, NO_PREALLOC],
    ] as const) {
      const map = BpfMap.create({ type, keySize, valueSize: 4, maxEntries: 2000, flags });
      const key = (i: number) => (keySize === 4 ? u32(i) : Buffer.concat([u32(32), u32(i)]));
      const keys = Buffer.concat(Array.from({ length: 1000 }, (_, i) => key(i)));
      map.native.updateBatch(keys, range(1000), 1000, false);
      const one = numbers(map.native.dump(false).values).sort((a, b) => a - b);
      expect(one).toEqual(numbers(map.dump().values).sort((a, b) => a - b));
      expect(one).toEqual(numbers(range(1000)));
      expect(map.native.removeBatch(keys.subarray(0, 500 * keySize), 500, false)).toBe(500);
      expect(map.native.removeBatch(keys, 1000, false)).toBe(500);
      map.close();
    }
  });
});
