/** What one side of a rule says, reduced to a canonical form: equal meaning (as far as cheap) is equal text. */
import { comparePrefixes, contains, family } from "../model/cidr.js";
import type { Family, Prefix, RuleSide } from "../model/types.js";
import { ANY_CLASS, type ClassKey } from "./desired.js";

export const EVERYWHERE: Readonly<Record<Family, Prefix>> = { 4: "0.0.0.0/0" as Prefix, 6: "::/0" as Prefix };

/** A conjunction; what is empty or absent says nothing. */
export interface SideMatch {
  readonly key: ClassKey;
  readonly selector?: string;
  readonly notSelector?: string;
  /** Sorted, none within another. */
  readonly nets: readonly Prefix[];
  readonly notNets: readonly Prefix[];
  /** Families in which it can match; not part of the key: the rule carries them. */
  readonly families: readonly Family[];
}

/**
 * Families that the nets leave out are gone from `families`, and "everything" in all that remain counts as nothing said, so
 * that nets ["0.0.0.0/0"] is ANY_CLASS in family 4 alone. Undefined when no address can match.
 */
export function sideMatch(side: RuleSide, allowed: readonly Family[]): SideMatch | undefined {
  const families = allowed.filter(
    (one) =>
      (side.nets.length === 0 || side.nets.some((net) => family(net) === one)) &&
      !side.notNets.includes(EVERYWHERE[one]),
  );
  if (families.length === 0) return undefined;
  const spoken = (net: Prefix): boolean => families.includes(family(net));
  const notNets = minimal(side.notNets.filter(spoken));
  const everywhere = families.every((one) => side.nets.includes(EVERYWHERE[one]));
  const nets = everywhere
    ? []
    : minimal(side.nets.filter((net) => spoken(net) && !notNets.some((not) => contains(not, net))));
  if (side.nets.length > 0 && !everywhere && nets.length === 0) return undefined;
  return { key: keyOf(side, nets, notNets), ...selectorsOf(side), nets, notNets, families };
}

/** Whether it says nothing but, at most, the family. */
export function saysNothing(match: SideMatch): boolean {
  return match.key === ANY_CLASS;
}

function selectorsOf(side: RuleSide): { selector?: string; notSelector?: string } {
  return {
    ...(side.selector === undefined ? {} : { selector: side.selector }),
    ...(side.notSelector === undefined ? {} : { notSelector: side.notSelector }),
  };
}

/** Selectors are quoted, since their strings may hold anything: no two matches share a text. */
function keyOf(side: RuleSide, nets: readonly Prefix[], notNets: readonly Prefix[]): ClassKey {
  const parts: string[] = [];
  if (side.selector !== undefined) parts.push(`in ${JSON.stringify(side.selector)}`);
  if (side.notSelector !== undefined) parts.push(`not in ${JSON.stringify(side.notSelector)}`);
  if (nets.length > 0) parts.push(`nets ${nets.join(",")}`);
  if (notNets.length > 0) parts.push(`not nets ${notNets.join(",")}`);
  return parts.length === 0 ? ANY_CLASS : (parts.join(" & ") as ClassKey);
}

/** Sorted, and without those that lie within another. */
function minimal(prefixes: readonly Prefix[]): Prefix[] {
  if (prefixes.length < 2) return [...prefixes];
  const result: Prefix[] = [];
  for (const prefix of [...prefixes].sort(comparePrefixes)) {
    const last = result.at(-1);
    if (last === undefined || !contains(last, prefix)) result.push(prefix);
  }
  return result;
}
