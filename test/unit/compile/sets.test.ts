import { describe, expect, test } from "vitest";
import { Compiler } from "../../../src/compile/compiler.js";
import type { PlaneShape } from "../../../src/compile/desired.js";
import type { Mac } from "../../../src/model/types.js";
import {
  apply,
  type Change,
  endpointId,
  Labels,
  policy,
  prefix,
  profile,
  remoteEndpoint,
  rule,
  selector,
  side,
  TestModel,
  tier,
  workload,
} from "./fixtures.js";

const labels = new Labels();
const NONE = labels.set({});
const GUEST = workload("l", NONE, ["10.0.0.1/32", "fd00::1/128"]);

function compile(change: Change) {
  const model = new TestModel();
  const compiler = new Compiler();
  apply(compiler, model, change);
  return { model, compiler, state: compiler.desired };
}

/** "tier: policies -> end" of each plane of the guest "l". */
function planes(change: Change, direction: "ingress" | "egress" = "ingress"): string[] {
  const { state } = compile({ endpoints: [GUEST], ...change });
  const endpoint = state.endpoints.get(endpointId("l"));
  const shape = endpoint && state.sets.get(endpoint.set);
  return (shape?.[direction] ?? []).map(
    ({ tier, policies, end }: PlaneShape) => `${tier}: ${policies.join(" ")} -> ${end}`,
  );
}

describe("the order of policies", () => {
  test("by order, then stateful before stateless, then id; without an order last", () => {
    const policies = [
      policy("np:x/b"),
      policy("np:x/a"),
      policy("np:x/stateless", { stateful: false }),
      policy("gnp:late", { order: 9 }),
      policy("gnp:early", { order: -1, stateful: false }),
    ];
    expect(planes({ policies })[0]).toBe("default: gnp:early gnp:late np:x/a np:x/b np:x/stateless -> deny");
  });

  test("tiers by order, then name; the profiles last", () => {
    const tiers = [tier("z", 5, "pass"), tier("y", 5), tier("first", 1), tier("default", 7, "pass")];
    const policies = ["z", "y", "first", "default"].map((name) => policy(`gnp:${name}`, { tier: name }));
    expect(planes({ tiers, policies })).toEqual([
      "first: gnp:first -> deny",
      "y: gnp:y -> deny",
      "z: gnp:z -> pass",
      "default: gnp:default -> pass",
      "profiles:  -> deny",
    ]);
  });

  test("the default tier need not exist: order 1,000,000, ends in deny", () => {
    const policies = [
      policy("gnp:d"),
      policy("gnp:after", { tier: "after" }),
      policy("gnp:before", { tier: "before" }),
    ];
    const tiers = [tier("after", 1_000_001), tier("before", 999_999)];
    expect(planes({ tiers, policies })).toEqual([
      "before: gnp:before -> deny",
      "default: gnp:d -> deny",
      "after: gnp:after -> deny",
      "profiles:  -> deny",
    ]);
  });

  test("a tier is skipped in the direction in which none of its policies applies", () => {
    const policies = [
      policy("gnp:in", { egressApplies: false }),
      policy("gnp:other", { selector: selector("has(x)") }),
    ];
    expect(planes({ policies }, "ingress")).toEqual(["default: gnp:in -> deny", "profiles:  -> deny"]);
    expect(planes({ policies }, "egress")).toEqual(["profiles:  -> deny"]);
  });

  test("an unknown tier stands before the default one, ends in deny and is reported", () => {
    const policies = [policy("gnp:d"), policy("gnp:lost", { tier: "no\nwhere" })];
    expect(planes({ policies, tiers: [tier("first", 1, "pass")] })).toEqual([
      "no\nwhere: gnp:lost -> deny",
      "default: gnp:d -> deny",
      "profiles:  -> deny",
    ]);
    const { compiler, model } = compile({ policies });
    expect(compiler.problems()).toMatchObject([
      { code: "UNKNOWN_TIER", where: "/calico/gnp:lost", what: 'tier "no\\nwhere" is not in the datastore' },
    ]);
    apply(compiler, model, { tiers: [tier("no\nwhere", 3)] });
    expect(compiler.problems()).toEqual([]);
  });

  test("profiles in their order; one that is missing ends the list and is reported", () => {
    const endpoints = [workload("l", NONE, [], { profiles: ["b", "gone", "a"] })];
    const profiles = [profile("a"), profile("b")];
    expect(planes({ endpoints, profiles })).toEqual(["profiles: profile:b -> deny"]);
    const { compiler } = compile({ endpoints, profiles });
    expect(compiler.problems()).toMatchObject([
      { code: "UNKNOWN_PROFILE", what: 'profile "gone" is not in the datastore' },
    ]);
  });

  test("more planes than there may be: nothing is allowed, and it is reported", () => {
    const tiers = Array.from({ length: 16 }, (_, i) => tier(`t${i}`, i));
    const policies = tiers.map(({ name }) => policy(`gnp:${name}`, { tier: name }));
    expect(planes({ tiers, policies })).toEqual(["profiles:  -> deny"]);
    const { compiler, state, model } = compile({ endpoints: [GUEST], tiers, policies });
    expect(compiler.problems().map(({ code }) => code)).toEqual(["TOO_MANY_TIERS"]);
    expect(state.policies.size).toBe(0);
    apply(compiler, model, { policies: ["gnp:t3"] });
    expect([compiler.problems(), state.policies.size]).toEqual([[], 15]);
  });
});

describe("sets", () => {
  test("are shared by endpoints with the same policies, and go with the last of them", () => {
    const { compiler, model, state } = compile({
      endpoints: [GUEST, workload("m", labels.set({ x: "" }), [])],
      policies: [policy("gnp:p")],
    });
    expect([state.sets.size, state.policies.size]).toEqual([1, 1]);
    const first = apply(compiler, model, { endpoints: ["l"] });
    expect([first.sets.size, first.policies.size]).toEqual([0, 0]);
    const last = apply(compiler, model, { endpoints: ["m"] });
    expect([last.sets.size, last.policies.size, state.sets.size, state.policies.size]).toEqual([1, 1, 0, 0]);
  });

  test("a policy that comes to apply changes the endpoint's set, not the other policies", () => {
    const { compiler, model } = compile({ endpoints: [GUEST], policies: [policy("gnp:p")] });
    const delta = apply(compiler, model, { policies: [policy("gnp:q")] });
    expect([[...delta.endpoints], delta.sets.size, [...delta.policies]]).toEqual([["l"], 2, ["gnp:q"]]);
  });

  test("a stateless policy's rules say so", () => {
    const { state } = compile({
      endpoints: [GUEST],
      policies: [policy("gnp:p", { stateful: false, ingress: [rule()] })],
    });
    expect([...state.policies.values()][0]?.ingress).toMatchObject([{ stateless: true }]);
  });
});

describe("the local side of a rule", () => {
  const only = (destination: Parameters<typeof side>[0]) =>
    policy("gnp:p", { ingress: [rule({ destination: side(destination) }), rule({ index: "ingress/1" })] });
  const rulesOf = (change: Change, address: string): number | undefined => {
    const { state } = compile(change);
    const endpoint = state.endpoints.get(endpointId("l"));
    const owned = endpoint?.owned.find((one) => one.prefix === address);
    const key = state.sets.get(owned?.set ?? endpoint?.set ?? ("" as never))?.ingress[0]?.policies[0];
    return key && state.policies.get(key)?.ingress.length;
  };

  test("a selector makes a variant of the policy for whom it holds", () => {
    const policies = [only({ selector: selector("has(x)") })];
    expect(
      rulesOf({ policies, endpoints: [workload("l", labels.set({ x: "" }), ["10.0.0.1/32"])] }, "10.0.0.1/32"),
    ).toBe(2);
    expect(rulesOf({ policies, endpoints: [GUEST] }, "10.0.0.1/32")).toBe(1);
    const { state } = compile({ policies, endpoints: [GUEST, workload("m", labels.set({ x: "" }), ["10.0.0.2/32"])] });
    expect([...state.policies.keys()].sort()).toEqual(["gnp:p~0", "gnp:p~1"]);
  });

  test("nets tell the endpoint's addresses apart; the other family's do not get a set of their own", () => {
    const change = {
      policies: [only({ nets: [prefix("10.0.0.1/32")] })],
      endpoints: [workload("l", NONE, ["10.0.0.1/32", "10.0.0.2/32", "fd00::1/128"])],
    };
    expect([rulesOf(change, "10.0.0.1/32"), rulesOf(change, "10.0.0.2/32")]).toEqual([2, 1]);
    const { state } = compile(change);
    expect(state.sets.size).toBe(2);
    expect(state.endpoints.get(endpointId("l"))?.owned.map(({ set }) => set !== undefined)).toEqual([
      false,
      true,
      false,
    ]);
  });

  test("a pair is cut where a net ends within it", () => {
    const change = {
      policies: [only({ notNets: [prefix("10.0.0.128/25")] })],
      endpoints: [workload("l", NONE, [], { pairs: [{ prefix: prefix("10.0.0.0/24") }] })],
    };
    expect([rulesOf(change, "10.0.0.0/24"), rulesOf(change, "10.0.0.128/25")]).toEqual([2, 1]);
  });

  test("a policy id cannot pass for another policy's variant", () => {
    const policies = [only({ selector: selector("has(x)") }), policy("gnp:p~0", { ingress: [rule()] })];
    const { state } = compile({ policies, endpoints: [GUEST] });
    expect([...state.policies.keys()].sort()).toEqual(["gnp:p~0", "gnp:p~~0"]);
  });
});

describe("endpoints", () => {
  test("own their fixed addresses and pairs, a MAC said only where it is another", () => {
    const other = "fa:16:3e:99:99:99" as Mac;
    const pairs = [
      { prefix: prefix("10.0.0.9/32"), mac: other },
      { prefix: prefix("10.0.0.0/24"), mac: GUEST.mac },
      { prefix: prefix("10.0.0.1/32") },
    ];
    const { state } = compile({ endpoints: [workload("l", NONE, ["10.0.0.1/32"], { pairs })] });
    expect(state.endpoints.get(endpointId("l"))?.owned).toEqual([
      { prefix: "10.0.0.1/32", kind: "fixed" },
      { prefix: "10.0.0.9/32", kind: "pair", mac: other },
      { prefix: "10.0.0.0/24", kind: "pair" },
    ]);
  });

  test("two that claim one interface: the lowest id has it, the other is blocked until it is free", () => {
    const [a, b] = ["a", "b"].map((id) => workload(id, NONE, [], { interfaceName: "tap1" }));
    const { compiler, model, state } = compile({ endpoints: [b, a].flatMap((one) => one ?? []) });
    expect(state.endpoints.get(endpointId("a"))).not.toHaveProperty("blocked");
    expect(state.endpoints.get(endpointId("b"))?.blocked).toContain("/calico/a");
    expect(compiler.problems()).toMatchObject([{ where: "/calico/b", code: "INTERFACE_CLAIMED_TWICE" }]);
    expect(compiler.problems()[0]?.what).toContain('"/calico/a"');
    expect([...apply(compiler, model, { endpoints: ["a"] }).endpoints].sort()).toEqual(["a", "b"]);
    expect([state.endpoints.get(endpointId("b"))?.blocked, compiler.problems()]).toEqual([undefined, []]);
  });

  test("what the model blocked stays blocked; without port security the set is the same", () => {
    const endpoints = [
      workload("l", NONE, [], { blocked: "bad MAC" }),
      workload("m", NONE, [], { portSecurity: false }),
    ];
    const { state } = compile({ endpoints });
    expect(state.endpoints.get(endpointId("l"))?.blocked).toBe("bad MAC");
    expect(state.endpoints.get(endpointId("m"))?.set).toBe(state.endpoints.get(endpointId("l"))?.set);
  });

  test("`alsoRemote` names addresses that others have as well, and pairs wider than an address", () => {
    const { compiler, model, state } = compile({
      endpoints: [workload("l", NONE, ["10.0.0.1/32", "10.0.0.2/32"], { pairs: [{ prefix: prefix("0.0.0.0/0") }] })],
    });
    expect([...state.alsoRemote]).toEqual(["0.0.0.0/0"]);
    expect([...apply(compiler, model, { endpoints: [remoteEndpoint("r", NONE, ["10.0.0.2/32"])] }).endpoints]).toEqual([
      "l",
    ]);
    expect([...state.alsoRemote].sort()).toEqual(["0.0.0.0/0", "10.0.0.2/32"]);
    apply(compiler, model, { endpoints: ["r", workload("m", NONE, ["10.0.0.2/32"])] });
    expect([...state.alsoRemote]).toEqual(["0.0.0.0/0"]);
  });
});
