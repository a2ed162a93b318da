/** Makes the flow table what it was when the maps were made; for benchmarks and tests, while no packet passes. */
import type { BpfMap } from "#libbpf";

export function resetFlows(maps: ReadonlyMap<string, BpfMap>): void {
  const map = (name: string): BpfMap => {
    const found = maps.get(name);
    if (found === undefined) throw new Error(`no map ${name}`);
    return found;
  };
  for (const name of ["flow", "fragment"]) {
    const { keys, count } = map(name).dump();
    if (count > 0) map(name).deleteBatch(keys, count);
  }
  for (const name of ["account", "pool"]) {
    // At once: an array has thousands of entries, most of them zero.
    const { keys, values, count } = map(name).dump();
    const size = values.length / count;
    for (let i = 0; i < count; i++) {
      if (values.subarray(i * size, (i + 1) * size).some((byte) => byte !== 0))
        map(name).set(keys.subarray(i * 4, (i + 1) * 4), Buffer.alloc(size));
    }
  }
  const free = map("flow_free");
  while (free.pop() !== undefined);
  for (let i = 0; i < map("flow").info.maxEntries; i++) {
    const slot = Buffer.alloc(4);
    slot.writeUInt32LE(i);
    free.push(slot);
  }
}
