/** IP protocols by name: the IANA registry's keywords, and the names of neutron-lib's table where they differ. */

/** Index: IANA number. "" where the registry has no keyword. */
const KEYWORDS =
  "hopopt icmp igmp ggp ipv4 st tcp cbt egp igp bbn-rcc-mon nvp-ii pup argus emcon xnet chaos udp mux dcn-meas hmp prm xns-idp trunk-1 " +
  "trunk-2 leaf-1 leaf-2 rdp irtp iso-tp4 netblt mfe-nsp merit-inp dccp 3pc idpr xtp ddp idpr-cmtp tp++ il ipv6 sdrp ipv6-route " +
  "ipv6-frag idrp rsvp gre dsr bna esp ah i-nlsp swipe narp mobile tlsp skip ipv6-icmp ipv6-nonxt ipv6-opts  cftp  sat-expak " +
  "kryptolan rvd ippc  sat-mon visa ipcv cpnx cphb wsn pvp br-sat-mon sun-nd wb-mon wb-expak iso-ip vmtp secure-vmtp vines ttp " +
  "nsfnet-igp dgp tcf eigrp ospfigp sprite-rpc larp mtp ax.25  micp scc-sp etherip encap  gmtp ifmp pnni pim aris scps qnx a/n " +
  "ipcomp snp compaq-peer ipx-in-ip vrrp pgm  l2tp ddx iatp stp srp uti smp sm ptp  fire crtp crudp sscopmce iplt sps pipe sctp fc " +
  "rsvp-e2e-ignore mobility-header udplite mpls-in-ip manet shim6 wesp rohc ethernet aggfrag nsh";

/** Neutron's and common other names. "ipip" is 4 for Neutron and the kernel's tunnels (94 for IANA). */
const ALIASES: readonly (readonly [string, number])[] = [
  ["ip", 0],
  ["ipip", 4],
  ["ipencap", 4],
  ["ipv6-encap", 41],
  ["icmpv6", 58],
  ["icmp6", 58],
  ["ospf", 89],
  ["isis", 124],
  ["udp-lite", 136],
];

const NUMBERS: ReadonlyMap<string, number> = new Map([
  ...KEYWORDS.split(" ")
    .map((name, number) => [name, number] as const)
    .filter(([name]) => name !== ""),
  ...ALIASES,
]);

export const ICMP = 1;
export const ICMPV6 = 58;
/** Those whose header begins with source and destination port: TCP, UDP, DCCP, SCTP, UDP-Lite. */
export const PORT_PROTOCOLS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);

/**
 * IANA number of a number, a numeric string or a name in any case; undefined for anything else. 255 is none: it is reserved by
 * IANA, and the kernel's tables use it for "any" (PROTOCOL_ANY in bpf/abi.h).
 */
export function parseProtocol(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isInteger(value) && value >= 0 && value < 255 ? value : undefined;
  if (typeof value !== "string") return undefined;
  if (/^(0|[1-9][0-9]{0,2})$/.test(value)) return parseProtocol(Number(value));
  return NUMBERS.get(value.toLowerCase());
}

const NAMES: ReadonlyMap<number, string> = new Map([
  ...KEYWORDS.split(" ").map((name, number) => [number, name] as const),
  [ICMPV6, "icmpv6"],
]);

/** What people call it; the number where the registry has no keyword. */
export const protocolName = (number: number): string => NAMES.get(number) || String(number);
