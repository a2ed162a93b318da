/** The cloud in which the table of cases plays: one host's guests, some elsewhere, and what the host's routes say. */
import type { Tap } from "../../src/compile/evaluate-types.js";
import type { Served } from "../../src/model/services.js";
import {
  endpoint,
  endpointIdOf,
  group,
  inGroup,
  tapName,
  type EndpointSpec,
  type Resource,
  type RuleObject,
} from "../support/resources.js";

export const HOST = "host1";
export const ELSEWHERE = "host2";
export type Family = 4 | 6;
export const FAMILIES: readonly Family[] = [4, 6];

/** Everything that an implementation has to be given before it can judge. */
export interface ConformanceWorld {
  readonly hostname: string;
  readonly resources: readonly Resource[];
  /** By name; a guest of this host whose tap is not here has none. */
  readonly taps: ReadonlyMap<string, Tap>;
  readonly uplinks: readonly string[];
  /** Addresses of the host itself, and prefixes it has no route to; everything else is reached by an uplink. */
  readonly hostAddresses: readonly string[];
  readonly unreachable: readonly string[];
  /** S9: what the host itself begins towards a guest passes. Default: it does. */
  readonly hostToGuest?: boolean;
  /** S7: what guests reach of the host besides DHCP. Default: nothing. */
  readonly served?: Served;
}

export interface Guest {
  readonly name: string;
  readonly id: string;
  readonly tap: string;
  readonly mac: string;
  /** Of its tap. */
  readonly hostMac: string;
  readonly v4: string;
  readonly v6: string;
}

const hex = (n: number): string => n.toString(16).padStart(2, "0");

function guest(name: string, number: number, subnet: "a" | "b" | "c", node = HOST): Guest {
  const v4 = { a: "10.65.0.", b: "172.18.3.", c: "10.65.1." }[subnet] + String(number);
  const v6 = { a: "2001:db8:65::", b: "2001:db8:18::", c: "2001:db8:66::" }[subnet] + String(number);
  return {
    name,
    id: endpointIdOf({ name, node }),
    tap: tapName(name),
    mac: `fa:16:3e:00:00:${hex(number)}`,
    hostMac: `fe:16:3e:00:00:${hex(number)}`,
    v4,
    v6,
  };
}

export const GUESTS = {
  web1: guest("web1", 11, "a"),
  web2: guest("web2", 12, "b"),
  db1: guest("db1", 21, "a"),
  db2: guest("db2", 22, "b"),
  /** Allowed pairs: CIDRs, and one address with a MAC. */
  pair1: guest("pair1", 31, "a"),
  /** Port security off. */
  open1: guest("open1", 41, "a"),
  /** Admin state down. */
  down1: guest("down1", 51, "a"),
  /** A stateless group. */
  free1: guest("free1", 61, "a"),
  /** Both have the pair VIP. */
  vip1: guest("vip1", 71, "a"),
  vip2: guest("vip2", 72, "a"),
  /** No tap. */
  gone1: guest("gone1", 81, "a"),
  /** Its resource could not be understood. */
  bad1: guest("bad1", 91, "a"),
  /** No security group at all. */
  bare1: guest("bare1", 95, "a"),
  /** Small MTU. */
  thin1: guest("thin1", 97, "a"),
  far1: guest("far1", 11, "c", ELSEWHERE),
  fardb: guest("fardb", 21, "c", ELSEWHERE),
} as const satisfies Record<string, Guest>;
export type GuestName = keyof typeof GUESTS;

export const VIP = { 4: "10.65.0.70", 6: "2001:db8:65::70" } as const;
export const PAIR_NET = { 4: "10.99.0.0/24", 6: "2001:db8:99::/64" } as const;
export const IN_PAIR_NET = { 4: "10.99.0.5", 6: "2001:db8:99::5" } as const;
export const PAIR_MAC = "fa:16:3e:aa:aa:aa";
export const MAC_PAIR = { 4: "10.65.0.200", 6: "2001:db8:65::200" } as const;
export const OUTSIDE = { 4: "198.51.100.7", 6: "2001:db8:ffff::7" } as const;
export const ELSE_OUTSIDE = { 4: "192.0.2.99", 6: "2001:db8:eeee::9" } as const;
export const HOST_ADDRESS = { 4: "192.0.2.1", 6: "2001:db8:1::1" } as const;
export const NO_ROUTE = { 4: "203.0.113.5", 6: "2001:db8:dead::5" } as const;
export const UPLINK_MACS = { from: "02:00:00:00:00:01", to: "02:00:00:00:00:02" } as const;

export const ip = (name: GuestName, family: Family): string => (family === 4 ? GUESTS[name].v4 : GUESTS[name].v6);

/** The same rule for both families: `net` is looked up by family. */
export function both(rule: RuleObject | ((family: Family) => RuleObject)): RuleObject[] {
  return FAMILIES.map((family) => ({
    action: "Allow",
    ipVersion: family,
    ...(typeof rule === "function" ? rule(family) : rule),
  }));
}

export const ANYTHING: readonly RuleObject[] = both({});
const OUTSIDE_NET = { 4: "198.51.100.0/24", 6: "2001:db8:ffff::/48" } as const;
export const fromOutside = (family: Family): RuleObject => ({ source: { nets: [OUTSIDE_NET[family]] } });
const port = (protocol: number, ports: readonly (number | string)[], more: RuleObject = {}): RuleObject => ({
  protocol,
  destination: { ports },
  ...more,
});

export const WEB_INGRESS: readonly RuleObject[] = [
  ...both(port(6, [80])),
  { action: "Allow", ipVersion: 4, protocol: "ICMP", icmp: { type: 8 } },
  { action: "Allow", ipVersion: 6, protocol: "ICMPv6", icmp: { type: 128 } },
  ...both((family) => port(17, ["5000:5010"], fromOutside(family))),
  ...both(port(132, [3868])),
  ...both(port(136, [4000])),
  ...both(port(33, [5001])),
  ...both((family) => ({ protocol: 47, ...fromOutside(family) })),
];

export const DB_INGRESS: readonly RuleObject[] = both(port(6, [5432], { source: { selector: inGroup("web") } }));
export const DB_EGRESS: readonly RuleObject[] = [
  ...both({ protocol: 6, destination: { selector: inGroup("db"), ports: [5432] } }),
  ...both(port(17, [53])),
];

export const GROUPS: readonly Resource[] = [
  group("web", { ingress: WEB_INGRESS, egress: ANYTHING }),
  group("db", { ingress: DB_INGRESS, egress: DB_EGRESS }),
  group("free", { ingress: both(port(6, [80])), egress: both(port(17, [53])), stateful: false }),
];

export function spec(name: GuestName, more: Partial<EndpointSpec>, node = HOST): EndpointSpec {
  const { mac, v4, v6 } = GUESTS[name];
  return { name, node, mac, addresses: [v4, v6], ...more };
}

const vipPairs = { groups: ["web"], pairs: [{ ip: VIP[4] }, { ip: VIP[6] }] };
export const ENDPOINTS: readonly EndpointSpec[] = [
  spec("web1", { groups: ["web"] }),
  spec("web2", { groups: ["web"] }),
  spec("db1", { groups: ["db"] }),
  spec("db2", { groups: ["db"] }),
  spec("pair1", {
    groups: ["web"],
    pairs: [
      { ip: PAIR_NET[4] },
      { ip: PAIR_NET[6] },
      { ip: MAC_PAIR[4], mac: PAIR_MAC },
      { ip: MAC_PAIR[6], mac: PAIR_MAC },
    ],
  }),
  spec("open1", { portSecurity: false }),
  spec("down1", { groups: ["web"], adminUp: false }),
  spec("free1", { groups: ["free"] }),
  spec("vip1", vipPairs),
  spec("vip2", vipPairs),
  spec("gone1", { groups: ["web"] }),
  spec("bad1", { groups: ["web"], annotations: { "torbie/admin-state": "sideways" } }),
  spec("bare1", {}),
  spec("thin1", { groups: ["web"] }),
  spec("far1", { groups: ["web"] }, ELSEWHERE),
  spec("fardb", { groups: ["db"] }, ELSEWHERE),
];

/** An interface with a tap's name that no endpoint claims. */
export const STRAY_TAP = "tapstray";

function taps(): ReadonlyMap<string, Tap> {
  const here = Object.values(GUESTS).filter(({ name }) => !["gone1", "far1", "fardb"].includes(name));
  const all = here.map(({ name, tap, hostMac }, i): [string, Tap] => [
    tap,
    { ifindex: 100 + i, hostMac: hostMac as Tap["hostMac"], mtu: name === "thin1" ? 1300 : 1500 },
  ]);
  return new Map([...all, [STRAY_TAP, { ifindex: 99, hostMac: "fe:16:3e:00:00:fe" as Tap["hostMac"], mtu: 1500 }]]);
}

export const BASE: ConformanceWorld = {
  hostname: HOST,
  resources: [...ENDPOINTS.map(endpoint), ...GROUPS],
  taps: taps(),
  uplinks: ["up0"],
  hostAddresses: [HOST_ADDRESS[4], HOST_ADDRESS[6]],
  unreachable: ["203.0.113.0/24", "2001:db8:dead::/48"],
};

/** The world with some resources put in the place of those with the same key, added, or (`without`) removed. */
export function changed(
  world: ConformanceWorld,
  puts: readonly Resource[],
  without: readonly string[] = [],
): ConformanceWorld {
  const gone = new Set([...puts.map(({ key }) => key), ...without]);
  return { ...world, resources: [...world.resources.filter(({ key }) => !gone.has(key)), ...puts] };
}

export const respec = (name: GuestName, more: Partial<EndpointSpec>): Resource => endpoint(spec(name, more));
