/** Who is measured at which sizes, and what the measurements are called. Pure. */
import type { Size } from "./cloud.js";
import { byHandOf, floorOf, limitOf, steadies, steadyOf } from "./steady.js";

/** Each in a network namespace and process of its own; bpf holds the limits too, so that they share its injector. */
export type Role = "bpf" | "forwarding" | "two_rules" | `${Peer}:${string}`;
export type Peer = "iptables_nft" | "iptables_legacy" | "nftables";
export type Judge = "bpf" | Peer;

export const BASE: Size = { rules: 10, members: 10 };
const rules = (...counts: number[]): Size[] => counts.map((count) => ({ ...BASE, rules: count }));
const members = (...counts: number[]): Size[] => counts.map((count) => ({ ...BASE, members: count }));
const groups = (...counts: number[]): Size[] => counts.map((count) => ({ ...BASE, groups: count }));
const cidrs = (...counts: number[]): Size[] => counts.map((count) => ({ ...BASE, cidrs: count }));

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
    bpf: [
      ...[BASE, ...rules(100, 1_000, 10_000), ...members(1_000, 10_000, 100_000, 1_000_000)],
      ...[...groups(10, 100), ...cidrs(10, 1_000, 10_000, 100_000), OLD_SMALL, OLD_LARGE],
    ],
    iptables_nft: [
      ...[BASE, ...rules(100, 1_000, 10_000), ...members(1_000, 10_000, 100_000)],
      ...[...groups(10, 100), ...cidrs(10, 1_000, 10_000)],
    ],
    iptables_legacy: [BASE, ...rules(1_000)],
    nftables: [
      ...[BASE, ...rules(100, 1_000, 10_000), ...members(1_000, 10_000, 100_000)],
      ...[...groups(10, 100), ...cidrs(10, 1_000, 10_000, 100_000)],
    ],
  };
}

/** What may grow, in the order of a peer's role. */
export const GROWS = ["rules", "members", "groups", "cidrs"] as const;
export type Grows = (typeof GROWS)[number];

export const firstOf = (judge: Judge, size: Size): string =>
  [`${judge}_first`, ...GROWS.flatMap((what) => (size[what] === undefined ? [] : [size[what], what]))].join("_");

const roleOf = (peer: Peer, size: Size): Role => `${peer}:${GROWS.map((what) => size[what] ?? "").join(":")}`;

export function peerOf(role: string): { readonly peer: Peer; readonly size: Size } | undefined {
  const [peer = "", ...counts] = role.split(":");
  if (counts.length !== GROWS.length) return undefined;
  const known = GROWS.flatMap((what, i) => (counts[i] ? [[what, Number(counts[i])] as const] : []));
  return { peer: peer as Peer, size: { ...BASE, ...Object.fromEntries(known) } };
}

export interface Point {
  /** How many of what grows. */
  readonly x: number;
  readonly name: string;
}

/** The measurements of one implementation that differ in one size only. */
export function curve(judge: Judge, grows: Grows, quick: boolean): Point[] {
  return sizes(quick)
    [judge].filter((size) => GROWS.every((what) => what === grows || size[what] === BASE[what]) && size !== OLD_SMALL)
    .flatMap((size) => {
      // A guest has one group where none is said; prefixes are another policy than none.
      const x = size[grows] ?? (grows === "groups" ? 1 : undefined);
      return x === undefined ? [] : [{ x, name: firstOf(judge, size) }];
    })
    .sort((a, b) => a.x - b.x);
}

/** Everything that is measured in turn, by who measures it. */
export function measurements(quick: boolean): ReadonlyMap<Role, readonly string[]> {
  const [all, steady] = [sizes(quick), steadies(quick)];
  const under = [...new Set(steady.flatMap((one) => [floorOf(one), limitOf(one)]))];
  const plan = new Map<Role, string[]>([
    [
      "bpf",
      [
        ...["insert_limit", "established_1", "established_1000", "first"],
        ...under,
        ...steady.map(steadyOf),
        ...["established_stateless", ...(quick ? [] : ["established_50000", "established_100000"])],
        ...all.bpf.map((size) => firstOf("bpf", size)),
        ...(quick ? [] : ["first_2_rules", "first_1000_rules"]),
      ],
    ],
    ["forwarding", ["forwarding"]],
    ["two_rules", ["two_rules", ...(quick ? [] : steady.map(byHandOf))]],
  ]);
  for (const peer of ["iptables_nft", "iptables_legacy", "nftables"] as const)
    for (const size of all[peer]) {
      const established = size === BASE ? [`${peer}_established`] : [];
      plan.set(roleOf(peer, size), [...established, firstOf(peer, size)]);
    }
  return plan;
}
