/** Felix in its nftables mode: one table a family, whose verdict maps lead to each tap's chain. Pure. */
import { listed } from "../dataplane/guard-rules.js";
import { NFT_TABLE } from "./names.js";

export interface NftTable {
  readonly family: string;
  readonly name: string;
}

/** @param output of nft -j list tables */
export function itsTables(output: string): NftTable[] {
  return listed(output, "table")
    .map(({ family, name }) => ({ family: String(family), name: String(name) }))
    .filter(({ name }) => name === NFT_TABLE);
}

/** Taps that one of its maps leads from, and one to. @param output of nft -j list table FAMILY calico */
export function coveredByMaps(output: string): ReadonlySet<string> {
  const from = new Set<string>();
  const to = new Set<string>();
  for (const map of listed(output, "map"))
    for (const element of Array.isArray(map["elem"]) ? (map["elem"] as unknown[]) : []) {
      if (!Array.isArray(element)) continue;
      const [tap, verdict] = element as [unknown, unknown];
      const chain = targetOf(verdict);
      if (typeof tap !== "string" || chain === undefined) continue;
      if (/(?:^|-)cali-fw-/.test(chain)) from.add(tap);
      if (/(?:^|-)cali-tw-/.test(chain)) to.add(tap);
    }
  return new Set([...from].filter((tap) => to.has(tap)));
}

/** {"goto": {"target": "filter-cali-fw-tap1"}} */
function targetOf(verdict: unknown): string | undefined {
  if (typeof verdict !== "object" || verdict === null) return undefined;
  for (const kind of ["goto", "jump"]) {
    const inner = (verdict as Record<string, unknown>)[kind];
    if (typeof inner !== "object" || inner === null) continue;
    const { target } = inner as Record<string, unknown>;
    if (typeof target === "string") return target;
  }
  return undefined;
}
