/** Policies and the sets of them that ports have → chains that all their ports share. Pure. */
import type {
  ClassKey,
  CompiledPolicy,
  DesiredState,
  PlaneShape,
  PolicySetKey,
  PolicySetShape,
} from "../../compile/desired.js";
import type { Family } from "../../model/types.js";
import { planeChain, policyChain, setChain, type Direction } from "./names.js";
import { ALLOW, ALLOW_STATELESS, PASS, renderRules } from "./rules.js";
import { marked, type Bits, type Chain, type RenderedSet } from "./types.js";

const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];

export interface PolicyChains {
  readonly chains: ReadonlyMap<string, Chain>;
  readonly sets: readonly RenderedSet[];
  readonly classes: readonly ClassKey[];
}

/** Chains in which a rule's verdict is noted: entered by goto, so that their end is the end of the policy. */
export function verdictChains(bits: Bits): Map<string, Chain> {
  const note = (value: number): Chain => [`-j MARK --set-xmark ${marked(value)}`];
  return new Map([
    [ALLOW, note(bits.allow)],
    [ALLOW_STATELESS, note((bits.allow | bits.stateless) >>> 0)],
    [PASS, note(bits.pass)],
  ]);
}

/** One object for one policy: chains of a policy that did not change are not rendered again. */
const rendered = new WeakMap<CompiledPolicy, Readonly<Record<Family, PolicyChains>>>();

export function policyChains(policy: CompiledPolicy, family: Family): PolicyChains {
  let both = rendered.get(policy);
  if (both === undefined) rendered.set(policy, (both = { 4: renderPolicy(policy, 4), 6: renderPolicy(policy, 6) }));
  return both[family];
}

function renderPolicy(policy: CompiledPolicy, family: Family): PolicyChains {
  const sides = DIRECTIONS.map((direction) => ({
    name: policyChain(policy.key, direction),
    ...renderRules(policy[direction], { policy: policy.key, direction, family }),
  }));
  return {
    chains: new Map(sides.map(({ name, rules }) => [name, rules])),
    sets: sides.flatMap(({ sets }) => sets),
    classes: sides.flatMap(({ classes }) => classes),
  };
}

/**
 * Chains of sets, the same in both families. Remembered: a rule more or less in a policy leaves those of the sets that hold it as they
 * were, and there may be hundreds.
 */
export class SetChains {
  readonly #known = new WeakMap<
    PolicySetShape,
    { readonly traits: string; readonly chains: ReadonlyMap<string, Chain> }
  >();

  constructor(private readonly bits: Bits) {}

  /** A packet that leaves the chain carries the bit that says "allowed", or was not; only a Deny rule drops it in there. */
  of(set: PolicySetShape, policies: DesiredState["policies"]): ReadonlyMap<string, Chain> {
    let traits = "";
    for (const direction of DIRECTIONS)
      for (const plane of set[direction])
        for (const key of plane.policies) traits += traitsOf(policies.get(key), direction);
    const known = this.#known.get(set);
    if (known?.traits === traits) return known.chains;
    const chains = new Map<string, Chain>();
    for (const direction of DIRECTIONS) renderSet(chains, set.key, direction, set[direction], policies, this.bits);
    this.#known.set(set, { traits, chains });
    return chains;
  }
}

const traits = new WeakMap<CompiledPolicy, Readonly<Record<Direction, string>>>();

/** All that a set's chains depend on in a policy, and whether it has rules that remember no flow. */
export function traitsOf(policy: CompiledPolicy | undefined, direction: Direction): string {
  if (policy === undefined) return "-";
  let known = traits.get(policy);
  if (known === undefined) {
    const of = (rules: CompiledPolicy[Direction]): string =>
      rules.length === 0 ? "-" : rules.some(({ action }) => action === "pass") ? "p" : "r";
    traits.set(policy, (known = { ingress: of(policy.ingress), egress: of(policy.egress) }));
  }
  return known[direction];
}

function renderSet(
  chains: Map<string, Chain>,
  key: PolicySetKey,
  direction: Direction,
  planes: readonly PlaneShape[],
  policies: DesiredState["policies"],
  bits: Bits,
): void {
  const allowed = `-m mark --mark ${marked(bits.allow)} -j RETURN`;
  const decided = `-m mark ! --mark ${marked(0, (bits.allow | bits.pass) >>> 0)} -j RETURN`;
  const speaking = planes
    .map((plane) => ({
      ...plane,
      policies: plane.policies.filter((one) => (policies.get(one)?.[direction].length ?? 0) > 0),
    }))
    // A tier whose policies hold no rule still ends, in deny if that is its end.
    .filter(({ policies: some, end }) => some.length > 0 || end === "deny");
  const [only] = speaking;
  const passes = speaking.some(({ policies: some }) =>
    some.some((one) => policies.get(one)?.[direction].some(({ action }) => action === "pass")),
  );
  const rules: string[] = [];
  if (speaking.length === 1 && only !== undefined && !passes)
    for (const policy of only.policies) rules.push(`-j ${policyChain(policy, direction)}`, allowed);
  else
    speaking.forEach((plane, number) => {
      const chain = planeChain(key, direction, number);
      chains.set(
        chain,
        plane.policies.flatMap((policy) => [`-j ${policyChain(policy, direction)}`, decided]),
      );
      rules.push(`-j ${chain}`, allowed);
      if (plane.end === "deny") rules.push(`-m mark --mark ${marked(0, bits.pass)} -j RETURN`);
      rules.push(`-j MARK --set-xmark ${marked(0, bits.pass)}`);
    });
  chains.set(setChain(key, direction), rules);
}
