import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BpfMap, RingBuffer, type BpfObject, type BpfProgram } from "#libbpf";
import { HASH, bpfError, compile, load } from "./support.js";

let object: BpfObject;
let tell: BpfProgram;
let events: BpfMap;
beforeAll(async () => {
  object = await load("basic");
  tell = object.program("tell");
  events = object.map("events");
});
afterAll(() => {
  for (const part of [object, tell, events]) part.close();
});

const send = (repeat: number, length = 64) => tell.testRun({ data: Buffer.alloc(length), repeat });

/** Collects until there are `wanted`. */
function reader(wanted: number): { lengths: number[]; done: Promise<void>; ring: RingBuffer } {
  const lengths: number[] = [];
  let finish: () => void;
  const done = new Promise<void>((resolve) => (finish = resolve));
  const ring = new RingBuffer(events, (record) => {
    lengths.push(record.readUInt32LE(0));
    if (lengths.length === wanted) finish();
  });
  return { lengths, done, ring };
}

describe("a ring buffer", () => {
  it("delivers every record once, in order, also more than one round takes", async () => {
    const { lengths, done, ring } = reader(3010);
    for (let i = 0; i < 10; i++) send(1, 100 + i);
    send(3000);
    await done;
    expect(lengths.slice(0, 10)).toEqual([100, 101, 102, 103, 104, 105, 106, 107, 108, 109]);
    expect(lengths).toHaveLength(3010);
    ring.close();
    ring.close();
  });

  it("goes on after it was idle", async () => {
    const first: (() => void)[] = [];
    const ring = new RingBuffer(events, () => first.shift()?.());
    for (let i = 0; i < 50; i++) {
      const came = new Promise<void>((resolve) => first.push(resolve));
      send(1);
      await came;
    }
    ring.close();
  });

  it("is silent after close, also when closed from within", async () => {
    let calls = 0;
    let ring: RingBuffer | undefined;
    await new Promise<void>((resolve) => {
      ring = new RingBuffer(events, () => {
        calls++;
        ring?.close();
        resolve();
      });
      send(20);
    });
    send(5);
    const { lengths, done, ring: next } = reader(5);
    await done; // those that the first had not taken yet, and the new ones
    expect(calls).toBe(1);
    expect(lengths.length).toBeGreaterThanOrEqual(5);
    next.close();
  });

  it("refuses what is no ring buffer, and a closed map", () => {
    const map = BpfMap.create({ type: HASH, keySize: 4, valueSize: 4, maxEntries: 1 });
    expect(bpfError(() => new RingBuffer(map, () => undefined)).code).toBe("EINVAL");
    expect(() => new RingBuffer(events, "x" as unknown as () => void)).toThrow(TypeError);
    map.close();
    expect(bpfError(() => new RingBuffer(map, () => undefined)).code).toBe("EBADF");
  });
});

describe("in a process of its own", () => {
  const script = fileURLToPath(new URL("./scripts/ring.mjs", import.meta.url));
  const run = (mode: string) => {
    const directory = mkdtempSync(join(tmpdir(), "libbpf-ts-ring-"));
    try {
      const elf = join(directory, "basic.o");
      writeFileSync(elf, compile("basic"));
      return spawnSync(process.execPath, [script, mode, elf], { encoding: "utf8", timeout: 20_000 });
    } finally {
      rmSync(directory, { recursive: true });
    }
  };

  it("does not keep the process alive", () => {
    const { status, stdout, signal } = run("idle");
    expect({ status, signal, stdout }).toEqual({ status: 0, signal: null, stdout: "open\n" });
  });

  it("an error in the callback is an uncaught exception and the other records still come", () => {
    const { status, stdout } = run("throw");
    expect(stdout).toBe("records 3, uncaught: first\n");
    expect(status).toBe(0);
  });

  it("may end with the ring open and records coming", () => {
    expect(run("exit")).toMatchObject({ status: 3, signal: null });
  });
});
