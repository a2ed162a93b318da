import { describe, expect, test } from "vitest";
import { keyOf } from "../../../src/model/keys.js";
import type { Policy } from "../../../src/model/types.js";
import { change, GNP, HOST, load, NP, policy, resource } from "./help.js";

const IN_NS = "projectcalico.org/namespace == 'openstack'";
const DENY_ALL = { action: "deny", source: { nets: [], ports: [] }, destination: { nets: [], ports: [] } };

describe("what a policy says", () => {
  test("a group of the driver's", () => {
    const key = keyOf("NetworkPolicy", "ossg.default.c2f1", "openstack");
    const value = resource(
      "NetworkPolicy",
      "ossg.default.c2f1",
      { ingress: [], egress: [{ action: "Allow" }], selector: "has(sg.projectcalico.org/openstack-c2f1)" },
      {
        namespace: "openstack",
        annotations: { "torbie/stateful": "false", "torbie/rule-ids": '{"ingress": [], "egress": ["id-1"]}' },
      },
    );
    const store = load(HOST, { [key]: JSON.stringify(value) });
    expect([...store.model.policies.values()]).toEqual([
      {
        id: "np:openstack/ossg.default.c2f1",
        key,
        origin: "test:1",
        name: "c2f1",
        tier: "default",
        order: Infinity,
        selector: `has(sg.projectcalico.org/openstack-c2f1) && ${IN_NS}`,
        ingressApplies: true,
        egressApplies: true,
        stateful: false,
        ingress: [],
        egress: [expect.objectContaining({ index: "egress/0", action: "allow", neutronId: "id-1" }) as unknown],
      },
    ]);
    expect(store.problems()).toEqual([]);
  });

  test("order, tier, types; absent ones as Felix has them", () => {
    expect(policy({ order: -1.5, tier: "ops", types: ["Egress"], selector: "has(a)" }, GNP).policy).toMatchObject({
      order: -1.5,
      tier: "ops",
      ingressApplies: false,
      egressApplies: true,
      selector: "has(a)",
    });
    expect(policy({}, GNP).policy).toMatchObject({
      order: Infinity,
      tier: "default",
      ingressApplies: true,
      egressApplies: true,
      selector: "all()",
      stateful: true,
    });
    expect(policy({}).policy?.selector).toBe(IN_NS);
    expect(policy({ selector: "has(a)", namespaceSelector: "all()" }, GNP).policy?.selector).toBe(
      "has(a) && has(projectcalico.org/namespace)",
    );
    expect(policy({ types: [] }).policy).toMatchObject({ ingressApplies: true, egressApplies: true });
  });

  test("all four actions, in order", () => {
    const { policy: parsed } = policy({ ingress: ["Deny", "Pass", "Log", "Allow"].map((action) => ({ action })) }, GNP);
    expect(parsed?.ingress.map(({ action, index }) => [action, index])).toEqual([
      ["deny", "ingress/0"],
      ["pass", "ingress/1"],
      ["log", "ingress/2"],
      ["allow", "ingress/3"],
    ]);
  });

  test("policies for host endpoints do nothing to guests, and say so", () => {
    for (const field of ["doNotTrack", "preDNAT"]) {
      const {
        policy: parsed,
        store,
        codes,
      } = policy({ [field]: true, applyOnForward: true, ingress: [{ action: "Deny" }] }, GNP);
      expect(parsed).toBeUndefined();
      expect(codes).toEqual(["NOT_SUPPORTED", "NOT_SUPPORTED"]);
      expect(store.problems()[0]?.consequence).toContain("nothing of this policy is enforced");
    }
    const forward = policy({ applyOnForward: true, ingress: [{ action: "Deny" }] }, GNP);
    expect([forward.policy?.ingress.length, forward.codes]).toEqual([1, ["NOT_SUPPORTED"]]);
    expect(policy({ applyOnForward: false, doNotTrack: false }, GNP).codes).toEqual([]);
  });

  test("unreadable rule ids only cost the ids", () => {
    const { policy: parsed, codes } = policy({ ingress: [{ action: "Allow" }] }, NP, {
      annotations: { "torbie/rule-ids": "{" },
    });
    expect(codes).toEqual(["BAD_ANNOTATION"]);
    expect(parsed?.ingress[0]).toMatchObject({ action: "allow" });
    expect(parsed?.ingress[0]).not.toHaveProperty("inexpressible");
  });
});

/** Each makes the whole policy unusable. */
const BAD: readonly (readonly [string, object, object, string])[] = [
  ["an unreadable selector", { selector: "has(" }, {}, "BAD_SELECTOR"],
  ["a selector that is nothing", { selector: null }, {}, "BAD_SELECTOR"],
  ["global() as selector", { selector: "global()" }, {}, "BAD_SELECTOR"],
  ["an order in words", { order: "first" }, {}, "BAD_ORDER"],
  ["a tier that is a number", { tier: 5 }, {}, "BAD_TIER"],
  ["unknown types", { types: ["ingress"] }, {}, "BAD_TYPES"],
  ["rules that are no list", { ingress: { action: "Allow" } }, {}, "BAD_LIST"],
  ["a service account selector", { serviceAccountSelector: "x == 'y'" }, {}, "NOT_SUPPORTED"],
  ["an unknown field", { selectorr: "has(a)" }, {}, "UNKNOWN_FIELD"],
  ["statefulness in other words", {}, { annotations: { "torbie/stateful": "no" } }, "BAD_ANNOTATION"],
  ["an annotation of a later Torbie", {}, { annotations: { "torbie/strict": "x" } }, "BAD_ANNOTATION"],
  ["another name than the key's", {}, { name: "q" }, "KEY_MISMATCH"],
  ["another namespace than the key's", {}, { namespace: "other" }, "KEY_MISMATCH"],
];

describe.each(BAD)("%s", (_, spec, metadata, code) => {
  const good = { selector: "has(a)", order: 3, ingress: [{ action: "Allow" }] };

  test("keeps the last good version", () => {
    const { policy: before, store } = policy(good);
    const delta = change(
      store,
      NP,
      resource("NetworkPolicy", "p", { ...good, ...spec }, { namespace: "openstack", ...metadata }),
    );
    expect([...store.model.policies.values()]).toEqual([before]);
    expect(delta.policies.size).toBe(0);
    expect(store.problems()).toEqual([
      expect.objectContaining({ code, consequence: "the last good version stays in force" }),
    ]);
  });

  test("without one allows nothing", () => {
    const { policy: parsed, codes } = policy({ ...good, ...spec }, NP, metadata);
    expect(codes).toContain(code);
    expect([...(parsed?.ingress ?? []), ...(parsed?.egress ?? [])].filter(({ action }) => action === "allow")).toEqual(
      [],
    );
    expect(parsed?.ingressApplies).toBe(true);
  });

  test("without one denies, when it holds a Deny", () => {
    const { policy: parsed } = policy({ ...good, egress: [{ action: "Deny" }], ...spec }, NP, metadata);
    expect(parsed?.ingress).toMatchObject([DENY_ALL]);
    expect(parsed?.egress).toEqual([expect.objectContaining({ action: "deny" })]);
  });
});

describe("a policy that cannot be read at all", () => {
  const stands = (key: string, value: unknown): Policy | undefined =>
    [...load(HOST, { [key]: value }).model.policies.values()][0];

  test("a group's allows its members nothing, and touches nobody else", () => {
    expect(stands(keyOf("NetworkPolicy", "ossg.default.c2f1", "openstack"), "{")).toMatchObject({
      selector: `has(sg.projectcalico.org/openstack-c2f1) && ${IN_NS}`,
      ingress: [],
      egress: [],
      order: Infinity,
    });
  });

  test("an operator's denies everything in its namespace, or everywhere, first in its tier", () => {
    for (const value of ["{", "null", "5", "[]", "{}", '{"spec": 5}', ""]) {
      expect(stands(NP, value)).toMatchObject({
        selector: IN_NS,
        tier: "default",
        order: -Infinity,
        ingress: [DENY_ALL],
        egress: [DENY_ALL],
      });
      expect(stands(keyOf("GlobalNetworkPolicy", "ops.x"), value)).toMatchObject({
        selector: "all()",
        tier: "ops",
        order: -Infinity,
        ingress: [DENY_ALL],
      });
    }
  });

  test("a readable version takes its place, and a delete takes it away", () => {
    const store = load(HOST, { [GNP]: "{" });
    change(store, GNP, resource("GlobalNetworkPolicy", "g", { ingress: [{ action: "Allow" }] }));
    expect(store.model.policies.get("gnp:g" as never)?.ingress).toEqual([expect.objectContaining({ action: "allow" })]);
    expect(store.problems()).toEqual([]);
    store.apply({ type: "changes", changes: [{ op: "delete", key: GNP }] });
    change(store, GNP, "{");
    expect(store.model.policies.get("gnp:g" as never)?.ingress).toMatchObject([DENY_ALL]);
    store.apply({ type: "changes", changes: [{ op: "delete", key: GNP }] });
    expect([store.model.policies.size, store.problems()]).toEqual([0, []]);
  });
});

test("problems of the version in force stay while a newer one is refused", () => {
  const { store } = policy({ ingress: [{ action: "Allow", protocol: "x" }] });
  change(store, NP, "{");
  expect(store.problems().map(({ code }) => code)).toEqual(["NOT_JSON", "UNKNOWN_PROTOCOL"]);
});

describe("what hangs on something unreadable", () => {
  const tier = keyOf("Tier", "ops");
  const set = keyOf("GlobalNetworkSet", "bad");
  const rules = [
    { action: "Allow" },
    { action: "Pass" },
    { action: "Deny", source: { selector: "block == 'x'" } },
    { action: "Allow", source: { notSelector: "block == 'x'" } },
    { action: "Log" },
  ];
  const value = resource("GlobalNetworkPolicy", "g", { tier: "ops", ingress: rules });
  const actions = (store: ReturnType<typeof load>): string[] =>
    (store.model.policies.get("gnp:g" as never)?.ingress ?? []).map(
      ({ action, inexpressible, source }) =>
        `${action}${inexpressible === undefined ? "" : "!"}${source.selector === undefined ? "" : "?"}`,
    );

  test("an unreadable tier comes first and denies; its policies allow nothing", () => {
    const store = load(HOST, { [GNP]: value, [tier]: "{" });
    expect(store.model.tiers.get("ops")).toEqual({ name: "ops", order: -Infinity, end: "deny" });
    expect(actions(store)).toEqual(["allow!", "deny!", "deny?", "allow!", "log"]);
    const delta = change(store, tier, resource("Tier", "ops", { order: 5, defaultAction: "Pass" }));
    expect(store.model.tiers.get("ops")).toEqual({ name: "ops", order: 5, end: "pass" });
    expect(actions(store)).toEqual(["allow", "pass", "deny?", "allow", "log"]);
    expect([...delta.policies]).toEqual(["gnp:g"]);
    change(store, tier, "{");
    expect(store.model.tiers.get("ops")?.order).toBe(5);
  });

  test("a set with an unreadable prefix: what may name it denies more, what may except it allows nothing", () => {
    const bad = resource(
      "GlobalNetworkSet",
      "bad",
      { nets: ["10.0.0.0/8", "10.0.0.0/33"] },
      { labels: { block: "x" } },
    );
    const store = load(HOST, { [GNP]: value, [set]: bad });
    expect(store.model.networkSets.get("gns:bad")?.prefixes).toEqual(["10.0.0.0/8"]);
    expect(actions(store)).toEqual(["allow", "pass", "deny!", "allow!", "log"]);
    change(store, set, resource("GlobalNetworkSet", "bad", { nets: ["10.0.0.0/8"] }, { labels: { block: "x" } }));
    expect(actions(store)).toEqual(["allow", "pass", "deny?", "allow", "log"]);
    change(store, set, bad);
    expect(actions(store)).toEqual(["allow", "pass", "deny?", "allow", "log"]);
  });

  test("a set of another label concerns nobody, one that is not JSON may be any", () => {
    const other = resource("GlobalNetworkSet", "bad", { nets: ["x"] }, { labels: { block: "y" } });
    expect(actions(load(HOST, { [GNP]: value, [set]: other }))).toEqual(["allow", "pass", "deny?", "allow", "log"]);
    const store = load(HOST, { [set]: "{", [GNP]: value });
    expect(actions(store)).toEqual(["allow", "pass", "deny!", "allow!", "log"]);
    store.apply({ type: "changes", changes: [{ op: "delete", key: set }] });
    expect(actions(store)).toEqual(["allow", "pass", "deny?", "allow", "log"]);
  });
});
