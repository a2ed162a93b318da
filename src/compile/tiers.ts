/** The order in which policies are asked: tiers, then policies within a tier (projectcalico.org/v3, Tier and NetworkPolicy). */
import type { Policy, Tier } from "../model/types.js";
import type { PolicyRecord } from "./policies.js";

const DEFAULT = "default";
/** Calico's own order of its default tier. */
const DEFAULT_ORDER = 1_000_000;

interface Place {
  readonly tier: Tier;
  /** 0 sorts before 1 where the orders are equal. */
  readonly rank: 0 | 1;
}

export interface TierOfPolicies {
  readonly tier: Tier;
  readonly policies: readonly (PolicyRecord & { readonly policy: Policy })[];
}

/** Whether the datastore (or Calico's convention) knows the tier. */
export function isKnownTier(name: string, tiers: ReadonlyMap<string, Tier>): boolean {
  return name === DEFAULT || tiers.has(name);
}

/** The policies grouped by tier, both in order of evaluation. A policy whose tier is unknown stands before the default tier. */
export function inOrder(records: Iterable<PolicyRecord>, tiers: ReadonlyMap<string, Tier>): TierOfPolicies[] {
  const byTier = new Map<string, (PolicyRecord & { policy: Policy })[]>();
  for (const record of records) {
    if (!isPolicy(record)) continue;
    const group = byTier.get(record.policy.tier);
    if (group === undefined) byTier.set(record.policy.tier, [record]);
    else group.push(record);
  }
  return [...byTier]
    .map(([name, policies]) => ({ ...placeOf(name, tiers), policies }))
    .sort((a, b) => compare(a.tier.order, b.tier.order) || a.rank - b.rank || compare(a.tier.name, b.tier.name))
    .map(({ tier, policies }) => ({ tier, policies: policies.sort((a, b) => comparePolicies(a.policy, b.policy)) }));
}

/** An unknown tier ends in deny: a policy may not be left out because its place is not known (D5). */
function placeOf(name: string, tiers: ReadonlyMap<string, Tier>): Place {
  const known = tiers.get(name);
  if (known !== undefined) return { tier: known, rank: 1 };
  const order = tiers.get(DEFAULT)?.order ?? DEFAULT_ORDER;
  return { tier: { name, order, end: "deny" }, rank: name === DEFAULT ? 1 : 0 };
}

/** Stateful before stateless: what both allow is a flow then. */
function comparePolicies(a: Policy, b: Policy): number {
  return compare(a.order, b.order) || Number(b.stateful) - Number(a.stateful) || compare(a.id, b.id);
}

/** Not a difference: orders may be infinite. */
function compare<T extends number | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isPolicy(record: PolicyRecord): record is PolicyRecord & { policy: Policy } {
  return record.policy !== undefined;
}
