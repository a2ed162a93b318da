/** Packets that tell rules of Neutron apart: for every rule of a recording some just inside and just outside of what it says. */
import { isIcmp, protocolOf, type Packet, type Port, type Rule } from "./neutron-api.js";
import { canonical, edges, familyOf, prefixOf, textOfNumber } from "./prefix.js";
import type { Step } from "./recorded.js";

/** A packet from, or to, somebody. */
export interface Question {
  readonly remote: string;
  readonly packet: Packet;
}

export interface Questions {
  readonly ingress: readonly Question[];
  readonly egress: readonly Question[];
  /** Every address that any port ever had; of a prefix one. */
  readonly everyone: readonly string[];
}

/** Nobody's addresses, in no prefix of the recorded rules but the whole world. Ingress has others than egress: a flow's answers pass. */
const OUTSIDER = {
  ingress: { 4: "198.51.101.9", 6: "2001:db8:77::9" },
  egress: { 4: "198.18.0.9", 6: "2001:db8:78::9" },
} as const;
const TCP = 6;
const UDP = 17;
const PORTED = [TCP, UDP, 33, 132, 136];
/** A number that no rule has a protocol for, and a port that no rule names. */
const UNNAMED = { protocol: 251, port: 33_333 } as const;
/** Headers between IPv6 and what is judged: no packet has one of them for its protocol. */
const EXTENSIONS = [0, 43, 44, 60];
const ECHO = { 4: { protocol: 1, type: 8, code: 0 }, 6: { protocol: 58, type: 128, code: 0 } } as const;
/** ICMP that asks and opens no flow: timestamp, node information. */
const OTHER = { 4: { protocol: 1, type: 13, code: 0 }, 6: { protocol: 58, type: 139, code: 0 } } as const;
const general = (family: 4 | 6): Packet[] => [
  { protocol: TCP, port: UNNAMED.port },
  { protocol: UDP, port: UNNAMED.port },
  ECHO[family],
  OTHER[family],
  { protocol: UNNAMED.protocol },
];

/** Whether neither port nor identifier tells its flow from others between the same two addresses. */
export const isAlone = ({ protocol, port }: Packet): boolean => port === undefined && !isIcmp(protocol);

function packetsOf(rule: Rule, family: 4 | 6): Packet[] {
  const protocol = protocolOf(rule);
  const { port_range_min: min, port_range_max: max } = rule;
  if (protocol === undefined) return general(family);
  if (isIcmp(protocol)) {
    if (min === null) return [ECHO[family], OTHER[family]];
    const code = max ?? 0;
    return [
      { protocol, type: min, code },
      { protocol, type: min, code: code + 1 },
      { protocol, type: min + 1, code },
    ];
  }
  if (PORTED.includes(protocol)) {
    const low = min ?? 1;
    const high = max ?? 65_535;
    const inside = [...new Set([low, high])];
    const outside = [low - 1, high + 1].filter((port) => port >= 1 && port <= 65_535);
    return [
      ...[...inside, ...outside].map((port) => ({ protocol, port })),
      { protocol: protocol === TCP ? UDP : TCP, port: low },
    ];
  }
  const numbers = [protocol, protocol + 1].filter((number) => family === 4 || !EXTENSIONS.includes(number));
  return numbers
    .filter((number) => !PORTED.includes(number) && !isIcmp(number))
    .map((number) => ({ protocol: number }));
}

interface AddressGroup {
  readonly id: string;
  readonly addresses: readonly string[];
}

/** What was ever made by calls of this kind: POST and PUT, one by one and in bulk. */
function made<T>(steps: readonly Step[], kind: string): T[] {
  return steps
    .filter(({ title, request }) => /HTTP 2\d\d$/.test(title) && request.split(/[ /?]+/)[2] === kind)
    .flatMap(({ response }) =>
      Array.isArray(response) ? (response as T[]) : response === null ? [] : [response as T],
    );
}

export function questionsOf(steps: readonly Step[], own: readonly Port[]): Questions {
  const ports = [...own, ...made<Port>(steps, "ports")];
  const groups = made<{ security_group_rules?: readonly Rule[] }>(steps, "security-groups");
  const rules = [
    ...groups.flatMap(({ security_group_rules = [] }) => security_group_rules),
    ...made<Rule>(steps, "security-group-rules"),
  ];
  const lists = made<AddressGroup>(steps, "address-groups");
  const held = ports.flatMap(({ fixed_ips, allowed_address_pairs }) => [...fixed_ips, ...allowed_address_pairs]);
  const everyone = [...new Set(held.map(({ ip_address }) => someOf(ip_address)))];
  const asked = { ingress: new Map<string, Question>(), egress: new Map<string, Question>() };
  const ask = (direction: "ingress" | "egress", remote: string, packet: Packet): void => {
    const question = { remote: canonical(remote), packet };
    asked[direction].set(JSON.stringify(question), question);
  };
  for (const direction of ["ingress", "egress"] as const)
    for (const rule of rules.filter((one) => one.direction === direction)) {
      const family = rule.ethertype === "IPv6" ? 6 : 4;
      const outsider = OUTSIDER[direction][family];
      const { inside, outside } = remotesOf(rule, lists, outsider);
      const packets = packetsOf(rule, family).filter((packet) =>
        remoteMayBe(packet, direction, inside[0] === outsider),
      );
      for (const packet of packets) ask(direction, inside[0] ?? outsider, packet);
      for (const remote of [...inside, ...outside, outsider]) if (packets[0]) ask(direction, remote, packets[0]);
    }
  for (const remote of everyone)
    for (const packet of [
      ...general(familyOf(remote)).filter((one) => !isAlone(one)),
      { protocol: UDP, port: 53 },
      { protocol: TCP, port: 3306 },
    ])
      ask("ingress", remote, packet);
  for (const family of [4, 6] as const)
    for (const packet of general(family)) ask("egress", OUTSIDER.egress[family], packet);
  return { ingress: [...asked.ingress.values()], egress: [...asked.egress.values()], everyone };
}

/** Of an egress rule with a remote: what has no port might be taken for an answer to what came from there. */
const remoteMayBe = (packet: Packet, direction: string, outsider: boolean): boolean =>
  direction === "ingress" || outsider || !isAlone(packet);

function remotesOf(
  rule: Rule,
  lists: readonly AddressGroup[],
  outsider: string,
): { inside: string[]; outside: string[] } {
  const list = lists.filter(({ id }) => id === rule.remote_address_group_id).flatMap(({ addresses }) => addresses);
  const family = familyOf(outsider);
  const prefixes = [rule.remote_ip_prefix ?? [], list].flat().filter((prefix) => prefixOf(prefix).family === family);
  const all = prefixes.map(edges);
  if (all.some(({ outside }) => outside.length === 0) || all.length === 0) return { inside: [outsider], outside: [] };
  return { inside: all.flatMap(({ inside }) => inside), outside: all.flatMap(({ outside }) => outside) };
}

/** Of a prefix some address, else the address. */
function someOf(prefix: string): string {
  const { family, first, last } = prefixOf(prefix);
  return textOfNumber(family, first === last ? first : first + 9n);
}
