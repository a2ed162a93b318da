/** The maps as the engine sees them: binary text in, binary text out. The kernel's, or a model of them in tests. */
import { BpfError, type BpfMap } from "#libbpf";
import { fromBytes, type Bytes } from "../../abi/records.js";
import { DataplaneError } from "../../errors.js";
import type { MapName } from "./plan.js";

export type Written = (count: number, map?: MapName) => void;

export interface Maps {
  get(map: MapName, key: Bytes): Bytes | undefined;
  /** Everything in a map; of an array only what is not all zero. */
  dump(map: MapName): Map<Bytes, Bytes>;
  /**
   * All of them, or a DataplaneError; value undefined deletes. `written` is called with what was reached, whole or in part; with the name of
   * another map for what had to be written there with it.
   */
  write(map: MapName, entries: readonly (readonly [Bytes, Bytes | undefined])[], written: Written): void;
  /** Whether packets may have been told something else than a dump since the last call said; generations must then move (D3). */
  misled?(): boolean;
}

/** At most so many bytes of keys and values in one batch: bounded memory, and the event loop gets its turn between them. */
const BATCH_BYTES = 1 << 20;
const FULL = new Set(["E2BIG", "ENOSPC", "ENOMEM"]);

export class KernelMaps implements Maps {
  constructor(private readonly maps: ReadonlyMap<MapName, BpfMap>) {}

  of(name: MapName): BpfMap {
    const map = this.maps.get(name);
    if (map === undefined) throw new DataplaneError("NO_SUCH_MAP", `map ${name} is not open`);
    return map;
  }

  get(map: MapName, key: Bytes): Bytes | undefined {
    return this.of(map).get(fromBytes(key))?.toString("latin1") as Bytes | undefined;
  }

  dump(name: MapName): Map<Bytes, Bytes> {
    const map = this.of(name);
    const { keySize, valueSize, typeName } = map.info;
    const { count, keys, values } = map.dump();
    const mayBeEmpty = typeName === "array";
    const dump = new Map<Bytes, Bytes>();
    for (let i = 0; i < count; i++) {
      const [from, to] = [i * valueSize, (i + 1) * valueSize];
      if (mayBeEmpty && isZero(values, from, to)) continue;
      const key = keys.toString("latin1", i * keySize, (i + 1) * keySize) as Bytes;
      dump.set(key, values.toString("latin1", from, to) as Bytes);
    }
    return dump;
  }

  write(name: MapName, entries: readonly (readonly [Bytes, Bytes | undefined])[], written: Written): void {
    const map = this.of(name);
    const { keySize, valueSize } = map.info;
    const step = Math.max(1, Math.floor(BATCH_BYTES / (keySize + valueSize)));
    const deletes = entries[0]?.[1] === undefined;
    for (let from = 0; from < entries.length; from += step) {
      const part = entries.slice(from, from + step);
      const keys = Buffer.from(part.map(([key]) => key).join(""), "latin1");
      try {
        if (deletes) map.deleteBatch(keys, part.length);
        else map.setBatch(keys, Buffer.from(part.map(([, value]) => value ?? "").join(""), "latin1"), part.length);
      } catch (error) {
        if (error instanceof BpfError) written(error.done ?? 0);
        throw explain(error, name, map);
      }
      written(part.length);
    }
  }
}

/** Arrays have hundreds of thousands of elements, most of them never written. */
function isZero(bytes: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i] !== 0) return false;
  return true;
}

function explain(error: unknown, name: MapName, map: BpfMap): Error {
  if (!(error instanceof BpfError)) return error instanceof Error ? error : new Error(String(error));
  if (!FULL.has(error.code))
    return new DataplaneError("MAP_WRITE", `writing map ${name} failed: ${error.message}`, {
      cause: error,
      retryable: true,
    });
  const room = error.code === "ENOMEM" ? "the kernel has no memory for another entry" : "it is full";
  const message = `map ${name} (at most ${map.info.maxEntries} entries): ${room}. What is in force stays in force, nothing more is allowed; fewer rules, addresses or endpoints on this host make room`;
  return new DataplaneError("MAP_FULL", message, { cause: error, retryable: true });
}
