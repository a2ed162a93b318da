/** Policy sets and compiled policies that local endpoints use: one object for equal sets, counted, gone with the last user. */
import {
  ANY_CLASS,
  type ClassKey,
  type CompiledPolicy,
  type PlaneShape,
  type PolicyKey,
  type PolicySetKey,
  type PolicySetShape,
  type DesiredRule,
} from "./desired.js";
import { compileVariant, type PolicyRecord, type Variant } from "./policies.js";

/** A set that an endpoint wants, with the variants that its planes name. */
export interface WantedSet {
  readonly shape: PolicySetShape;
  readonly variants: readonly Variant[];
}

export function wantedSet(
  ingress: readonly PlaneShape[],
  egress: readonly PlaneShape[],
  variants: readonly Variant[],
): WantedSet {
  const text = [ingress, egress].map((planes) => planes.map(({ tier, policies, end }) => [tier, end, ...policies]));
  return { shape: { key: JSON.stringify(text) as PolicySetKey, ingress, egress }, variants };
}

export class PolicySets {
  readonly sets = new Map<PolicySetKey, PolicySetShape>();
  readonly policies = new Map<PolicyKey, CompiledPolicy>();
  private readonly wanted = new Counted<PolicySetKey, WantedSet>();
  private readonly variants = new Counted<PolicyKey, Variant>();
  private readonly keysOf = new Map<string, Set<PolicyKey>>();
  private readonly naming = new Counted<ClassKey, undefined>();
  private readonly refusing = new Counted<ClassKey, undefined>();

  hold(set: WantedSet): void {
    this.wanted.add(set.shape.key, set);
  }

  drop(key: PolicySetKey): void {
    this.wanted.remove(key);
  }

  /** Whether a rule of a local set names the class; whether one that denies or passes does. */
  isNamed(key: ClassKey): boolean {
    return this.naming.has(key);
  }

  isRefused(key: ClassKey): boolean {
    return this.refusing.has(key);
  }

  /** Brings `sets` and `policies` up to date; `changed`: ids of policies whose rules may differ. */
  flush(changed: Iterable<string>, lookUp: (id: string) => PolicyRecord | undefined) {
    const sets = new Set<PolicySetKey>();
    for (const [key, set] of this.wanted.takeTouched()) {
      const held = this.sets.has(key);
      if (this.wanted.has(key) === held) continue;
      sets.add(key);
      if (held) this.sets.delete(key);
      else this.sets.set(key, set.shape);
      for (const variant of set.variants) this.count(variant, held ? "remove" : "add");
    }
    const suspects = new Map(this.variants.takeTouched());
    for (const id of changed) {
      for (const key of this.keysOf.get(id) ?? []) {
        const variant = this.variants.value(key);
        if (variant !== undefined) suspects.set(key, variant);
      }
    }
    const policies = new Set<PolicyKey>();
    for (const variant of suspects.values()) if (this.recompile(variant, lookUp)) policies.add(variant.key);
    return { sets, policies };
  }

  private count(variant: Variant, verb: "add" | "remove"): void {
    this.variants[verb](variant.key, variant);
    const keys = this.keysOf.get(variant.id) ?? new Set();
    if (this.variants.has(variant.key)) keys.add(variant.key);
    else keys.delete(variant.key);
    if (keys.size > 0) this.keysOf.set(variant.id, keys);
    else this.keysOf.delete(variant.id);
  }

  private recompile(variant: Variant, lookUp: (id: string) => PolicyRecord | undefined): boolean {
    const old = this.policies.get(variant.key);
    const record = this.variants.has(variant.key) ? lookUp(variant.id) : undefined;
    const next = record === undefined ? undefined : compileVariant(record, variant);
    if (samePolicy(old, next)) return false;
    this.countClasses(next, "add");
    this.countClasses(old, "remove");
    if (next === undefined) this.policies.delete(variant.key);
    else this.policies.set(variant.key, next);
    return true;
  }

  private countClasses(policy: CompiledPolicy | undefined, verb: "add" | "remove"): void {
    for (const rules of policy === undefined ? [] : [policy.ingress, policy.egress])
      for (const { remote, action } of rules) {
        if (remote === ANY_CLASS) continue;
        this.naming[verb](remote, undefined);
        if (action === "deny" || action === "pass") this.refusing[verb](remote, undefined);
      }
  }
}

function samePolicy(old: CompiledPolicy | undefined, next: CompiledPolicy | undefined): boolean {
  if (old === undefined || next === undefined) return old === next;
  return old.name === next.name && sameRules(old.ingress, next.ingress) && sameRules(old.egress, next.egress);
}

function sameRules(old: readonly DesiredRule[], next: readonly DesiredRule[]): boolean {
  if (old.length !== next.length) return false;
  return old.every((rule, i) => rule === next[i] || JSON.stringify(rule) === JSON.stringify(next[i]));
}

/** Things that several others hold; remembers which came or went since they were last asked for. */
class Counted<K, V> {
  private readonly held = new Map<K, { readonly value: V; count: number }>();
  private touched = new Map<K, V>();

  has(key: K): boolean {
    return this.held.has(key);
  }

  value(key: K): V | undefined {
    return this.held.get(key)?.value;
  }

  add(key: K, value: V): void {
    const entry = this.held.get(key);
    if (entry !== undefined) entry.count++;
    else {
      this.held.set(key, { value, count: 1 });
      this.touched.set(key, value);
    }
  }

  remove(key: K): void {
    const entry = this.held.get(key);
    if (entry === undefined || --entry.count > 0) return;
    this.held.delete(key);
    this.touched.set(key, entry.value);
  }

  takeTouched(): Map<K, V> {
    const { touched } = this;
    this.touched = new Map();
    return touched;
  }
}
