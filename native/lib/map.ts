import type { MapInfo, UpdateMode } from "./api.js";
import { binding, type NativeMap, type NativeMapInfo } from "./binding.js";
import { mapTypeName } from "./map-types.js";

const MODES: Readonly<Record<UpdateMode, number>> = { any: 0, create: 1, replace: 2 };

/** What a new map is to be; numbers as in linux/bpf.h. */
export interface MapCreation {
  readonly type: number;
  readonly name?: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags?: number;
}

/**
 * A map. Keys and values are the kernel's bytes, in host order unless the program says otherwise; their lengths must
 * be exact. In per-CPU maps a value is `possibleCpus() × valueSize rounded up to 8`; in maps of programs or maps the
 * value read is a u32 id.
 *
 * Every call throws BpfError (EBADF) after `close()`, TypeError or RangeError for arguments of the wrong kind or size.
 */
export class BpfMap {
  /** @internal */
  readonly native: NativeMap;
  readonly #native: NativeMapInfo;
  readonly info: MapInfo;

  /** @internal */
  constructor(native: NativeMap) {
    this.native = native;
    this.#native = native.info();
    const { id, type, name, keySize, valueSize, maxEntries, flags } = this.#native;
    this.info = { id, type, typeName: mapTypeName(type), name, keySize, valueSize, maxEntries, flags };
  }

  /** A pinned map. ENOENT when there is none, EINVAL when it is no map. */
  static open(path: string): BpfMap {
    return new BpfMap(binding.openMap(path));
  }

  /** Any map of this host (needs CAP_SYS_ADMIN). */
  static fromId(id: number): BpfMap {
    return new BpfMap(binding.mapById(id));
  }

  static create(spec: MapCreation): BpfMap {
    return new BpfMap(
      binding.createMap(spec.type, spec.name, spec.keySize, spec.valueSize, spec.maxEntries, spec.flags ?? 0),
    );
  }

  /** Bytes that the kernel holds for this map now (`memlock` in its fdinfo). */
  memory(): bigint {
    return this.native.memory();
  }

  /** A copy of the value. Queues and stacks: the next one, without taking it, for an empty key. */
  get(key: Buffer): Buffer | undefined {
    return this.native.lookup(key);
  }

  /** "create" fails with EEXIST, "replace" with ENOENT; a full map with E2BIG. */
  set(key: Buffer, value: Buffer, mode: UpdateMode = "any"): void {
    const number = Object.hasOwn(MODES, mode) ? MODES[mode] : undefined;
    if (number === undefined) throw new TypeError(`map update: mode must be "any", "create" or "replace"`);
    this.native.update(key, value, number);
  }

  /** False: it was not there. */
  delete(key: Buffer): boolean {
    return this.native.remove(key);
  }

  /**
   * All elements, one after the other in two buffers: those that were there throughout, each once; what came or went
   * meanwhile may or may not be in it. (A trie that is changed meanwhile may lack others: the kernel's walk steps over
   * a branch that changes under it.) Reads in batches where kernel and map type can, else one by one; EAGAIN when the
   * map changes faster than it can be read.
   */
  dump(): { count: number; keys: Buffer; values: Buffer } {
    return this.native.dump(true);
  }

  /** The keys as they were when the iteration began; deleting meanwhile is fine. */
  *keys(): IterableIterator<Buffer> {
    const { count, keys } = this.dump();
    const size = this.info.keySize;
    for (let i = 0; i < count; i++) yield keys.subarray(i * size, (i + 1) * size);
  }

  /** The elements as they were when the iteration began. */
  *entries(): IterableIterator<[Buffer, Buffer]> {
    const { count, keys, values } = this.dump();
    const keySize = this.info.keySize;
    const valueSize = this.#native.userValueSize;
    for (let i = 0; i < count; i++) {
      yield [keys.subarray(i * keySize, (i + 1) * keySize), values.subarray(i * valueSize, (i + 1) * valueSize)];
    }
  }

  /**
   * `count` keys and as many values, each one after the other. All are written, or the BpfError's `done` says how many
   * were before the one that failed.
   */
  setBatch(keys: Buffer, values: Buffer, count: number): void {
    this.native.updateBatch(keys, values, count, true);
  }

  /** How many of the keys were there; missing keys are no error. */
  deleteBatch(keys: Buffer, count: number): number {
    return this.native.removeBatch(keys, count, true);
  }

  /** Queues and stacks; E2BIG when full. */
  push(value: Buffer): void {
    this.native.push(value);
  }

  /** Queues and stacks; undefined when empty. */
  pop(): Buffer | undefined {
    return this.native.pop();
  }

  /** Keeps the map in a bpffs; EEXIST when the path is taken. */
  pin(path: string): void {
    this.native.pin(path);
  }

  /** Gives the descriptor back. The map lives on while something else holds it. */
  close(): void {
    this.native.close();
  }
}
