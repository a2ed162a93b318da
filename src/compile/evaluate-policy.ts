/** The rules of one endpoint in one direction, read one after the other: what D2's tables must come to. */
import { contains } from "../model/cidr.js";
import { evaluate, parseSelector } from "../model/selector.js";
import type {
  Address,
  LabelSet,
  LocalWorkload,
  Model,
  Policy,
  PortRange,
  Prefix,
  Rule,
  RuleSide,
} from "../model/types.js";
import { ICMP, ICMPV6, type Tuple } from "./evaluate-frame.js";

export type Direction = "ingress" | "egress";

export interface Judgement {
  readonly allowed: boolean;
  /** A Deny rule said so; else nothing admitted it. */
  readonly denied: boolean;
  readonly stateless: boolean;
  readonly rule?: string;
  readonly logged: readonly string[];
}

/** Of the tier "default" where it has no resource, as Calico creates it. */
const DEFAULT_TIER_ORDER = 1_000_000;
const PROFILE_TIER = { end: "deny" as const };

interface RuleList {
  readonly name: string;
  readonly stateful: boolean;
  readonly rules: readonly Rule[];
}

interface Stage {
  readonly end: "deny" | "pass";
  readonly lists: readonly RuleList[];
}

export class Judge {
  private readonly members = new Map<string, readonly Prefix[]>();
  private readonly stages = new Map<string, readonly Stage[]>();

  constructor(private readonly model: Model) {}

  /** May this first packet pass at this endpoint's side? Ingress is towards it. */
  judge(workload: LocalWorkload, direction: Direction, tuple: Tuple): Judgement {
    const logged: string[] = [];
    for (const stage of this.stagesOf(workload, direction)) {
      const hit = this.firstHit(stage, tuple, logged);
      if (hit === undefined) {
        if (stage.end === "deny") break;
        continue;
      }
      const { rule, list } = hit;
      if (rule.action === "pass") continue;
      const allowed = rule.action === "allow";
      return { allowed, denied: !allowed, stateless: allowed && !list.stateful, rule: ruleKey(list, rule), logged };
    }
    return { allowed: false, denied: false, stateless: false, logged };
  }

  private firstHit(stage: Stage, tuple: Tuple, logged: string[]): { rule: Rule; list: RuleList } | undefined {
    for (const list of stage.lists) {
      for (const rule of list.rules) {
        if (!this.matches(rule, tuple)) continue;
        if (rule.action !== "log") return { rule, list };
        logged.push(ruleKey(list, rule));
      }
    }
    return undefined;
  }

  private stagesOf(workload: LocalWorkload, direction: Direction): readonly Stage[] {
    const key = `${direction} ${workload.id}`;
    let stages = this.stages.get(key);
    if (stages === undefined) this.stages.set(key, (stages = this.findStages(workload, direction)));
    return stages;
  }

  private findStages(workload: LocalWorkload, direction: Direction): readonly Stage[] {
    const applying = [...this.model.policies.values()].filter(
      (policy) =>
        (direction === "ingress" ? policy.ingressApplies : policy.egressApplies) &&
        selects(policy.selector, workload.labels),
    );
    const tiers = [...new Set(applying.map(({ tier }) => tier))].sort(
      (a, b) =>
        compareNumbers(this.tierOrder(a), this.tierOrder(b)) ||
        this.tierRank(a) - this.tierRank(b) ||
        compareText(a, b),
    );
    const stages: Stage[] = tiers.map((tier) => ({
      end: this.model.tiers.get(tier)?.end ?? "deny",
      lists: applying
        .filter((policy) => policy.tier === tier)
        .sort(comparePolicies)
        .map((policy) => ({ name: policy.id, stateful: policy.stateful, rules: policy[direction] })),
    }));
    const profiles: RuleList[] = [];
    for (const name of workload.profiles) {
      const profile = this.model.profiles.get(name);
      // As with Felix: a profile that is not there denies, so those after it do not count.
      if (profile === undefined) break;
      profiles.push({ name: `profile:${name}`, stateful: true, rules: profile[direction] });
    }
    return [...stages, { ...PROFILE_TIER, lists: profiles }];
  }

  /** A tier that nobody knows stands right before the default one and ends in deny: its policies may not be left out (D5). */
  private tierOrder(name: string): number {
    return this.model.tiers.get(name)?.order ?? this.model.tiers.get("default")?.order ?? DEFAULT_TIER_ORDER;
  }

  private tierRank(name: string): number {
    return name === "default" || this.model.tiers.has(name) ? 1 : 0;
  }

  private matches(rule: Rule, tuple: Tuple): boolean {
    if (rule.inexpressible !== undefined && rule.action !== "deny") return false;
    if (rule.family !== undefined && rule.family !== tuple.family) return false;
    if (rule.protocol !== undefined && rule.protocol !== tuple.protocol) return false;
    if (rule.notProtocol !== undefined && rule.notProtocol === tuple.protocol) return false;
    if (!icmpMatches(rule, tuple)) return false;
    return (
      this.sideMatches(rule.source, tuple.source, tuple.ports?.source) &&
      this.sideMatches(rule.destination, tuple.destination, tuple.ports?.destination)
    );
  }

  private sideMatches(side: RuleSide, address: Address, port: number | undefined): boolean {
    const inNet = (prefix: Prefix): boolean => contains(prefix, address);
    const inPort = ({ first, last }: PortRange): boolean => port !== undefined && first <= port && port <= last;
    if (side.selector !== undefined && !this.membersOf(side.selector).some(inNet)) return false;
    if (side.notSelector !== undefined && this.membersOf(side.notSelector).some(inNet)) return false;
    if (side.nets.length > 0 && !side.nets.some(inNet)) return false;
    if (side.notNets.some(inNet)) return false;
    if (side.ports.length > 0 && !side.ports.some(inPort)) return false;
    // A rule that speaks of ports speaks only of protocols that have them.
    return side.notPorts.length === 0 || (port !== undefined && !side.notPorts.some(inPort));
  }

  /** All addresses that a selector stands for: of endpoints wherever they are, and of network sets. */
  private membersOf(selector: string): readonly Prefix[] {
    let members = this.members.get(selector);
    if (members === undefined) {
      members = [...this.model.endpoints.values(), ...this.model.networkSets.values()]
        .filter(({ labels }) => selects(selector, labels))
        .flatMap(({ prefixes }) => prefixes);
      this.members.set(selector, members);
    }
    return members;
  }
}

function icmpMatches(rule: Rule, tuple: Tuple): boolean {
  const says = (wanted: { readonly type: number; readonly code?: number }): boolean =>
    wanted.type === tuple.icmp?.type && (wanted.code === undefined || wanted.code === tuple.icmp.code);
  if (rule.icmp === undefined && rule.notIcmp === undefined) return true;
  if (tuple.icmp === undefined || (tuple.protocol !== ICMP && tuple.protocol !== ICMPV6)) return false;
  return (rule.icmp === undefined || says(rule.icmp)) && (rule.notIcmp === undefined || !says(rule.notIcmp));
}

function ruleKey(list: RuleList, rule: Rule): string {
  return `${list.name}/${rule.index}`;
}

function selects(selector: string, labels: LabelSet): boolean {
  return evaluate(parseSelector(selector), labels.labels);
}

function comparePolicies(a: Policy, b: Policy): number {
  return compareNumbers(a.order, b.order) || Number(b.stateful) - Number(a.stateful) || compareText(a.id, b.id);
}

/** Infinity equals itself here. */
function compareNumbers(a: number, b: number): number {
  return a === b ? 0 : a - b;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
