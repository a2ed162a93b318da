/** What is each tap's own: from where it may send, and which policies are asked for which of its addresses. Pure. */
import type { DesiredEndpoint, DesiredState, OwnedPrefix, PolicySetKey } from "../../compile/desired.js";
import { comparePrefixes, family, isSingle, prefixLength } from "../../model/cidr.js";
import type { Family } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import { settledTap, type Interfaces } from "../backend.js";
import { digest, isSayable, setChain, type Direction } from "./names.js";
import { marked, type Bits, type Chain } from "./types.js";

/** An endpoint that passes something, on its tap. */
export interface Live {
  readonly endpoint: DesiredEndpoint;
  readonly tap: string;
  readonly hostMac: string;
  readonly ifindex: number;
}

export function liveEndpoints(
  desired: Pick<DesiredState, "endpoints">,
  { taps }: Pick<Interfaces, "taps">,
): { live: Live[]; problems: Problem[] } {
  const live: Live[] = [];
  const problems: Problem[] = [];
  for (const endpoint of desired.endpoints.values()) {
    const tap = settledTap(taps, endpoint.interfaceName);
    if (tap === undefined || !endpoint.adminUp || endpoint.blocked !== undefined) continue;
    if (isSayable(tap.name)) live.push({ endpoint, tap: tap.name, hostMac: tap.mac, ifindex: tap.ifindex });
    else
      problems.push({
        where: `interface ${JSON.stringify(tap.name)}`,
        code: "NAME_NOT_SAYABLE",
        what: "iptables can't name this interface alone",
        consequence: "its endpoint passes nothing",
      });
  }
  live.sort((a, b) => (a.tap < b.tap ? -1 : 1));
  return { live, problems };
}

/** Of one family, the longest first, so that the first that holds an address is the one that counts; fixed before pairs. */
export function ownedOf(endpoint: DesiredEndpoint, of: Family): OwnedPrefix[] {
  return endpoint.owned
    .filter(({ prefix }) => family(prefix) === of)
    .sort(
      (a, b) =>
        prefixLength(b.prefix) - prefixLength(a.prefix) ||
        comparePrefixes(a.prefix, b.prefix) ||
        Number(a.kind === "pair") - Number(b.kind === "pair"),
    );
}

const own = (kind: string, tap: string): string => `TRB-${kind}-${/^[A-Za-z0-9_.-]*$/.test(tap) ? tap : digest(tap)}`;
export const fromChain = (tap: string): string => own("from", tap);
export const toChain = (tap: string): string => own("to", tap);
export const sourceChain = (tap: string): string => own("src", tap);
export const openChain = (tap: string): string => own("open", tap);
export const relatedChain = (tap: string): string => own("rel", tap);

/** First packets from the guest. */
export function renderFrom({ endpoint }: Live, of: Family, bits: Bits): Chain {
  if (!endpoint.portSecurity) return [`-j MARK --set-xmark ${marked(bits.allow)}`];
  const owned = ownedOf(endpoint, of);
  return [
    // But for what it sends to a floating IP of its own, which NAT has made this.
    ...owned
      .filter(({ prefix }) => isSingle(prefix))
      .map(({ prefix }) => `-s ${prefix} -d ${prefix} -m conntrack ! --ctstate DNAT -j DROP`),
    ...judged("-s", endpoint, of, "egress", bits),
  ];
}

/** First packets towards the guest: to what it has, by the rules of the address. */
export function renderTo({ endpoint }: Live, of: Family, bits: Bits): Chain {
  if (!endpoint.portSecurity) return [`-j MARK --set-xmark ${marked(bits.allow)}`];
  return judged("-d", endpoint, of, "ingress", bits);
}

/** By the rules of the first prefix that holds the address; what they do not admit is dropped here, and counted for this tap. */
function judged(which: "-s" | "-d", endpoint: DesiredEndpoint, of: Family, direction: Direction, bits: Bits): Chain {
  const owned = ownedOf(endpoint, of);
  const sets = owned.map(({ set }) => set ?? endpoint.set);
  const end = [`-m mark --mark ${marked(bits.allow)} -j RETURN`, "-j DROP"];
  // Almost always one set for all: it is asked by jump, so that it comes back here.
  if (new Set(sets).size <= 1)
    return sets[0] === undefined
      ? ["-j DROP"]
      : [
          ...owned.map(({ prefix }) => `${side(which, prefix)}-j ${setChain(sets[0] as PolicySetKey, direction)}`),
          ...end,
        ];
  return [
    ...owned.flatMap(({ prefix, set }) => [
      `${side(which, prefix)}-j ${setChain(set ?? endpoint.set, direction)}`,
      ...end.map((rule) => `${side(which, prefix)}${rule}`),
    ]),
    "-j DROP",
  ];
}

export const side = (which: "-s" | "-d", prefix: string): string =>
  prefix.endsWith("/0") ? "" : `${which} ${prefix} `;

/** An ICMP error is about a flow of this guest: noted in the mark. What was sent to a floating IP has the guest's own address in the answers. */
export function renderRelated({ endpoint }: Live, of: Family, bits: Bits): Chain {
  const note = `-j MARK --set-xmark ${marked(bits.allow)}`;
  if (!endpoint.portSecurity) return [note];
  return ownedOf(endpoint, of).flatMap(({ prefix }) =>
    prefix.endsWith("/0")
      ? [note]
      : [`-m conntrack --ctorigsrc ${prefix} ${note}`, `-m conntrack --ctreplsrc ${prefix} ${note}`],
  );
}

/** Answers to the host that a guest without port security gives: from what it has. */
export function renderOpen({ endpoint }: Live, of: Family): Chain {
  const own = ownedOf(endpoint, of).map(({ prefix }) => `${side("-s", prefix)}-j RETURN`);
  return [...own, ...(of === 6 ? [`-s ${LINK_LOCAL} -j RETURN`] : []), "-j DROP"];
}

const LINK_LOCAL = "fe80::/10";

/**
 * What a guest may send besides what nft has marked at its tap's ingress: from its own addresses, or from any, where port security is off.
 * Without those rules, on another tap of that name that nobody has claimed yet, it is all that it may send.
 */
export function renderSource({ endpoint }: Live, of: Family, hostLinkLocal: string): Chain {
  const rules: string[] = [];
  if (endpoint.portSecurity) {
    rules.push(`-p udp -m udp --sport ${of === 4 ? 67 : 547} --dport ${of === 4 ? 68 : 546} -j DROP`);
  }
  if (of === 4) {
    rules.push(`-s 0.0.0.0/32 -d 255.255.255.255/32 -p udp -m udp --sport 68 --dport 67 -j RETURN`);
  } else {
    for (const type of [135, 131, 132, 143]) rules.push(`-s ::/128 -p icmpv6 -m icmp6 --icmpv6-type ${type} -j RETURN`);
    if (endpoint.portSecurity) rules.push(`-s ${hostLinkLocal}/128 -j DROP`);
    rules.push(`-s ${LINK_LOCAL} -d ${LINK_LOCAL} -j RETURN`, `-s ${LINK_LOCAL} -d ff00::/8 -j RETURN`);
  }
  return [...rules, "-j DROP"];
}

export const endpointSets = (live: readonly Live[]): ReadonlySet<PolicySetKey> =>
  new Set(
    live.flatMap(({ endpoint }) => [
      endpoint.set,
      ...endpoint.owned.flatMap(({ set }) => (set === undefined ? [] : [set])),
    ]),
  );
