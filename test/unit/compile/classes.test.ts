import { describe, expect, test } from "vitest";
import { Compiler } from "../../../src/compile/compiler.js";
import type { ClassList } from "../../../src/compile/desired.js";
import type { Address, RuleSide } from "../../../src/model/types.js";
import {
  apply,
  type Change,
  Labels,
  networkSet,
  policy,
  policyId,
  prefix,
  remoteEndpoint,
  rule,
  selector,
  side,
  TestModel,
  workload,
} from "./fixtures.js";

const labels = new Labels();
const WEB = labels.set({ web: "" });
const DB = labels.set({ db: "" });
const BOTH = labels.set({ web: "", db: "" });
const NONE = labels.set({});
const IN_WEB = `in ${JSON.stringify("has(web)")}`;
const has = (label: string) => selector(`has(${label})`);

/** One policy that names the sides, and what was said of the cloud. */
function cloud(sides: Partial<RuleSide>[], change: Change = {}) {
  const model = new TestModel();
  const compiler = new Compiler();
  const asks = policy("gnp:asks", {
    ingress: sides.map((one, i) => rule({ index: `ingress/${i}`, source: side(one) })),
  });
  apply(compiler, model, { ...change, policies: [asks, ...(change.policies ?? [])] });
  return { model, compiler, state: compiler.desired };
}
const at = (map: ReadonlyMap<string, ClassList>, key: string): ClassList | undefined => map.get(key);
const keys = (set: Iterable<string>): string[] => [...set].sort();

describe("classes of addresses", () => {
  test("a selector: single addresses of endpoints exactly, pairs and network sets by prefix", () => {
    const { state } = cloud([{ selector: has("web") }], {
      endpoints: [
        remoteEndpoint("a", WEB, ["10.0.0.1/32", "fd00::1/128", "10.9.0.0/16"]),
        remoteEndpoint("b", DB, ["10.0.0.2/32"]),
      ],
      networkSets: [networkSet("gns:w", WEB, ["192.0.2.7/32", "198.51.100.0/24"])],
    });
    const list = { classes: [IN_WEB], complete: false };
    expect(Object.fromEntries(state.addresses)).toEqual({ "10.0.0.1": list, "fd00::1": list });
    expect(Object.fromEntries(state.prefixes)).toEqual({
      "10.9.0.0/16": list,
      "192.0.2.7/32": list,
      "198.51.100.0/24": list,
    });
  });

  test("equal lists are one object, however many addresses have them", () => {
    const { state } = cloud([{ selector: has("web") }], {
      endpoints: [remoteEndpoint("a", WEB, ["10.0.0.1/32"]), remoteEndpoint("b", BOTH, ["10.0.0.2/32"])],
    });
    expect(at(state.addresses, "10.0.0.1")).toBe(at(state.addresses, "10.0.0.2"));
  });

  test("nets never write an address; nested prefixes carry what holds around them, exceptions what does not", () => {
    const { state } = cloud(
      [{ nets: [prefix("10.0.0.0/8")], notNets: [prefix("10.2.0.0/16")] }, { nets: [prefix("10.2.3.0/24")] }],
      {
        endpoints: [remoteEndpoint("a", WEB, ["10.0.0.1/32"])],
      },
    );
    const [wide, narrow] = ["nets 10.0.0.0/8 & not nets 10.2.0.0/16", "nets 10.2.3.0/24"];
    expect(state.addresses.size).toBe(0);
    expect(at(state.prefixes, "10.0.0.0/8")?.classes).toEqual([wide]);
    expect(at(state.prefixes, "10.2.0.0/16")?.classes).toEqual([]);
    expect(at(state.prefixes, "10.2.3.0/24")?.classes).toEqual([narrow]);
  });

  test("a selector within nets is tested address by address", () => {
    const { state } = cloud([{ selector: has("web"), nets: [prefix("10.0.0.0/24")] }], {
      endpoints: [remoteEndpoint("a", WEB, ["10.0.0.1/32", "10.0.1.1/32"])],
    });
    expect(keys(state.addresses.keys())).toEqual(["10.0.0.1"]);
  });

  test("a negated selector: everywhere by prefix, and complete lists for who is excluded", () => {
    const { state } = cloud(
      [{ notSelector: has("web") }, { nets: [prefix("10.0.0.0/24")] }, { selector: has("web") }],
      {
        endpoints: [remoteEndpoint("a", WEB, ["10.0.0.1/32"]), remoteEndpoint("b", DB, ["10.0.0.2/32"])],
        networkSets: [networkSet("gns:w", WEB, ["10.7.0.0/16"])],
      },
    );
    const notWeb = `not ${IN_WEB}`;
    expect(at(state.prefixes, "0.0.0.0/0")?.classes).toEqual([notWeb]);
    expect(at(state.prefixes, "::/0")?.classes).toEqual([notWeb]);
    expect(at(state.prefixes, "10.7.0.0/16")?.classes).toEqual([IN_WEB]);
    expect(at(state.addresses, "10.0.0.1")).toEqual({ classes: [IN_WEB, "nets 10.0.0.0/24"], complete: true });
    expect(at(state.addresses, "10.0.0.2")).toBeUndefined();
  });

  test("complete lists follow the prefixes around them", () => {
    const { model, compiler, state } = cloud([{ notSelector: has("web") }], {
      endpoints: [remoteEndpoint("a", WEB, ["10.0.0.1/32"])],
    });
    expect(at(state.addresses, "10.0.0.1")).toEqual({ classes: [], complete: true });
    const more = policy("gnp:more", { ingress: [rule({ source: side({ nets: [prefix("10.0.0.0/30")] }) })] });
    const delta = apply(compiler, model, { policies: [more] });
    expect(at(state.addresses, "10.0.0.1")).toEqual({ classes: ["nets 10.0.0.0/30"], complete: true });
    expect(keys(delta.addresses)).toEqual(["10.0.0.1"]);
  });

  test("one address on several endpoints has the classes of all; it keeps a class until the last member leaves", () => {
    const two = [
      remoteEndpoint("a", WEB, ["10.0.0.1/32"]),
      remoteEndpoint("b", WEB, ["10.0.0.1/32"]),
      remoteEndpoint("c", DB, ["10.0.0.1/32"]),
    ];
    const { model, compiler, state } = cloud([{ selector: has("web") }, { selector: has("db") }], { endpoints: two });
    expect(at(state.addresses, "10.0.0.1")?.classes).toHaveLength(2);
    expect(apply(compiler, model, { endpoints: ["a"] }).addresses.size).toBe(0);
    expect(keys(apply(compiler, model, { endpoints: ["b"] }).addresses)).toEqual(["10.0.0.1"]);
    expect(at(state.addresses, "10.0.0.1")?.classes).toEqual([`in ${JSON.stringify("has(db)")}`]);
  });

  test("owners that no rule asks about need no entry", () => {
    const { state } = cloud([{ selector: has("web") }], {
      endpoints: [remoteEndpoint("a", NONE, ["10.0.0.1/32", "10.1.0.0/16"])],
    });
    expect(state.addresses.size + state.prefixes.size).toBe(0);
  });
});

describe("the cost of a change", () => {
  const members = Array.from({ length: 50 }, (_, i) => remoteEndpoint(`m${i}`, WEB, [`10.0.0.${i}/32`]));

  test("a rule that names a group already named writes no members; a member writes its own addresses", () => {
    const { model, compiler } = cloud([{ selector: has("web") }], { endpoints: members });
    const again = policy("gnp:again", { ingress: [rule({ source: side({ selector: has("web") }) })] });
    expect(apply(compiler, model, { policies: [again] }).addresses.size).toBe(0);
    expect(apply(compiler, model, { policies: ["gnp:again"] }).addresses.size).toBe(0);
    const delta = apply(compiler, model, { endpoints: [remoteEndpoint("new", WEB, ["10.0.1.1/32"])] });
    expect([keys(delta.addresses), delta.prefixes.size]).toEqual([["10.0.1.1"], 0]);
  });

  test("classes of policies that apply to nobody here are kept as well, so that a local rule finds them", () => {
    const { state } = cloud([{ selector: has("web") }], { endpoints: members });
    expect([state.endpoints.size, state.policies.size, state.addresses.size]).toEqual([0, 0, 50]);
  });

  test("a changed rule touches its policy alone, however many ports share it", () => {
    const shared = (port: number) =>
      policy("np:x/shared", {
        ingress: [rule({ protocol: 6, destination: side({ ports: [{ first: port, last: port }] }) })],
      });
    const ports = Array.from({ length: 20 }, (_, i) => workload(`l${i}`, NONE, [`10.1.0.${i}/32`]));
    const { model, compiler } = cloud([], { endpoints: ports, policies: [shared(80)] });
    const delta = apply(compiler, model, { policies: [shared(81)] });
    expect([keys(delta.policies), delta.sets.size, delta.endpoints.size]).toEqual([["np:x/shared"], 0, 0]);
    expect(apply(compiler, model, { policies: [shared(81)] }).policies.size).toBe(0);
  });
});

describe("narrowed", () => {
  const guarded = (action: "allow" | "deny") =>
    policy("gnp:guard", { ingress: [rule({ action, source: side({ selector: has("web") }) })] });
  const start = (action: "allow" | "deny", here: boolean) =>
    cloud([{ selector: has("db") }], {
      policies: [guarded(action)],
      endpoints: [remoteEndpoint("a", WEB, ["10.0.0.1/32"]), ...(here ? [workload("l", NONE, ["10.1.0.1/32"])] : [])],
    });
  const without = (key: string) => ({ policies: [policyId(key)] });

  test("a member that leaves an allowed class", () => {
    const { model, compiler } = start("allow", true);
    expect(keys(apply(compiler, model, { endpoints: ["a"] }).narrowed)).toEqual([IN_WEB]);
  });

  test("not a member that joins it, nor one that moves between label sets of the class", () => {
    const { model, compiler } = start("allow", true);
    expect(apply(compiler, model, { endpoints: [remoteEndpoint("b", WEB, ["10.0.0.2/32"])] }).narrowed.size).toBe(0);
    expect(apply(compiler, model, { endpoints: [remoteEndpoint("b", BOTH, ["10.0.0.2/32"])] }).narrowed.size).toBe(0);
  });

  test("a member that joins a denied class", () => {
    const { model, compiler } = start("deny", true);
    expect(keys(apply(compiler, model, { endpoints: [remoteEndpoint("b", WEB, ["10.0.0.2/32"])] }).narrowed)).toEqual([
      IN_WEB,
    ]);
  });

  test("not a class that no local set uses", () => {
    const { model, compiler } = start("allow", false);
    expect(apply(compiler, model, { endpoints: ["a"] }).narrowed.size).toBe(0);
  });

  test("part of a prefix that leaves a class", () => {
    const { model, compiler } = start("allow", true);
    const nets = (...list: string[]) => networkSet("gns:w", WEB, list);
    expect(apply(compiler, model, { networkSets: [nets("10.8.0.0/15")] }).narrowed.size).toBe(0);
    expect(keys(apply(compiler, model, { networkSets: [nets("10.8.0.0/16")] }).narrowed)).toEqual([IN_WEB]);
  });

  test("not a class that goes because its last rule went: the backend sees the policy go", () => {
    const { model, compiler } = start("allow", true);
    expect(apply(compiler, model, without("gnp:guard")).narrowed.size).toBe(0);
    expect(compiler.desired.addresses.get("10.0.0.1" as Address)).toBeUndefined();
  });
});
