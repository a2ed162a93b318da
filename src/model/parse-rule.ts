/**
 * One rule of a policy or profile. What cannot be expressed never widens (D5): an allow then matches nothing, a deny loses the
 * unreadable match and so denies more, a log matches nothing. A pass that cannot be expressed becomes such a deny: had it
 * matched nothing, a later allow of the same tier would let through what a later tier refuses.
 */
import { parseIcmp, parseIpVersion, parseRuleProtocol } from "./parse-match.js";
import { EMPTY_SIDE, parseSide } from "./parse-side.js";
import { describe, get, isObject, type RawObject } from "./raw.js";
import type { Report } from "./report.js";
import { escape } from "../text.js";
import type { Rule } from "./types.js";

const ACTIONS: ReadonlyMap<string, Rule["action"]> = new Map([
  ["allow", "allow"],
  ["deny", "deny"],
  ["pass", "pass"],
  ["log", "log"],
]);
const FIELDS = new Set([
  "action",
  "ipVersion",
  "protocol",
  "notProtocol",
  "icmp",
  "notICMP",
  "source",
  "destination",
  "http",
  "metadata",
]);
const LOST: Readonly<Record<Rule["action"], string>> = {
  allow: "this rule allows nothing",
  deny: "this match is left out, so the rule denies more than it says",
  pass: "this match is left out and the rule denies instead of passing",
  log: "this rule logs nothing",
};

/** What the parsers of a rule's parts share: where it is, what it does, and what was lost of it. */
export class RuleContext {
  lostReason: string | undefined;

  constructor(
    readonly report: Report,
    readonly path: string,
    readonly action: Rule["action"],
    /** Of the policy; undefined for global ones and profiles. */
    readonly namespace: string | undefined,
  ) {}

  /** A match that cannot be expressed. */
  lost(path: string, code: string, what: string): void {
    this.lostReason ??= `${escape(path)}: ${what}`;
    this.report.problem(`${this.path}.${path}`, code, what, LOST[this.action]);
  }

  /** An entry of a list that can be left out without widening anything. */
  entryLost(path: string, code: string, what: string): void {
    const consequence =
      this.action === "allow" ? "this entry is left out, so the rule allows less than it says" : LOST[this.action];
    this.report.problem(`${this.path}.${path}`, code, what, consequence);
  }
}

/**
 * @param direction "ingress" or "egress", for the rule's index and the paths in problems
 * @param namespace of the policy; absent for global policies and profiles
 */
export function parseRules(
  value: unknown,
  direction: "ingress" | "egress",
  namespace: string | undefined,
  report: Report,
): readonly Rule[] | undefined {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    report.fault(`spec.${direction}`, "BAD_LIST", `spec.${direction} is ${describe(value)}, not a list of rules`);
    return undefined;
  }
  const parse = (rule: unknown, i: number): Rule => parseRule(rule, direction, i, namespace, report);
  if (value.length < MANY) return value.map(parse);
  return remembered(JSON.stringify([report.key, direction]), value, parse, () => report.problems.length);
}

/** From so many rules on a policy's are remembered from one version to the next. */
const MANY = 50;
/** So many lists of them. */
const LISTS = 256;
const lists = new Map<string, Remembered>();

interface Remembered {
  readonly raw: readonly unknown[];
  /** Of each that had no problem. */
  readonly rules: readonly (Rule | undefined)[];
}

/**
 * A driver writes a whole policy for every rule that comes or goes. What says the same in the same place is the same rule,
 * and stays the same object, which saves the later stages their work as well. Rules with problems are parsed each time.
 */
function remembered(
  list: string,
  value: readonly unknown[],
  parse: (rule: unknown, i: number) => Rule,
  problems: () => number,
): readonly Rule[] {
  const former = lists.get(list);
  const good: (Rule | undefined)[] = [];
  const rules = value.map((raw, i) => {
    const known = former?.rules[i];
    if (known !== undefined && sameJson(former?.raw[i], raw)) {
      good.push(known);
      return known;
    }
    const before = problems();
    const rule = parse(raw, i);
    good.push(problems() === before && rule.inexpressible === undefined ? rule : undefined);
    return rule;
  });
  lists.delete(list);
  lists.set(list, { raw: value, rules: good });
  for (const oldest of lists.keys()) {
    if (lists.size <= LISTS) break;
    lists.delete(oldest);
  }
  return rules;
}

/** Of what JSON.parse made: the same values under the same names in the same order. Deeper than any rule goes, nothing is the same. */
function sameJson(a: unknown, b: unknown, depth = 0): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null || depth > 16) return false;
  if (Array.isArray(a) || Array.isArray(b))
    return (
      Array.isArray(a) &&
      Array.isArray(b) &&
      a.length === b.length &&
      a.every((item, i) => sameJson(item, b[i], depth + 1))
    );
  const [names, others] = [Object.keys(a), Object.keys(b)];
  return (
    names.length === others.length &&
    names.every((name, i) => name === others[i] && sameJson((a as RawObject)[name], (b as RawObject)[name], depth + 1))
  );
}

function parseRule(
  value: unknown,
  direction: string,
  position: number,
  namespace: string | undefined,
  report: Report,
): Rule {
  const path = `spec.${direction}[${position}]`;
  const index = `${direction}/${position}`;
  if (!isObject(value)) {
    const what = `the rule is ${describe(value)}, not an object`;
    report.problem(path, "BAD_RULE", what, "it may have been a Deny of anything, so it denies everything");
    return { index, action: "deny", source: EMPTY_SIDE, destination: EMPTY_SIDE, inexpressible: what };
  }
  const said = get(value, "action");
  const action = typeof said === "string" ? ACTIONS.get(said.toLowerCase()) : undefined;
  const context = new RuleContext(report, path, action ?? "deny", namespace);
  if (action === undefined) {
    const what = `the action is ${describe(said)}; Allow, Deny, Pass and Log are known`;
    context.lostReason = what;
    report.problem(`${path}.action`, "BAD_ACTION", what, "it may have been a Deny, so the rule denies what it matches");
  }
  return finish(context, index, parseMatches(value, context));
}

type Matches = Omit<Rule, "index" | "action">;

function parseMatches(rule: RawObject, context: RuleContext): Matches {
  for (const field of Object.keys(rule)) {
    if (!FIELDS.has(field))
      context.lost(field, "UNKNOWN_MATCH", `${describe(field)} is no field of a rule that Torbie knows`);
  }
  if (get(rule, "http") !== undefined) context.lost("http", "NOT_SUPPORTED", "Torbie does not look into HTTP");
  const family = parseIpVersion(rule, context);
  const protocol = parseRuleProtocol(rule, "protocol", context);
  const notProtocol = parseRuleProtocol(rule, "notProtocol", context);
  const icmp = parseIcmp(rule, "icmp", protocol, context);
  const notIcmp = parseIcmp(rule, "notICMP", protocol, context);
  return {
    ...(family !== undefined && { family }),
    ...(protocol !== undefined && { protocol }),
    ...(notProtocol !== undefined && { notProtocol }),
    ...(icmp !== undefined && { icmp }),
    ...(notIcmp !== undefined && { notIcmp }),
    source: parseSide(rule, "source", protocol, context),
    destination: parseSide(rule, "destination", protocol, context),
  };
}

function finish(context: RuleContext, index: string, matches: Matches): Rule {
  const { action, lostReason } = context;
  if (lostReason === undefined) return { index, action, ...matches };
  return { index, action: action === "pass" ? "deny" : action, ...matches, inexpressible: lostReason };
}
