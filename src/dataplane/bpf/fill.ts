/** Fills the queue of the flow table's free places, by a program of its own in the kernel (bpf/fill.bpf.c). */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BpfObject, type BpfMap } from "#libbpf";
import { LITTLE_ENDIAN } from "../../abi/codec.js";
import { MAPS } from "../../abi/layout.gen.js";
import { fromBytes, u32 } from "../../abi/records.js";
import { DataplaneError } from "../../errors.js";
import type { MapName } from "./plan.js";

/** Bytes: no frame is shorter for a test run. */
const FRAME = 14;
/** Runs in one call, off the event loop. */
const RUNS = 65_536;

/**
 * @param maps made just now: nothing is in `flow_free`, and no program runs
 * @param beside the object file that they were made from: the filling one is there too
 * @throws BpfError, DataplaneError
 */
export async function fillFree(maps: ReadonlyMap<MapName, BpfMap>, beside: string): Promise<void> {
  const places = maps.get("flow_free")?.info.maxEntries ?? 0;
  const object = BpfObject.open(readFileSync(join(dirname(beside), "fill.bpf.o")));
  try {
    for (const { name } of object.maps) {
      const map = name in MAPS ? maps.get(name as MapName) : undefined;
      if (map !== undefined) object.reuseMap(name, map);
    }
    await object.load();
    const program = object.program("fill");
    const filled = object.map("filled");
    const done = (): number => {
      const value = filled.get(fromBytes(u32(0))) ?? Buffer.alloc(4);
      return LITTLE_ENDIAN ? value.readUInt32LE() : value.readUInt32BE();
    };
    for (let before = -1, now = 0; now < places; now = done()) {
      if (now === before)
        throw new DataplaneError(
          "FLOW_TABLE_UNUSABLE",
          `only ${now} of ${places} places of the flow table can be filled`,
        );
      before = now;
      await program.testRunAsync({ data: Buffer.alloc(FRAME), repeat: Math.min(RUNS, places - now) });
    }
  } finally {
    object.close();
  }
}
