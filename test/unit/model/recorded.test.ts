/** The keyspaces that a real Neutron 21 with the incumbent's driver wrote, as seen from each of their hosts. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { ModelStore } from "../../../src/model/store.js";
import { load } from "./help.js";

interface Pair {
  readonly key: string;
  readonly value: string;
}
const read = (name: string): Pair[] =>
  JSON.parse(readFileSync(new URL(`../../fixtures/recorded/${name}.snapshot.json`, import.meta.url), "utf8")) as Pair[];
const storeOf = (name: string, host: string): ModelStore =>
  load(host, Object.fromEntries(read(name).map(({ key, value }) => [key, value])));
const GROUP = "np:openstack/ossg.default.0baff208-ee2e-4ff5-8a05-a696ed6fce0f";

describe.each([
  ["full", "host1", 13, 8, 2],
  ["full", "host2", 13, 3, 2],
  ["full", "host-3.example", 13, 1, 2],
  ["full", "elsewhere", 13, 0, 2],
  ["dns", "host1", 12, 7, 0],
  ["dns", "host2", 12, 3, 0],
  ["dns", "host-3.example", 12, 1, 0],
])("%s on %s", (name, host, endpoints, locals, problems) => {
  const store = storeOf(name, host);

  test("everything is there", () => {
    const { model } = store;
    expect([model.endpoints.size, model.locals.size, model.policies.size, model.subnets.size]).toEqual([
      endpoints,
      locals,
      3,
      4,
    ]);
    expect([...model.locals.values()].every((local) => local.node === host && local.blocked === undefined)).toBe(true);
    expect(model.cluster).toMatchObject({ type: "openstack", ready: true });
    expect(model.felix).toEqual({ interfacePrefixes: ["tap"], endpointReporting: true });
    expect(store.problems()).toHaveLength(problems);
    expect(store.inSync).toBe(true);
  });

  test("again, and nothing changed", () => {
    store.takeDelta();
    store.apply({ type: "snapshot-begin" });
    store.apply({
      type: "changes",
      changes: read(name).map(({ key, value }) => ({ op: "put", key, value: { text: value }, origin: "again" })),
    });
    store.apply({ type: "in-sync" });
    const delta = store.takeDelta();
    expect(delta.settings).toBe(false);
    for (const set of [
      delta.endpoints,
      delta.policies,
      delta.profiles,
      delta.tiers,
      delta.networkSets,
      delta.subnets,
      delta.migrations,
    ])
      expect(set.size).toBe(0);
    expect(store.model.endpoints.size).toBe(endpoints);
  });
});

test("the rules that the incumbent maps wrongly allow nothing, the others what they say", () => {
  const store = storeOf("full", "host1");
  const rules = store.model.policies.get(GROUP as never)?.ingress ?? [];
  expect(rules).toHaveLength(44);
  const void_ = rules.filter((rule) => rule.inexpressible !== undefined);
  expect(void_.map((rule) => [rule.family, rule.protocol])).toEqual([
    [6, 58],
    [4, 1],
  ]);
  expect(store.problems().map(({ code, consequence }) => [code, consequence])).toEqual(
    Array(2).fill(["PORTS_WITHOUT_PROTOCOL", "this rule allows nothing"]),
  );
  expect(rules[3]).toMatchObject({
    protocol: 6,
    source: { nets: ["198.51.100.0/24"] },
    destination: { ports: [{ first: 1, last: 1 }] },
  });
  expect(rules[5]?.destination.ports).toEqual([{ first: 80, last: 443 }]);
  expect(rules[9]).toMatchObject({ protocol: 33, destination: { ports: [{ first: 7000, last: 7010 }] } });
  expect(rules[11]).toMatchObject({ protocol: 0, source: { nets: ["10.1.0.0/16"] } });
  expect(rules[33]).toMatchObject({ family: 6, protocol: 58, icmp: { type: 128, code: 0 } });
  expect(rules[4]?.source.selector).toBe(
    "has(sg.projectcalico.org/openstack-0baff208-ee2e-4ff5-8a05-a696ed6fce0f) && projectcalico.org/namespace == 'openstack'",
  );
});

test("pairs, floating IPs and what is not enforced", () => {
  const { locals } = storeOf("full", "host2").model;
  const byTap = new Map([...locals.values()].map((local) => [local.interfaceName, local]));
  expect(byTap.get("tap2e91f8b0-9b")).toMatchObject({
    fixed: ["10.65.0.213/32", "fd00:65::291/128"],
    pairs: [{ prefix: "10.65.0.210/32" }],
    prefixes: ["10.65.0.213/32", "fd00:65::291/128", "10.65.0.210/32"],
    nats: [{ internal: "10.65.0.213", external: "172.24.4.51" }],
  });
  expect(byTap.get("tap08c3bd7f-c8")?.notEnforced).toEqual(
    ["egressBandwidth", "egressPeakrate", "egressPacketRate", "egressBurst", "egressPacketBurst"].map(
      (control) => `qosControls.${control}`,
    ),
  );
});
