import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endpointName, keyOf, parseKey, splitEndpointName, type Kind } from "../../../src/model/keys.js";

const R = "/calico/resources/v3/projectcalico.org";

test.each<[string, object]>([
  [
    `${R}/workloadendpoints/openstack/host1-openstack-vm-port`,
    { kind: "WorkloadEndpoint", namespace: "openstack", name: "host1-openstack-vm-port" },
  ],
  [
    `${R}/networkpolicies/openstack-region-one/ossg.default.x`,
    { kind: "NetworkPolicy", namespace: "openstack-region-one", name: "ossg.default.x" },
  ],
  [`${R}/globalnetworkpolicies/x`, { kind: "GlobalNetworkPolicy", name: "x" }],
  [`${R}/clusterinformations/default`, { kind: "ClusterInformation", name: "default" }],
  ["/calico/dhcp/v2/no-region/subnet/4e5a", { kind: "Subnet", name: "4e5a" }],
  ["/calico/dhcp/v2/region-one/subnet/4e5a", { kind: "Subnet", name: "4e5a" }],
  ["/calico/dhcp/v1/subnet/4e5a", { kind: "ignored" }],
  ["/calico/compaction/v1/last", { kind: "ignored" }],
  ["/calico/felix/v2/no-region/host/h/status", { kind: "ignored" }],
  [`${R}/ippools/x`, { kind: "ignored" }],
  [`${R}/stagednetworkpolicies/n/x`, { kind: "ignored" }],
  [`${R}/hostendpoints/x`, { kind: "not enforced" }],
  [`${R}/constructor/x`, { kind: "not enforced" }],
  ["/calico/resources/v3/kubernetes.io/networkpolicies/x", { kind: "not enforced" }],
  [`${R}/networkpolicies/x`, { kind: "malformed" }],
  [`${R}/networkpolicies/a'b/x`, { kind: "malformed" }],
  [`${R}/networkpolicies//x`, { kind: "malformed" }],
  [`${R}/tiers/`, { kind: "malformed" }],
  [`${R}/tiers/a/b`, { kind: "malformed" }],
])("%s", (key, expected) => {
  expect(parseKey(key)).toMatchObject(expected);
});

test("keys and names are two forms of one thing", () => {
  const namespaced: Kind[] = ["WorkloadEndpoint", "NetworkPolicy", "NetworkSet", "LiveMigration"];
  const global: Kind[] = [
    "GlobalNetworkPolicy",
    "GlobalNetworkSet",
    "Profile",
    "Tier",
    "ClusterInformation",
    "FelixConfiguration",
    "Subnet",
  ];
  for (const kind of namespaced)
    expect(parseKey(keyOf(kind, "a.b", "ns"))).toEqual({ kind, namespace: "ns", name: "a.b" });
  for (const kind of global) expect(parseKey(keyOf(kind, "a.b"))).toMatchObject({ kind, name: "a.b" });
});

describe("endpoint names", () => {
  test("the driver's", () => {
    const parts = { node: "compute-01.dc1", orchestrator: "openstack", workload: "7c9e-7425", endpoint: "a429-0487" };
    expect(endpointName(parts)).toBe("compute--01.dc1-openstack-7c9e--7425-a429--0487");
    expect(splitEndpointName(endpointName(parts))).toEqual(parts);
    expect(splitEndpointName("-openstack-dev-port")).toEqual({
      node: "",
      orchestrator: "openstack",
      workload: "dev",
      endpoint: "port",
    });
  });

  test.each(["a", "a-b-c", "a-b-c-d-e", "a--b-c-d", "a-b--c", "a-b-c-", "a---b-c-d", "a-b-c-d\0", ""])(
    "%j is none",
    (name) => {
      expect(splitEndpointName(name)).toBeUndefined();
    },
  );

  test("any parts that neither begin nor end with a hyphen come back", () => {
    const part = fc.stringMatching(/^[a-z0-9.]([a-z0-9.-]{0,10}[a-z0-9.])?$/);
    fc.assert(
      fc.property(part, part, part, part, (node, orchestrator, workload, endpoint) => {
        expect(splitEndpointName(endpointName({ node, orchestrator, workload, endpoint }))).toEqual({
          node,
          orchestrator,
          workload,
          endpoint,
        });
      }),
    );
  });
});
