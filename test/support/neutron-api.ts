/** Ports, groups' rules and packets as Neutron's API has them, and which packets a rule is about. */
export interface Port {
  readonly id: string;
  readonly device_owner: string;
  readonly mac_address: string;
  readonly admin_state_up: boolean;
  readonly port_security_enabled: boolean;
  readonly security_groups: readonly string[];
  readonly fixed_ips: readonly { readonly ip_address: string }[];
  readonly allowed_address_pairs: readonly { readonly ip_address: string }[];
  readonly "binding:host_id": string;
  readonly "binding:profile": { readonly migrating_to?: string };
}

export interface Rule {
  readonly id: string;
  readonly security_group_id: string;
  readonly direction: string;
  readonly ethertype: string;
  readonly protocol: string | null;
  readonly port_range_min: number | null;
  readonly port_range_max: number | null;
  readonly remote_ip_prefix: string | null;
  readonly remote_group_id: string | null;
  readonly remote_address_group_id: string | null;
}

/** `port`: of the destination. */
export interface Packet {
  readonly protocol: number;
  readonly port?: number;
  readonly type?: number;
  readonly code?: number;
}

const NUMBERS: Readonly<Record<string, number>> = {
  ...{ ah: 51, dccp: 33, egp: 8, esp: 50, gre: 47, icmp: 1, icmpv6: 58, igmp: 2, ipip: 4, "ipv6-encap": 41 },
  ...{ "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, ospf: 89, pgm: 113 },
  ...{ rsvp: 46, sctp: 132, tcp: 6, udp: 17, udplite: 136, vrrp: 112 },
};
/** "any or 0", says the API's reference; the names stand for 0. */
const ANY = new Set([null, "any", "0", "ip", "hopopt"]);
export function protocolOf(rule: Pick<Rule, "protocol" | "ethertype">): number | undefined {
  if (ANY.has(rule.protocol)) return undefined;
  const number = NUMBERS[rule.protocol ?? ""] ?? Number(rule.protocol);
  return rule.ethertype === "IPv6" && number === 1 ? 58 : number;
}

export const isIcmp = (protocol: number | undefined): boolean => protocol === 1 || protocol === 58;
export const isGuest = ({ device_owner }: Port): boolean => /^(compute:|kuryr:container)/.test(device_owner);

/** By ethertype, protocol and ports; not by its remote side. */
export function admits(rule: Rule, family: 4 | 6, { protocol, port, type, code }: Packet): boolean {
  const wanted = protocolOf(rule);
  const { port_range_min: min, port_range_max: max } = rule;
  if (rule.ethertype !== `IPv${family}`) return false;
  if (wanted === undefined) return true;
  if (wanted !== protocol) return false;
  if (isIcmp(wanted)) return (min === null || min === type) && (max === null || max === code);
  return min === null || max === null || (port !== undefined && min <= port && port <= max);
}
