/**
 * Who of several guests with one address a connection belongs to. The kernel's routes give what is sent to such an address always to the same
 * one, an answer too: it would come past that one's rules because another opened the connection. So a connection that is begun from an address
 * which others have as well remembers its opener's number, and so does one of a guest without port security, whatever address it sent from;
 * an answer that the routes bring to anybody else, and an error about what the opener sent, is judged by the rules, as a first packet. Pure.
 */
import type { DesiredState } from "../../compile/desired.js";
import { contains, family, isSingle } from "../../model/cidr.js";
import type { Family, Prefix } from "../../model/types.js";
import { ownedOf, side, type Live } from "./endpoints.js";
import { SET_PREFIX } from "./names.js";
import { dispatchTree } from "./tree.js";
import { marked, type Bits, type Chain } from "./types.js";

export const HELD = "TRB-held";
/** Addresses of guests of this host that others have as well. */
export const sharedSet = (of: Family): string => `${SET_PREFIX[of]}shared`;

export interface Holders {
  /** Of both families. */
  readonly shared: ReadonlySet<Prefix>;
  /** By tap; of two that come to the same number one has none, and is judged always. */
  readonly numbers: ReadonlyMap<string, number>;
  /** Some guest may send from anywhere. */
  readonly open: boolean;
}

export function holdersOf(desired: DesiredState, live: readonly Live[], bits: Bits): Holders {
  const shared = sharedPrefixes(desired);
  const numbers = new Map<string, number>();
  const taken = new Set<number>([0]);
  for (const { endpoint, tap, ifindex } of live) {
    if (endpoint.portSecurity && !endpoint.owned.some(({ prefix }) => shared.has(prefix))) continue;
    const number = ((ifindex * lowest(bits.holder)) & bits.holder) >>> 0;
    if (!taken.has(number)) numbers.set(tap, number);
    taken.add(number);
  }
  return { shared, numbers, open: live.some(({ endpoint }) => !endpoint.portSecurity) };
}

const lowest = (mask: number): number => (mask & -mask) >>> 0;

/** What endpoints of this host own and share with others: the same prefix, one around it or within it, or an address that is elsewhere too. */
function sharedPrefixes({ endpoints, alsoRemote }: Pick<DesiredState, "endpoints" | "alsoRemote">): Set<Prefix> {
  const owners = new Map<Prefix, number>();
  for (const { owned } of endpoints.values())
    for (const prefix of new Set(owned.map((one) => one.prefix))) owners.set(prefix, (owners.get(prefix) ?? 0) + 1);
  const shared = new Set<Prefix>();
  for (const [prefix, count] of owners) if (count > 1 || alsoRemote.has(prefix)) shared.add(prefix);
  for (const wide of owners.keys()) {
    if (isSingle(wide)) continue;
    for (const other of owners.keys())
      if (other !== wide && contains(wide, other)) {
        shared.add(wide);
        shared.add(other);
      }
  }
  return shared;
}

/** In the chain of what a guest sends first: the connection is its. */
export function renderHold({ endpoint, tap }: Live, of: Family, { shared, numbers }: Holders, bits: Bits): Chain {
  const number = numbers.get(tap);
  if (number === undefined) return [];
  const note = `-m conntrack --ctstate NEW -j CONNMARK --set-xmark ${marked(number, bits.holder)}`;
  if (!endpoint.portSecurity) return [note];
  return ownedOf(endpoint, of)
    .filter(({ prefix }) => shared.has(prefix))
    .map(({ prefix }) => `${side("-s", prefix)}${note}`);
}

/**
 * In front of what passes as established or related: an answer to an address of several, or in a connection that somebody holds, and an
 * error about what was sent there, whose direction conntrack takes for that of an answer.
 */
export function heldRules(of: Family, { shared, open }: Holders, prefixes: readonly string[], bits: Bits): Chain {
  const answer = "-m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY";
  const to = (match: string): string[] => prefixes.map((prefix) => `-o ${prefix}+ ${answer} ${match} -j ${HELD}`);
  return [
    ...([...shared].some((prefix) => family(prefix) === of) ? to(`-m set --match-set ${sharedSet(of)} dst`) : []),
    ...(open ? to(`-m connmark ! --mark ${marked(0, bits.holder)}`) : []),
  ];
}

/** @param anew the chain that judges first packets */
export function heldChains({ shared, numbers, open }: Holders, anew: string, bits: Bits): Map<string, Chain> {
  if (shared.size === 0 && !open) return new Map();
  const own = (tap: string): string => `TRB-held-${tap}`;
  const leaves = new Map([...numbers.keys()].map((tap) => [tap, own(tap)]));
  const chains = dispatchTree(HELD, "-o", leaves, [], [`-g ${anew}`]);
  for (const [tap, number] of numbers)
    chains.set(own(tap), [`-m connmark --mark ${marked(number, bits.holder)} -j RETURN`, `-g ${anew}`]);
  return chains;
}
