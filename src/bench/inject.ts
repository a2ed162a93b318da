/** Frames put on a tap's receive path inside the kernel, and what they cost (DESIGN, "How speed is judged"). */
import { readFileSync } from "node:fs";
import { BpfObject, clsact, type BpfMap, type BpfProgram } from "#libbpf";
import { addressBytes } from "../model/cidr.js";
import type { Address } from "../model/types.js";

/** struct inject_plan of bpf/bench.bpf.c. Addresses are numbers: 10.0.0.1 is 0x0a000001. */
export interface Plan {
  /** Used in turn: 50,000 source ports from firstSourcePort (default 1024) on, then as many to the next destination port. */
  readonly flows: number;
  readonly firstSourcePort?: number;
  readonly firstSource: number;
  /** Drawn at random from firstSource on. */
  readonly sources?: number;
  readonly destination: number;
  readonly firstPort: number;
  readonly ports?: number;
  /** Packets sent before, from which the turn of the flows goes on; default 0. */
  readonly sent?: number;
  /** The packets are IPv6, from and to these, and firstSource, sources and destination mean nothing. */
  readonly ipv6?: { readonly source: string; readonly destination: string };
}

export type Measure = "inject_floor" | "limit" | "limit6" | "insert_limit";

export interface Interface {
  readonly ifindex: number;
  readonly mac: string;
}

const macBytes = (mac: string): Buffer => Buffer.from(mac.replaceAll(":", ""), "hex");

/** A UDP frame of `size` bytes whose addresses and ports the program fills in. */
function frame(size: number, family: 4 | 6): Buffer {
  const bytes = Buffer.alloc(size);
  if (family === 6) {
    bytes.writeUInt16BE(0x86dd, 12);
    bytes[14] = 0x60;
    bytes.writeUInt16BE(size - 54, 18);
    bytes[20] = 17;
    bytes[21] = 64;
    bytes.writeUInt16BE(size - 54, 58);
    return bytes;
  }
  bytes.writeUInt16BE(0x0800, 12);
  bytes[14] = 0x45;
  bytes.writeUInt16BE(size - 14, 16);
  bytes[22] = 64;
  bytes[23] = 17;
  bytes.writeUInt16BE(size - 34, 38);
  return bytes;
}

/** struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex. */
function context(size: number, ifindex: number): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeUInt32LE(size, 4);
  bytes.writeUInt32LE(ifindex, 12);
  return bytes;
}

export class Injector {
  private constructor(
    private readonly object: BpfObject,
    private readonly plan: BpfMap,
    private readonly targets: BpfMap,
    private readonly flows: BpfMap,
    private readonly program: BpfProgram,
  ) {}

  static async load(path: string): Promise<Injector> {
    const object = BpfObject.open(readFileSync(path), { name: "bench" });
    await object.load();
    return new Injector(
      object,
      object.map("plan"),
      object.map("targets"),
      object.map("bench_flows"),
      object.program("inject"),
    );
  }

  /** Attaches one of the measuring programs to what `from` receives; the limits send on to `to`. */
  attach(name: Measure, from: Interface, to?: Interface): void {
    if (to !== undefined) {
      const value = Buffer.alloc(16);
      value.writeUInt32LE(to.ifindex, 0);
      macBytes("fa:16:3e:00:00:01").copy(value, 4);
      macBytes(to.mac).copy(value, 10);
      const key = Buffer.alloc(4);
      key.writeUInt32LE(from.ifindex);
      this.targets.set(key, value);
    }
    clsact.attach({
      ifindex: from.ifindex,
      direction: "ingress",
      program: this.object.program(name),
      priority: 1,
      handle: 1,
    });
  }

  /** Nanoseconds a packet, injecting included. */
  run(on: Interface, from: string, plan: Plan, packets: number, size = 64): number {
    const value = Buffer.alloc(88);
    value.writeUInt32LE(plan.flows, 0);
    value.writeUInt32LE(plan.sources ?? 1, 4);
    value.writeUInt32LE(plan.firstSource, 8);
    value.writeUInt32LE(plan.destination, 12);
    value.writeUInt32LE(plan.ports ?? 1, 16);
    value.writeUInt32LE(plan.firstPort, 20);
    value.writeBigUInt64LE(BigInt(plan.sent ?? 0), 24);
    macBytes(on.mac).copy(value, 32);
    macBytes(from).copy(value, 38);
    value.writeUInt32LE(plan.firstSourcePort ?? 1024, 44);
    if (plan.ipv6 !== undefined) {
      value.writeUInt32LE(6, 48);
      for (const [at, address] of [plan.ipv6.source, plan.ipv6.destination].entries())
        value.set(addressBytes(address as Address), 52 + at * 16);
    }
    this.plan.set(Buffer.alloc(4), value);
    const data = frame(size, plan.ipv6 === undefined ? 4 : 6);
    return this.program.testRun({
      data,
      context: context(size, on.ifindex),
      repeat: packets,
      liveFrames: true,
      batchSize: 64,
    }).duration;
  }

  /** Empties the flow table of insert_limit. */
  forget(): void {
    const { keys, count } = this.flows.dump();
    if (count > 0) this.flows.deleteBatch(keys, count);
  }

  close(): void {
    for (const it of [this.plan, this.targets, this.flows, this.program, this.object]) it.close();
  }
}
