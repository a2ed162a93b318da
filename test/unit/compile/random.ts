/** Small random clouds: few names and few addresses, so that everything meets everything. */
import fc from "fast-check";
import { prefixToAddress } from "../../../src/model/cidr.js";
import type { Address, Prefix } from "../../../src/model/types.js";
import type { Change } from "./fixtures.js";
import {
  Labels,
  networkSet,
  policy,
  prefix,
  profile,
  remoteEndpoint,
  rule,
  selector,
  side,
  tier,
  workload,
} from "./fixtures.js";

const labels = new Labels();

const PREFIXES = [
  "0.0.0.0/0",
  "10.0.0.0/8",
  "10.0.0.0/24",
  "10.0.0.0/25",
  "10.0.0.128/25",
  "10.0.0.4/30",
  "10.0.0.5/32",
  "10.0.0.6/32",
  "10.0.1.0/24",
  "::/0",
  "fd00::/16",
  "fd00::/64",
  "fd00::4/126",
  "fd00::5/128",
];
/** Two that endpoints may have by themselves. */
const EXTERNALS = ["192.0.2.1", "192.0.2.2", "10.0.0.5", "10.0.0.6", "127.0.0.1"];
const SINGLES = [
  "10.0.0.5/32",
  "10.0.0.6/32",
  "10.0.0.200/32",
  "10.0.1.1/32",
  "192.0.2.1/32",
  "fd00::5/128",
  "fd00::6/128",
  "2001:db8::1/128",
];

/** Addresses worth asking about: those above and some that nobody has. */
export const PROBES = [
  ...SINGLES.map((one) => one.slice(0, one.indexOf("/"))),
  "10.0.0.7",
  "10.0.0.129",
  "10.9.9.9",
  "8.8.8.8",
  "fd00::7",
  "fd01::1",
];

const labelSet = fc
  .record({ a: fc.constantFrom(undefined, "1", "2"), b: fc.constantFrom(undefined, "1") })
  .map(({ a, b }) => labels.set({ ...(a === undefined ? {} : { a }), ...(b === undefined ? {} : { b }) }));

const selectors = fc
  .constantFrom("all()", "has(a)", "a == '1'", "a in {'1', '2'} && has(b)", "!has(b)", "has(b) || a == '2'")
  .map(selector);
const prefixes = (most: number) =>
  fc.uniqueArray(fc.constantFrom(...PREFIXES), { maxLength: most }).map((list) => list.map(prefix));
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 1 });
const ports = fc.constantFrom([], [], [{ first: 80, last: 90 }]);

export const ruleSide = fc
  .record({
    selector: maybe(selectors),
    notSelector: fc.option(selectors, { nil: undefined, freq: 2 }),
    nets: prefixes(2),
    notNets: prefixes(1),
    ports,
  })
  .map(({ selector, notSelector, ...rest }) =>
    side({
      ...rest,
      ...(selector === undefined ? {} : { selector }),
      ...(notSelector === undefined ? {} : { notSelector }),
    }),
  );

/** Mostly silent, since a side that speaks rarely matches. */
const localSide = fc.oneof({ weight: 3, arbitrary: fc.constant(side()) }, { weight: 1, arbitrary: ruleSide });

const rules = (direction: "ingress" | "egress") =>
  fc
    .array(
      fc.record({
        remote: ruleSide,
        local: localSide,
        action: fc.constantFrom("allow" as const, "allow" as const, "deny" as const, "pass" as const),
        family: fc.constantFrom(undefined, 4 as const, 6 as const),
        protocol: fc.constantFrom(undefined, 6, 47),
      }),
      { maxLength: 3 },
    )
    .map((list) =>
      list.map(({ remote, local, action, family, protocol }, i) =>
        rule({
          index: `${direction}/${i}`,
          action,
          ...(family === undefined ? {} : { family }),
          ...(protocol === undefined ? {} : { protocol }),
          source: direction === "ingress" ? remote : local,
          destination: direction === "ingress" ? local : remote,
        }),
      ),
    );

const policies = fc
  .record({
    id: fc.constantFrom("np:x/p", "np:x/q", "gnp:r", "gnp:s~1"),
    selector: selectors,
    tier: fc.constantFrom("default", "default", "t1", "nowhere"),
    order: fc.constantFrom(1, 2, Number.POSITIVE_INFINITY),
    stateful: fc.boolean(),
    ingressApplies: fc.boolean(),
    egressApplies: fc.boolean(),
    ingress: rules("ingress"),
    egress: rules("egress"),
  })
  .map(({ id, ...said }) => policy(id, said));

const singles = fc.uniqueArray(fc.constantFrom(...SINGLES), { maxLength: 3 });
const pairs = prefixes(2).map((list) => list.map((one) => ({ prefix: one })));
const profileNames = fc.subarray(["base", "other"]);

const locals = fc
  .record({
    id: fc.constantFrom("l1", "l2", "m1"),
    labels: labelSet,
    fixed: singles,
    pairs,
    profiles: profileNames,
    tap: fc.constantFrom("t1", "t2"),
    nats: fc.array(fc.record({ internal: fc.constantFrom(...SINGLES), external: fc.constantFrom(...EXTERNALS) }), {
      maxLength: 2,
    }),
  })
  .map(({ id, labels, fixed, pairs, profiles, tap, nats }) =>
    workload(id, labels, fixed, {
      pairs,
      profiles,
      interfaceName: tap,
      nats: nats.map(({ internal, external }) => ({
        internal: prefixToAddress(internal as Prefix),
        external: external as Address,
      })),
    }),
  );
const remotes = fc
  .record({ id: fc.constantFrom("r1", "r2", "m1"), labels: labelSet, singles, wide: prefixes(1) })
  .map(({ id, labels, singles, wide }) => remoteEndpoint(id, labels, [...new Set([...singles, ...wide])]));
const sets = fc
  .record({ id: fc.constantFrom("ns:x/1", "gns:2"), labels: labelSet, prefixes: prefixes(3) })
  .map(({ id, labels, prefixes }) => networkSet(id, labels, prefixes));
const profiles = fc
  .record({ name: fc.constantFrom("base", "other"), ingress: rules("ingress"), egress: rules("egress") })
  .map(({ name, ...said }) => profile(name, said));
const tiers = fc
  .record({
    name: fc.constantFrom("default", "t1"),
    order: fc.constantFrom(1, 5, Number.POSITIVE_INFINITY),
    end: fc.constantFrom("deny" as const, "pass" as const),
  })
  .map(({ name, order, end }) => tier(name, order, end));

const gone = (...names: string[]) => fc.constantFrom(...names);
const some = <T>(arbitrary: fc.Arbitrary<T>, removal: fc.Arbitrary<string>) =>
  fc.array(fc.oneof({ weight: 3, arbitrary: arbitrary }, { weight: 1, arbitrary: removal }), { maxLength: 2 });

/** One change to a cloud; applied in turn, each may replace or remove what earlier ones made. */
export const change: fc.Arbitrary<Change> = fc.record({
  endpoints: some(fc.oneof(locals, remotes), gone("l1", "l2", "m1", "r1", "r2")),
  policies: some(policies, gone("np:x/p", "np:x/q", "gnp:r", "gnp:s~1")),
  profiles: some(profiles, gone("base", "other")),
  tiers: some(tiers, gone("default", "t1")),
  networkSets: some(sets, gone("ns:x/1", "gns:2")),
});
