/** Dropped packets by what they are counted by: port and reason, with iptables chain, family and direction too. */
import type { PinnedDrop } from "../dataplane/bpf/read.js";
import type { Family } from "../model/types.js";
import type { Invocation } from "./command.js";
import type { RulesView } from "./context.js";
import { portAsked, reasonsAsked } from "./drop-filter.js";
import { dropNames, type DropNames } from "./drop-text.js";

export interface DropCount {
  /** Null: none is known. */
  readonly port: string | null;
  readonly id: string | null;
  readonly groups: readonly string[];
  readonly reason: string;
  readonly sentence: string;
  readonly packets: bigint;
}

export interface ChainCount extends DropCount {
  readonly chain: string;
  readonly family: Family;
  readonly direction: "ingress" | "egress" | null;
}

/** With what they are called, those that are asked for. @throws UsageError, CommandError absent */
export function named<D extends PinnedDrop>(
  invocation: Pick<Invocation, "flags">,
  command: string,
  names: DropNames,
  drops: readonly D[],
): (Omit<D, "endpoint"> & DropCount)[] {
  const reasons = reasonsAsked(invocation, command);
  const port = portAsked(invocation, names.ports);
  return drops
    .filter((drop) => reasons.has(drop.reason) && (port === undefined || drop.endpoint === port.number))
    .map(({ endpoint, ...drop }) => ({
      port: names.port(endpoint),
      id: names.ports.find(({ number }) => number === endpoint)?.id ?? null,
      groups: names.groups(endpoint),
      ...drop,
    }));
}

/** Of iptables, read now: one a chain, family and reason. */
export async function dropsOfChains(
  invocation: Pick<Invocation, "flags" | "context">,
  command: string,
  rules: RulesView,
): Promise<ChainCount[]> {
  const names = dropNames(rules, await invocation.context.interfaceNames());
  const sums = new Map<string, ChainCount>();
  for (const { direction = null, ...drop } of named(invocation, command, names, await rules.dropCounts())) {
    const key = keyOf(drop);
    sums.set(key, { ...drop, direction, packets: drop.packets + (sums.get(key)?.packets ?? 0n) });
  }
  return [...sums.values()];
}

const keyOf = (drop: DropCount & { readonly chain?: string; readonly family?: Family }): string =>
  JSON.stringify([drop.id ?? drop.port, drop.reason, drop.chain, drop.family]);

/** What counters grew by; one that went back began anew. The most first. Pure. */
export function grownBy<D extends DropCount>(before: readonly D[], now: readonly D[]): D[] {
  const known = new Map(before.map((drop) => [keyOf(drop), drop.packets]));
  return now
    .map((drop) => {
      const was = known.get(keyOf(drop)) ?? 0n;
      return { ...drop, packets: drop.packets < was ? drop.packets : drop.packets - was };
    })
    .filter(({ packets }) => packets > 0n)
    .sort(mostFirst);
}

export const mostFirst = (a: DropCount, b: DropCount): number =>
  a.packets < b.packets ? 1 : a.packets > b.packets ? -1 : 0;
