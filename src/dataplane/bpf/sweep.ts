/** Gives ports' shares of the flow table back at once, by a program of its own in the kernel (bpf/adopt.bpf.c). */
import { readFileSync } from "node:fs";
import { BpfObject } from "#libbpf";
import { decode, sizeOf } from "../../abi/codec.js";
import { MAPS } from "../../abi/layout.gen.js";
import { fromBytes, toBytes, u32 } from "../../abi/records.js";
import { built } from "./built.js";
import type { MapName } from "./plan.js";
import type { Tables } from "./tables.js";

/** As in bpf/adopt.bpf.c. */
const STEPS = 64;
const HEADER = 16;
/** Runs in one call: the event loop gets its turn in between. */
const RUNS = 256;

/**
 * Takes what is over, or was deleted from `flow`, off the lists of these ports.
 * @throws BpfError when the kernel does not take the program, or the maps are not of this build
 */
export async function sweepFlows(
  tables: Tables,
  endpoints: ReadonlySet<number>,
  file = built("adopt.bpf.o"),
): Promise<void> {
  const object = BpfObject.open(readFileSync(file));
  try {
    for (const { name } of object.maps) if (name in MAPS) object.reuseMap(name, tables.raw(name as MapName));
    await object.load();
    const program = object.program("flow_sweep");
    for (const number of endpoints) {
      if (number === 0) continue;
      const data = Buffer.concat([Buffer.alloc(HEADER), fromBytes(u32(number))]);
      // The hand may stand in the middle, and goes round to the start.
      for (let left = 2 * countOf(tables, number) + STEPS; left > 0; left -= RUNS * STEPS)
        await program.testRunAsync({ data, repeat: Math.min(RUNS, Math.ceil(left / STEPS)) });
    }
  } finally {
    object.close();
  }
}

const countOf = (tables: Tables, number: number): number =>
  decode("account", fromBytes(tables.get("account", u32(number)) ?? toBytes(Buffer.alloc(sizeOf("account"))))).count;
