/**
 * What rendering hands on to applying: sets, chains by table, and the nft text of each tap. It holds until the next rendering, which may
 * change it in place.
 */
import type { Family } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import type { Served } from "../../model/services.js";

export type TableName = "raw" | "filter";
export const TABLES: readonly TableName[] = ["raw", "filter"];
export const FAMILIES: readonly Family[] = [4, 6];

/** Types of ipset(8) that are used. */
export type SetType = "hash:net" | "hash:ip" | "hash:net,port" | "bitmap:port";

export interface RenderedSet {
  readonly name: string;
  readonly type: SetType;
  readonly family: Family;
  /** As `ipset save` prints them, "nomatch" included. */
  readonly members: ReadonlySet<string>;
}

/** Rules of a chain, each as it stands after "-A CHAIN". */
export type Chain = readonly string[];

export function sameChain(a: Chain | undefined, b: Chain | undefined): boolean {
  if (a === b) return true;
  return a !== undefined && b !== undefined && a.length === b.length && a.every((rule, i) => rule === b[i]);
}

export interface RenderedTable {
  readonly chains: ReadonlyMap<string, Chain>;
  /** Jumps from the kernel's chains, in order, before all others' rules. */
  readonly hooks: ReadonlyMap<string, Chain>;
}

export interface Rendered {
  readonly sets: ReadonlyMap<string, RenderedSet>;
  readonly tables: Readonly<Record<Family, Readonly<Record<TableName, RenderedTable>>>>;
  /** Rules of each tap's own nft chain, by interface name (link-rules.ts). */
  readonly links: ReadonlyMap<string, readonly string[]>;
  readonly problems: readonly Problem[];
  /** All in which it may differ from what was rendered before. Absent: anything. */
  readonly touched?: Touched;
}

/** By name, there or gone: sets, and chains of the table filter. */
export interface Touched {
  readonly sets: ReadonlySet<string>;
  readonly chains: Readonly<Record<Family, ReadonlySet<string>>>;
}

/** Bits of the packet mark, cleared before a packet leaves our chains, and of the connection mark. */
export interface Bits {
  readonly allow: number;
  readonly pass: number;
  readonly stateless: number;
  /** What a guest sent from an address and a MAC of its own. */
  readonly source: number;
  /** Of the connection mark: that side judges every packet. */
  readonly opener: number;
  readonly other: number;
  /** Both ends are guests of this host. */
  readonly both: number;
  /** A mask of the connection mark: number of the guest that opened it, where that must be known (holders.ts). */
  readonly holder: number;
}

export function bitsOf(markShift: number): Bits {
  const bit = (n: number): number => (n << markShift) >>> 0;
  return {
    allow: bit(0x8000),
    pass: bit(0x4000),
    stateless: bit(0x2000),
    source: bit(0x1000),
    opener: bit(0x8000),
    other: bit(0x4000),
    both: bit(0x2000),
    holder: bit(0x0fff),
  };
}

/** "value/mask" in iptables' words. */
export const marked = (value: number, mask = value): string => `0x${value.toString(16)}/0x${mask.toString(16)}`;

export interface RenderOptions {
  readonly prefixes: readonly string[];
  /** Names, or prefixes that end in "*". */
  readonly excluded: readonly string[];
  readonly markShift: number;
  readonly hostToGuest: boolean;
  /** S7: services of the host that guests reach, besides DHCP; absent: none. */
  readonly served?: Served;
}
