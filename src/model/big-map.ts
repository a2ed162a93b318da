/**
 * Maps and sets of strings that grow to hundreds of thousands. V8 doubles a Map by moving all of it at once, some 20 ms at 130,000 entries,
 * and several of ours reach that in one turn of the event loop; these lie in many small ones, each doubled by itself. Iteration is in no order
 * that means anything. Pure.
 */

/** A power of two. */
const PARTS = 128;
/** The last characters of an address or a UUID differ most. */
const LOOKED_AT = 8;

function partOf(key: string): number {
  let hash = key.length;
  for (let i = Math.max(0, key.length - LOOKED_AT); i < key.length; i++)
    hash = (Math.imul(hash, 31) + key.charCodeAt(i)) | 0;
  return (hash ^ (hash >>> 7) ^ (hash >>> 14)) & (PARTS - 1);
}

export class BigMap<K extends string, V> implements Map<K, V> {
  readonly [Symbol.toStringTag] = "BigMap";
  readonly #parts: readonly Map<K, V>[] = Array.from({ length: PARTS }, () => new Map<K, V>());
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: K): V | undefined {
    return this.#part(key).get(key);
  }

  has(key: K): boolean {
    return this.#part(key).has(key);
  }

  set(key: K, value: V): this {
    const part = this.#part(key);
    const before = part.size;
    part.set(key, value);
    this.#size += part.size - before;
    return this;
  }

  delete(key: K): boolean {
    const gone = this.#part(key).delete(key);
    if (gone) this.#size--;
    return gone;
  }

  clear(): void {
    for (const part of this.#parts) part.clear();
    this.#size = 0;
  }

  forEach(call: (value: V, key: K, map: Map<K, V>) => void): void {
    for (const [key, value] of this) call(value, key, this);
  }

  *keys(): MapIterator<K> {
    for (const part of this.#parts) yield* part.keys();
  }

  *values(): MapIterator<V> {
    for (const part of this.#parts) yield* part.values();
  }

  *entries(): MapIterator<[K, V]> {
    for (const part of this.#parts) yield* part.entries();
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  #part(key: K): Map<K, V> {
    return this.#parts[partOf(key)] as Map<K, V>;
  }
}

export class BigSet<T extends string> implements Set<T> {
  readonly [Symbol.toStringTag] = "BigSet";
  readonly #parts: readonly Set<T>[] = Array.from({ length: PARTS }, () => new Set<T>());
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(value: T): boolean {
    return this.#part(value).has(value);
  }

  add(value: T): this {
    const part = this.#part(value);
    const before = part.size;
    part.add(value);
    this.#size += part.size - before;
    return this;
  }

  delete(value: T): boolean {
    const gone = this.#part(value).delete(value);
    if (gone) this.#size--;
    return gone;
  }

  clear(): void {
    for (const part of this.#parts) part.clear();
    this.#size = 0;
  }

  forEach(call: (value: T, same: T, set: Set<T>) => void): void {
    for (const value of this) call(value, value, this);
  }

  *values(): SetIterator<T> {
    for (const part of this.#parts) yield* part.values();
  }

  keys(): SetIterator<T> {
    return this.values();
  }

  *entries(): SetIterator<[T, T]> {
    for (const part of this.#parts) yield* part.entries();
  }

  [Symbol.iterator](): SetIterator<T> {
    return this.values();
  }

  #part(value: T): Set<T> {
    return this.#parts[partOf(value)] as Set<T>;
  }
}
