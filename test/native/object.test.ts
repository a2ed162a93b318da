import { describe, expect, it } from "vitest";
import { BpfError, BpfMap, BpfObject, BpfProgram, RingBuffer } from "#libbpf";
import { ARRAY, HASH, bpfDescriptors, bpfError, compile, load, u32, u64, withBpffs } from "./support.js";

describe("before load", () => {
  it("says what the object declares", () => {
    const object = BpfObject.open(compile("basic"), { name: "any.name" });
    const named = (name: string) => object.maps.find((map) => map.name === name);
    expect(named("seen")).toEqual({ name: "seen", type: HASH, keySize: 4, valueSize: 8, maxEntries: 4096, flags: 0 });
    expect(named(".rodata")).toMatchObject({ type: ARRAY, valueSize: 4 });
    expect(named(".data")).toMatchObject({ valueSize: 8 });
    expect(object.programs).toContainEqual({ name: "count", section: "tc", type: 3 });
    expect(object.programs).toContainEqual({ name: "xdp_drop", section: "xdp", type: 6 });
    object.close();
  });

  it("data goes in with its exact length only, and comes out", () => {
    const object = BpfObject.open(compile("basic"));
    expect(object.getData(".data")).toEqual(u64(42n));
    object.setData(".rodata", u32(2));
    expect(object.getData(".rodata")).toEqual(u32(2));
    expect(() => object.setData(".rodata", Buffer.alloc(3))).toThrow(RangeError);
    expect(() => object.setData(".rodata", Buffer.alloc(5))).toThrow(RangeError);
    expect(() => object.setData(".rodata", "xxxx" as unknown as Buffer)).toThrow(TypeError);
    expect(bpfError(() => object.setData("seen", u32(1)))).toMatchObject({ code: "EINVAL", subject: "seen" });
    expect(bpfError(() => object.getData(".nothing")).code).toBe("ENOENT");
    object.close();
  });

  it("what is no BPF object is refused, with libbpf's words", () => {
    const error = bpfError(() => BpfObject.open(Buffer.from("not an object at all")));
    expect(error).toMatchObject({ operation: "object open", code: "LIBBPF_FORMAT" });
    expect(error.log).toContain("ELF");
    expect(bpfError(() => BpfObject.open(Buffer.alloc(0))).code).toBe("EINVAL");
    expect(() => BpfObject.open("x" as unknown as Buffer)).toThrow(TypeError);
    const elf = compile("basic");
    for (const length of [16, 64, 500, elf.length - 100]) {
      expect(() => BpfObject.open(elf.subarray(0, length))).toThrow(BpfError);
    }
  });

  it("nothing can be taken from it, and after load nothing can be changed", async () => {
    const object = BpfObject.open(compile("basic"));
    expect(bpfError(() => object.map("seen")).code).toBe("EINVAL");
    expect(bpfError(() => object.program("count")).code).toBe("EINVAL");
    await object.load();
    expect(bpfError(() => object.setData(".rodata", u32(1))).code).toBe("EINVAL");
    expect(bpfError(() => object.setMaxEntries("seen", 1)).code).toBe("EINVAL");
    await expect(object.load()).rejects.toMatchObject({ code: "EINVAL", operation: "object load" });
    expect(bpfError(() => object.map("nothing"))).toMatchObject({ code: "ENOENT", subject: "nothing" });
    object.close();
    object.close();
    expect(bpfError(() => object.maps).code).toBe("EBADF");
    expect(bpfError(() => object.map("seen")).code).toBe("EBADF");
  });
});

describe("load", () => {
  it("the verifier's statistics are there for what was asked, whatever the kernel", async () => {
    const object = BpfObject.open(compile("basic"));
    expect(bpfError(() => object.keepVerifierStatistics("nothing")).code).toBe("ENOENT");
    object.keepVerifierStatistics("count");
    await object.load();
    expect(object.verifierStatistics("count")).toMatch(/^processed [1-9]\d* insns/m);
    expect(bpfError(() => object.verifierStatistics("xdp_drop"))).toMatchObject({ code: "ENOENT" });
    expect(bpfError(() => object.keepVerifierStatistics("count")).code).toBe("EINVAL");
    object.close();
  });

  it("runs off the thread, and the object can't be closed under it", async () => {
    const object = BpfObject.open(compile("basic"));
    const loading = object.load();
    expect(bpfError(() => object.close()).code).toBe("EBUSY");
    await loading;
    object.close();
  });

  it("gives the verifier's log of a refused program, and prints nothing", async () => {
    const object = BpfObject.open(compile("refused"));
    const error = await object.load().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(BpfError);
    expect(error).toMatchObject({ code: "EACCES", operation: "object load" });
    expect((error as BpfError).log).toMatch(/invalid access to packet/);
    expect(bpfError(() => object.program("out_of_bounds")).code).toBe("EINVAL");
    object.close();
  });

  it("keeps the logs of loads that run together apart", async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 6 }, async (_, i) => {
        const object = BpfObject.open(compile("refused"), { name: `object${i}` });
        await object.load().finally(() => object.close());
      }),
    );
    for (const result of results) {
      const log = result.status === "rejected" && result.reason instanceof BpfError ? (result.reason.log ?? "") : "";
      expect(log.match(/BEGIN PROG LOAD LOG/g)).toHaveLength(1);
    }
  });

  it("takes rodata and sizes as they were set; parts outlive the object", async () => {
    const object = BpfObject.open(compile("basic"));
    object.setData(".rodata", u32(2));
    object.setMaxEntries("seen", 7);
    object.setAutoload("tell", false);
    await object.load();
    const program = object.program("count");
    const map = object.map("seen");
    expect(bpfError(() => object.program("tell")).code).toBe("ENOENT");
    object.close();
    expect(map.info.maxEntries).toBe(7);
    expect(program.testRun({ data: Buffer.alloc(64) }).returnValue).toBe(2);
    expect(map.get(u32(64))).toEqual(u64(1n));
    map.close();
    program.close();
  });

  it("works with a map that is there already, if it has the same shape", async () => {
    const mine = BpfMap.create({ type: HASH, keySize: 4, valueSize: 8, maxEntries: 50 });
    const other = BpfMap.create({ type: HASH, keySize: 4, valueSize: 4, maxEntries: 4096 });
    const object = BpfObject.open(compile("basic"));
    expect(bpfError(() => object.reuseMap("seen", other)).code).toBe("EINVAL");
    expect(() => object.reuseMap("seen", {} as BpfMap)).toThrow(TypeError);
    object.reuseMap("seen", mine);
    await object.load();
    const program = object.program("count");
    expect(program.info.mapIds).toContain(mine.info.id);
    program.testRun({ data: Buffer.alloc(80) });
    expect(mine.get(u32(80))).toEqual(u64(1n));
    for (const part of [object, program, mine, other]) part.close();
  });
});

describe("forged arguments", () => {
  it("an object of another class is never taken for a map, whatever its prototype says", async () => {
    const object = await load("basic");
    const fresh = BpfObject.open(compile("basic"));
    const [program, map] = [object.program("count"), object.map("seen")];
    const disguised = Object.setPrototypeOf(
      object.program("drop").native,
      Object.getPrototypeOf(map.native) as object,
    ) as object;
    const empty = Object.create(Object.getPrototypeOf(map.native) as object) as object;
    for (const native of [program.native, disguised, empty, {}, null, 5]) {
      expect(() => fresh.reuseMap("seen", { native } as unknown as BpfMap)).toThrow(TypeError);
      expect(() => new RingBuffer({ native } as unknown as BpfMap, () => undefined)).toThrow(TypeError);
    }
    const lookup = map.native.lookup as (this: unknown, key: Buffer) => unknown;
    for (const receiver of [program.native, empty, {}]) expect(() => lookup.call(receiver, u32(1))).toThrow();
    const construct = map.native.constructor as new (...values: unknown[]) => unknown;
    expect(() => new construct()).toThrow(TypeError);
    expect(() => new construct({}, "x")).toThrow(TypeError);
    for (const part of [object, fresh, program, map]) part.close();
  });
});

describe("a program", () => {
  it("is pinned and opened again, and no map is taken for one", async () => {
    await withBpffs(async (bpffs) => {
      const object = await load("basic");
      const program = object.program("drop");
      const map = object.map("seen");
      program.pin(`${bpffs}/p`);
      map.pin(`${bpffs}/m`);
      const again = BpfProgram.open(`${bpffs}/p`);
      expect(again.info).toEqual(program.info);
      expect(again.info).toMatchObject({ name: "drop", type: 3 });
      expect(again.info.tag).toMatch(/^[0-9a-f]{16}$/);
      expect(again.info.translatedBytes).toBeGreaterThan(0);
      expect(bpfError(() => BpfProgram.open(`${bpffs}/m`)).code).toBe("EINVAL");
      expect(bpfError(() => BpfMap.open(`${bpffs}/p`)).code).toBe("EINVAL");
      const byId = BpfProgram.fromId(program.info.id);
      for (const part of [object, program, map, again, byId]) part.close();
      expect(bpfError(() => byId.testRun({ data: Buffer.alloc(64) })).code).toBe("EBADF");
    });
  });

  it("descriptors are close-on-exec", async () => {
    const object = await load("basic");
    const parts = [object.program("count"), object.map("seen"), object.map("events")];
    const open = bpfDescriptors();
    expect(open.length).toBeGreaterThanOrEqual(3);
    expect(open.filter((descriptor) => !descriptor.closeOnExec)).toEqual([]);
    for (const part of [object, ...parts]) part.close();
  });
});
