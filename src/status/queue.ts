/**
 * What is to be written, key by key, in order: a key that goes down and up again is written twice, so that who watches sees both; but
 * no more than its last two values wait, however long nothing can be written. Pure.
 */

/** Undefined: the key is to be absent. */
export type Value = string | undefined;
export interface KeyWrite {
  readonly key: string;
  readonly value: Value;
}

export class StatusQueue {
  /** What the datastore is known to hold. */
  #written = new Map<string, string>();
  /** What it is to hold in the end. */
  readonly #wanted = new Map<string, string>();
  readonly #pending = new Map<string, Value[]>();
  #complete = false;

  get size(): number {
    return this.#pending.size;
  }

  put(key: string, value: Value): void {
    if (value === undefined) this.#wanted.delete(key);
    else this.#wanted.set(key, value);
    this.#append(key, value);
  }

  /** From now on, whatever is below our prefix and not wanted is left over from a former run. */
  complete(): void {
    if (this.#complete) return;
    this.#complete = true;
    for (const key of this.#written.keys()) if (!this.#wanted.has(key)) this.#append(key, undefined);
  }

  /** What was read from the datastore replaces what was thought to be there. */
  found(actual: ReadonlyMap<string, string>): void {
    this.#written = new Map(actual);
    for (const [key, values] of this.#pending) this.#settle(key, values);
    for (const [key, value] of this.#wanted) this.#append(key, value);
    if (this.#complete) for (const key of actual.keys()) if (!this.#wanted.has(key)) this.#append(key, undefined);
  }

  /** The next write of each of at most `limit` keys, those that have waited longest first. A key appears once. */
  next(limit: number): readonly KeyWrite[] {
    const batch: KeyWrite[] = [];
    for (const [key, [value]] of this.#pending) {
      if (batch.length === limit) break;
      batch.push({ key, value });
    }
    return batch;
  }

  /** These were written. What came meanwhile for their keys waits behind the others. */
  done(batch: readonly KeyWrite[]): void {
    for (const { key, value } of batch) {
      const values = this.#pending.get(key) ?? [];
      this.#pending.delete(key);
      if (value === undefined) this.#written.delete(key);
      else this.#written.set(key, value);
      // While it was being written, the first of three may have been thrown out.
      if (values[0] === value) values.shift();
      this.#settle(key, values);
      this.#append(key, this.#wanted.get(key));
    }
  }

  #append(key: string, value: Value): void {
    const values = this.#pending.get(key) ?? [];
    const last = values.length > 0 ? values.at(-1) : this.#written.get(key);
    if (last === value) return;
    this.#settle(key, [...values, value].slice(-2));
  }

  /** Leaves out a first value that is there already, and a key that came and went without ever having been written. */
  #settle(key: string, values: Value[]): void {
    const written = this.#written.get(key);
    const rest = values.length > 0 && values[0] === written ? values.slice(1) : values;
    if (rest.length === 0 || (written === undefined && rest.at(-1) === undefined)) this.#pending.delete(key);
    else this.#pending.set(key, rest);
  }
}
