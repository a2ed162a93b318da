/** The addresses that a local endpoint owns, cut where rules tell them apart. */
import { comparePrefixes, contains, family, isSingle, prefixLength } from "../model/cidr.js";
import type { LocalWorkload, Prefix } from "../model/types.js";
import type { OwnedPrefix } from "./desired.js";
import type { Membership } from "./membership.js";
import type { LocalSide } from "./policies.js";

/** Fixed addresses, then pairs; nothing twice, and no MAC where it is the endpoint's own. */
export function ownedOf(workload: LocalWorkload): OwnedPrefix[] {
  const owned = new Map<string, OwnedPrefix>();
  for (const prefix of workload.fixed) owned.set(prefix, { prefix, kind: "fixed" });
  for (const { prefix, mac } of workload.pairs) {
    const own = mac === undefined || mac === workload.mac;
    const text = own ? prefix : `${prefix} ${mac}`;
    if (!owned.has(text)) owned.set(text, { prefix, kind: "pair", ...(own ? {} : { mac }) });
  }
  return [...owned.values()];
}

/**
 * Adds a prefix wherever a net or a selector's prefix of a local side lies within an owned one, so that every owned prefix, less
 * the longer ones in it, is wholly inside or outside of each. Single addresses that other endpoints have within an owned prefix
 * do not count: a pair of 0.0.0.0/0 would be cut into as many pieces as the cloud has endpoints.
 */
export function cut(owned: readonly OwnedPrefix[], sides: readonly LocalSide[], membership: Membership): OwnedPrefix[] {
  const present = new Set(owned.map(({ prefix }) => prefix));
  const wide = [...present].filter((prefix) => !isSingle(prefix));
  const selectors = new Set(
    sides.flatMap(({ selector, notSelector }) => [selector, notSelector]).filter((one) => one !== undefined),
  );
  const nets = new Set([
    ...sides.flatMap(({ match }) => [...match.nets, ...match.notNets]),
    ...[...selectors].flatMap((selector) => wide.flatMap((prefix) => membership.prefixesWithin(selector, prefix))),
  ]);
  const pieces: OwnedPrefix[] = [];
  for (const net of [...nets].sort(comparePrefixes)) {
    if (present.has(net)) continue;
    for (const whole of longestAround(owned, net)) pieces.push({ ...whole, prefix: net });
  }
  return [...owned, ...pieces];
}

/** What the longest owned prefix around a net says (several entries where MACs differ). */
function longestAround(owned: readonly OwnedPrefix[], net: Prefix): OwnedPrefix[] {
  const around = owned.filter(({ prefix }) => family(prefix) === family(net) && contains(prefix, net));
  const longest = Math.max(...around.map(({ prefix }) => prefixLength(prefix)));
  return around.filter(({ prefix }) => prefixLength(prefix) === longest);
}
