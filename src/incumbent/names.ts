/**
 * What is Felix's on a host, told by its names alone (reference/felix.md §1.6, §2.1, §2.3, §3). "calico-…" chains are the DHCP agent's and
 * not Felix's. Pure.
 */
import type { Route } from "../links/types.js";

/** Of every version: those from before 2.1 begin with felix-, early ones of 2.1 lack the hyphen. */
const CHAIN = /^(?:cali-|cali(?:fw|tw|fh|th|pi|po)-|felix-)/;
/** cali40…, cali60…, and cali4t…, cali6t… while one is rewritten. */
const SET = /^(?:cali[46][0t]|felix-)/;
/** Every rule that it writes has its own hash as a comment. */
const COMMENT = /--comment "?cali:[A-Za-z0-9_-]{8,}"?/;

export const isItsChain = (name: string): boolean => CHAIN.test(name);
export const isItsSet = (name: string): boolean => SET.test(name);
export const isItsRule = (rule: string): boolean => COMMENT.test(rule);
export const isItsProgram = (name: string): boolean => name.startsWith("cali_");
/** A pin of a map, a program or a link. */
export const isItsPin = (name: string): boolean => name.startsWith("cali_") || name === "calico";
/** In nftables mode, one of each family. */
export const NFT_TABLE = "calico";
/** Devices by which it limits what a guest sends. */
export const LIMITER = /^bwcali/;

/** rtm_protocol: 80 where it programs routes of the cluster, else 3 (boot), as `ip route add` has too. */
const OWN_PROTOCOL = 80;
const BOOT_PROTOCOL = 3;
const WHOLE: Readonly<Record<4 | 6, string>> = { 4: "/32", 6: "/128" };

/** What it puts back when it starts, so that it may be given to it. */
export const HANDED_PROTOCOL = BOOT_PROTOCOL;

/**
 * Its routes to guests: to one address, by one tap, without a gateway. It removes every other route by a tap that it finds
 * (RemoveExternalRoutes), so that what is there with protocol boot is its.
 * @param taps ifindexes
 */
export function isItsRoute(route: Route, taps: { has(ifindex: number): boolean }): boolean {
  const { family, prefix, protocol, gateways, links, tos } = route;
  if (tos !== 0 || gateways.length > 0 || links.length !== 1 || !links.every((link) => taps.has(link))) return false;
  return protocol === OWN_PROTOCOL || (protocol === BOOT_PROTOCOL && prefix.endsWith(WHOLE[family]));
}

/** Of its protocol number, wherever they lead. */
export const hasItsProtocol = ({ protocol }: Pick<Route, "protocol">): boolean => protocol === OWN_PROTOCOL;
