/** Policies or profiles as parsed, and as they are in force while something that they hang on is in doubt. */
import { closeDoubtful, type Doubts } from "./doubt.js";
import { same } from "./same.js";
import type { Rule } from "./types.js";

interface HasRules {
  readonly tier?: string;
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
}

export class RuleTable<K extends string, T extends HasRules> {
  /** In force. */
  readonly values = new Map<K, T>();
  private readonly parsed = new Map<K, T>();

  constructor(private readonly doubts: Doubts) {}

  /** Whether what is in force is different now. */
  set(id: K, value: T): boolean {
    this.parsed.set(id, value);
    return this.enforce(id, value);
  }

  delete(id: K): boolean {
    this.parsed.delete(id);
    return this.values.delete(id);
  }

  /** After the doubts changed: the ids of what is in force differently now. */
  reconsider(): readonly K[] {
    return [...this.parsed].filter(([id, value]) => this.enforce(id, value)).map(([id]) => id);
  }

  private enforce(id: K, value: T): boolean {
    const ingress = closeDoubtful(value.ingress, value.tier, this.doubts);
    const egress = closeDoubtful(value.egress, value.tier, this.doubts);
    const next = ingress === value.ingress && egress === value.egress ? value : { ...value, ingress, egress };
    const changed = !same(this.values.get(id), next);
    this.values.set(id, next);
    return changed;
  }
}
