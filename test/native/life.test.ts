/** Descriptors, memory and threads: nothing stays behind. */
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { BpfMap, BpfObject, RingBuffer } from "#libbpf";
import { HASH, bpfDescriptors, bpfError, compile, u32 } from "./support.js";

const descriptors = () => readdirSync("/proc/self/fd").length;
const threads = () => readdirSync("/proc/self/task").length;
const resident = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
const script = fileURLToPath(new URL("./scripts/worker.mjs", import.meta.url));
const addon = fileURLToPath(new URL("../../native/build/libbpf.node", import.meta.url));

async function cycle(elf: Buffer): Promise<void> {
  const object = BpfObject.open(elf);
  await object.load();
  const [program, map, events] = [object.program("count"), object.map("seen"), object.map("events")];
  const ring = new RingBuffer(events, () => undefined);
  program.testRun({ data: Buffer.alloc(64) });
  await program.testRunAsync({ data: Buffer.alloc(64) });
  map.dump();
  bpfError(() => map.set(u32(0), Buffer.alloc(8), "replace"));
  for (const part of [ring, object, program, map, events]) part.close();
}

describe("repetition", () => {
  it("opening, loading and closing 300 times leaves no descriptor, thread or memory", async () => {
    const elf = compile("basic");
    for (let i = 0; i < 50; i++) await cycle(elf);
    const before = { descriptors: descriptors(), threads: threads(), resident: resident() };
    for (let i = 0; i < 300; i++) await cycle(elf);
    expect(descriptors()).toBe(before.descriptors);
    expect(threads()).toBeLessThanOrEqual(before.threads);
    // One loaded object takes about 200 KiB; 300 leaked would be 60 MB.
    expect(resident() - before.resident).toBeLessThan(20_000);
  });

  it("failures leave nothing either", async () => {
    const refused = compile("refused");
    const fail = async () => {
      const object = BpfObject.open(refused);
      await object.load().catch(() => undefined);
      object.close();
      bpfError(() => BpfObject.open(Buffer.from("nonsense")));
      bpfError(() => BpfMap.open("/etc/passwd"));
      const map = BpfMap.create({ type: HASH, keySize: 4, valueSize: 4, maxEntries: 1 });
      bpfError(() => new RingBuffer(map, () => undefined));
      map.close();
    };
    for (let i = 0; i < 20; i++) await fail();
    const before = { descriptors: descriptors(), threads: threads(), resident: resident() };
    for (let i = 0; i < 200; i++) await fail();
    expect(descriptors()).toBe(before.descriptors);
    expect(threads()).toBeLessThanOrEqual(before.threads);
    expect(resident() - before.resident).toBeLessThan(20_000);
  });

  it("large dumps are given back to the system", () => {
    const map = BpfMap.create({ type: HASH, keySize: 4, valueSize: 1024, maxEntries: 4096 });
    map.setBatch(Buffer.from(Uint32Array.from({ length: 4096 }, (_, i) => i).buffer), Buffer.alloc(4096 * 1024), 4096);
    for (let i = 0; i < 20; i++) map.dump();
    const before = resident();
    for (let i = 0; i < 200; i++) map.dump();
    expect(resident() - before).toBeLessThan(200_000); // 200 dumps are 800 MB
    map.close();
  });

  it("what is forgotten without close() goes with the garbage", () => {
    const forget = `
      import { BpfMap } from ${JSON.stringify(new URL("../../native/dist/index.js", import.meta.url).href)};
      import { readdirSync } from "node:fs";
      const count = () => readdirSync("/proc/self/fd").length;
      const before = count();
      for (let i = 0; i < 100; i++) BpfMap.create({ type: 1, keySize: 4, valueSize: 4, maxEntries: 1 });
      const held = count() - before;
      for (let i = 0; i < 10; i++) { gc(); await new Promise((done) => setImmediate(done)); }
      console.log(held, count() - before < 5);`;
    const words = ["--expose-gc", "--input-type=module", "-e", forget];
    expect(execFileSync(process.execPath, words, { encoding: "utf8" })).toMatch(/^(9\d|100) true$/m);
  });
});

describe("a worker thread", () => {
  const start = (forever: boolean) => new Worker(script, { workerData: { elf: compile("basic"), forever } });
  const message = (worker: Worker) =>
    new Promise<unknown>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });

  it("has the whole library, beside the main thread's", async () => {
    const map = BpfMap.create({ type: HASH, keySize: 4, valueSize: 4, maxEntries: 1 });
    const worker = start(false);
    const ended = new Promise<number>((resolve) => worker.once("exit", resolve));
    expect(await message(worker)).toEqual({ records: 10, own: true, size: 4096 });
    expect(await ended).toBe(0);
    map.set(u32(1), u32(1));
    map.close();
  });

  it("that is ended in the middle of everything takes its descriptors and threads along", async () => {
    await (async () => {
      const worker = start(true);
      await message(worker);
      await worker.terminate();
    })();
    const before = { descriptors: bpfDescriptors().length, threads: threads() };
    for (let i = 0; i < 8; i++) {
      const worker = start(true);
      await message(worker);
      await worker.terminate();
    }
    expect(bpfDescriptors()).toHaveLength(before.descriptors);
    expect(threads()).toBeLessThanOrEqual(before.threads);
  });
});

describe("the addon", () => {
  it("uses Node-API and nothing else of Node, so that one binary serves every Node from 20 on", () => {
    const symbols = execFileSync("nm", ["-D", "--undefined-only", addon], { encoding: "utf8" });
    expect(symbols).toMatch(/\bnapi_/);
    expect(symbols).not.toMatch(/\b(_ZN2v8|_ZN4node|uv_)/);
  });
});
