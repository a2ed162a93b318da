/** What stands in iptables and ipset, with what it stands for: for the CLI. Names of chains and sets are digests, and the inventory says of what. */
import type { Family } from "../../model/types.js";
import type { Runner } from "../run.js";
import type { Inventory } from "./inventory.js";
import { classSet, isOurSet, policyChain, type Direction } from "./names.js";
import { IPTABLES, refused } from "./tools.js";
import { FAMILIES } from "./types.js";

export interface RuleCount {
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly family: Family;
  readonly chain: string;
  /** Undefined: the chain is no policy's, or of one that the inventory does not know. */
  readonly policy: string | undefined;
  readonly direction: Direction | undefined;
  /** As iptables-save prints it, after "-A CHAIN". */
  readonly rule: string;
}

export interface SetInfo {
  readonly set: string;
  readonly type: string;
  readonly family: Family;
  readonly entries: number;
  readonly maxEntries: number;
  /** Bytes. */
  readonly memory: number;
  /** Rules that name it. */
  readonly references: number;
  /** What it stands for, where that is known. */
  readonly of: string | null;
}

/** The policies' keys that the inventory's sets are made of: they are named in the sets' keys. */
export function policyKeys({ policies }: Pick<Inventory, "policies">): ReadonlySet<string> {
  const keys = new Set<string>();
  const take = (part: unknown): void => {
    if (Array.isArray(part)) part.forEach(take);
    else if (typeof part === "string" && /^(?:np|gnp|profile):/.test(part)) keys.add(part);
  };
  for (const { name } of policies) {
    try {
      take(JSON.parse(name ?? "[]"));
    } catch {
      // Not of this version: its chains stay digests.
    }
  }
  return keys;
}

/** Packets by rule of the policies' chains, of both families, counted since the rule was written. @throws DataplaneError, UnsupportedError */
export async function readRuleCounts(run: Runner, inventory: Pick<Inventory, "policies">): Promise<RuleCount[]> {
  const counts: RuleCount[] = [];
  for (const family of FAMILIES) {
    const result = await run(`${IPTABLES[family]}-save`, ["-c", "-t", "filter"]);
    if (result.status !== 0) throw refused(`read ${IPTABLES[family]} filter`, result);
    counts.push(...parseRuleCounts(result.stdout, family, policyKeys(inventory)));
  }
  return counts;
}

/** Pure. */
export function parseRuleCounts(text: string, family: Family, keys: ReadonlySet<string>): RuleCount[] {
  const chains = new Map<string, { readonly policy: string; readonly direction: Direction }>();
  for (const policy of keys)
    for (const direction of ["ingress", "egress"] as const)
      chains.set(policyChain(policy, direction), { policy, direction });
  return text.split("\n").flatMap((line) => {
    const [, packets, bytes, chain, rule] = /^\[(\d+):(\d+)\] -A (TRB-P[ie]-\S+) (.*)$/.exec(line) ?? [];
    if (packets === undefined || bytes === undefined || chain === undefined || rule === undefined) return [];
    const known = chains.get(chain);
    return [
      {
        packets: BigInt(packets),
        bytes: BigInt(bytes),
        family,
        chain,
        policy: known?.policy,
        direction: known?.direction,
        rule,
      },
    ];
  });
}

/** @throws DataplaneError, UnsupportedError */
export async function readSetInfos(run: Runner, inventory: Pick<Inventory, "policies">): Promise<SetInfo[]> {
  const result = await run("ipset", ["list", "-t"]);
  if (result.status !== 0) throw refused("list sets", result);
  return parseSetInfos(result.stdout, meanings(inventory));
}

/** Classes by the names of their sets. */
function meanings({ policies }: Pick<Inventory, "policies">): ReadonlyMap<string, string> {
  const known = new Map<string, string>();
  for (const { ingress, egress } of policies)
    for (const { rules } of [...ingress, ...egress])
      for (const { remotes } of rules)
        for (const remote of remotes) for (const family of FAMILIES) known.set(classSet(remote, family), remote);
  return known;
}

/** @param text of "ipset list -t" @param known what sets stand for, by name. Pure. */
export function parseSetInfos(text: string, known: ReadonlyMap<string, string>): SetInfo[] {
  return text.split("\n\n").flatMap((block) => {
    const of = (key: string): string => new RegExp(`^${key}: (.*)$`, "m").exec(block)?.[1] ?? "";
    const set = of("Name");
    if (!isOurSet(set)) return [];
    const header = of("Header");
    const ports = /range (\d+)-(\d+)/.exec(header);
    const rule = /^trb[46]-r-/.test(set) ? "ports or prefixes of a policy's rules" : null;
    return [
      {
        set,
        type: of("Type"),
        family: set.startsWith("trb6-") ? 6 : 4,
        entries: Number(of("Number of entries")),
        maxEntries: ports === null ? Number(/maxelem (\d+)/.exec(header)?.[1] ?? 0) : Number(ports[2]) + 1,
        memory: Number(of("Size in memory")),
        references: Number(of("References")),
        of: known.get(set) ?? rule,
      },
    ];
  });
}
