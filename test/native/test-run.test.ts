import { spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BpfMap, BpfObject } from "#libbpf";
import { bpfError, load, u32 } from "./support.js";

let object: BpfObject;
let runs: BpfMap;
beforeAll(async () => {
  object = await load("basic");
  runs = object.map("runs");
});
afterAll(() => {
  runs.close();
  object.close();
});

const total = () => {
  const value = runs.get(u32(0)) ?? Buffer.alloc(0);
  let sum = 0;
  for (let at = 0; at < value.length; at += 8) sum += value.readUInt32LE(at);
  return sum;
};

describe("a test run", () => {
  it("gives the packet and the context back as the program left them", () => {
    const program = object.program("write_back");
    const context = Buffer.alloc(192); // struct __sk_buff; mark is its third u32
    context.writeUInt32LE(41, 8);
    const packet = Buffer.alloc(64, 1);
    const result = program.testRun({ data: packet, context });
    expect(result.returnValue).toBe(0);
    expect(result.data).toHaveLength(64);
    expect(result.data[0]).toBe(2);
    expect(packet[0]).toBe(1);
    expect(result.context.readUInt32LE(8)).toBe(42);
    program.close();
  });

  it("repeats, here or off the thread, and takes wrong options for what they are", async () => {
    const program = object.program("count");
    const before = total();
    expect(program.testRun({ data: Buffer.alloc(64), repeat: 10 }).duration).toBeGreaterThan(0);
    const both = [program.testRunAsync({ data: Buffer.alloc(64) }), program.testRunAsync({ data: Buffer.alloc(65) })];
    const odd: object[] = [{ repeat: 0 }, { repeat: -1 }, { repeat: 2 ** 31 }, { batchSize: 0.5 }, { dataOutSize: -1 }];
    for (const options of odd)
      expect(() => program.testRun({ data: Buffer.alloc(64), ...options })).toThrow(RangeError);
    expect(() => program.testRun({ data: "x" as unknown as Buffer })).toThrow(TypeError);
    await expect(program.testRunAsync({ data: 1 as unknown as Buffer })).rejects.toThrow(TypeError);
    program.close(); // the runs under way have their own descriptor
    for (const result of await Promise.all(both)) expect(result.returnValue).toBe(0);
    expect(total() - before).toBe(12);
  });

  it("is not cut short by signals", async () => {
    const program = object.program("count");
    const before = total();
    const children = [0, 1, 2].map(() =>
      spawn("/bin/sh", ["-c", `for i in $(seq 200); do kill -CONT ${process.pid}; done`]),
    );
    const ended = Promise.all(children.map((child) => new Promise((resolve) => child.once("exit", resolve))));
    for (let i = 0; i < 10; i++) program.testRun({ data: Buffer.alloc(64), repeat: 100_000 });
    await ended;
    expect(total() - before).toBe(1_000_000);
    program.close();
  });

  it("says when there is too little room, or too short a packet", async () => {
    const program = object.program("count");
    expect(bpfError(() => program.testRun({ data: Buffer.alloc(64), dataOutSize: 10 })).code).toBe("ENOSPC");
    expect(bpfError(() => program.testRun({ data: Buffer.alloc(4) })).operation).toBe("program test run");
    await expect(program.testRunAsync({ data: Buffer.alloc(4) })).rejects.toMatchObject({ code: "EINVAL" });
    program.close();
  });

  it("sends live frames through XDP", () => {
    const program = object.program("xdp_drop");
    const before = total();
    const result = program.testRun({ data: Buffer.alloc(64), liveFrames: true, repeat: 100, batchSize: 32 });
    expect(total() - before).toBe(100);
    expect(result.data).toHaveLength(0);
    expect(() => program.testRun({ data: Buffer.alloc(64), liveFrames: true, dataOutSize: 64 })).toThrow(RangeError);
    program.close();
  });
});
