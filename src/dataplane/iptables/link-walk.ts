/**
 * What nft at a tap's ingress makes of an IP packet that is neither neighbour discovery nor a fragment: whether it has the mark that its
 * source and MAC are the guest's own. From the rules as nft prints them (link-rules.ts wrote them); ARP and ND are not told. Pure.
 */
import { contains, parsePrefix } from "../../model/cidr.js";
import type { WalkPacket } from "./rule-match.js";
import { chainOf } from "./link-rules.js";
import type { Printed } from "./read-back.js";

export interface LinkVerdict {
  /** "unmarked": raw asks what it is. */
  readonly verdict: "marked" | "unmarked" | "drop";
  readonly reason?: string;
  readonly rule?: { readonly chain: string; readonly rule: string };
}

const DHCP_ANSWER: Readonly<Record<4 | 6, readonly [from: number, to: number]>> = { 4: [67, 68], 6: [547, 546] };

/** Of other packets than are asked about: ARP, neighbour discovery, tags, what still has a route to follow; another tap of that name. */
const OTHERS = /@th|@nh|@ll|icmpv6|arp|0x0806|vlan|rt seg-left|\biif !=/;

export function markOfLink(links: Printed, packet: WalkPacket, mac: string): LinkVerdict {
  const chain = chainOf(packet.in ?? "");
  // The chain's own line ("type filter hook ingress …") is no rule.
  const rules = links.get(chain)?.filter((rule) => !rule.startsWith("type "));
  if (rules === undefined) return { verdict: "unmarked" };
  const [only = ""] = rules;
  if (rules.length === 1 && only === "drop")
    return { verdict: "drop", reason: "ADMIN_DOWN", rule: { chain, rule: only } };
  const [from, to] = DHCP_ANSWER[packet.family];
  if (packet.protocol === 17 && packet.sourcePort === from && packet.destinationPort === to)
    return { verdict: "unmarked" };
  for (const rule of rules) {
    if (OTHERS.test(rule) || !fits(rule, packet, mac)) continue;
    const passage = { chain, rule };
    if (/meta mark set/.test(rule)) return { verdict: "marked", rule: passage };
    if (rule.endsWith("accept")) return { verdict: "unmarked", rule: passage };
    if (rule.endsWith("drop"))
      return { verdict: "drop", reason: /saddr/.test(rule) ? "SPOOFED_MAC" : "SPOOFED_ADDRESS", rule: passage };
  }
  return { verdict: "drop", reason: "SPOOFED_ADDRESS", rule: { chain, rule: "policy drop" } };
}

/** What a rule says of family, source and MAC. */
function fits(rule: string, { family, source }: WalkPacket, mac: string): boolean {
  // nft -n has numbers where it was given names.
  if (family === 6 && /meta protocol (?:!= (?:ip6|0x86dd)|ip|0x0800)(?= |$)/.test(rule)) return false;
  const said = /\b(ip6?) saddr (!= )?(\{[^}]*\}|\S+)/.exec(rule);
  if (said !== null) {
    if ((said[1] === "ip6") !== (family === 6)) return false;
    const prefixes = (said[3] ?? "").replaceAll(/[{},]/g, " ").trim().split(/\s+/);
    const inside = prefixes.some((text) => {
      const prefix = parsePrefix(text);
      return prefix !== undefined && contains(prefix, source);
    });
    if (inside === (said[2] !== undefined)) return false;
  }
  const wanted = /ether saddr (\S+)/.exec(rule)?.[1];
  return wanted === undefined || wanted === mac;
}
