/**
 * Floating IPs (S8) as rules of nft's NAT, in both dataplanes: what is sent to one goes to the guest's address, whoever sends it, the host
 * too; answers leave with the floating IP and ICMP errors are translated inside, since the kernel's tracking turns them back. One lookup
 * in a map, however many there are. A guest that asks for a floating IP of its own is answered from it, or it would hear itself. Pure.
 */
import { family } from "../../model/cidr.js";
import type { Address, Family } from "../../model/types.js";
import { listed } from "../guard-rules.js";
import type { Chain } from "./rules.js";

/** Floating IP → the guest's address. */
export type Floats = ReadonlyMap<Address, Address>;

export interface NatMap {
  readonly name: string;
  readonly type: string;
  /** Elements as nft reads them, and as `nft -j` prints them. */
  readonly text: readonly string[];
  readonly listed: readonly unknown[];
}

const FLOATING = "floating";
const HAIRPIN = "hairpin";
/** Among others that translate destinations (-100) and sources (100). */
const DNAT = -105;
const SNAT = 100;

const of4or6 = (floats: Floats, of: Family): [Address, Address][] =>
  [...floats].filter(([external]) => family(external) === of);

/** Guest's address → the floating IP by which it sees itself: the lowest as text, as the incumbent has it. */
export function hairpins(floats: Floats): Floats {
  const seen = new Map<Address, Address>();
  for (const [external, internal] of floats) {
    const other = seen.get(internal);
    if (other === undefined || external < other) seen.set(internal, external);
  }
  return seen;
}

export function floatingChains(floats: Floats, of: Family): readonly Chain[] {
  if (of4or6(floats, of).length === 0) return [];
  const field = of === 4 ? "ip" : "ip6";
  const dnat = [`dnat to ${field} daddr map @${FLOATING}`];
  return [
    { name: "floating_prerouting", hook: "prerouting", priority: DNAT, rules: dnat },
    { name: "floating_output", hook: "output", priority: DNAT, rules: dnat },
    {
      name: "floating_postrouting",
      hook: "postrouting",
      priority: SNAT,
      rules: [`ct status dnat snat to ${field} saddr . ${field} daddr map @${HAIRPIN}`],
    },
  ];
}

export function floatingMaps(floats: Floats, of: Family): readonly NatMap[] {
  const mine = of4or6(floats, of);
  if (mine.length === 0) return [];
  const type = of === 4 ? "ipv4_addr" : "ipv6_addr";
  const back = of4or6(hairpins(floats), of);
  return [
    {
      name: FLOATING,
      type: `${type} : ${type}`,
      text: mine.map(([external, internal]) => `${external} : ${internal}`),
      listed: mine,
    },
    {
      name: HAIRPIN,
      type: `${type} . ${type} : ${type}`,
      text: back.map(([internal, external]) => `${internal} . ${internal} : ${external}`),
      listed: back.map(([internal, external]) => [{ concat: [internal, internal] }, external]),
    },
  ];
}

/** What a listed table translates: of an agent before this one, too. */
export function floatsOf(output: string): Floats {
  const elements = listed(output, "map").find(({ name }) => name === FLOATING)?.["elem"];
  return new Map(Array.isArray(elements) ? (elements as [Address, Address][]) : []);
}

/** Floating IPs that lead elsewhere than before: new ones, and those that are gone, too. */
export function changedFloats(before: Floats, after: Floats): Address[] {
  return [...new Set([...before.keys(), ...after.keys()])].filter((one) => before.get(one) !== after.get(one));
}
