/**
 * What iptables can't see, as rules of nft's netdev family, a chain at the ingress of each tap: MACs, ARP and neighbour discovery
 * (S4, S6). The kernel answers by itself, whether the agent lives or not: a question is turned into its answer in place and sent
 * back out of the tap it came from ("fwd"). RFC 826, 5227, 4861; nft(8) "RAW PAYLOAD EXPRESSION". Pure.
 *
 * nft keeps the checksum of ICMPv6 right for addresses and for type and code, but not for raw writes into the message. What those
 * change is known beforehand: it is taken off the first word by a raw write, whose typed rewriting then adds it.
 */
import { contains, isSingle } from "../../model/cidr.js";
import type { Family, Prefix } from "../../model/types.js";
import { METADATA_ADDRESS } from "../../model/services.js";
import type { Bits } from "./types.js";
import { ownedOf, type Live } from "./endpoints.js";

export const LINK_TABLE = "torbie_link";

const UNICAST_NOT = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];
const hexMac = (mac: string): string => `0x${mac.replaceAll(":", "")}`;
const words = (mac: string): number[] => [0, 4, 8].map((at) => parseInt(mac.replaceAll(":", "").slice(at, at + 4), 16));

/** fe80::/64 and the modified EUI-64 (RFC 4291 appendix A), as the kernel gives it to the tap. */
export function linkLocal(mac: string): string {
  const o = mac.split(":").map((octet) => parseInt(octet, 16));
  const word = (a = 0, b = 0): string => ((a << 8) | b).toString(16);
  return `fe80::${word((o[0] ?? 0) ^ 2, o[1])}:${word(o[2], 0xff)}:${word(0xfe, o[3])}:${word(o[4], o[5])}`;
}

/** For a tap that nobody claims, or whose endpoint is down: nothing, not even ARP. */
export const CLOSED_LINK: readonly string[] = ["drop"];

/**
 * What has its own source carries the bit that says so from here on: raw asks for nothing more.
 *
 * @param elsewhere whether a pair of this endpoint is another one's address as well: it is answered for
 * @param metadata families in which the host answers for the metadata service's address
 */
export function renderLink(
  live: Live,
  elsewhere: (prefix: Prefix) => boolean,
  bits: Bits,
  metadata: readonly Family[] = [],
): readonly string[] {
  return [
    // From Linux 6.16 on the chain is there again when another tap has the name: that one is for the agent to claim first.
    // nft makes the name a number; the comment has this one's, so that the rules for another are others.
    `meta iif != "${live.tap}" drop comment "${live.ifindex}"`,
    ...sources(live, 4, bits),
    // A tag other than 0; IP with one is dropped by the stack, which has no such VLAN.
    "vlan id 1-4095 drop",
    ...arp(live, elsewhere, metadata.includes(4)),
    "meta protocol != ip6 drop",
    // Discovery comes right behind the header; behind others nobody takes it for discovery (RFC 4861 §6.1, 7.1).
    ...discovery(live, elsewhere, bits, metadata.includes(6)),
    ...sources(live, 6, bits),
    "drop",
  ];
}

const within = (what: string, prefix: Prefix): string => (prefix.endsWith("/0") ? "" : `${what} ${prefix} `);
/** Left to the rules of raw: who asks for an address has none yet. */
const UNMARKED: Readonly<Record<Family, readonly string[]>> = { 4: ["0.0.0.0"], 6: ["::", "fe80::/10"] };
const FOREIGN: Readonly<Record<Family, readonly string[]>> = {
  4: ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"],
  6: ["::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8"],
};
/** Source and destination port of a DHCP server's answer, as the first four bytes of UDP. */
const SERVES: Readonly<Record<Family, string>> = { 4: "0x00430044", 6: "0x02230222" };

/** The first prefix that holds a source is the longest, and says the MAC. */
function sources({ endpoint }: Live, of: Family, { source }: Bits): string[] {
  const field = of === 4 ? "ip" : "ip6";
  const is = of === 4 ? "meta protocol ip " : "";
  const mark = `meta mark set mark or 0x${source.toString(16)} accept`;
  // RFC 5095: what still has a route to follow is dropped.
  const routed = of === 6 ? ["rt seg-left > 0 drop"] : [];
  if (!endpoint.portSecurity)
    return [...routed, ...FOREIGN[of].map((prefix) => `${is}${field} saddr ${prefix} accept`), `${is}${mark}`];
  const owned = ownedOf(endpoint, of);
  const oneMac = owned.every(({ mac }) => mac === undefined || mac === endpoint.mac);
  return [
    ...routed,
    `@th,0,32 ${SERVES[of]} ${is}meta l4proto udp accept`,
    ...owned.flatMap(({ prefix, mac }) => {
      const here = `${is}${within(`${field} saddr`, prefix)}`;
      return [`${here}ether saddr ${mac ?? endpoint.mac} ${mark}`, ...(oneMac ? [] : [`${here}drop`])];
    }),
    ...UNMARKED[of].map((prefix) => `${is}${field} saddr ${prefix} ether saddr ${endpoint.mac} accept`),
    ...(of === 4 ? ["meta protocol ip drop"] : []),
  ];
}

/** Bytes 8-13 sender's MAC, 14-17 its address, 18-23 the target's MAC, 24-27 its address. */
function arp(live: Live, elsewhere: (prefix: Prefix) => boolean, metadata: boolean): string[] {
  const { endpoint, tap, hostMac } = live;
  const is = "meta protocol arp";
  const owned = ownedOf(endpoint, 4);
  const rules = [
    `${is} @nh,0,48 != 0x000108000604 drop`,
    `${is} ${noneOf("ether daddr", ["ff:ff:ff:ff:ff:ff", hostMac])}drop`,
    `${is} ${noneOf("arp operation", ["request", "reply"])}drop`,
  ];
  const request = `${is} arp operation request`;
  const answer =
    "@nh,144,32 set @nh,112,32 @nh,112,32 set @nh,192,32 @nh,192,32 set @nh,144,32 arp operation set reply " +
    `@nh,144,48 set @nh,64,48 @nh,64,48 set ${hexMac(hostMac)} ether daddr set ether saddr ether saddr set ${hostMac} fwd to "${tap}"`;
  const probe = "arp saddr ip 0.0.0.0";
  const asks = (prefix: Prefix): string => within("arp daddr ip", prefix);
  rules.push(`${is} arp operation reply ${probe} drop`);
  if (endpoint.portSecurity) {
    const { mac } = endpoint;
    rules.push(`${is} ${probe} arp saddr ether != ${mac} drop`, `${is} ${probe} ether saddr != ${mac} drop`);
    // Who speaks for an address speaks with its MAC; the frame may also come from the port's.
    owned.forEach(({ prefix, mac: given }, i) => {
      const speaks = `${is} ${within("arp saddr ip", prefix)}`;
      const as = given ?? mac;
      rules.push(`${speaks}${notOf(owned.slice(0, i), prefix, "arp saddr ip")}arp saddr ether != ${as} drop`);
      rules.push(
        `${speaks}${notOf(owned.slice(0, i), prefix, "arp saddr ip")}${noneOf("ether saddr", [...new Set([as, mac])])}drop`,
      );
    });
    const speakers = ["0.0.0.0/32", ...owned.map(({ prefix }) => prefix)];
    rules.push(...dropOthers(is, "arp saddr ip", speakers));
  }
  rules.push(
    `${is} arp operation reply ether daddr ${hostMac} accept`,
    `${is} arp operation reply drop`,
    ...(metadata ? [`${request} arp daddr ip ${METADATA_ADDRESS[4]} ${answer}`] : []),
    ...UNICAST_NOT.map((prefix) => `${is} arp daddr ip ${prefix} drop`),
    // Announcements (RFC 5227 §3) have sender and target alike: of an own address, which is not answered; of a pair's, here.
    ...owned
      .filter(({ prefix, kind }) => isSingle(prefix) && kind === "pair" && elsewhere(prefix))
      .map(({ prefix }) => `${is} arp saddr ip ${prefix} arp daddr ip ${prefix} drop`),
  );
  for (const { prefix, kind } of owned) {
    if (kind === "pair" && elsewhere(prefix))
      rules.push(`${request} ${asks(prefix)}${probe} drop`, `${request} ${asks(prefix)}${answer}`);
    else rules.push(`${is} ${asks(prefix)}drop`);
  }
  rules.push(`${request} ${answer}`, `${is} drop`);
  return rules;
}

/** Longer prefixes within one have been dealt with. */
function notOf(before: readonly { readonly prefix: Prefix }[], outer: Prefix, what: string): string {
  const inner = before.map(({ prefix }) => prefix).filter((prefix) => prefix !== outer && contains(outer, prefix));
  return noneOf(what, inner);
}

/** An anonymous set costs the kernel the more the more there are (it looks for a free name), and each tap would have a dozen. */
const MOST_TERMS = 8;

/** Is none of these. */
const noneOf = (what: string, values: readonly string[]): string =>
  values.length > MOST_TERMS
    ? `${what} != { ${values.join(", ")} } `
    : values.map((value) => `${what} != ${value} `).join("");

/** Drops what comes from none of these. */
function dropOthers(is: string, what: string, prefixes: readonly string[]): string[] {
  if (prefixes.some((prefix) => prefix.endsWith("/0"))) return [];
  const outer = prefixes.filter(
    (prefix, i) =>
      prefixes.indexOf(prefix) === i &&
      !prefixes.some((other) => other !== prefix && contains(other as Prefix, prefix as Prefix)),
  );
  return [`${is} ${noneOf(what, outer)}drop`];
}

/** ICMPv6 type at 0, target at 8-23, the first option at 24. */
function discovery(live: Live, elsewhere: (prefix: Prefix) => boolean, bits: Bits, metadata: boolean): string[] {
  const { endpoint, hostMac } = live;
  const own = linkLocal(hostMac);
  /** Its source has been judged here. */
  const pass = `meta mark set mark or 0x${bits.source.toString(16)} accept`;
  const is = "ip6 nexthdr icmpv6";
  /** Solicitations and advertisements, but for a router's: where port security is on, that has been dropped before. */
  const any = endpoint.portSecurity
    ? [`${is} icmpv6 type 133-136`]
    : [`${is} icmpv6 type nd-router-solicit`, `${is} icmpv6 type 135-136`];
  const each = (rule: string): string[] => any.map((type) => `${type} ${rule}`);
  const solicit = `${is} icmpv6 type nd-neighbor-solicit`;
  const advert = `${is} icmpv6 type nd-neighbor-advert`;
  const owned = ownedOf(endpoint, 6);
  const { mac, portSecurity } = endpoint;
  const target = (prefix: Prefix): string => rawPrefix(64, prefix);
  /** What the host hears, besides addresses that it has. */
  const heard = ["ff02::/16", own];
  const rules = portSecurity ? [`${is} icmpv6 type nd-router-advert drop`, `${is} icmpv6 type nd-redirect drop`] : [];
  rules.push(...each(`ether daddr != ${hostMac} @ll,0,16 != 0x3333 drop`), ...each("ip6 hoplimit != 255 drop"));
  if (portSecurity) {
    rules.push(...each(`ip6 saddr ${own} drop`));
    for (const { prefix, mac: given } of owned) {
      const macs = [...new Set([given ?? mac, mac])];
      rules.push(...each(`${within("ip6 saddr", prefix)}${noneOf("ether saddr", macs)}drop`));
    }
    for (const prefix of UNMARKED[6]) rules.push(...each(`ip6 saddr ${prefix} ether saddr != ${mac} drop`));
    for (const type of any)
      rules.push(...dropOthers(type, "ip6 saddr", ["::/128", "fe80::/10", ...owned.map(({ prefix }) => prefix)]));
  }
  rules.push(...each("ip6 saddr :: drop"));
  if (portSecurity) {
    const macs = [...new Set([mac, ...owned.map(({ mac: given }) => given ?? mac)])];
    // Their link-layer option is the frame's sender.
    for (const one of macs)
      rules.push(
        `${solicit} @th,192,16 0x0101 ether saddr ${one} @th,208,48 != ${hexMac(one)} drop`,
        `${is} icmpv6 type nd-router-solicit @th,64,16 0x0101 ether saddr ${one} @th,80,48 != ${hexMac(one)} drop`,
      );
    const speakers: { prefix: Prefix; as: string }[] = [
      { prefix: "fe80::/10" as Prefix, as: mac },
      ...owned.map(({ prefix, mac: given }) => ({ prefix, as: given ?? mac })),
    ];
    rules.push(`${advert} ${target(`${own}/128` as Prefix)}drop`);
    for (const { prefix, as } of speakers) {
      const speaks = `${advert} ${target(prefix)}`;
      rules.push(
        `${speaks}@th,192,16 0x0201 @th,208,48 != ${hexMac(as)} drop`,
        ...heard.map((prefix) => `${speaks}ether daddr ${hostMac} ip6 daddr ${prefix} ${pass}`),
        `${speaks}ether daddr ${hostMac} fib daddr type local ${pass}`,
      );
    }
    rules.push(`${advert} drop`);
  }
  if (!portSecurity) rules.push(`${advert} ether daddr ${hostMac} ${pass}`, `${advert} drop`);
  rules.push(
    ...heard.map((prefix) => `${is} icmpv6 type nd-router-solicit ip6 daddr ${prefix} ${pass}`),
    `${is} icmpv6 type nd-router-solicit fib daddr type local ${pass}`,
    `${is} icmpv6 type nd-router-solicit drop`,
  );
  // Never answered: DAD, what is its own, another's link-local address, what is no unicast.
  for (const { when, text } of answers(live))
    for (const address of [own, ...(metadata ? [METADATA_ADDRESS[6]] : [])])
      rules.push(`${solicit} ${when}${target(`${address}/128` as Prefix)}${text}`);
  rules.push(
    `${solicit} ${target("fe80::/10" as Prefix)}drop`,
    `${solicit} ${target("ff00::/8" as Prefix)}drop`,
    `${solicit} ${target("::/127" as Prefix)}drop`,
    `${solicit} ${target("::ffff:0:0/96" as Prefix)}drop`,
  );
  for (const { prefix, kind } of owned) {
    if (kind === "pair" && elsewhere(prefix)) {
      rules.push(`${solicit} ${target(prefix)}${within("ip6 saddr", prefix)}drop`);
      for (const { when, text } of answers(live)) rules.push(`${solicit} ${when}${target(prefix)}${text}`);
    } else rules.push(`${solicit} ${target(prefix)}drop`);
  }
  for (const { when, text } of answers(live)) rules.push(`${solicit} ${when}${text}`);
  rules.push(`${solicit} drop`);
  return rules;
}

/** An answer with the sender's option rewritten, one for each MAC that may stand there; without one where the question had none. */
function answers({ endpoint, tap, hostMac }: Live): { when: string; text: string }[] {
  const macs = endpoint.portSecurity
    ? [...new Set([endpoint.mac, ...ownedOf(endpoint, 6).map(({ mac }) => mac ?? endpoint.mac)])]
    : [endpoint.mac];
  const reply = (delta: number, option: string): string =>
    "ip6 daddr set ip6 saddr ip6 saddr set @th,64,128 " +
    `@th,0,16 set 0x${lessen(0x8700, delta).toString(16).padStart(4, "0")} @th,32,32 set 0xe0000000 ${option}` +
    `icmpv6 type set nd-neighbor-advert icmpv6 code set 0 ` +
    `ether daddr set ether saddr ether saddr set ${hostMac} fwd to "${tap}"`;
  const quiet = "@th,8,8 0 @th,32,32 0 ";
  const withOption = macs.map((mac) => {
    const [from, to] = [words(mac), words(hostMac)];
    const delta = to.reduce((sum, word, i) => sum + word + (0xffff - (from[i] ?? 0)), 0xe000 + 0x0100);
    return {
      when: `${quiet}@th,192,16 0x0101 @th,208,48 ${hexMac(mac)} `,
      text: reply(delta, `@th,192,8 set 2 @th,208,48 set ${hexMac(hostMac)} `),
    };
  });
  return [...withOption, { when: `${quiet}ip6 length 24 `, text: reply(0xe000, "") }];
}

/** Ones' complement: a - b (RFC 1071). */
function lessen(a: number, b: number): number {
  let sum = a + (0xffff - fold(b));
  sum = fold(sum);
  return sum;
}

function fold(value: number): number {
  let sum = value;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return sum;
}

/** The bits of a prefix at an offset of the ICMPv6 message, as nft compares raw payload. */
function rawPrefix(offset: number, prefix: Prefix): string {
  const [text = "", lengthText = "128"] = prefix.split("/");
  const length = Number(lengthText);
  if (length === 0) return "";
  const bits = BigInt(`0x${v6Hex(text)}`) >> BigInt(128 - length);
  return `@th,${offset},${length} 0x${bits.toString(16)} `;
}

function v6Hex(text: string): string {
  const [head = "", tail] = text.split("::");
  const part = (some: string): string[] => (some === "" ? [] : some.split(":")).map((word) => word.padStart(4, "0"));
  const [before, after] = [part(head), part(tail ?? "")];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0000");
  return [...before, ...(tail === undefined ? [] : zeros), ...after].join("");
}

/** One transaction: the chains of these taps anew, and those of others gone. */
export function linkText(put: ReadonlyMap<string, readonly string[]>, remove: readonly string[]): string {
  const table = `netdev ${LINK_TABLE}`;
  const lines = [`table ${table} {`, "}"];
  // Before Linux 6.16 the kernel takes a chain away with its tap: what is not there is made, so that deleting it can't fail.
  for (const tap of remove) lines.push(`add chain ${table} ${chainOf(tap)}`, `delete chain ${table} ${chainOf(tap)}`);
  for (const [tap, rules] of put) {
    const chain = chainOf(tap);
    // Declared first, so that flushing it can't fail.
    lines.push(
      `add chain ${table} ${chain} { type filter hook ingress device "${tap}" priority -400; policy drop; }`,
      `flush chain ${table} ${chain}`,
      ...rules.map((rule) => `add rule ${table} ${chain} ${rule}`),
    );
  }
  return `${lines.join("\n")}\n`;
}

/** nft's names of chains hold letters, digits, "_", "/" and "\\" only, and must begin with a letter. */
export const chainOf = (tap: string): string => `t_${tap.replaceAll(/[.-]/g, (sign) => (sign === "." ? "/d" : "/m"))}`;
