/**
 * The fixed chains: what every packet of a tap goes through. An established packet meets one rule in raw (its mark says that nft has
 * judged its source), and in filter the jump, a look for SYN and the connection's state: four rules, two tables. Pure.
 */
import type { Family } from "../../model/types.js";
import { METADATA_ADDRESS, METADATA_PORT, NAMES_PORT, NOTHING_SERVED, type Served } from "../../model/services.js";
import { heldRules, type Holders } from "./holders.js";
import { SET_PREFIX } from "./names.js";
import { bitsOf, marked, type Bits, type Chain, type RenderOptions } from "./types.js";

export const RAW = "TRB-raw";
export const SOURCE = "TRB-src";
export const FORWARD = "TRB-forward";
export const NEW = "TRB-new";
const HEADERS = "TRB-headers";
export const FROM = "TRB-from";
export const TO = "TRB-to";
export const RELATED = "TRB-related";
export const KNOWN = "TRB-known";
export const KNOWN_OUT = "TRB-knownout";
export const INPUT = "TRB-input";
export const OPEN = "TRB-open";
export const OUTPUT = "TRB-output";
export const HOST_SENDS = "TRB-hostsends";

/** Addresses that only endpoints of this host have. */
export const localSet = (of: Family): string => `${SET_PREFIX[of]}local`;
/** Addresses that endpoints of this host have, whoever else does. */
export const hereSet = (of: Family): string => `${SET_PREFIX[of]}here`;
/** Never forwarded (RFC 6890). */
export const neverSet = (of: Family): string => `${SET_PREFIX[of]}never`;

export const NEVER: Readonly<Record<Family, readonly string[]>> = {
  4: ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"],
  6: ["::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8"],
};

/** What guests may ask of the host, by the address that they asked: where it is answered is for NAT to say. */
function services(of: Family, { metadata, names }: Served = NOTHING_SERVED): string[] {
  const asked = `--ctorigdst ${METADATA_ADDRESS[of]} --ctorigdstport ${METADATA_PORT}`;
  return [
    ...(metadata.includes(of) ? [`-p tcp -m conntrack ${asked} -j ACCEPT`] : []),
    // With route_localnet the kernel would take what a guest sends there.
    ...(of === 4 ? ["-d 127.0.0.0/8 -j DROP"] : []),
    ...(names ? ["tcp", "udp"].map((protocol) => `-p ${protocol} -m ${protocol} --dport ${NAMES_PORT} -j ACCEPT`) : []),
  ];
}

const pattern = (name: string): string => name.replace(/\*$/, "+");
const ICMP: Readonly<Record<Family, string>> = { 4: "-p icmp", 6: "-p icmpv6" };
const ERRORS: Readonly<Record<Family, readonly string[]>> = {
  4: ["3", "4", "11", "12"],
  6: ["1", "2", "3", "4"],
};
const error = (of: Family, type: string): string =>
  of === 4 ? `-p icmp -m icmp --icmp-type ${type}` : `-p icmpv6 -m icmp6 --icmpv6-type ${type}`;

/** An error about an error: the inner packet's protocol is ICMP and its type an error's (RFC 1122 §3.2.2, RFC 4443 §2.4). */
const ERROR_ABOUT_ERROR: Readonly<Record<Family, string>> = {
  4: "0>>22&0x3C@0>>24=3:4,11:12&&0>>22&0x3C@14&0xFF=1&&0>>22&0x3C@8>>22&0x3C@8>>24=3:4,11:12",
  6: "40>>24=0:127&&51&0xFF=58&&88>>24=0:127",
};
const DHCP: Readonly<Record<Family, readonly [client: number, server: number]>> = { 4: [68, 67], 6: [546, 547] };

const EXTENDED = "0,43,60";

/**
 * No IPv6 extension header (RFC 8200 §4) is longer than the packet: the kernel forwards what it has not read. As many headers as a
 * location of u32 has room for (10 numbers), which skips one by three: its length, times 8, and 8.
 */
function extensionHeaders(): Chain {
  const chain: string[] = [];
  let header = "40";
  for (let at = 40; at <= 56; at += 8) {
    const next = `${header}>>24`;
    const skip = `${header}>>13&0x7F8@`;
    chain.push(
      // The last four bytes of it are not there.
      `-m u32 ! --u32 "${skip}${at + 4}=0:0xFFFFFFFF" -j DROP`,
      `-m u32 ! --u32 "${next}=${EXTENDED}" -j RETURN`,
    );
    header = `${skip}${at + 8}`;
  }
  return chain.slice(0, -1);
}

export function hooks({ prefixes, markShift }: RenderOptions, table: "raw" | "filter"): Map<string, Chain> {
  if (table === "raw") {
    const { source } = bitsOf(markShift);
    return new Map([["PREROUTING", [`-m mark ! --mark ${marked(source)} -j ${RAW}`]]]);
  }
  const both = (chain: string, ways: readonly ("-i" | "-o")[]): Chain =>
    ways.flatMap((way) => prefixes.map((prefix) => `${way} ${prefix}+ -j ${chain}`));
  return new Map([
    // Last what concerns no tap: it may be for a guest of this host that has no tap just now.
    ["FORWARD", [...both(FORWARD, ["-i", "-o"]), "-j TRB-transit"]],
    ["INPUT", both(INPUT, ["-i"])],
    ["OUTPUT", both(OUTPUT, ["-o"])],
  ]);
}

export function rawChains(of: Family, { prefixes, excluded }: RenderOptions): Map<string, Chain> {
  return new Map<string, Chain>([
    [
      RAW,
      [
        ...excluded.map((name) => `-i ${pattern(name)} -j RETURN`),
        ...(of === 6 ? ["-m rt --rt-segsleft 1:4294967295 -j DROP"] : []),
        ...prefixes.map((prefix) => `-i ${prefix}+ -g ${SOURCE}`),
        "-i lo -j RETURN",
        `-m set --match-set ${localSet(of)} src -j DROP`,
      ],
    ],
  ]);
}

const REPLIES = "--ctdir REPLY";
const SYN = "-p tcp -m tcp --tcp-flags SYN,RST,ACK SYN";

/** @param anyStateless some rule in force is stateless: only then must a connection's mark be looked at */
export function forwardChain(
  of: Family,
  bits: Bits,
  { excluded, prefixes }: RenderOptions,
  anyStateless: boolean,
  holders: Holders,
): Chain {
  // Where the kernel has no tracker of DCCP (Linux 6.18 has none) or UDP-Lite (7.3 has none) it knows no ports: one connection would then
  // admit every other between the same hosts, so that each packet is judged by the rules. What has ports is told first; ICMP's type counts.
  const ported = "! --ctproto 33 --ctorigdstport 1:65535";
  const portless = "! --ctproto 33";
  const stateful = `-m connmark --mark ${marked(0, (bits.opener | bits.other) >>> 0)}`;
  const tracked = (which: string): string[] => {
    const established = `-m conntrack --ctstate ESTABLISHED ${which}`;
    return [
      anyStateless ? `${established} ${stateful} -j ACCEPT` : `${established} -j ACCEPT`,
      ...(anyStateless ? [`${established} -g TRB-half`] : []),
      `${ICMP[of]} -m conntrack --ctstate RELATED ${which} ${stateful} -g TRB-error`,
    ];
  };
  return [
    ...excluded.flatMap((name) => [`-i ${pattern(name)} -j RETURN`, `-o ${pattern(name)} -j RETURN`]),
    `${SYN} -g ${NEW}`,
    ...heldRules(of, holders, prefixes, bits),
    ...tracked(ported),
    // Of what has ports tracking has read them, behind all headers.
    ...(of === 6 ? [`-m u32 --u32 "3&0xFF=${EXTENDED}" -j ${HEADERS}`] : []),
    `-m conntrack --ctproto 136 -g ${NEW}`,
    ...tracked(portless),
    `-g ${NEW}`,
  ];
}

export function filterChains(of: Family, bits: Bits, options: RenderOptions): Map<string, Chain> {
  const { prefixes, excluded, hostToGuest } = options;
  const mine = (bits.opener | bits.other) >>> 0;
  const ours = (mine | bits.both | bits.holder) >>> 0;
  const all = (bits.allow | bits.pass | bits.stateless) >>> 0;
  const from = (rule: string): string[] => prefixes.map((prefix) => `-i ${prefix}+ ${rule}`);
  const to = (rule: string): string[] => prefixes.map((prefix) => `-o ${prefix}+ ${rule}`);
  const established = "-m conntrack --ctstate ESTABLISHED";
  const clear = `-j MARK --set-xmark ${marked(0, all)}`;
  const never = neverSet(of);
  const stateless = (side: number): string =>
    `-m mark --mark ${marked(bits.stateless)} -m conntrack --ctstate NEW -j CONNMARK --set-xmark ${marked(side)}`;
  const [client, server] = DHCP[of];
  const toHost: Chain =
    of === 4
      ? [`-p udp -m udp --sport ${client} --dport ${server} -j ACCEPT`]
      : [
          ...["133", "135", "136"].map((type) => `${error(6, type)} -j ACCEPT`),
          ...["130", "131", "132", "143"].map((type) => `-d ff00::/8 ${error(6, type)} -j ACCEPT`),
          `-s fe80::/10 -d ff02::1:2/128 -p udp -m udp --sport ${client} --dport ${server} -j ACCEPT`,
          `-s fe80::/10 -d fe80::/10 -p udp -m udp --sport ${client} --dport ${server} -j ACCEPT`,
        ];
  return new Map<string, Chain>([
    // A stateless half judges every packet that passes it, the other half none.
    ["TRB-half", ["-m conntrack --ctdir ORIGINAL -g TRB-halfout", ...half(bits.other, bits.opener)]],
    ["TRB-halfout", half(bits.opener, bits.other)],
    // About a flow of the guest that sends it, or from outside about one that leads there: else by the rules, as what it is.
    [
      "TRB-error",
      [
        `-m u32 --u32 "${ERROR_ABOUT_ERROR[of]}" -j DROP`,
        ...from("-g TRB-errorfrom"),
        `-m connmark --mark ${marked(bits.both)} -g ${NEW}`,
        "-g TRB-errorto",
      ],
    ],
    [
      "TRB-errorfrom",
      [clear, `-j ${RELATED}`, `-m mark ! --mark ${marked(bits.allow)} -g ${NEW}`, clear, "-g TRB-errorto"],
    ],
    ["TRB-errorto", [...to(`-j ${KNOWN}`), "-j ACCEPT"]],
    [
      NEW,
      [
        `-m set --match-set ${never} dst -j DROP`,
        ...(of === 4 ? ["-s 0.0.0.0/8 -j DROP", "-s 127.0.0.0/8 -j DROP", "-s 224.0.0.0/3 -j DROP"] : []),
        ...(of === 6 ? [`-m set --match-set ${never} src -j DROP`] : []),
        `${ICMP[of]} -m u32 --u32 "${ERROR_ABOUT_ERROR[of]}" -j DROP`,
        // Reserved (IANA), and a TCP header of less than 20 bytes (RFC 9293 §3.1), which tracking calls invalid.
        "-p 255 -j DROP",
        `-p tcp -m conntrack --ctstate INVALID -m u32 --u32 "${of === 4 ? "0>>22&0x3C@12>>28" : "52>>28"}=0:4" -j DROP`,
        `-m conntrack --ctstate NEW -m connmark ! --mark ${marked(0, ours)} -j CONNMARK --set-xmark ${marked(0, ours)}`,
        ...from(`-j ${FROM}`),
        ...from(stateless(bits.opener)),
        ...to("-g TRB-newto"),
        // A guest of this host without a route is down or gone: its packets are not for the uplink.
        `-m set --match-set ${hereSet(of)} dst -j DROP`,
        clear,
        "-j ACCEPT",
      ],
    ],
    [
      "TRB-newto",
      [
        ...(of === 4 ? prefixes.map((prefix) => `! -i ${prefix}+ -s 169.254.0.0/16 -j DROP`) : []),
        `-j ${TO}`,
        stateless(bits.other),
        ...from(`-m conntrack --ctstate NEW -j CONNMARK --set-xmark ${marked(bits.both)}`),
        clear,
        "-j ACCEPT",
      ],
    ],
    [
      INPUT,
      [
        ...excluded.map((name) => `-i ${pattern(name)} -j RETURN`),
        ...services(of, options.served),
        `${SYN} -j DROP`,
        ...["33", "136"].map((protocol) => `-m conntrack --ctproto ${protocol} ! --ctorigdstport 1:65535 -j DROP`),
        `${established} ${REPLIES} -g TRB-answer`,
        `${ICMP[of]} -m conntrack --ctstate RELATED ${REPLIES} -g TRB-hosterror`,
        ...toHost,
        "-j DROP",
      ],
    ],
    // Whoever may send from anywhere answers for what it has, no more.
    ["TRB-answer", [`-j ${OPEN}`, "-j ACCEPT"]],
    [
      "TRB-hosterror",
      [
        `-m u32 --u32 "${ERROR_ABOUT_ERROR[of]}" -j DROP`,
        clear,
        `-j ${RELATED}`,
        `-m mark ! --mark ${marked(bits.allow)} -j DROP`,
        clear,
        "-j ACCEPT",
      ],
    ],
    [OUTPUT, [...excluded.map((name) => `-o ${pattern(name)} -j RETURN`), `-g ${KNOWN_OUT}`]],
    [
      HOST_SENDS,
      [
        `${error(of, of === 4 ? "5" : "137")} -j DROP`,
        ...(hostToGuest ? [] : [...ERRORS[of].map((type) => `${error(of, type)} -j RETURN`), "-j DROP"]),
      ],
    ],
    ...(of === 6 ? ([[HEADERS, extensionHeaders()]] as const) : []),
    ["TRB-nothing", []],
    ["TRB-transit", [`-m set --match-set ${hereSet(of)} dst -j DROP`]],
  ]);

  function half(sender: number, receiver: number): Chain {
    return [
      ...from(`-m connmark --mark ${marked(sender)} -j ${FROM}`),
      ...to(`-m connmark --mark ${marked(receiver)} -j ${TO}`),
      clear,
      "-j ACCEPT",
    ];
  }
}
