/** Label sets, one object for equal ones: a cloud of 100,000 endpoints has some hundred combinations. */
import type { LabelSet } from "./types.js";

export class LabelInterner {
  private readonly sets = new Map<string, LabelSet>();
  /** Of maps that were seen before: LabelReader hands on the same one for the same text. */
  private seen = new WeakMap<ReadonlyMap<string, string>, LabelSet>();
  private nextId = 1;
  private sweepAt = 4096;

  /** The one LabelSet of these labels. */
  intern(labels: ReadonlyMap<string, string>): LabelSet {
    const seen = this.seen.get(labels);
    if (seen !== undefined) return seen;
    const set = this.find(labels);
    this.seen.set(labels, set);
    return set;
  }

  private find(labels: ReadonlyMap<string, string>): LabelSet {
    const text = JSON.stringify([...labels].sort(([a], [b]) => (a < b ? -1 : 1)));
    const known = this.sets.get(text);
    if (known !== undefined) return known;
    const set: LabelSet = { id: this.nextId++, labels: new Map(labels) };
    this.sets.set(text, set);
    return set;
  }

  /** Whether so many sets have gathered that it pays to forget those that nobody uses. */
  get wantsSweep(): boolean {
    return this.sets.size > this.sweepAt;
  }

  /** Forgets all sets but these. Ids are never given again. */
  sweep(used: ReadonlySet<LabelSet>): void {
    for (const [text, set] of this.sets) if (!used.has(set)) this.sets.delete(text);
    this.seen = new WeakMap();
    this.sweepAt = Math.max(4096, this.sets.size * 2);
  }
}

/** Reads the labels of endpoints, of which many are written with the same words: those are read once. */
export class LabelReader {
  private known = new Map<string, ReadonlyMap<string, string>>();

  /** @param value metadata.labels @param read makes the map of it, or says why not and returns undefined */
  read(
    value: unknown,
    place: string,
    read: () => ReadonlyMap<string, string> | undefined,
  ): ReadonlyMap<string, string> | undefined {
    const text = isSmall(value) ? `${place}\n${JSON.stringify(value)}` : undefined;
    const known = text === undefined ? undefined : this.known.get(text);
    if (known !== undefined) return known;
    const labels = read();
    if (text === undefined || labels === undefined) return labels;
    if (this.known.size >= MOST_TEXTS) this.known = new Map();
    this.known.set(text, labels);
    return labels;
  }
}

const MOST_TEXTS = 4096;
const MOST_LABELS = 64;
const MOST_CHARACTERS = 128;

/** A few short texts: what is kept for comparing must not be somebody's two megabytes, and must not nest. */
function isSmall(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const entries = Object.entries(value);
  return (
    entries.length <= MOST_LABELS &&
    entries.every(
      ([name, text]) => name.length <= MOST_CHARACTERS && typeof text === "string" && text.length <= MOST_CHARACTERS,
    )
  );
}
