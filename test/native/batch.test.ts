import { describe, expect, it } from "vitest";
import { BpfMap, features, possibleCpus } from "#libbpf";
import {
  DEVMAP_HASH,
  HASH,
  LPM_TRIE,
  LRU_HASH,
  NO_PREALLOC,
  PERCPU_HASH,
  bpfError,
  load,
  range,
  u32,
} from "./support.js";

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
    // One value of 256 KiB fits into the first buffer, and among 100 keys in 128 buckets some share one.
    const size = 256 << 10;
    const map = BpfMap.create({ type: HASH, keySize: 4, valueSize: size, maxEntries: 100, flags: NO_PREALLOC });
    for (let i = 0; i < 100; i++) map.set(u32(i), Buffer.alloc(size, i));
    const { count, keys, values } = map.dump();
    expect(new Set(numbers(keys)).size).toBe(100);
    for (let i = 0; i < count; i++) expect(values[i * size]).toBe(keys.readUInt32LE(i * 4));
    map.close();
  });

  it("works on tries, LRU and per-CPU maps", () => {
    const trie = BpfMap.create({ type: LPM_TRIE, keySize: 8, valueSize: 4, maxEntries: 1000, flags: NO_PREALLOC });
    const keys = Buffer.concat(
      Array.from({ length: 500 }, (_, i) => Buffer.from([32, 0, 0, 0, 10, 0, i >> 8, i & 255])),
    );
    trie.setBatch(keys, range(500), 500);
    expect(new Set(numbers(trie.dump().values)).size).toBe(500);
    expect(trie.deleteBatch(keys, 500)).toBe(500);
    trie.close();
    const lru = hash(1000, LRU_HASH);
    lru.setBatch(range(100), range(100), 100);
    expect(lru.dump().count).toBe(100);
    lru.close();
    const perCpu = BpfMap.create({ type: PERCPU_HASH, keySize: 4, valueSize: 4, maxEntries: 10 });
    const size = possibleCpus() * 8;
    perCpu.setBatch(range(10), Buffer.alloc(10 * size, 3), 10);
    expect(perCpu.dump().values).toEqual(Buffer.alloc(10 * size, 3));
    perCpu.close();
  });
});

describe("while programs change the map", () => {
  it("a dump has all that stayed, and nothing twice", async () => {
    const object = await load("churn");
    const program = object.program("churn");
    const hashMap = object.map("churned");
    const trie = object.map("churned_trie");
    // Keys from 100,000 on are not the program's.
    const stay = range(500, 100_000);
    const prefixes = Buffer.concat(numbers(stay).map((key) => u32(32, key)));
    hashMap.setBatch(stay, stay, 500);
    trie.setBatch(prefixes, stay, 500);
    let running = true;
    const churning = program.testRunAsync({ data: Buffer.alloc(64), repeat: 500_000 }).finally(() => (running = false));
    let dumps = 0;
    const others = new Set<number>();
    const check = (keys: number[], complete: boolean) => {
      expect(new Set(keys).size).toBe(keys.length);
      if (complete) expect(keys.filter((key) => key >= 100_000)).toHaveLength(500);
      for (const key of keys) if (key < 100_000) others.add(key);
      dumps++;
    };
    while (running) {
      check(numbers(hashMap.dump().keys), true);
      // The kernel's walk through a trie may step over a branch that changes under it.
      check(
        numbers(trie.dump().keys).filter((_, i) => i % 2 === 1),
        false,
      );
      try {
        check(numbers(hashMap.native.dump(false).keys), true);
      } catch (error) {
        // One by one it may lose the race, and must say so.
        expect(error).toMatchObject({ code: "EAGAIN" });
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await churning;
    check(
      numbers(trie.dump().keys).filter((_, i) => i % 2 === 1),
      true,
    );
    expect(dumps).toBeGreaterThan(10);
    expect(others.size).toBeGreaterThan(100);
    for (const part of [object, program, hashMap, trie]) part.close();
  });
});

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
