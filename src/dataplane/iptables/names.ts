/** Names of chains and sets: all begin with our prefixes, so that what is ours is known by its name. Pure. */
import { createHash } from "node:crypto";
import type { Family } from "../../model/types.js";

export const CHAIN_PREFIX = "TRB-";
export const SET_PREFIX: Readonly<Record<Family, string>> = { 4: "trb4-", 6: "trb6-" };

/** More than a host has; what is asked again is remembered, since a set's name stands in the chains of all its ports. */
const MOST_KNOWN = 1 << 16;
const known = new Map<string, string>();

/** Chains have room for 28 characters, sets for 31; keys of policies are longer. */
export function digest(key: string): string {
  let short = known.get(key);
  if (short === undefined) {
    if (known.size >= MOST_KNOWN) known.clear();
    short = createHash("sha256").update(key).digest("hex").slice(0, 14);
    known.set(key, short);
  }
  return short;
}

export const isOurChain = (name: string): boolean => name.startsWith(CHAIN_PREFIX);
export const isOurSet = (name: string): boolean => /^trb[46]-/.test(name);

export type Direction = "ingress" | "egress";
export const policyChain = (key: string, direction: Direction): string =>
  `${CHAIN_PREFIX}P${direction === "ingress" ? "i" : "e"}-${digest(key)}`;
export const setChain = (key: string, direction: Direction): string =>
  `${CHAIN_PREFIX}S${direction === "ingress" ? "i" : "e"}-${digest(key)}`;
export const planeChain = (key: string, direction: Direction, number: number): string =>
  `${CHAIN_PREFIX}L${direction === "ingress" ? "i" : "e"}${number}-${digest(key)}`;
export const classSet = (key: string, family: Family): string => `${SET_PREFIX[family]}c-${digest(key)}`;
/** A set of a policy's: `what` says of which run of its rules, and of what shape. */
export const ruleSet = (key: string, what: string, family: Family): string =>
  `${SET_PREFIX[family]}r-${digest(`${key} ${what}`)}`;

/** Words of iptables for interfaces: a name that ends in "+" means all that begin so, and can't be named alone. */
export const isSayable = (name: string): boolean => /^[A-Za-z0-9_.-]{1,15}$/.test(name);
