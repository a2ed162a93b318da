/** Label sets, one object for equal ones: a cloud of 100,000 endpoints has some hundred combinations. */
import type { LabelSet } from "./types.js";

export class LabelInterner {
  private readonly sets = new Map<string, LabelSet>();
  private nextId = 1;
  private sweepAt = 4096;

  /** The one LabelSet of these labels. */
  intern(labels: ReadonlyMap<string, string>): LabelSet {
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
    this.sweepAt = Math.max(4096, this.sets.size * 2);
  }
}
