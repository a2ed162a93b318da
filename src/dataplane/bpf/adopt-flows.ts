/** Puts flows of another layout into this build's table, by a program of its own in the kernel (bpf/adopt.bpf.c). */
import { readFileSync } from "node:fs";
import { BpfObject, type BpfMap, type BpfProgram } from "#libbpf";
import { sizeOf } from "../../abi/codec.js";
import { fromBytes, u32 } from "../../abi/records.js";
import type { MapName } from "./plan.js";

/** As in bpf/adopt.bpf.c. */
const MOST_RECORDS = 16;
const HEADER = 16;
const RECORDS_AGED = 0x8000_0000;
const RECORDS_NEW_ONLY = 0x4000_0000;

export interface AdoptHow {
  /** last_seen is an age in jiffies. Default: it is the low 32 bits of jiffies. */
  readonly aged?: boolean;
}

export interface AdoptedCounts {
  /** New in our table. */
  adopted: number;
  /** Were there already. */
  merged: number;
  expired: number;
  /** No room: their next packets are judged as first ones. */
  refused: number;
}

export class FlowAdopter {
  readonly counts: AdoptedCounts = { adopted: 0, merged: 0, expired: 0, refused: 0 };
  /** What is in the table already stays as it is: the programs run. */
  newOnly = false;
  readonly #program: BpfProgram;
  readonly #how: AdoptHow;
  #waiting: Buffer[] = [];

  private constructor(program: BpfProgram, how: AdoptHow) {
    this.#program = program;
    this.#how = how;
  }

  /** @throws BpfError when the kernel does not take the program, or the maps are not of this build */
  static async open(file: string, maps: ReadonlyMap<MapName, BpfMap>, how: AdoptHow = {}): Promise<FlowAdopter> {
    const object = BpfObject.open(readFileSync(file));
    try {
      const declared = new Set(object.maps.map(({ name }) => name));
      for (const [name, map] of maps) if (declared.has(name)) object.reuseMap(name, map);
      await object.load();
      return new FlowAdopter(object.program("flow_adopt"), how);
    } finally {
      object.close();
    }
  }

  /** A flow_key and a flow of this build. */
  put(record: Buffer): void {
    this.#waiting.push(record);
    if (this.#waiting.length === MOST_RECORDS) this.flush();
  }

  flush(): void {
    const records = this.#waiting;
    if (records.length === 0) return;
    this.#waiting = [];
    // The program reads a fixed number of bytes for each record that it is told of; the kernel wants at least a header.
    const room = records.length * (sizeOf("flow_key") + sizeOf("flow"));
    const count = records.length + (this.#how.aged === true ? RECORDS_AGED : 0) + (this.newOnly ? RECORDS_NEW_ONLY : 0);
    const data = Buffer.concat([Buffer.alloc(HEADER), fromBytes(u32(count)), ...records], HEADER + 4 + room);
    const { returnValue } = this.#program.testRun({ data });
    this.counts.adopted += returnValue & 0xff;
    this.counts.merged += (returnValue >>> 8) & 0xff;
    this.counts.expired += (returnValue >>> 16) & 0xff;
    this.counts.refused += (returnValue >>> 24) & 0xff;
  }

  close(): void {
    this.#program.close();
  }
}
