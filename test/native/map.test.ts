import { describe, expect, it } from "vitest";
import { BpfMap, possibleCpus, type UpdateMode } from "#libbpf";
import {
  ARRAY,
  HASH,
  LPM_TRIE,
  NO_PREALLOC,
  PERCPU_HASH,
  QUEUE,
  STACK,
  bpfError,
  range,
  u32,
  u64,
  withBpffs,
} from "./support.js";

const hash = (maxEntries = 100) => BpfMap.create({ type: HASH, name: "h", keySize: 4, valueSize: 8, maxEntries });

describe("a hash map", () => {
  it("holds what is set and forgets what is deleted", () => {
    const map = hash();
    expect(map.get(u32(1))).toBeUndefined();
    map.set(u32(1), u64(2n ** 63n + 5n));
    expect(map.get(u32(1))?.readBigUInt64LE()).toBe(2n ** 63n + 5n);
    expect(map.delete(u32(1))).toBe(true);
    expect(map.delete(u32(1))).toBe(false);
    map.close();
  });

  it("tells creation from replacement", () => {
    const map = hash();
    expect(bpfError(() => map.set(u32(1), u64(1n), "replace")).code).toBe("ENOENT");
    map.set(u32(1), u64(1n), "create");
    expect(bpfError(() => map.set(u32(1), u64(1n), "create")).code).toBe("EEXIST");
    map.set(u32(1), u64(2n), "replace");
    expect(map.get(u32(1))).toEqual(u64(2n));
    expect(() => map.set(u32(1), u64(1n), "toString" as UpdateMode)).toThrow(TypeError);
    map.close();
  });

  it("says when it is full, and which map it is", () => {
    const map = hash(2);
    map.set(u32(1), u64(1n));
    map.set(u32(2), u64(1n));
    const error = bpfError(() => map.set(u32(3), u64(1n)));
    expect(error).toMatchObject({ code: "E2BIG", errno: 7, operation: "map update", subject: "h" });
    map.close();
  });

  it("knows its shape and its memory", () => {
    const map = hash();
    expect(map.info).toMatchObject({
      type: HASH,
      typeName: "hash",
      name: "h",
      keySize: 4,
      valueSize: 8,
      maxEntries: 100,
    });
    expect(map.memory()).toBeGreaterThan(0n);
    const same = BpfMap.fromId(map.info.id);
    same.set(u32(5), u64(5n));
    expect(map.get(u32(5))).toEqual(u64(5n));
    same.close();
    map.close();
  });

  it("may be changed while it is iterated", () => {
    const map = hash();
    map.setBatch(range(50), Buffer.alloc(400), 50);
    for (const key of map.keys()) expect(map.delete(key)).toBe(true);
    expect([...map.entries()]).toEqual([]);
    map.close();
  });
});

describe("other kinds", () => {
  it("a per-CPU value has room for every possible CPU", () => {
    const map = BpfMap.create({ type: PERCPU_HASH, keySize: 4, valueSize: 4, maxEntries: 10 });
    const size = possibleCpus() * 8;
    map.set(u32(1), Buffer.alloc(size, 7));
    expect(map.get(u32(1))).toHaveLength(size);
    expect([...map.entries()][0]?.[1]).toHaveLength(size);
    expect(() => map.set(u32(1), Buffer.alloc(4))).toThrow(RangeError);
    map.close();
  });

  it("a trie answers with the longest prefix and is listed whole", () => {
    const spec = { type: LPM_TRIE, keySize: 8, valueSize: 4, maxEntries: 100, flags: NO_PREALLOC };
    const map = BpfMap.create(spec);
    const prefix = (bits: number, ...address: number[]) => Buffer.concat([u32(bits), Buffer.from(address)]);
    map.set(prefix(8, 10, 0, 0, 0), u32(8));
    map.set(prefix(24, 10, 1, 2, 0), u32(24));
    map.set(prefix(0, 0, 0, 0, 0), u32(0));
    expect(map.get(prefix(32, 10, 1, 2, 3))).toEqual(u32(24));
    expect(map.get(prefix(32, 10, 9, 9, 9))).toEqual(u32(8));
    expect(map.get(prefix(32, 11, 0, 0, 1))).toEqual(u32(0));
    expect([...map.entries()].map(([, value]) => value.readUInt32LE()).sort((a, b) => a - b)).toEqual([0, 8, 24]);
    expect(map.delete(prefix(24, 10, 1, 2, 0))).toBe(true);
    expect(map.delete(prefix(24, 10, 1, 2, 0))).toBe(false);
    map.close();
  });

  it("a queue gives back in order, a stack in reverse, both say when full", () => {
    for (const [type, order] of [
      [QUEUE, [1, 2]],
      [STACK, [2, 1]],
    ] as const) {
      const map = BpfMap.create({ type, keySize: 0, valueSize: 4, maxEntries: 2 });
      expect(map.pop()).toBeUndefined();
      map.push(u32(1));
      map.push(u32(2));
      expect(bpfError(() => map.push(u32(3))).code).toBe("E2BIG");
      expect(map.get(Buffer.alloc(0))).toEqual(u32(order[0]));
      expect([map.pop(), map.pop()]).toEqual([u32(order[0]), u32(order[1])]);
      expect(bpfError(() => map.dump()).code).toBe("ENOTSUPP");
      expect(bpfError(() => map.setBatch(Buffer.alloc(0), u32(1), 1)).code).toBe("ENOTSUPP");
      map.close();
    }
  });

  it("only queues and stacks are pushed to", () => {
    const map = hash();
    expect(bpfError(() => map.push(u64(1n))).code).toBe("ENOTSUPP");
    expect(bpfError(() => map.pop()).code).toBe("ENOTSUPP");
    map.close();
  });

  it("an array has all its elements from the start and loses none", () => {
    const map = BpfMap.create({ type: ARRAY, keySize: 4, valueSize: 4, maxEntries: 3 });
    map.set(u32(2), u32(9));
    expect(map.dump()).toEqual({ count: 3, keys: u32(0, 1, 2), values: u32(0, 0, 9) });
    expect(map.get(u32(3))).toBeUndefined();
    expect(bpfError(() => map.delete(u32(0))).code).toBe("EINVAL");
    map.close();
  });
});

describe("wrong arguments", () => {
  it("are refused before the kernel sees them", () => {
    const map = hash();
    for (const key of [Buffer.alloc(3), Buffer.alloc(5), Buffer.alloc(0)]) {
      expect(() => map.get(key)).toThrow(RangeError);
      expect(() => map.delete(key)).toThrow(RangeError);
      expect(() => map.set(key, u64(1n))).toThrow(RangeError);
    }
    for (const value of [Buffer.alloc(7), Buffer.alloc(9)]) expect(() => map.set(u32(1), value)).toThrow(RangeError);
    const odd: unknown[] = [undefined, null, 1, 1n, "abcd", {}, [1, 2, 3, 4], new Uint32Array(1), new ArrayBuffer(4)];
    for (const key of odd) expect(() => map.get(key as Buffer)).toThrow(TypeError);
    expect(() => map.setBatch(u32(1, 2), u64(1n), 2)).toThrow(/values must be exactly 16 bytes, it has 8/);
    expect(() => map.setBatch(u32(1), u64(1n), 1.5)).toThrow(RangeError);
    expect(() => map.setBatch(u32(1), u64(1n), -1)).toThrow(RangeError);
    expect(() => map.deleteBatch(u32(1), Number.NaN)).toThrow(RangeError);
    expect(() => map.deleteBatch(u32(1), 2 ** 32)).toThrow(RangeError);
    expect(map.dump().count).toBe(0);
    map.close();
  });

  it("a path or a name with NUL is not cut short", () => {
    expect(() => BpfMap.open("/sys/fs/bpf/a\0b")).toThrow(RangeError);
    expect(() => BpfMap.open("")).toThrow(RangeError);
    const spec = { type: HASH, keySize: 4, valueSize: 4, maxEntries: 1 };
    expect(() => BpfMap.create({ ...spec, name: "a\0" })).toThrow(RangeError);
    expect(() => BpfMap.create({ ...spec, type: 0 })).toThrow(RangeError);
    expect(bpfError(() => BpfMap.create({ ...spec, type: 9999 })).operation).toBe("map create");
  });

  it("a closed map says so, a second close is fine", () => {
    const map = hash();
    map.close();
    map.close();
    const uses = [() => map.get(u32(1)), () => map.set(u32(1), u64(1n)), () => map.delete(u32(1)), () => map.dump()];
    uses.push(
      () => map.memory(),
      () => map.pin("/x"),
      () => map.setBatch(u32(1), u64(1n), 1),
    );
    for (const use of uses) {
      const error = bpfError(use);
      expect(error.code).toBe("EBADF");
      expect(error.message).toContain('"h"');
      expect(error.message).toContain("closed");
    }
  });
});

describe("pins", () => {
  it("keep a map and give it back, and nothing else passes for one", async () => {
    await withBpffs((bpffs) => {
      const map = hash();
      const path = `${bpffs}/h`;
      map.set(u32(1), u64(7n));
      map.pin(path);
      expect(bpfError(() => map.pin(path))).toMatchObject({ code: "EEXIST", subject: path });
      map.close();
      const again = BpfMap.open(path);
      expect(again.get(u32(1))).toEqual(u64(7n));
      again.close();
      expect(bpfError(() => BpfMap.open(`${bpffs}/none`)).code).toBe("ENOENT");
      expect(bpfError(() => BpfMap.open("/etc/passwd")).operation).toBe("map open");
    });
  });
});
