/**
 * All chains of the table filter and all sets, put together; what changed in some policies or members is changed in it, in place, so that
 * it costs what changed and not what stands. Pure but for that.
 */
import type {
  ClassKey,
  CompiledPolicy,
  DesiredDelta,
  DesiredState,
  PolicyKey,
  PolicySetKey,
} from "../../compile/desired.js";
import type { Family } from "../../model/types.js";
import { classSet } from "./names.js";
import { policyChains, traitsOf, type SetChains } from "./policy.js";
import { FAMILIES, sameChain, type Chain, type RenderedSet, type Touched } from "./types.js";

type Policies = Pick<DesiredState, "policies">;

export interface Parts {
  /** What is there besides; taken over. */
  readonly sets: Map<string, RenderedSet>;
  readonly chains: Readonly<Record<Family, Map<string, Chain>>>;
  readonly classSet: (key: ClassKey, of: Family) => RenderedSet;
  /** A chain that depends on whether any policy has rules that remember no flow. */
  readonly forward: { readonly name: string; readonly render: (of: Family, anyStateless: boolean) => Chain };
}

/** Touched, while it is being found out. */
interface Named {
  readonly sets: Set<string>;
  readonly chains: Readonly<Record<Family, Set<string>>>;
}

export class Composition {
  /** Undefined: a set names it, and there is none. */
  readonly #used = new Map<PolicyKey, CompiledPolicy | undefined>();

  constructor(
    private readonly parts: Parts,
    desired: Pick<DesiredState, "sets" | "policies">,
    keys: Iterable<PolicySetKey>,
    setChains: SetChains,
  ) {
    const { sets, chains } = parts;
    for (const key of keys) {
      const shape = desired.sets.get(key) ?? { key, ingress: [], egress: [] };
      for (const of of FAMILIES)
        for (const [name, chain] of setChains.of(shape, desired.policies)) chains[of].set(name, chain);
      for (const plane of [...shape.ingress, ...shape.egress])
        for (const policy of plane.policies) this.#used.set(policy, desired.policies.get(policy));
    }
    for (const policy of this.#used.values())
      for (const of of FAMILIES) {
        if (policy === undefined) continue;
        const found = policyChains(policy, of);
        for (const [name, chain] of found.chains) chains[of].set(name, chain);
        for (const set of found.sets) sets.set(set.name, set);
        for (const one of found.classes) this.#putClass(one, of);
      }
    this.#forward(desired);
  }

  get sets(): ReadonlyMap<string, RenderedSet> {
    return this.parts.sets;
  }

  get chains(): Readonly<Record<Family, ReadonlyMap<string, Chain>>> {
    return this.parts.chains;
  }

  /**
   * Brings it up to a change that leaves endpoints and taps as they were.
   * @param members classes whose members differ
   * @returns undefined: more may be different than can be followed, and nothing was done
   */
  follow(desired: Policies, delta: DesiredDelta, members: Iterable<ClassKey>): Touched | undefined {
    const changed = [...delta.policies].filter((key) => this.#used.has(key));
    if (delta.sets.size > 0 || !changed.every((key) => this.#isLike(this.#used.get(key), desired.policies.get(key))))
      return undefined;
    const touched: Named = { sets: new Set(), chains: { 4: new Set(), 6: new Set() } };
    for (const key of changed) for (const of of FAMILIES) this.#replace(key, desired, of, touched);
    for (const key of changed) this.#used.set(key, desired.policies.get(key));
    for (const key of members)
      for (const of of FAMILIES) if (this.parts.sets.has(classSet(key, of))) touched.sets.add(this.#putClass(key, of));
    for (const of of this.#forward(desired)) touched.chains[of].add(this.parts.forward.name);
    return touched;
  }

  /** Chains of sets stay as they are, and no class that it named goes out of use, as others might name it too. */
  #isLike(was: CompiledPolicy | undefined, now: CompiledPolicy | undefined): boolean {
    if (was === undefined || now === undefined) return false;
    return (
      traitsOf(was, "ingress") === traitsOf(now, "ingress") &&
      traitsOf(was, "egress") === traitsOf(now, "egress") &&
      FAMILIES.every((of) => {
        const names = new Set(policyChains(now, of).classes);
        return policyChains(was, of).classes.every((key) => names.has(key));
      })
    );
  }

  #replace(key: PolicyKey, desired: Policies, of: Family, touched: Named): void {
    const [was, now] = [this.#used.get(key), desired.policies.get(key)];
    if (was === undefined || now === undefined) return;
    const { sets, chains } = this.parts;
    const [before, after] = [policyChains(was, of), policyChains(now, of)];
    for (const [name, chain] of after.chains) {
      if (sameChain(chains[of].get(name), chain)) continue;
      chains[of].set(name, chain);
      touched.chains[of].add(name);
    }
    for (const { name } of before.sets) if (sets.delete(name)) touched.sets.add(name);
    for (const set of after.sets) {
      sets.set(set.name, set);
      touched.sets.add(set.name);
    }
    for (const one of after.classes) if (!sets.has(classSet(one, of))) touched.sets.add(this.#putClass(one, of));
  }

  #putClass(key: ClassKey, of: Family): string {
    const set = this.parts.classSet(key, of);
    this.parts.sets.set(set.name, set);
    return set.name;
  }

  /** Of which families it differs. */
  #forward({ policies }: Policies): Family[] {
    const { name, render } = this.parts.forward;
    const stateless = [...policies.values()].some(isStateless);
    return FAMILIES.filter((of) => {
      const chain = render(of, stateless);
      if (sameChain(this.parts.chains[of].get(name), chain)) return false;
      this.parts.chains[of].set(name, chain);
      return true;
    });
  }
}

const stateless = new WeakMap<CompiledPolicy, boolean>();

function isStateless(policy: CompiledPolicy): boolean {
  let known = stateless.get(policy);
  if (known === undefined) {
    known = [...policy.ingress, ...policy.egress].some((rule) => rule.stateless);
    stateless.set(policy, known);
  }
  return known;
}
