import { describe, expect, test } from "vitest";
import { keyOf } from "../../../src/model/keys.js";
import { change, HOST, load, local, resource, wep, wepKey, wepName } from "./help.js";

const store = (spec: object = {}, metadata: object = {}): ReturnType<typeof load> =>
  load(HOST, { [wepKey("a")]: wep("a", spec, metadata) });
const id = `openstack/${wepName("a")}`;

describe("an endpoint of this host", () => {
  test("in full", () => {
    const annotations = {
      "openstack.projectcalico.org/network-id": "net",
      "torbie/port-security": "off",
      "torbie/admin-state": "down",
      "torbie/allowed-address-pairs":
        '[{"ip": "10.77.0.0/24"}, {"ip": "10.65.0.200", "mac": "FA:16:3e:00:00:02"}, {"ip": "fd00:77::/64", "mac": null}]',
    };
    const one = store(
      {
        ipNetworks: ["10.65.0.1/32", "fd00::1/128", "10.77.0.0/24/32", "10.65.0.200/32", "fd00:77::/64/128"],
        allowedIps: ["10.77.0.0/24/32", "10.65.0.200/32", "fd00:77::/64/128"],
        ipv4Gateway: "10.65.0.254",
        ipv6Gateway: "fd00::",
        ipNATs: [{ internalIP: "10.65.0.1", externalIP: "172.24.4.1" }],
        qosControls: { ingressBandwidth: 1000, egressMaxConnections: 0, dscp: 46 },
        profiles: ["p"],
      },
      { annotations },
    );
    expect(one.problems()).toEqual([]);
    expect(local(one)).toMatchObject({
      id,
      key: wepKey("a"),
      node: HOST,
      namespace: "openstack",
      orchestrator: "openstack",
      workload: "vm-a",
      endpoint: "a",
      interfaceName: "tapa",
      mac: "fa:16:3e:00:00:01",
      fixed: ["10.65.0.1/32", "fd00::1/128"],
      pairs: [
        { prefix: "10.77.0.0/24" },
        { prefix: "10.65.0.200/32", mac: "fa:16:3e:00:00:02" },
        { prefix: "fd00:77::/64" },
      ],
      prefixes: ["10.65.0.1/32", "fd00::1/128", "10.77.0.0/24", "10.65.0.200/32", "fd00:77::/64"],
      gateways: { v4: "10.65.0.254", v6: "fd00::" },
      nats: [{ internal: "10.65.0.1", external: "172.24.4.1" }],
      profiles: ["p"],
      portSecurity: false,
      adminUp: false,
      notEnforced: ["qosControls.ingressBandwidth", "qosControls.dscp"],
      networkId: "net",
      origin: "test:1",
    });
    expect(local(one)).not.toHaveProperty("blocked");
  });

  test("pairs of allowedIps, one of them a fixed address too", () => {
    const one = local(
      store({
        ipNetworks: ["10.65.0.1/32", "10.65.0.9/32", "10.65.0.1/32"],
        allowedIps: ["10.65.0.9/32", "10.65.0.1/32"],
      }),
    );
    expect(one).toMatchObject({
      fixed: ["10.65.0.1/32"],
      pairs: [{ prefix: "10.65.0.9/32" }, { prefix: "10.65.0.1/32" }],
      prefixes: ["10.65.0.1/32", "10.65.0.9/32"],
    });
  });

  test("no address at all is legal: it then sends nothing but DHCP", () => {
    const one = store({ ipNetworks: [] });
    expect([local(one)?.fixed, one.problems()]).toEqual([[], []]);
  });

  test("namespace and orchestrator are what the key says", () => {
    const labels = { "projectcalico.org/namespace": "other", "projectcalico.org/openstack-project-parent-id": null };
    expect(Object.fromEntries(local(store({}, { labels }))?.labels.labels ?? [])).toEqual({
      "projectcalico.org/namespace": "openstack",
      "projectcalico.org/orchestrator": "openstack",
      "projectcalico.org/openstack-project-parent-id": "",
    });
  });

  test("what only makes it less reachable is left out and said", () => {
    const one = store({
      ipv4Gateway: "fd00::1",
      ipNATs: [
        { internalIP: "x", externalIP: "172.24.4.1" },
        { internalIP: "10.65.0.1", externalIP: "172.24.4.1" },
      ],
    });
    expect(local(one)).toMatchObject({ gateways: {}, nats: [{ internal: "10.65.0.1" }] });
    expect(local(one)).not.toHaveProperty("blocked");
    expect(one.problems().map(({ code }) => code)).toEqual(["BAD_ADDRESS", "BAD_NAT"]);
  });
});

const BAD: readonly (readonly [string, object, object, string])[] = [
  [
    "a pair as the incumbent writes CIDRs",
    { ipNetworks: ["10.65.0.1/32", "10.77.0.0/24/32"], allowedIps: ["10.77.0.0/24/32"] },
    {},
    "BAD_CIDR",
  ],
  ["an impossible address", { ipNetworks: ["10.65.0.256/32"] }, {}, "BAD_CIDR"],
  ["a fixed address that is many", { ipNetworks: ["10.65.0.0/24"] }, {}, "BAD_CIDR"],
  ["addresses that are no list", { ipNetworks: "10.65.0.1/32" }, {}, "BAD_LIST"],
  ["an address that is a number", { ipNetworks: [5] }, {}, "BAD_LIST"],
  ["no addresses said", { ipNetworks: undefined }, {}, "BAD_LIST"],
  ["no MAC", { mac: undefined }, {}, "BAD_MAC"],
  ["half a MAC", { mac: "fa:16:3e" }, {}, "BAD_MAC"],
  ["no interface", { interfaceName: undefined }, {}, "BAD_INTERFACE"],
  ["an interface name with a newline", { interfaceName: "tap\n1" }, {}, "BAD_INTERFACE"],
  ["an interface name with a NUL", { interfaceName: "tap\u00001" }, {}, "BAD_INTERFACE"],
  ["an interface name with a slash", { interfaceName: "../etc" }, {}, "BAD_INTERFACE"],
  ["an interface name of 16", { interfaceName: "tap3456789012345" }, {}, "BAD_INTERFACE"],
  ["another node than the key's", { node: "host-2" }, {}, "KEY_MISMATCH"],
  ["another port than the key's", { endpoint: "b" }, {}, "KEY_MISMATCH"],
  ["profiles that are no list", { profiles: "p" }, {}, "BAD_PROFILES"],
  ["labels that are numbers", {}, { labels: { group: 5 } }, "NOT_TEXT"],
  ["labels that are a list", {}, { labels: ["web"] }, "NOT_A_MAP"],
  ["port security in other words", {}, { annotations: { "torbie/port-security": "maybe" } }, "BAD_ANNOTATION"],
  ["an admin state in other words", {}, { annotations: { "torbie/admin-state": "sideways" } }, "BAD_ANNOTATION"],
  ["pairs that are not JSON", {}, { annotations: { "torbie/allowed-address-pairs": "[" } }, "BAD_ANNOTATION"],
  [
    "a pair without address",
    {},
    { annotations: { "torbie/allowed-address-pairs": '[{"mac": "fa:16:3e:00:00:02"}]' } },
    "BAD_ANNOTATION",
  ],
  [
    "a pair with half a MAC",
    {},
    { annotations: { "torbie/allowed-address-pairs": '[{"ip": "10.0.0.1", "mac": "fa"}]' } },
    "BAD_ANNOTATION",
  ],
  ["an annotation of a later Torbie", {}, { annotations: { "torbie/quarantine": "on" } }, "BAD_ANNOTATION"],
];

describe.each(BAD)("%s", (_, spec, metadata, code) => {
  test("blocks it", () => {
    const one = store(spec, metadata);
    expect(local(one)?.blocked).toBeTruthy();
    expect(one.problems()[0]).toMatchObject({
      code,
      where: expect.stringContaining(wepKey("a")) as string,
      consequence: "it passes nothing",
    });
  });

  test("keeps the last good version, when there is one", () => {
    const one = store();
    const before = local(one);
    expect(change(one, wepKey("a"), wep("a", spec, metadata)).endpoints.size).toBe(0);
    expect(local(one)).toEqual(before);
    expect(one.problems()[0]).toMatchObject({ code, consequence: "the last good version stays in force" });
  });
});

test.each(["{", "null", "[]", "5", '"x"', "", "{}", '{"spec": []}', '{"metadata": 5, "spec": {}}'])(
  "a value %j blocks the tap that the driver would have named",
  (text) => {
    const key = keyOf("WorkloadEndpoint", "host--1-openstack-vm-93d7bb27--9758--4154--aa21--ffd7e2ecd021", "openstack");
    const one = load(HOST, { [key]: text });
    const [blocked] = [...one.model.locals.values()];
    expect(blocked).toMatchObject({
      interfaceName: "tap93d7bb27-97",
      blocked: expect.any(String) as string,
      prefixes: [],
    });
    expect(one.problems()).toHaveLength(1);
  },
);

describe("endpoints of other hosts", () => {
  const remote = (spec: object = {}, metadata: object = {}): ReturnType<typeof load> =>
    load("other", { [wepKey("a")]: wep("a", spec, metadata) });

  test("little is kept of them", () => {
    const { model } = remote({ allowedIps: ["10.9.0.0/16"] });
    expect(Object.keys(model.endpoints.get(id as never) ?? {}).sort()).toEqual([
      "id",
      "key",
      "labels",
      "node",
      "prefixes",
    ]);
    expect(model.endpoints.get(id as never)?.prefixes).toEqual(["10.65.0.1/32", "10.9.0.0/16"]);
    expect(model.locals.size).toBe(0);
  });

  test("a bad one keeps what is readable of its addresses, and is no member without labels", () => {
    expect(
      remote({ ipNetworks: ["10.65.0.1/32", "10.77.0.0/24/32"] }).model.endpoints.get(id as never)?.prefixes,
    ).toEqual(["10.65.0.1/32"]);
    const { model } = remote({}, { labels: 5 });
    expect(model.endpoints.size).toBe(0);
  });

  test("an interface or MAC that only its own host needs is not asked for", () => {
    expect(remote({ mac: "x", interfaceName: null }).problems()).toEqual([]);
  });
});

describe("labels", () => {
  const profile = keyOf("Profile", "p");
  const labelsOf = (one: ReturnType<typeof load>): object =>
    Object.fromEntries(one.model.endpoints.get(id as never)?.labels.labels ?? []);

  test("of profiles are inherited, own ones win, and they follow the profile", () => {
    const one = load(HOST, {
      [wepKey("a")]: wep("a", { profiles: ["p", "q"] }),
      [profile]: resource("Profile", "p", { labelsToApply: { group: "x", zone: "1" } }),
    });
    expect(labelsOf(one)).toMatchObject({ group: "web", zone: "1" });
    const delta = change(one, profile, resource("Profile", "p", { labelsToApply: { zone: "2" } }));
    expect(labelsOf(one)).toMatchObject({ zone: "2" });
    expect([[...delta.endpoints], [...delta.profiles]]).toEqual([[id], ["p"]]);
    change(one, keyOf("Profile", "q"), resource("Profile", "q", { labelsToApply: { zone: "3", rack: "r" } }));
    expect(labelsOf(one)).toMatchObject({ zone: "2", rack: "r" });
    one.apply({ type: "changes", changes: [{ op: "delete", key: profile }] });
    expect(labelsOf(one)).toMatchObject({ zone: "3" });
  });

  test("equal ones are one object; an unreadable profile gives none and allows nothing", () => {
    const one = load(HOST, { [wepKey("a")]: wep("a"), [wepKey("b", "far")]: wep("b", {}, {}, "far"), [profile]: "{" });
    const [a, b] = [...one.model.endpoints.values()];
    expect(a?.labels).toBe(b?.labels);
    expect(one.model.profiles.get("p")).toEqual({ name: "p", labels: new Map(), ingress: [], egress: [] });
  });
});
