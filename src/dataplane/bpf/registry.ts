/**
 * Numbers for what the kernel can't name: (kind, full text) → number. What is given out and taken back is kept as a list of writes to the
 * `name` map, so that a restarted agent finds the same numbers (D6). No effects: the caller writes `takeAdditions()` before anything that
 * refers to a number, and `takeRemovals()` after nothing does.
 */
import { createHash } from "node:crypto";
import { ClassNumber, Limits, NameKind, STRUCTS } from "../../abi/layout.gen.js";
import { parse, record, type Bytes } from "../../abi/records.js";
import { DataplaneError } from "../../errors.js";

export type Kind = (typeof NameKind)[keyof typeof NameKind];

interface Range {
  readonly first: number;
  readonly end: number;
  readonly what: string;
}

const RANGES: Readonly<Record<Kind, Range>> = {
  [NameKind.NAME_ENDPOINT]: { first: 1, end: Limits.MAX_ENDPOINTS, what: "endpoints on this host" },
  [NameKind.NAME_CLASS]: { first: ClassNumber.CLASS_FIRST, end: ClassNumber.CLASS_SOURCE_PORT, what: "classes" },
  [NameKind.NAME_POLICY_SET]: { first: 1, end: 0x7fffffff, what: "policy sets" },
  [NameKind.NAME_RULE]: { first: 1, end: Limits.MAX_RULES, what: "rules in force on this host" },
  [NameKind.NAME_SOURCE_CLASS]: { first: 1, end: 0xffff, what: "source port classes" },
};

const KINDS = Object.keys(RANGES).map(Number) as Kind[];
const DIGEST = STRUCTS.name.fields.digest.length;

/** First 16 bytes of SHA-256 of the full text: what a number is found again by. */
export function digestOf(text: string): Buffer {
  return createHash("sha256").update(text, "utf8").digest().subarray(0, DIGEST);
}

/** UTF-8 of at most `limit` bytes, never ending inside a character (RFC 3629: continuation bytes are 10xxxxxx). */
export function cutUtf8(text: string, limit: number): Buffer {
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length <= limit) return bytes;
  let end = limit;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

export interface NameWrite {
  readonly key: Bytes;
  readonly value: Bytes;
}

class Numbers {
  readonly byDigest = new Map<string, number>();
  readonly used = new Map<number, string>();
  readonly retired = new Set<number>();
  #next: number;
  #holes: number[] = [];

  constructor(readonly range: Range) {
    this.#next = range.first;
  }

  adopt(number: number, digest: string): boolean {
    if (number < this.range.first || number >= this.range.end || this.used.has(number)) return false;
    this.used.set(number, digest);
    if (digest !== "" && !this.byDigest.has(digest)) this.byDigest.set(digest, number);
    return true;
  }

  /** Lowest free number; those that were given back are kept sorted, so that arrays by number stay dense. One to avoid is taken last. */
  allocate(digest: string, avoid: (number: number) => boolean = () => false): number {
    const number = this.#lowest(avoid) ?? this.#lowest(() => false);
    if (number === undefined) {
      throw new DataplaneError(
        "NUMBERS_EXHAUSTED",
        `more than ${this.range.end - this.range.first} ${this.range.what}: no number is left; nothing was changed`,
      );
    }
    this.used.set(number, digest);
    this.byDigest.set(digest, number);
    return number;
  }

  #lowest(avoid: (number: number) => boolean): number | undefined {
    const at = this.#holes.findIndex((hole) => hole < this.#next && !avoid(hole));
    if (at >= 0) return this.#holes.splice(at, 1)[0];
    for (; this.#next < this.range.end; this.#next++) {
      if (this.used.has(this.#next) || this.retired.has(this.#next)) continue;
      if (!avoid(this.#next)) return this.#next;
      this.#holes.push(this.#next);
    }
    return undefined;
  }

  free(number: number): void {
    this.retired.delete(number);
    if (number >= this.#next) return;
    let at = this.#holes.length;
    while (at > 0 && (this.#holes[at - 1] ?? 0) > number) at--;
    this.#holes.splice(at, 0, number);
  }
}

export class Registry {
  readonly #kinds = new Map<Kind, Numbers>(KINDS.map((kind) => [kind, new Numbers(RANGES[kind])]));
  #additions: NameWrite[] = [];
  #removals: { kind: Kind; number: number }[] = [];
  /** Numbers that no text of this run has asked for yet: left over from a former one. */
  readonly #adopted = new Map<Kind, Set<number>>(KINDS.map((kind) => [kind, new Set()]));

  /** From a dump of `name`. Of two numbers for one text (a crash between writing and flipping) the second is left over. */
  static read(entries: Iterable<readonly [Bytes, Bytes]>): Registry {
    const registry = new Registry();
    for (const [key, value] of entries) {
      const { kind, number } = parse("name_key", key);
      const digest = Buffer.from(parse("name", value).digest).toString("latin1");
      if (!(kind in RANGES)) continue;
      if (registry.#of(kind as Kind).adopt(number, digest)) registry.#adopted.get(kind as Kind)?.add(number);
    }
    return registry;
  }

  /** A number that the kernel refers to although it has no name (a crash in between): not given out before it is released. */
  reserve(kind: Kind, number: number): void {
    if (this.#of(kind).adopt(number, "")) this.#adopted.get(kind)?.add(number);
  }

  #of(kind: Kind): Numbers {
    const numbers = this.#kinds.get(kind);
    if (numbers === undefined) throw new RangeError(`no such kind of number: ${kind}`);
    return numbers;
  }

  /**
   * The number of a text, a new one when it has none, if possible none to `avoid`. Throws DataplaneError NUMBERS_EXHAUSTED, changing
   * nothing. `digest` where the caller knows it already.
   */
  number(kind: Kind, text: string, avoid?: (number: number) => boolean, digest = digestOf(text)): number {
    const numbers = this.#of(kind);
    const known = numbers.byDigest.get(digest.toString("latin1"));
    if (known !== undefined) {
      this.#adopted.get(kind)?.delete(known);
      return known;
    }
    return this.#enter(kind, text, digest, numbers.allocate(digest.toString("latin1"), avoid));
  }

  find(kind: Kind, text: string): number | undefined {
    return this.#of(kind).byDigest.get(digestOf(text).toString("latin1"));
  }

  /** Another number for a text; the former stays taken, without a text, until it is given to release(). */
  renew(kind: Kind, text: string): { readonly number: number; readonly former: number | undefined } {
    const numbers = this.#of(kind);
    const digest = digestOf(text);
    const former = numbers.byDigest.get(digest.toString("latin1"));
    const number = numbers.allocate(digest.toString("latin1"));
    return { number: this.#enter(kind, text, digest, number), former };
  }

  #enter(kind: Kind, text: string, digest: Buffer, number: number): number {
    const bytes = cutUtf8(text, Limits.NAME_TEXT);
    this.#additions.push({
      key: record("name_key", { kind, number }),
      value: record("name", { digest, length: bytes.length, text: bytes }),
    });
    return number;
  }

  /** Nothing in the kernel will refer to it once what is planned has been written. */
  release(kind: Kind, number: number): void {
    const numbers = this.#of(kind);
    const digest = numbers.used.get(number);
    if (digest === undefined) return;
    numbers.used.delete(number);
    if (numbers.byDigest.get(digest) === number) numbers.byDigest.delete(digest);
    numbers.retired.add(number);
    this.#adopted.get(kind)?.delete(number);
    this.#removals.push({ kind, number });
  }

  /** Numbers of a former run that nothing has asked for: what a full apply may release. */
  leftOver(kind: Kind): readonly number[] {
    return [...(this.#adopted.get(kind) ?? [])];
  }

  inUse(kind: Kind): Iterable<number> {
    return this.#of(kind).used.keys();
  }

  takeAdditions(): readonly NameWrite[] {
    const taken = this.#additions;
    this.#additions = [];
    return taken;
  }

  /** Keys to delete from `name`; from now on the numbers may be given out again. */
  takeRemovals(): readonly Bytes[] {
    const taken = this.#removals;
    this.#removals = [];
    for (const { kind, number } of taken) this.#of(kind).free(number);
    return taken.map((name) => record("name_key", name));
  }
}
