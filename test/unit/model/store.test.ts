import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { KeyChange } from "../../../src/datastore/types.js";
import { keyOf, type Kind } from "../../../src/model/keys.js";
import { isEmptyDelta, isLocal, ModelStore } from "../../../src/model/store.js";
import { change, GNP, HOST, load, local, NP, put, resource, wep, wepKey, wepName } from "./help.js";

const KINDS: Kind[] = [
  "WorkloadEndpoint",
  "NetworkPolicy",
  "GlobalNetworkPolicy",
  "NetworkSet",
  "GlobalNetworkSet",
  "Profile",
  "Tier",
  "Subnet",
  "ClusterInformation",
  "FelixConfiguration",
  "LiveMigration",
];
const keyFor = (kind: Kind): string =>
  keyOf(
    kind,
    kind === "WorkloadEndpoint" ? wepName("a") : "default",
    ["WorkloadEndpoint", "NetworkPolicy", "NetworkSet", "LiveMigration"].includes(kind) ? "openstack" : undefined,
  );

describe("events", () => {
  test("a snapshot takes away what it does not hold, and only then", () => {
    const store = load(HOST, {
      [wepKey("a")]: wep("a"),
      [NP]: resource("NetworkPolicy", "p", {}),
      [keyOf("Tier", "t")]: "{",
    });
    store.takeDelta();
    store.apply({ type: "lost", reason: "x" });
    expect(store.inSync).toBe(false);
    store.apply({ type: "snapshot-begin" });
    expect(isEmptyDelta(change(store, wepKey("a"), wep("a")))).toBe(true);
    expect(store.model.policies.size).toBe(1);
    const delta = store.apply({ type: "in-sync" });
    expect([[...delta.policies], [...delta.endpoints], [...delta.tiers], store.inSync]).toEqual([
      ["np:openstack/p"],
      [],
      ["t"],
      true,
    ]);
    expect([store.model.policies.size, store.model.tiers.size, store.problems()]).toEqual([0, 0, []]);
  });

  test("a snapshot that broke off does not count as seen", () => {
    const store = load(HOST, { [GNP]: resource("GlobalNetworkPolicy", "g", {}) });
    store.apply({ type: "snapshot-begin" });
    change(store, GNP, resource("GlobalNetworkPolicy", "g", {}));
    store.apply({ type: "lost", reason: "x" });
    store.apply({ type: "snapshot-begin" });
    store.apply({ type: "in-sync" });
    expect(store.model.policies.size).toBe(0);
  });

  test("a bad value that is still there keeps the last good one through a snapshot", () => {
    const store = load(HOST, { [wepKey("a")]: wep("a") });
    store.apply({ type: "snapshot-begin" });
    change(store, wepKey("a"), "{");
    store.apply({ type: "in-sync" });
    expect(local(store)).not.toHaveProperty("blocked");
    expect(local(store)).toBeDefined();
  });

  test("deltas gather until they are taken", () => {
    const store = load(HOST, { [wepKey("a")]: wep("a") });
    change(store, GNP, resource("GlobalNetworkPolicy", "g", {}));
    change(
      store,
      keyOf("ClusterInformation", "default"),
      resource("ClusterInformation", "default", { datastoreReady: true }),
    );
    const delta = store.takeDelta();
    expect([delta.endpoints.size, [...delta.policies], delta.settings]).toEqual([1, ["gnp:g"], true]);
    expect(isEmptyDelta(store.takeDelta())).toBe(true);
    change(store, GNP, resource("GlobalNetworkPolicy", "g", {}));
    expect(isEmptyDelta(store.takeDelta())).toBe(true);
    store.apply({
      type: "changes",
      changes: [
        { op: "delete", key: GNP },
        { op: "delete", key: GNP },
      ],
    });
    expect([...store.takeDelta().policies]).toEqual(["gnp:g"]);
  });

  test("problems of the source come with those of the values, and go", () => {
    const store = load(HOST, { [GNP]: "{" });
    const problem = { where: "f.yaml:1:1", code: "BAD_YAML", what: "x", consequence: "y" };
    store.apply({ type: "problems", problems: [problem] });
    expect(store.problems()).toHaveLength(2);
    store.apply({ type: "problems", problems: [] });
    expect(store.problems()).toHaveLength(1);
  });

  test("where an endpoint is decides what is kept of it", () => {
    const store = load(HOST, { [wepKey("a")]: wep("a"), [wepKey("b", "far")]: wep("b", {}, {}, "far") });
    expect([...store.model.endpoints.values()].filter(isLocal).map(({ endpoint }) => endpoint)).toEqual(["a"]);
  });

  test("a move of a line in a file changes nothing", () => {
    const store = load(HOST, { [wepKey("a")]: wep("a"), [GNP]: resource("GlobalNetworkPolicy", "g", {}) });
    store.takeDelta();
    store.apply({
      type: "changes",
      changes: [[wepKey("a"), wep("a")] as const, [GNP, resource("GlobalNetworkPolicy", "g", {})] as const].map(
        ([key, object]) => ({ op: "put" as const, key, value: { object }, origin: "f.yaml:99" }),
      ),
    });
    expect(isEmptyDelta(store.takeDelta())).toBe(true);
    expect([local(store)?.origin, store.model.policies.get("gnp:g" as never)?.origin]).toEqual([
      "f.yaml:99",
      "f.yaml:99",
    ]);
  });
});

describe("the other kinds", () => {
  test("a subnet, as the driver writes it and with what it may lack", () => {
    const key = keyOf("Subnet", "s");
    const store = load(HOST, {
      [key]:
        '{"network_id": "n", "cidr": "10.65.0.0/24", "host_routes": [{"destination": "11.11.0.0/16", "nexthop": "10.65.0.1"}, 5], "gateway_ip": null, "dns_servers": ["9.9.9.9", "x"], "ipv6_ra_mode": "slaac"}',
    });
    expect(store.model.subnets.get("s")).toEqual({
      id: "s",
      networkId: "n",
      cidr: "10.65.0.0/24",
      dnsServers: ["9.9.9.9"],
      hostRoutes: [{ destination: "11.11.0.0/16", nexthop: "10.65.0.1" }],
      ipv6RaMode: "slaac",
    });
    expect(store.problems().map(({ code }) => code)).toEqual(["BAD_ROUTE", "BAD_ADDRESS"].reverse());
    for (const bad of [
      '{"network_id": "n", "cidr": "10.65.0.0"}',
      '{"cidr": "10.0.0.0/8"}',
      '{"network_id": "n", "cidr": "10.0.0.0/8", "gateway_ip": "fd00::1"}',
      "[]",
    ]) {
      change(store, key, bad);
      expect(store.model.subnets.get("s")?.dnsServers).toEqual(["9.9.9.9"]);
      expect(load(HOST, { [key]: bad }).model.subnets.size).toBe(0);
    }
  });

  test("readiness is said in so many words or not at all", () => {
    const key = keyOf("ClusterInformation", "default");
    const ready = (value: unknown): boolean | undefined => load(HOST, { [key]: value }).model.cluster?.ready;
    expect(ready(resource("ClusterInformation", "default", { datastoreReady: true, clusterGUID: "g" }))).toBe(true);
    expect([
      ready(resource("ClusterInformation", "default", {})),
      ready("{"),
      ready(resource("ClusterInformation", "default", { datastoreReady: "true" })),
    ]).toEqual([false, false, false]);
    expect(load(HOST, {}).model.cluster).toBeUndefined();
  });

  test("Felix' settings: this host's over everybody's", () => {
    const store = load(HOST, {
      [keyOf("FelixConfiguration", "default")]: resource("FelixConfiguration", "default", {
        interfacePrefix: "cali,tap",
        endpointReportingEnabled: true,
        bpfEnabled: true,
      }),
      [keyOf("FelixConfiguration", `node.${HOST}`)]: resource("FelixConfiguration", `node.${HOST}`, {
        interfacePrefix: "tap",
      }),
      [keyOf("FelixConfiguration", "node.other")]: resource("FelixConfiguration", "node.other", {
        interfacePrefix: "x",
      }),
    });
    expect(store.model.felix).toEqual({ interfacePrefixes: ["tap"], endpointReporting: true });
    change(
      store,
      keyOf("FelixConfiguration", `node.${HOST}`),
      resource("FelixConfiguration", `node.${HOST}`, { interfacePrefix: "$(reboot)\n" }),
    );
    expect(store.model.felix?.interfacePrefixes).toEqual(["cali", "tap"]);
    expect(store.problems()).toHaveLength(1);
  });

  test("a live migration names two endpoints", () => {
    const end = (hostname: string): object => ({
      workloadEndpoint: { hostname, orchestratorID: "openstack", workloadID: "openstack/vm-a", endpointID: "a" },
    });
    const key = keyOf("LiveMigration", wepName("a", "far"), "openstack");
    const value = resource(
      "LiveMigration",
      wepName("a", "far"),
      { source: end(HOST), target: end("far") },
      { namespace: "openstack" },
    );
    const store = load(HOST, { [key]: value });
    expect([...store.model.migrations.values()]).toEqual([
      {
        name: `openstack/${wepName("a", "far")}`,
        source: `openstack/${wepName("a")}`,
        target: `openstack/${wepName("a", "far")}`,
      },
    ]);
    change(store, key, resource("LiveMigration", wepName("a", "far"), { source: end(HOST), target: {} }));
    expect([store.model.migrations.size, store.problems().length]).toEqual([1, 1]);
  });

  test("network sets, with their namespace as a label", () => {
    const store = load(HOST, {
      [keyOf("NetworkSet", "s", "openstack")]: resource(
        "NetworkSet",
        "s",
        { nets: ["10.1.2.3/8", "fd00::1"] },
        { labels: { a: "b" } },
      ),
      [keyOf("GlobalNetworkSet", "s")]: resource("GlobalNetworkSet", "s", {}),
    });
    expect(store.model.networkSets.get("ns:openstack/s")?.prefixes).toEqual(["10.0.0.0/8", "fd00::1/128"]);
    expect(Object.fromEntries(store.model.networkSets.get("ns:openstack/s")?.labels.labels ?? [])).toEqual({
      a: "b",
      "projectcalico.org/namespace": "openstack",
    });
    expect(store.model.networkSets.get("gns:s")?.labels.labels.size).toBe(0);
  });

  test("what Torbie does not enforce is said, with its key", () => {
    const key = "/calico/resources/v3/projectcalico.org/hostendpoints/eth0";
    const store = load(HOST, { [key]: "{}", "/calico/felix/v2/no-region/host/h/status": "{" });
    expect(store.problems()).toEqual([expect.objectContaining({ where: key, code: "NOT_SUPPORTED" })]);
    store.apply({ type: "changes", changes: [{ op: "delete", key }] });
    expect(store.problems()).toEqual([]);
  });
});

describe("hostile values", () => {
  const deep = (n: number): string => `${'{"spec":'.repeat(n)}1${"}".repeat(n)}`;
  const deepList = JSON.parse(`${"[".repeat(10_000)}${"]".repeat(10_000)}`) as unknown;
  const hostile: readonly (readonly [string, unknown])[] = [
    ["10,000 deep", deep(10_000)],
    [
      "10,000 deep in every field",
      {
        kind: deepList,
        metadata: { name: deepList, labels: deepList, annotations: { "torbie/rule-ids": deepList } },
        spec: { types: [deepList], order: deepList, ingress: deepList, nets: [deepList] },
      },
    ],
    ["2 MB of text", "x".repeat(2_000_000)],
    ["2 MB of JSON text", JSON.stringify({ spec: { selector: "x".repeat(2_000_000) } })],
    ["__proto__", '{"__proto__": {"spec": {"datastoreReady": true}}, "metadata": {"__proto__": {"name": "x"}}}'],
    ["constructor", '{"constructor": {"prototype": {"polluted": 1}}, "spec": {"__proto__": {"interfacePrefix": "x"}}}'],
    [
      "a bomb of references",
      (() => {
        let value: unknown = ["x"];
        for (let i = 0; i < 64; i++) value = [value, value];
        return { spec: { ingress: value, nets: value, types: value, ipNetworks: value } };
      })(),
    ],
  ];

  test.each(hostile)("%s, for every kind", (_, value) => {
    for (const kind of KINDS) {
      const store = load(HOST, { [keyFor(kind)]: value });
      if (kind.endsWith("Policy") || kind === "WorkloadEndpoint") expect(store.problems().length).toBeGreaterThan(0);
      for (const { where, what, consequence } of store.problems()) {
        expect(`${where}${what}${consequence}`.length).toBeLessThan(2000);
      }
    }
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  test("names with a newline, NUL, a command and __proto__ stay on their line and cost nobody else", () => {
    const names = ["a\nb", "a\0b", "$(reboot)", "`id`", "__proto__", "constructor", "a'b\"c", "\u202etxt", "é"];
    const values = names.flatMap((name): [string, unknown][] => [
      [
        keyOf("GlobalNetworkPolicy", name),
        resource("GlobalNetworkPolicy", name, { ingress: [{ action: "Deny", [name]: 1 }] }),
      ],
      [keyOf("NetworkPolicy", name, "openstack"), "{"],
      [keyOf("Tier", name), "{"],
      [keyOf("Profile", name), resource("Profile", name, {})],
      [
        keyOf("GlobalNetworkSet", name),
        resource("GlobalNetworkSet", name, { nets: [name] }, { labels: { [name]: name } }),
      ],
      [
        keyOf("WorkloadEndpoint", `host--1-openstack-vm-${name}`, "openstack"),
        wep("a", { [name]: 1 }, { name: `host--1-openstack-vm-${name}` }),
      ],
      [`/calico/resources/v3/projectcalico.org/networkpolicies/${name}/x`, "{}"],
      [`/calico/resources/v3/projectcalico.org/${name}/x`, "{}"],
    ]);
    const store = load(HOST, { ...Object.fromEntries(values), [wepKey("a")]: wep("a") });
    expect(local(store)).toMatchObject({ interfaceName: "tapa" });
    expect(store.model.policies.size).toBe(names.length * 2 + 1); // "constructor" is a good namespace
    for (const { where, what, consequence } of store.problems()) {
      expect(`${where} ${what} ${consequence}`).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
    }
  });

  test("nothing throws on anything, for any kind, and everything unreadable is said", () => {
    const json = fc.oneof(
      fc.anything(),
      fc.json().map((text) => JSON.parse(text) as unknown),
    );
    const resources = fc.record({
      kind: fc.constant(undefined),
      metadata: fc.oneof(json, fc.dictionary(fc.constantFrom("name", "labels", "annotations"), json)),
      spec: fc.oneof(
        json,
        fc.dictionary(
          fc.constantFrom(
            "ingress",
            "egress",
            "selector",
            "types",
            "order",
            "tier",
            "nets",
            "labelsToApply",
            "ipNetworks",
            "allowedIps",
            "ipNATs",
            "profiles",
            "mac",
            "node",
            "source",
            "datastoreReady",
            "interfacePrefix",
          ),
          json,
        ),
      ),
    });
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), fc.oneof(json, resources, fc.string()), (kind, value) => {
        const store = new ModelStore(HOST);
        store.apply({ type: "snapshot-begin" });
        const raw = typeof value === "string" ? { text: value } : { object: value };
        store.apply({ type: "changes", changes: [{ op: "put", key: keyFor(kind), value: raw, origin: "x" }] });
        store.apply({ type: "in-sync" });
        const { model } = store;
        const understood =
          [
            model.endpoints,
            model.policies,
            model.networkSets,
            model.profiles,
            model.tiers,
            model.subnets,
            model.migrations,
          ].some(({ size }) => size > 0) ||
          model.cluster !== undefined ||
          model.felix !== undefined;
        expect(understood || store.problems().length > 0).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });
});

test("100 corrupt values in a snapshot of 10,000 cost those 100 and no other", () => {
  const corrupt = (i: number): boolean => i % 100 === 50;
  const changes: KeyChange[] = [];
  for (let i = 0; i < 10_000; i++) {
    const node = i % 500 === 0 || i % 500 === 50 ? HOST : `far${i % 100}`;
    const name = `p${i}`;
    if (i % 10 === 9) {
      const group = `ossg.default.${i}`;
      changes.push(
        put(
          keyOf("NetworkPolicy", group, "openstack"),
          JSON.stringify(
            resource(
              "NetworkPolicy",
              group,
              { selector: `has(sg.projectcalico.org/openstack-${i})`, ingress: [{ action: "Allow" }] },
              { namespace: "openstack" },
            ),
          ),
        ),
      );
    } else {
      const text = JSON.stringify(wep(name, { ipNetworks: [`10.${i >> 8}.${i & 255}.1/32`] }, {}, node));
      changes.push(put(wepKey(name, node), corrupt(i) ? text.slice(0, -40) : text));
    }
  }
  const store = new ModelStore(HOST);
  store.apply({ type: "snapshot-begin" });
  store.apply({ type: "changes", changes });
  store.apply({ type: "in-sync" });
  const { model } = store;
  expect(store.problems()).toHaveLength(100);
  expect(model.policies.size).toBe(1000);
  expect([...model.locals.values()].filter(({ blocked }) => blocked !== undefined)).toHaveLength(20);
  expect([...model.locals.values()].filter(({ blocked }) => blocked === undefined)).toHaveLength(20);
  expect(model.endpoints.size).toBe(9000 - 80);
});
