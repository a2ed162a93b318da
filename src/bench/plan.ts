/** Who is measured at which sizes, and what the measurements are called. Pure. */
import type { Size } from "./desired.js";

/** Each in a network namespace and process of its own; bpf holds the limits too, so that they share its injector. */
export type Role = "bpf" | "forwarding" | "two_rules" | `${Peer}:${number}:${number}`;
export type Peer = "iptables_nft" | "iptables_legacy" | "nftables";
export type Judge = "bpf" | Peer;

export const BASE: Size = { rules: 10, members: 10 };
const rules = (...counts: number[]): Size[] => counts.map((count) => ({ ...BASE, rules: count }));
const members = (...counts: number[]): Size[] => counts.map((count) => ({ ...BASE, members: count }));

/** What README has been telling of since before the curves. */
export const OLD_SMALL: Size = { rules: 2, members: 10 };
export const OLD_LARGE: Size = { rules: 1_000, members: 100_000 };

export function sizes(quick: boolean): Readonly<Record<Judge, readonly Size[]>> {
  if (quick)
    return {
      bpf: [BASE, ...rules(10_000), ...members(1_000_000)],
      iptables_nft: [BASE, ...rules(1_000)],
      iptables_legacy: [BASE],
      nftables: [BASE],
    };
  return {
    bpf: [BASE, ...rules(100, 1_000, 10_000), ...members(1_000, 10_000, 100_000, 1_000_000), OLD_SMALL, OLD_LARGE],
    iptables_nft: [BASE, ...rules(100, 1_000, 10_000), ...members(1_000, 10_000, 100_000)],
    iptables_legacy: [BASE, ...rules(1_000)],
    nftables: [BASE, ...rules(100, 1_000, 10_000), ...members(1_000, 10_000, 100_000)],
  };
}

export const firstOf = (judge: Judge, size: Size): string =>
  `${judge}_first_${size.rules}_rules_${size.members}_members`;

export function peerOf(role: string): { readonly peer: Peer; readonly size: Size } | undefined {
  const [peer = "", ruleCount, memberCount] = role.split(":");
  if (ruleCount === undefined || memberCount === undefined) return undefined;
  return { peer: peer as Peer, size: { rules: Number(ruleCount), members: Number(memberCount) } };
}

export interface Point {
  /** How many of what grows. */
  readonly x: number;
  readonly name: string;
}

/** The measurements of one implementation that differ in one size only. */
export function curve(judge: Judge, grows: keyof Size, quick: boolean): Point[] {
  const fixed = grows === "rules" ? "members" : "rules";
  return sizes(quick)
    [judge].filter((size) => size[fixed] === BASE[fixed] && size !== OLD_SMALL)
    .map((size) => ({ x: size[grows], name: firstOf(judge, size) }))
    .sort((a, b) => a.x - b.x);
}

/** Everything that is measured in turn, by who measures it. */
export function measurements(quick: boolean): ReadonlyMap<Role, readonly string[]> {
  const all = sizes(quick);
  const plan = new Map<Role, string[]>([
    [
      "bpf",
      [
        ...["floor", "limit", "insert_limit", "established_1", "established_1000", "first"],
        ...(quick ? [] : ["established_50000", "floor_1500", "limit_1500", "established_1500"]),
        ...all.bpf.map((size) => firstOf("bpf", size)),
        ...(quick ? [] : ["first_2_rules", "first_1000_rules"]),
      ],
    ],
    ["forwarding", ["forwarding"]],
    ["two_rules", ["two_rules"]],
  ]);
  for (const peer of ["iptables_nft", "iptables_legacy", "nftables"] as const)
    for (const size of all[peer]) {
      const established =
        size === BASE ? [`${peer}_established`, ...(peer === "nftables" ? [] : [`${peer}_guarded`])] : [];
      plan.set(`${peer}:${size.rules}:${size.members}`, [...established, firstOf(peer, size)]);
    }
  return plan;
}
