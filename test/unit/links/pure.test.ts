import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DesiredEndpoint } from "../../../src/compile/desired.js";
import type { Tap } from "../../../src/dataplane/backend.js";
import { ELEVATED_METRIC, NORMAL_METRIC, planRoutes, type PlanInput } from "../../../src/links/desired.js";
import { diffNeighbours, diffRoutes } from "../../../src/links/diff.js";
import { checkTapRule, isOurs, whyNotOurs } from "../../../src/links/ours.js";
import type { Link, Neighbour, TapRoute } from "../../../src/links/types.js";
import { uplinks } from "../../../src/links/uplinks.js";
import { heldKey } from "../../../src/links/view.js";
import { addressBytes, addressText, contains, overlaps, prefixParts } from "../../../src/links/wire-address.js";
import type { Address, EndpointId, Mac, Prefix } from "../../../src/model/types.js";

const link = (over: Partial<Link>): Link => ({
  ifindex: 5,
  name: "tap1",
  mac: "02:00:00:00:00:01" as Mac,
  mtu: 1500,
  adminUp: true,
  up: true,
  kind: "tun",
  master: 0,
  settings: {},
  ...over,
});
const rule = { prefixes: ["tap", "cali"], excluded: ["tapovpn", "tapx*"] };

describe("which interfaces are ours", () => {
  it.each([
    [{}, true],
    [{ name: "cali9", kind: "veth" }, true],
    [{ name: "tap" }, true],
    [{ name: "eth0", kind: "" }, false],
    [{ name: "xtap1" }, false],
    [{ master: 9 }, false],
    [{ kind: "openvswitch" }, false],
    [{ kind: "bridge" }, false],
    [{ name: "tapovpn" }, false],
    [{ name: "tapovpn2" }, true],
    [{ name: "tapx" }, false],
    [{ name: "tapx-17" }, false],
  ])("%j: %s", (over, expected) => expect(isOurs(link(over), rule)).toBe(expected));

  it("says why not", () => expect(whyNotOurs(link({ master: 9 }), rule)).toContain("port of interface 9"));

  it.each(["", "tap\n", 'tap"', "tap*", "$(x)", "tap;", "a".repeat(16)])("refuses the prefix %j", (prefix) =>
    expect(() => checkTapRule({ prefixes: [prefix], excluded: [] })).toThrow(/prefix/),
  );
  it("refuses to have no prefix at all", () =>
    expect(() => checkTapRule({ prefixes: [], excluded: [] })).toThrow(/at least one/));
});

describe("addresses", () => {
  it("read back what they wrote, in RFC 5952's form", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const text = addressText(bytes);
        expect([...addressBytes(text)]).toEqual([...bytes]);
        // The platform's URL parser writes RFC 5952 too.
        expect(`[${text}]`).toBe(new URL(`http://[${text}]/`).hostname);
      }),
    );
    expect(addressText(addressBytes("10.65.0.2"))).toBe("10.65.0.2");
    expect([...addressBytes("::ffff:1.2.3.4")].slice(-6)).toEqual([255, 255, 1, 2, 3, 4]);
    expect(() => addressBytes("10.0.0.256")).toThrow(RangeError);
    expect(() => addressBytes("fe80::1%eth0")).toThrow(RangeError);
  });

  it("know what contains what", () => {
    const parts = (prefix: string) => prefixParts(prefix as Prefix);
    expect(contains(parts("10.0.0.0/9"), parts("10.127.0.0/16"))).toBe(true);
    expect(contains(parts("10.0.0.0/9"), parts("10.128.0.0/16"))).toBe(false);
    expect(contains(parts("::/0"), parts("10.0.0.0/8"))).toBe(false);
    expect(overlaps(parts("2001:db8::/65"), parts("2001:db8::/32"))).toBe(true);
  });
});

const endpoint = (
  id: string,
  tap: string,
  owned: [string, string?][],
  over: Partial<DesiredEndpoint> = {},
): DesiredEndpoint => ({
  id: id as EndpointId,
  workload: { key: `key of ${id}` } as DesiredEndpoint["workload"],
  interfaceName: tap,
  mac: `02:00:00:00:00:0${id.at(-1)}` as Mac,
  owned: owned.map(([prefix, mac]) => ({
    prefix: prefix as Prefix,
    kind: "fixed" as const,
    ...(mac === undefined ? {} : { mac: mac as Mac }),
  })),
  set: "s" as DesiredEndpoint["set"],
  portSecurity: true,
  adminUp: true,
  ...over,
});
const tap = (name: string, ifindex: number, up = true): [string, Tap] => [
  name,
  { name, ifindex, mac: "fe:00:00:00:00:01" as Mac, mtu: 1500, up },
];
const plan = (endpoints: DesiredEndpoint[], taps: [string, Tap][], more: Partial<PlanInput> = {}) =>
  planRoutes({
    endpoints: new Map(endpoints.map((one) => [one.id, one])),
    taps: new Map(taps),
    enforced: new Set(endpoints.map((one) => one.id)),
    ...more,
  });

describe("routes that taps should have", () => {
  const e1 = endpoint("e1", "tap1", [["10.0.0.1/32"], ["2001:db8::1/128"], ["10.9.0.0/24"]]);

  it("are one for each prefix, with neighbours for single addresses", () => {
    const { routes, neighbours, problems } = plan([e1], [tap("tap1", 7)]);
    expect([...routes.values()]).toEqual([
      { family: 4, prefix: "10.0.0.1/32", metric: NORMAL_METRIC, ifindex: 7 },
      { family: 6, prefix: "2001:db8::1/128", metric: NORMAL_METRIC, ifindex: 7 },
      { family: 4, prefix: "10.9.0.0/24", metric: NORMAL_METRIC, ifindex: 7 },
    ]);
    expect([...neighbours.values()].map((entry) => [entry.address, entry.mac])).toEqual([
      ["10.0.0.1", e1.mac],
      ["2001:db8::1", e1.mac],
    ]);
    expect(problems).toEqual([]);
  });

  it("are one for each floating IP too, and never to a gateway of the host", () => {
    const nat = (external: string) => ({ external: external as Address, internal: "10.0.0.1" as Address });
    const floats = { ...e1, floating: [nat("172.24.4.7"), nat("172.24.4.1")] };
    const { routes, neighbours, problems } = plan([floats], [tap("tap1", 7)], {
      reserved: ["172.24.4.1/32" as Prefix],
    });
    expect([...routes.values()].map(({ prefix }) => prefix)).toContain("172.24.4.7/32");
    expect([...routes.values()].map(({ prefix }) => prefix)).not.toContain("172.24.4.1/32");
    expect([...neighbours.keys()]).toContain("172.24.4.7 at 7");
    expect(problems.map(({ code }) => code)).toEqual(["PREFIX_NOT_ROUTED"]);
  });

  it.each([
    ["its tap is not there", plan([e1], [])],
    ["its tap is down", plan([e1], [tap("tap1", 7, false)])],
    ["it is not enforced", plan([e1], [tap("tap1", 7)], { enforced: new Set() })],
    ["its admin state is down", plan([{ ...e1, adminUp: false }], [tap("tap1", 7)])],
    ["it is blocked", plan([{ ...e1, blocked: "bad" }], [tap("tap1", 7)])],
  ])("are none while %s", (_, result) => expect([result.routes.size, result.neighbours.size]).toEqual([0, 0]));

  it("go to the lowest id of those that can have it, or to a given owner; every holder gets a neighbour", () => {
    const both = [
      endpoint("e2", "tap2", [["10.0.0.9/32"]]),
      endpoint("e1", "tap1", [["10.0.0.9/32", "02:00:00:00:00:99"]]),
    ];
    const taps = [tap("tap1", 7), tap("tap2", 8)];
    const target = (more: Partial<PlanInput>, present = taps): number[] =>
      [...plan(both, present, more).routes.values()].map((route) => route.ifindex);
    expect(target({})).toEqual([7]);
    expect(target({ ownerOf: () => "e2" as EndpointId })).toEqual([8]);
    expect(target({ ownerOf: () => "stranger" as EndpointId })).toEqual([7]);
    expect(target({}, [tap("tap1", 7, false), tap("tap2", 8)])).toEqual([8]);
    expect([...plan(both, taps).neighbours.values()].map((entry) => `${entry.ifindex} ${entry.mac}`)).toEqual([
      "7 02:00:00:00:00:99",
      "8 02:00:00:00:00:02",
    ]);
  });

  it("carry the elevated metric where asked", () =>
    expect(
      [...plan([e1], [tap("tap1", 7)], { elevated: new Set([e1.id]) }).routes.values()].map((route) => route.metric),
    ).toEqual([ELEVATED_METRIC, ELEVATED_METRIC, ELEVATED_METRIC]));

  it.each([
    "0.0.0.0/0",
    "0.0.0.0/1",
    "127.0.0.1/32",
    "224.0.0.5/32",
    "169.254.169.254/32",
    "::/0",
    "2000::/3",
    "ff02::1/128",
    "::1/128",
    "192.0.2.1/32",
  ])("never include %s, and say so", (prefix) => {
    const { routes, problems } = plan([endpoint("e1", "tap1", [[prefix]])], [tap("tap1", 7)], {
      reserved: ["192.0.2.1/32" as Prefix],
    });
    expect(routes.size).toBe(0);
    expect(problems.map((one) => one.code)).toEqual(["PREFIX_NOT_ROUTED"]);
  });

  it("never include link-local addresses, which is nothing to report", () => {
    const { routes, problems } = plan([endpoint("e1", "tap1", [["fe80::1/128"]])], [tap("tap1", 7)]);
    expect([routes.size, problems.length]).toEqual([0, 0]);
  });
});

describe("differences", () => {
  const route = (prefix: string, ifindex: number, metric = 1024): TapRoute => ({
    family: 4,
    prefix: prefix as Prefix,
    metric,
    ifindex,
  });
  const have = (...routes: TapRoute[]): Map<string, TapRoute> => new Map(routes.map((one) => [heldKey(one), one]));
  const want = (...routes: TapRoute[]) => new Map(routes.map((one) => [`${one.prefix} metric ${one.metric}`, one]));

  it("add, replace in place, and remove", () => {
    const kept = route("10.0.0.1/32", 1);
    expect(
      diffRoutes(
        have(kept, route("10.0.0.2/32", 1), route("10.0.0.3/32", 1)),
        want(kept, route("10.0.0.2/32", 2), route("10.0.0.4/32", 1)),
      ),
    ).toEqual({
      add: [route("10.0.0.4/32", 1)],
      replace: [route("10.0.0.2/32", 2)],
      remove: [route("10.0.0.3/32", 1)],
    });
  });

  it("of metric are a new route and a removal", () =>
    expect(diffRoutes(have(route("10.0.0.1/32", 1, 512)), want(route("10.0.0.1/32", 1)))).toEqual({
      add: [route("10.0.0.1/32", 1)],
      replace: [],
      remove: [route("10.0.0.1/32", 1, 512)],
    }));

  it("when applied lead to what is wanted, whatever was there", () => {
    const any = fc.array(
      fc.record({
        prefix: fc.constantFrom("10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"),
        ifindex: fc.integer({ min: 1, max: 3 }),
        metric: fc.constantFrom(512, 1024),
      }),
    );
    const build = (items: { prefix: string; ifindex: number; metric: number }[]) =>
      items.map((one) => route(one.prefix, one.ifindex, one.metric));
    fc.assert(
      fc.property(any, any, (before, after) => {
        const kernel = have(...build(before));
        const wanted = want(...build(after));
        const diff = diffRoutes(kernel, wanted);
        for (const one of diff.add) kernel.set(heldKey(one), one);
        for (const one of diff.replace) {
          for (const [key, held] of kernel)
            if (held.prefix === one.prefix && held.metric === one.metric) kernel.delete(key);
          kernel.set(heldKey(one), one);
        }
        for (const one of diff.remove) kernel.delete(heldKey(one));
        expect([...kernel.keys()].sort()).toEqual([...wanted.values()].map(heldKey).sort());
      }),
    );
  });

  it("of neighbours leave those of others alone, and take a wanted address from whoever wrote it", () => {
    const entry = (address: string, mac: string, protocol: number): [string, Neighbour] => [
      `${address} at 1`,
      { family: 4, ifindex: 1, address: address as Address, mac: mac as Mac, state: 0x80, protocol },
    ];
    const wanted = new Map([entry("10.0.0.1", "02:00:00:00:00:01", 0), entry("10.0.0.2", "02:00:00:00:00:02", 0)]);
    const diff = diffNeighbours(
      new Map([
        entry("10.0.0.1", "02:00:00:00:00:01", 0),
        entry("10.0.0.2", "02:ff:ff:ff:ff:ff", 0),
        entry("10.0.0.3", "02:00:00:00:00:03", 116),
        entry("10.0.0.4", "02:00:00:00:00:04", 0),
      ]),
      wanted,
      116,
    );
    expect(diff.set.map((one) => one.address)).toEqual(["10.0.0.2"]);
    expect(diff.remove.map((one) => one.address)).toEqual(["10.0.0.3"]);
  });
});

describe("uplinks", () => {
  const links = new Map(
    [
      link({ ifindex: 1, name: "lo", kind: "" }),
      link({ ifindex: 2, name: "eth0", kind: "" }),
      link({ ifindex: 3, name: "bond0.5", kind: "vlan" }),
      link({ ifindex: 7 }),
      link({ ifindex: 8, name: "eth9", kind: "" }),
    ].map((one) => [one.ifindex, one]),
  );
  const names = (configured?: string[]) =>
    uplinks(links, new Set([1, 2, 3, 7]), configured, rule).map((one) => one.name);
  it("are by default those with a gateway, but no tap of ours and not lo", () =>
    expect(names()).toEqual(["eth0", "bond0.5"]));
  it("are those configured that are there, but no tap of ours", () =>
    expect(names(["eth9", "eth7", "tap1", "lo"])).toEqual(["eth9"]));
});
