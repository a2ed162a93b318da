/** Random desired states, small enough to collide often. */
import fc from "fast-check";
import type {
  ClassKey,
  ClassList,
  DesiredEndpoint,
  DesiredRule,
  DesiredState,
  PlaneShape,
  PolicyKey,
  PolicySetKey,
} from "../../../../src/compile/desired.js";
import type { Address, PortRange, Prefix } from "../../../../src/model/types.js";
import { endpoint, policy, rule } from "../../../support/desired.js";
import type { Packet } from "./memory.js";

export const CLASSES = Array.from({ length: 10 }, (_, i) => `c${i}` as ClassKey);
export const ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "192.0.2.1", "fd00::1", "fd00:0:0:1::1"] as Address[];
const PREFIXES = ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "::/0", "fd00::/16", "fd00::/64"] as Prefix[];
const PROTOCOLS = [1, 6, 17, 58, 47, 132];
const POLICIES = ["p0", "p1", "p2", "p3"] as PolicyKey[];
export const SETS = ["s0", "s1"] as PolicySetKey[];

const range = fc
  .tuple(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 9 }))
  .map(([first, more]): PortRange => ({ first, last: Math.min(first + more, 15) }));
const ports = fc.array(range, { minLength: 1, maxLength: 2 });
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined });

function ruleOf(actions: readonly DesiredRule["action"][], sourcePorts: boolean): fc.Arbitrary<DesiredRule> {
  return fc
    .record({
      action: fc.constantFrom(...actions),
      families: fc.constantFrom<readonly (4 | 6)[]>([4], [6], [4, 6]),
      protocols: optional(fc.uniqueArray(fc.constantFrom(...PROTOCOLS), { minLength: 1, maxLength: 2 })),
      remote: fc.constantFrom<string>("any", "any", "any", "any", ...CLASSES),
      ports: optional(ports),
      sourcePorts: sourcePorts ? optional(ports) : fc.constant(undefined),
    })
    .map(({ protocols, ports: to, sourcePorts: from, ...rest }) =>
      rule({
        ...rest,
        ...(protocols === undefined
          ? {}
          : {
              protocols: from === undefined ? protocols : protocols.filter((p) => [6, 17, 132].includes(p)).concat(6),
            }),
        ...(to === undefined ? {} : { ports: to }),
        ...(from === undefined ? {} : { sourcePorts: from }),
      }),
    );
}

/** `open`: only what Neutron can say. */
export function desiredStates(open: boolean): fc.Arbitrary<DesiredState> {
  const rules = open ? ruleOf(["allow"], false) : ruleOf(["allow", "allow", "deny", "pass", "log"], true);
  const policies = fc.tuple(
    ...POLICIES.map((key) =>
      fc
        .tuple(fc.array(rules, { maxLength: 4 }), fc.array(rules, { maxLength: 2 }), fc.boolean())
        .map(([ingress, egress, stateless]) => {
          const all = (list: DesiredRule[]): DesiredRule[] =>
            list.map((one) => ({ ...one, stateless: one.action === "allow" && stateless }));
          return policy(key, { ingress: all(ingress), egress: all(egress) });
        }),
    ),
  );
  const plane = (tier: string): fc.Arbitrary<PlaneShape> =>
    fc.record({
      tier: fc.constant(tier),
      policies: fc.shuffledSubarray(POLICIES),
      end: open ? fc.constant("deny" as const) : fc.constantFrom<"deny" | "pass">("deny", "pass"),
    });
  const planes = (
    open ? fc.tuple(plane("default")) : fc.oneof(fc.tuple(plane("default")), fc.tuple(plane("first"), plane("default")))
  ) as fc.Arbitrary<PlaneShape[]>;
  const sets = fc.tuple(...SETS.map((key) => fc.record({ key: fc.constant(key), ingress: planes, egress: planes })));
  const list = fc.record({
    classes: fc.uniqueArray(fc.constantFrom(...CLASSES), { maxLength: 9 }).map((found) => found.sort()),
    complete: fc.boolean(),
  });
  const lists = <K extends string>(keys: readonly K[], complete: boolean): fc.Arbitrary<Map<K, ClassList>> =>
    fc
      .array(fc.tuple(fc.constantFrom(...keys), complete ? list : list.map((one) => ({ ...one, complete: false }))), {
        maxLength: 6,
      })
      .map((entries) => new Map(entries));
  const one = (id: string, i: number): fc.Arbitrary<DesiredEndpoint> =>
    fc.constantFrom(...SETS).map((set) => endpoint(id, { owned: [`172.16.0.${i + 1}/32`], set }));
  const endpoints = fc
    .subarray(["a", "b", "c"], { minLength: 1 })
    .chain((ids) => fc.tuple<DesiredEndpoint[]>(...ids.map(one)));
  return fc
    .record({ policies, sets, addresses: lists(ADDRESSES, true), prefixes: lists(PREFIXES, false), endpoints })
    .map(({ policies: all, sets: shapes, endpoints: ends, ...rest }) => ({
      ...rest,
      policies: new Map(all.map((one) => [one.key, one])),
      sets: new Map(shapes.map((one) => [one.key, statelessLast(one, all, open)])),
      endpoints: new Map(ends.map((one) => [one.id, one])),
      alsoRemote: new Set(),
    }));
}

/** The compiler puts policies that remember flows before those that do not, where nothing else orders them. */
function statelessLast<S extends { key: PolicySetKey; ingress: readonly PlaneShape[]; egress: readonly PlaneShape[] }>(
  shape: S,
  policies: readonly ReturnType<typeof policy>[],
  open: boolean,
): S {
  if (!open) return shape;
  const isStateless = (key: PolicyKey): number =>
    Number(
      policies.some((one) => one.key === key && [...one.ingress, ...one.egress].some(({ stateless }) => stateless)),
    );
  const sorted = (planes: readonly PlaneShape[]): PlaneShape[] =>
    planes.map((plane) => ({
      ...plane,
      policies: [...plane.policies].sort((a, b) => isStateless(a) - isStateless(b)),
    }));
  return { ...shape, ingress: sorted(shape.ingress), egress: sorted(shape.egress) };
}

export const packets: fc.Arbitrary<Packet> = fc.record({
  direction: fc.constantFrom<0 | 1>(0, 1),
  remote: fc.constantFrom(...ADDRESSES),
  protocol: fc.constantFrom(...PROTOCOLS),
  port: fc.integer({ min: 0, max: 16 }),
  sourcePort: fc.integer({ min: 0, max: 16 }),
});

/** Every packet that differs to the rules above, coarsely: for looking at all of them after every write. */
export const ALL_PACKETS: readonly Packet[] = ([0, 1] as const).flatMap((direction) =>
  ADDRESSES.flatMap((remote) =>
    [6, 47].flatMap((protocol) => [3, 12].map((port) => ({ direction, remote, protocol, port, sourcePort: 5 }))),
  ),
);
