/** Policies and profiles in use by nobody or somebody: what each names (selectors, classes) is held as long as it exists. */
import type { Policy, PolicyId, Prefix, Profile } from "../model/types.js";
import { family, contains } from "../model/cidr.js";
import type { ClassRecord } from "./classes.js";
import { ANY_CLASS, type CompiledPolicy, type PolicyKey } from "./desired.js";
import type { SelectorRecord } from "./labels-index.js";
import type { SideMatch } from "./match.js";
import type { Membership } from "./membership.js";
import { compileRule, type CompiledRule, type RuleSource } from "./rules.js";

/** The local side of a rule that says something about it. */
export interface LocalSide {
  readonly match: SideMatch;
  readonly selector: SelectorRecord | undefined;
  readonly notSelector: SelectorRecord | undefined;
}

export interface PolicyRecord {
  readonly source: RuleSource;
  /** Absent: a profile. */
  readonly policy: Policy | undefined;
  /** Whom a policy applies to. */
  readonly selector: SelectorRecord | undefined;
  readonly classes: readonly ClassRecord[];
  /** In the order of the rules, ingress first: the bits of a variant. */
  readonly sides: readonly LocalSide[];
}

/** A policy with its local sides settled: "1" for each that holds, "" where there are none. */
export interface Variant {
  readonly key: PolicyKey;
  readonly id: string;
  readonly bits: string;
}

export class PolicyBook {
  private readonly records = new Map<string, PolicyRecord>();

  constructor(private readonly membership: Membership) {}

  get(id: string): PolicyRecord | undefined {
    return this.records.get(id);
  }

  /** What stands under the id afterwards; the former record must be given back with `release` when done with. */
  putPolicy(id: PolicyId, policy: Policy | undefined): PolicyRecord | undefined {
    return this.put(id, policy === undefined ? undefined : policySource(policy), policy);
  }

  putProfile(name: string, profile: Profile | undefined): PolicyRecord | undefined {
    return this.put(profileId(name), profile === undefined ? undefined : profileSource(profile), undefined);
  }

  release(record: PolicyRecord | undefined): void {
    if (record === undefined) return;
    for (const one of record.classes) this.membership.classes.release(one);
    for (const { selector, notSelector } of record.sides) {
      if (selector !== undefined) this.membership.index.release(selector);
      if (notSelector !== undefined) this.membership.index.release(notSelector);
    }
    if (record.selector === undefined) return;
    record.selector.policies.delete(record);
    this.membership.index.release(record.selector);
  }

  private put(id: string, source: RuleSource | undefined, policy: Policy | undefined): PolicyRecord | undefined {
    if (source === undefined) {
      this.records.delete(id);
      return undefined;
    }
    const { index, classes } = this.membership;
    const rules = compileAll(source);
    const acquire = (text: string | undefined): SelectorRecord | undefined =>
      text === undefined ? undefined : index.acquire(text);
    const record: PolicyRecord = {
      source,
      policy,
      selector: acquire(policy?.selector),
      classes: rules.filter(({ remote }) => remote.key !== ANY_CLASS).map(({ remote }) => classes.acquire(remote)),
      sides: rules.flatMap(({ local }) =>
        local === undefined
          ? []
          : [{ match: local, selector: acquire(local.selector), notSelector: acquire(local.notSelector) }],
      ),
    };
    record.selector?.policies.add(record);
    this.records.set(id, record);
    return record;
  }
}

export function profileId(name: string): string {
  return `profile:${name}`;
}

/** "~" in an id is doubled, so that no id reads like another one's variant. */
export function variantOf(record: PolicyRecord, bits: string): Variant {
  const id = record.source.id.replaceAll("~", "~~");
  return { key: (bits === "" ? id : `${id}~${bits}`) as PolicyKey, id: record.source.id, bits };
}

export function compileVariant(record: PolicyRecord, { key, bits }: Variant): CompiledPolicy {
  let side = 0;
  const holds = ({ local }: CompiledRule): boolean => local === undefined || bits[side++] === "1";
  const { source } = record;
  return {
    key,
    name: source.name,
    ingress: compileDirection(source, "ingress")
      .filter(holds)
      .map(({ rule }) => rule),
    egress: compileDirection(source, "egress")
      .filter(holds)
      .map(({ rule }) => rule),
  };
}

/** Whether a local side holds for an address or prefix; undefined: its rule does not speak of that family. */
export function sideHolds(
  { match, selector, notSelector }: LocalSide,
  membership: Membership,
  prefix: Prefix,
): boolean | undefined {
  if (!match.families.includes(family(prefix))) return undefined;
  return (
    (selector === undefined || membership.selects(selector, prefix)) &&
    (notSelector === undefined || !membership.selects(notSelector, prefix)) &&
    (match.nets.length === 0 || match.nets.some((net) => contains(net, prefix))) &&
    !match.notNets.some((net) => contains(net, prefix))
  );
}

function compileAll(source: RuleSource): CompiledRule[] {
  return [...compileDirection(source, "ingress"), ...compileDirection(source, "egress")];
}

const compiled = {
  ingress: new WeakMap<RuleSource, readonly CompiledRule[]>(),
  egress: new WeakMap<RuleSource, readonly CompiledRule[]>(),
};

function compileDirection(source: RuleSource, direction: "ingress" | "egress"): readonly CompiledRule[] {
  let rules = compiled[direction].get(source);
  if (rules === undefined) {
    rules = source[direction].flatMap((rule) => compileRule(rule, direction, source) ?? []);
    compiled[direction].set(source, rules);
  }
  return rules;
}

function policySource(policy: Policy): RuleSource {
  return {
    id: policy.id,
    name: policy.name,
    origin: policy.origin,
    stateless: !policy.stateful,
    ingress: policy.ingressApplies ? policy.ingress : [],
    egress: policy.egressApplies ? policy.egress : [],
  };
}

function profileSource(profile: Profile): RuleSource {
  const { name, ingress, egress } = profile;
  return { id: profileId(name), name, origin: profileId(name), stateless: false, ingress, egress };
}
