/**
 * A first packet's way through the rules that stand in the kernel, as its programs print them: what decides, and by which rules. It
 * changes and sends nothing. Only rules that this version writes are understood: another one in a chain of ours is an error, of others'
 * rules in the kernel's own chains is said where they come before ours. Pure.
 */
import { DataplaneError } from "../../errors.js";
import { quote } from "../../text.js";
import { dropReason } from "./counters.js";
import { markOfLink } from "./link-walk.js";
import { parseRule, type Marks, type Rule, type Sets, type WalkPacket } from "./rule-match.js";
import type { Printed } from "./read-back.js";
import type { TableName } from "./types.js";

/** Of one family. */
export interface StandingRules {
  readonly tables: Readonly<Record<TableName, Printed>>;
  readonly sets: Sets;
  /** nft chains of the taps, by name. */
  readonly links: Printed;
  /** Floating IP → the address that NAT makes of it. */
  readonly floating: ReadonlyMap<string, string>;
}

export type Hook = "PREROUTING" | "FORWARD" | "INPUT" | "OUTPUT";

export interface Passage {
  readonly table: TableName | "netdev";
  readonly chain: string;
  /** As printed, after "-A CHAIN". */
  readonly rule: string;
}

export interface RulesWalk {
  /** "on": no rule of ours decided; others' rules and the chain's policy do. */
  readonly verdict: "accept" | "drop" | "on";
  /** Of a drop: a name of enum reason. */
  readonly reason?: string;
  /** Rules that matched, in order. */
  readonly passed: readonly Passage[];
  /** Others' rules that are asked before ours. */
  readonly before: readonly Passage[];
  /** Hooks without our jump although ours should be there. */
  readonly unhooked: readonly Hook[];
}

/** Chains that jump to chains, at most. */
const DEEP = 64;

/**
 * @param hooks which of the kernel's chains it meets, in order: PREROUTING is that of raw
 * @param mac the sender's, where it comes from a guest
 * @throws DataplaneError FOREIGN_RULE, naming it
 */
export function walkRules(
  rules: StandingRules,
  packet: WalkPacket,
  hooks: readonly Hook[],
  mac: string | undefined,
  sourceBit: number,
): RulesWalk {
  const walker = new Walker(rules, packet);
  if (mac !== undefined && packet.in !== undefined) {
    const link = markOfLink(rules.links, packet, mac);
    if (link.rule !== undefined) walker.passed.push({ table: "netdev", ...link.rule });
    if (link.verdict === "drop") return walker.end("drop", link.reason);
    if (link.verdict === "marked") walker.marks.mark |= sourceBit;
  }
  for (const hook of hooks) {
    const verdict = walker.hook(hook);
    if (verdict === "drop") return walker.end("drop", walker.reason());
    if (verdict === "accept" && hook !== "PREROUTING") return walker.end("accept");
  }
  return walker.end("on");
}

const parsed = new Map<string, Rule | undefined>();

function ruleOf(text: string): Rule | undefined {
  if (!parsed.has(text)) parsed.set(text, parseRule(text));
  return parsed.get(text);
}

class Walker {
  readonly passed: Passage[] = [];
  readonly before: Passage[] = [];
  readonly unhooked: Hook[] = [];
  readonly marks: Marks = { mark: 0, connmark: 0 };

  constructor(
    private readonly rules: StandingRules,
    private readonly packet: WalkPacket,
  ) {}

  end(verdict: RulesWalk["verdict"], reason?: string): RulesWalk {
    const { passed, before, unhooked } = this;
    return { verdict, ...(reason === undefined ? {} : { reason }), passed, before, unhooked };
  }

  reason(): string {
    const last = this.passed.at(-1);
    return dropReason(last?.chain ?? "", last?.rule ?? "").reason;
  }

  hook(hook: Hook): "accept" | "drop" | "return" {
    const table = hook === "PREROUTING" ? "raw" : "filter";
    const all = this.rules.tables[table].get(hook) ?? [];
    const ours = all.filter((text) => / -[jg] TRB-/.test(` ${text}`));
    if (ours.length === 0) this.unhooked.push(hook);
    const first = all.findIndex((text) => ours.includes(text));
    this.before.push(...all.slice(0, Math.max(0, first)).map((rule) => ({ table, chain: hook, rule }) as const));
    return this.#run(table, hook, ours, 0);
  }

  #run(table: TableName, chain: string, rules: readonly string[], depth: number): "accept" | "drop" | "return" {
    if (depth > DEEP)
      throw new DataplaneError("FOREIGN_RULE", `chains of table ${table} call each other without end at ${chain}`);
    for (const text of rules) {
      const rule = ruleOf(text);
      if (rule === undefined) throw foreign(table, chain, text);
      if (!rule.tests.every((test) => test(this.packet, this.marks, this.rules.sets))) continue;
      const { target, xmark } = rule;
      if (target === undefined) continue;
      this.passed.push({ table, chain, rule: text });
      if (target === "ACCEPT") return "accept";
      if (target === "DROP") return "drop";
      if (target === "RETURN") return "return";
      if (target === "LOG") continue;
      if (target === "MARK" || target === "CONNMARK") {
        if (xmark === undefined) throw foreign(table, chain, text);
        const which = target === "MARK" ? "mark" : "connmark";
        this.marks[which] = ((this.marks[which] & ~xmark.mask) ^ xmark.value) >>> 0;
        continue;
      }
      const next = this.rules.tables[table].get(target);
      if (next === undefined) throw foreign(table, chain, text);
      const verdict = this.#run(table, target, next, depth + 1);
      if (verdict !== "return" || rule.goto) return verdict;
    }
    return "return";
  }
}

const foreign = (table: string, chain: string, rule: string): DataplaneError =>
  new DataplaneError(
    "FOREIGN_RULE",
    `chain ${chain} of table ${table} holds a rule that this version does not write, so what it does with the packet can't be told: ${quote(rule, 300)}. torbie check names everything that differs, --repair puts it right`,
  );
