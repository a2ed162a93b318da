/** The pinned maps as they are: what the map and flow commands read. Nothing here knows what an entry means. */
import { BpfError, type BpfMap } from "#libbpf";
import { MAPS } from "../../abi/layout.gen.js";
import { fromBytes, toBytes, type Bytes } from "../../abi/records.js";
import { DataplaneError } from "../../errors.js";
import type { MapName } from "./plan.js";

export interface TableInfo {
  readonly name: MapName;
  /** "hash", "array", "lpm_trie", … */
  readonly type: string;
  readonly keySize: number;
  readonly valueSize: number;
  /** Entries that it can hold; of a ring buffer: bytes. */
  readonly maxEntries: number;
  /** Bytes of kernel memory. */
  readonly memory: bigint;
  /** False: a queue or a ring buffer, which hands out what it holds. */
  readonly readable: boolean;
}

export interface Tables {
  readonly names: readonly MapName[];
  info(name: MapName): TableInfo;
  /** All entries; of an array only what is not all zero. */
  entries(name: MapName): IterableIterator<readonly [Bytes, Bytes]>;
  get(name: MapName, key: Bytes): Bytes | undefined;
  /** How many of the keys were there. */
  delete(name: MapName, keys: readonly Bytes[]): number;
  set(name: MapName, key: Bytes, value: Bytes): void;
  /** For ring buffers and test runs. @internal */
  raw(name: MapName): BpfMap;
}

const UNREADABLE: ReadonlySet<string> = new Set(["queue", "stack", "ringbuf"]);
/** Bytes of keys in one deletion. */
const BATCH = 1 << 20;

export class PinnedTables implements Tables {
  constructor(private readonly maps: ReadonlyMap<MapName, BpfMap>) {}

  get names(): readonly MapName[] {
    return (Object.keys(MAPS) as MapName[]).sort();
  }

  raw(name: MapName): BpfMap {
    const map = this.maps.get(name);
    if (map === undefined) throw new DataplaneError("NO_SUCH_MAP", `map ${name} is not open`);
    return map;
  }

  info(name: MapName): TableInfo {
    const map = this.raw(name);
    const { typeName, keySize, valueSize, maxEntries } = map.info;
    const readable = !UNREADABLE.has(typeName);
    return { name, type: typeName, keySize, valueSize, maxEntries, memory: map.memory(), readable };
  }

  *entries(name: MapName): IterableIterator<readonly [Bytes, Bytes]> {
    const { type, keySize, valueSize, readable } = this.info(name);
    if (!readable) return;
    const { count, keys, values } = this.raw(name).dump();
    const empty = type === "array" ? Buffer.alloc(valueSize) : undefined;
    for (let i = 0; i < count; i++) {
      const value = values.subarray(i * valueSize, (i + 1) * valueSize);
      if (empty?.equals(value) !== true) yield [toBytes(keys.subarray(i * keySize, (i + 1) * keySize)), toBytes(value)];
    }
  }

  get(name: MapName, key: Bytes): Bytes | undefined {
    const value = this.raw(name).get(fromBytes(key));
    return value === undefined ? undefined : toBytes(value);
  }

  delete(name: MapName, keys: readonly Bytes[]): number {
    const map = this.raw(name);
    const step = Math.max(1, Math.floor(BATCH / map.info.keySize));
    let count = 0;
    for (let from = 0; from < keys.length; from += step) {
      const part = keys.slice(from, from + step);
      count += map.deleteBatch(fromBytes(part.join("") as Bytes), part.length);
    }
    return count;
  }

  set(name: MapName, key: Bytes, value: Bytes): void {
    try {
      this.raw(name).set(fromBytes(key), fromBytes(value));
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      throw new DataplaneError("MAP_WRITE", `writing map ${name} failed: ${error.message}`, { cause: error });
    }
  }
}
