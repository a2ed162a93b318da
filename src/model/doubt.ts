/**
 * Rules that are sound by themselves and whose meaning hangs on something unreadable: a network set whose addresses are not
 * known, or a tier whose place is not. They are closed as D5 closes a rule that cannot be expressed.
 */
import { evaluate, parseSelector } from "./selector.js";
import type { Rule, RuleSide } from "./types.js";

export interface Doubts {
  /** Tiers that could not be read. */
  readonly tiers: ReadonlySet<string>;
  /** Labels of the network sets that could not be read in full; undefined: not even those. By key. */
  readonly sets: ReadonlyMap<string, ReadonlyMap<string, string> | undefined>;
}

/** The same array when nothing of it is in doubt. */
export function closeDoubtful(rules: readonly Rule[], tier: string | undefined, doubts: Doubts): readonly Rule[] {
  const tierInDoubt = tier !== undefined && doubts.tiers.has(tier);
  if (!tierInDoubt && doubts.sets.size === 0) return rules;
  const closed = rules.map((rule) => closeRule(tierInDoubt ? withoutAllow(rule) : rule, doubts));
  return closed.every((rule, i) => rule === rules[i]) ? rules : closed;
}

function withoutAllow(rule: Rule): Rule {
  const reason = "its tier could not be read";
  if (rule.action === "allow") return { ...rule, inexpressible: reason };
  return rule.action === "pass" ? { ...rule, action: "deny", inexpressible: reason } : rule;
}

function closeRule(rule: Rule, doubts: Doubts): Rule {
  const inDoubt = (selector: string | undefined): boolean => selector !== undefined && mayMatch(selector, doubts);
  const reason = "a network set that it may name could not be read";
  if (rule.action === "allow") {
    return inDoubt(rule.source.notSelector) || inDoubt(rule.destination.notSelector)
      ? { ...rule, inexpressible: reason }
      : rule;
  }
  if (rule.action === "log" || (!inDoubt(rule.source.selector) && !inDoubt(rule.destination.selector))) return rule;
  const widened = (side: RuleSide): RuleSide => {
    if (!inDoubt(side.selector)) return side;
    const { selector: _left, ...rest } = side;
    return rest;
  };
  return {
    ...rule,
    action: "deny",
    source: widened(rule.source),
    destination: widened(rule.destination),
    inexpressible: reason,
  };
}

function mayMatch(selector: string, doubts: Doubts): boolean {
  const parsed = parseSelector(selector);
  return [...doubts.sets.values()].some((labels) => labels === undefined || evaluate(parsed, labels));
}
