/** The layout's description, pinned beside the maps that it describes. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BpfMap } from "#libbpf";
import { describeLayout, parseDescription, type LayoutDescription } from "../../abi/description.js";
import { fromBytes, u32 } from "../../abi/records.js";

/** No map of the programs may be called so. */
const NAME = "layout";
const ARRAY = 2; // BPF_MAP_TYPE_ARRAY

/** Pins this build's description in a directory of maps, unless there is one. */
export function pinDescription(directory: string): void {
  const path = join(directory, NAME);
  if (existsSync(path)) return;
  const text = Buffer.from(JSON.stringify(describeLayout()));
  const map = BpfMap.create({ type: ARRAY, name: NAME, keySize: 4, valueSize: text.length, maxEntries: 1 });
  try {
    map.set(fromBytes(u32(0)), text);
    map.pin(path);
  } finally {
    map.close();
  }
}

/** Undefined: there is none, or none that can be read. */
export function readDescription(directory: string): LayoutDescription | undefined {
  const path = join(directory, NAME);
  if (!existsSync(path)) return undefined;
  const map = BpfMap.open(path);
  try {
    const text = map.get(fromBytes(u32(0)));
    return text === undefined ? undefined : parseDescription(text.toString("utf8"));
  } finally {
    map.close();
  }
}
