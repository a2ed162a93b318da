/** What a rule's number stands for: text that people read, and that stays the same when other rules of its policy come and go. Pure. */
import type { CompiledPolicy, DesiredRule } from "../../compile/desired.js";
import type { PortRange } from "../../model/types.js";
import type { Side } from "./images-rule.js";

const ranges = (list: readonly PortRange[]): string =>
  list.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(",");

/**
 * By content, not by position: inserting a rule must not rename those behind it, whose entries would all be written again and whose counters
 * would change owners. Fields that may hold spaces come last or quoted, so that two rules can't have one text.
 */
export function ruleText(rule: DesiredRule, policy: CompiledPolicy, side: Side): string {
  const id = rule.key.slice(0, rule.key.lastIndexOf(`/${side}/`) < 0 ? undefined : rule.key.lastIndexOf(`/${side}/`));
  return [
    quoted(id === "" ? policy.name : id),
    side,
    rule.action,
    ...(rule.stateless ? ["stateless"] : []),
    ...(rule.families.length === 2 ? [] : [`ipv${rule.families.join(",")}`]),
    ...(rule.protocols === undefined ? [] : [`proto ${protocols(rule.protocols)}`]),
    ...(rule.ports === undefined ? [] : [`to ${ranges(rule.ports)}`]),
    ...(rule.sourcePorts === undefined ? [] : [`sport ${ranges(rule.sourcePorts)}`]),
    ...(rule.origin.neutronId === undefined ? [] : [`id ${JSON.stringify(rule.origin.neutronId)}`]),
    `remote ${JSON.stringify(rule.remote)}`,
  ].join(" ");
}

const quoted = (text: string): string => (/^[!#-[\]-~]+$/.test(text) ? text : JSON.stringify(text));

/** Long lists (a negated protocol) as ranges. */
function protocols(list: readonly number[]): string {
  const sorted = [...list].sort((a, b) => a - b);
  const parts: { first: number; last: number }[] = [];
  for (const protocol of sorted) {
    const last = parts.at(-1);
    if (last !== undefined && last.last === protocol - 1) last.last = protocol;
    else parts.push({ first: protocol, last: protocol });
  }
  return ranges(parts);
}
