/** Random clouds for property tests: a handful of guests, groups, operator policies, tiers, sets; small, so that rules meet packets. */
import fc from "fast-check";
import type { Tap } from "../../src/compile/evaluate-types.js";
import type { ConformanceWorld } from "../conformance/world.js";
import {
  endpoint,
  globalPolicy,
  globalResource,
  group,
  inGroup,
  tapName,
  type EndpointSpec,
  type Resource,
  type RuleObject,
} from "./resources.js";

export const GENERATED_HOST = "host1";
export type Family = 4 | 6;

/** Where a generated packet may come from or go to. */
export interface Place {
  readonly name: string;
  readonly kind: "local" | "remote" | "outside";
  readonly mac: string;
  readonly hostMac: string;
  /** All its addresses, the first of each family being its own. */
  readonly v4: readonly string[];
  readonly v6: readonly string[];
}

export interface GeneratedWorld extends ConformanceWorld {
  readonly places: readonly Place[];
}

/** Ports that rules speak of, and their neighbours: where ranges begin and end. */
export const PORTS: readonly number[] = [22, 53, 79, 80, 81, 443, 1023, 1024, 5000, 5010, 5011, 65535];
const GROUPS = ["red", "green", "blue"] as const;
const NETS = [
  "0.0.0.0/0",
  "10.0.0.0/8",
  "10.65.0.0/24",
  "10.65.0.2/32",
  "198.51.100.0/24",
  "198.51.100.128/25",
  "::/0",
  "2001:db8:65::/64",
  "2001:db8:65::2/128",
  "2001:db8:ffff::/48",
] as const;
const SELECTORS = [
  ...GROUPS.map(inGroup),
  "all()",
  "has(kind)",
  "kind == 'partner'",
  `${inGroup("red")} && !${inGroup("green")}`,
] as const;

const port = fc.oneof(
  fc.constantFrom(...PORTS).map((one): number | string => one),
  fc.tuple(fc.constantFrom(...PORTS), fc.constantFrom(...PORTS)).map(([a, b]) => `${Math.min(a, b)}:${Math.max(a, b)}`),
);
const ports = fc.array(port, { minLength: 1, maxLength: 3 });
const fitting = (family: Family): fc.Arbitrary<string[]> =>
  fc.subarray(
    NETS.filter((net) => net.includes(":") === (family === 6)),
    { minLength: 1, maxLength: 2 },
  );

/** What a rule says of protocol and ports; `family` for ICMP's sake. */
function transport(family: Family): fc.Arbitrary<RuleObject> {
  const ported = fc.tuple(fc.constantFrom(6, 17, 132, 136, 33, 6, 17), fc.option(ports, { nil: undefined, freq: 4 }));
  const [name, types] = family === 4 ? ["ICMP", [8, 13, 9]] : ["ICMPv6", [128, 139, 144]];
  return fc.oneof(
    { weight: 2, arbitrary: fc.constant<RuleObject>({}) },
    {
      weight: 6,
      arbitrary: ported.map(([protocol, list]): RuleObject => ({
        protocol,
        ...(list === undefined ? {} : { destination: { ports: list } }),
      })),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(fc.constantFrom(...types), fc.boolean())
        .map(([type, code]): RuleObject => ({ protocol: name, icmp: code ? { type, code: 0 } : { type } })),
    },
    { weight: 1, arbitrary: fc.constantFrom(47, 50, 89).map((protocol): RuleObject => ({ protocol })) },
  );
}

/** Who the other side is: nobody in particular, a group, prefixes, both; negated where operators write it. */
function remote(family: Family, operator: boolean): fc.Arbitrary<RuleObject> {
  const plain = fc.oneof(
    { weight: 3, arbitrary: fc.constant<RuleObject>({}) },
    { weight: 3, arbitrary: fc.constantFrom(...GROUPS).map((one): RuleObject => ({ selector: inGroup(one) })) },
    { weight: 3, arbitrary: fitting(family).map((nets): RuleObject => ({ nets })) },
  );
  if (!operator) return plain;
  return fc.oneof(
    { weight: 4, arbitrary: plain },
    { weight: 1, arbitrary: fc.constantFrom(...SELECTORS).map((selector): RuleObject => ({ selector })) },
    { weight: 1, arbitrary: fc.constantFrom(...GROUPS).map((one): RuleObject => ({ notSelector: inGroup(one) })) },
    { weight: 1, arbitrary: fitting(family).map((notNets): RuleObject => ({ notNets })) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom(...SELECTORS), fitting(family))
        .map(([selector, nets]): RuleObject => ({ selector, nets })),
    },
  );
}

function rule(direction: "ingress" | "egress", operator: boolean): fc.Arbitrary<RuleObject> {
  const action = operator ? fc.constantFrom("Allow", "Deny", "Deny", "Pass", "Log") : fc.constant("Allow");
  const sourcePorts = operator
    ? fc.option(ports, { nil: undefined, freq: 1 }).filter((list) => list === undefined || list.length < 3)
    : fc.constant(undefined);
  return fc.constantFrom<Family>(4, 6).chain((family) =>
    fc
      .record({ action, transport: transport(family), remote: remote(family, operator), sourcePorts })
      .map((parts): RuleObject => {
        const { destination, ...rest } = parts.transport as { destination?: { ports: unknown } };
        const ported = destination !== undefined;
        const source = {
          ...(direction === "ingress" ? parts.remote : {}),
          ...(ported && parts.sourcePorts !== undefined ? { ports: parts.sourcePorts } : {}),
        };
        const target = { ...(direction === "egress" ? parts.remote : {}), ...destination };
        return {
          action: parts.action,
          ipVersion: family,
          ...rest,
          ...(Object.keys(source).length > 0 ? { source } : {}),
          ...(Object.keys(target).length > 0 ? { destination: target } : {}),
        };
      }),
  );
}

const anything: readonly RuleObject[] = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];

function groupOf(name: string): fc.Arbitrary<Resource> {
  return fc
    .record({
      ingress: fc.array(rule("ingress", false), { minLength: 2, maxLength: 6 }),
      // As Neutron's default: egress is mostly open.
      egress: fc.oneof(
        { weight: 2, arbitrary: fc.constant(anything) },
        { weight: 1, arbitrary: fc.array(rule("egress", false), { maxLength: 4 }) },
      ),
      stateful: fc.integer({ min: 0, max: 5 }).map((die) => die > 0),
    })
    .map((rules) => group(name, rules));
}

function operatorPolicies(): fc.Arbitrary<Resource[]> {
  const one = fc.record({
    order: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
    tier: fc.constantFrom("default", "default", "front", "back"),
    selector: fc.constantFrom(...SELECTORS),
    types: fc.constantFrom(["Ingress"], ["Egress"], ["Ingress", "Egress"]),
    ingress: fc.array(rule("ingress", true), { maxLength: 4 }),
    egress: fc.array(rule("egress", true), { maxLength: 4 }),
  });
  return fc.array(one, { maxLength: 4, size: "max" }).map((list) =>
    list.map(({ order, tier, types, ingress, egress, selector }, i) =>
      globalPolicy(`${tier}.p${i}`, {
        selector,
        tier,
        types,
        ...(order === undefined ? {} : { order }),
        // A tier ends in deny: what it does not speak of goes on to the groups.
        ingress: [...ingress, ...(tier === "default" ? [] : [{ action: "Pass" }])],
        egress: [...egress, ...(tier === "default" ? [] : [{ action: "Pass" }])],
      }),
    ),
  );
}

interface Draft {
  readonly groups: readonly string[];
  readonly local: boolean;
  readonly die: number;
}

/** Guests 2.. of 10.65.0.0/24 and 2001:db8:65::/64; some without port security, down, stateless, with pairs. */
function specOf({ groups, local, die }: Draft, i: number): EndpointSpec {
  const n = i + 2;
  const pairs =
    die === 2
      ? [{ ip: "10.65.0.100" }, { ip: "2001:db8:65::100" }]
      : die === 3
        ? [{ ip: `10.99.${n}.0/24` }, { ip: `2001:db8:99:${n}::/64` }]
        : undefined;
  return {
    name: `g${n}`,
    node: local ? GENERATED_HOST : "host2",
    mac: `fa:16:3e:00:01:${n.toString(16).padStart(2, "0")}`,
    addresses: [`10.65.0.${n}`, `2001:db8:65::${n}`],
    groups,
    ...(pairs === undefined ? {} : { pairs }),
    ...(die === 0 ? { portSecurity: false } : {}),
    ...(die === 1 ? { adminUp: false } : {}),
  };
}

function placeOf(spec: EndpointSpec): Place {
  const n = Number(spec.name.slice(1));
  const extra = (spec.pairs ?? []).map(({ ip }) => ip.replace("0/24", "7").replace("::/64", "::7"));
  const all = [...spec.addresses, ...extra];
  return {
    name: spec.name,
    kind: spec.node === GENERATED_HOST ? "local" : "remote",
    mac: spec.mac,
    hostMac: `fe:16:3e:00:01:${n.toString(16).padStart(2, "0")}`,
    v4: all.filter((one) => !one.includes(":")),
    v6: all.filter((one) => one.includes(":")),
  };
}

const OUTSIDE: Place = {
  name: "outside",
  kind: "outside",
  mac: "02:00:00:00:00:01",
  hostMac: "02:00:00:00:00:02",
  v4: ["198.51.100.7", "198.51.100.200", "192.0.2.99"],
  v6: ["2001:db8:ffff::7", "2001:db8:eeee::9"],
};

/** At least three guests here and one elsewhere. */
export function arbWorld(): fc.Arbitrary<GeneratedWorld> {
  const draft = (local: boolean): fc.Arbitrary<Draft> =>
    fc.record({
      groups: fc.subarray([...GROUPS], { minLength: 1, maxLength: 2 }),
      local: fc.constant(local),
      die: fc.integer({ min: 0, max: 11 }),
    });
  return fc
    .record({
      here: fc.array(draft(true), { minLength: 3, maxLength: 5 }),
      elsewhere: fc.array(draft(false), { minLength: 1, maxLength: 2 }),
      groups: fc.tuple(...GROUPS.map(groupOf)),
      policies: operatorPolicies(),
      set: fc.boolean(),
    })
    .map(({ here, elsewhere, groups, policies, set }) => {
      const specs = [...here, ...elsewhere].map(specOf);
      const sets = set
        ? [
            globalResource(
              "globalnetworksets",
              "GlobalNetworkSet",
              "partners",
              { nets: ["198.51.100.0/25", "2001:db8:ffff::/64"] },
              { kind: "partner" },
            ),
          ]
        : [];
      const tiers = [
        globalResource("tiers", "Tier", "front", { order: 1 }),
        globalResource("tiers", "Tier", "back", { order: 2_000_000 }),
      ];
      const places = specs.map(placeOf);
      const taps = places
        .filter(({ kind }) => kind === "local")
        .map(({ name, hostMac }, i): [string, Tap] => [
          tapName(name),
          { ifindex: 200 + i, hostMac: hostMac as Tap["hostMac"], mtu: 1500 },
        ]);
      return {
        hostname: GENERATED_HOST,
        resources: [...specs.map(endpoint), ...groups, ...policies, ...sets, ...tiers],
        taps: new Map(taps),
        uplinks: ["up0"],
        hostAddresses: ["192.0.2.1", "2001:db8:1::1"],
        unreachable: ["203.0.113.0/24"],
        places: [...places, OUTSIDE],
      };
    });
}

/** The world with one thing different: a policy less, a guest in other groups, a group that forgets. */
export function edited(world: GeneratedWorld, which: number): GeneratedWorld {
  const policies = world.resources.filter(({ key }) => key.includes("policies/"));
  const victim = policies[which % Math.max(1, policies.length)];
  if (victim === undefined) return world;
  const spec = victim.object["spec"] as { ingress?: readonly unknown[] };
  const shorter = {
    ...victim,
    object: { ...victim.object, spec: { ...spec, ingress: (spec.ingress ?? []).slice(1) } },
  };
  const resources = world.resources.flatMap((one) => (one !== victim ? [one] : which % 3 === 0 ? [] : [shorter]));
  return { ...world, resources };
}
