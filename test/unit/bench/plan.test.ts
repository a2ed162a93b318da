import { expect, it } from "vitest";
import { cloud, HOSTNAME, remoteTraffic, type Size } from "../../../src/bench/cloud.js";
import { desiredOf } from "../../../src/bench/desired.js";
import { nftPolicy } from "../../../src/bench/nft-policy.js";
import { curve, firstOf, measurements, peerOf } from "../../../src/bench/plan.js";
import { Compiler } from "../../../src/compile/compiler.js";
import { ModelStore } from "../../../src/model/store.js";

const guests = [
  { name: "g0", tap: "tap0", mac: "fa:16:3e:00:00:01", address: "10.65.0.1" },
  { name: "g1", tap: "tap1", mac: "fa:16:3e:00:00:02", address: "10.65.0.2" },
];

it("members that did not go through the model are what the compiler would have made of them", () => {
  const store = new ModelStore(HOSTNAME);
  store.apply({ type: "snapshot-begin" });
  store.apply({ type: "changes", changes: [...cloud(guests, { rules: 5, members: 300 })] });
  store.apply({ type: "in-sync" });
  const compiler = new Compiler();
  compiler.apply(store.model, store.takeDelta());
  const short = desiredOf(guests, { rules: 5, members: 300 });
  expect(new Map([...short.addresses].sort())).toEqual(new Map([...compiler.desired.addresses].sort()));
  expect(short.policies).toEqual(compiler.desired.policies);
});

it("measures each name once, QUICK a part of the same", () => {
  for (const quick of [true, false]) {
    const names = [...measurements(quick).values()].flat();
    expect(new Set(names).size).toBe(names.length);
  }
  const full = new Set([...measurements(false).values()].flat());
  expect([...measurements(true).values()].flat().filter((name) => !full.has(name))).toEqual([]);
});

it("curves begin at 10 and vary one size", () => {
  expect(curve("bpf", "rules", false).map(({ x }) => x)).toEqual([10, 100, 1_000, 10_000]);
  expect(curve("bpf", "groups", false).map(({ x }) => x)).toEqual([1, 10, 100]);
  expect(curve("bpf", "cidrs", false).map(({ x }) => x)).toEqual([10, 1_000, 10_000, 100_000]);
  expect(curve("bpf", "members", true).map(({ x }) => x)).toEqual([10, 1_000_000]);
  expect(curve("iptables_legacy", "members", true).map(({ x }) => x)).toEqual([10]);
});

it("reads a peer's role, and no other", () => {
  for (const quick of [true, false])
    for (const role of measurements(quick).keys()) {
      const found = peerOf(role);
      if (found === undefined) expect(["bpf", "forwarding", "two_rules"]).toContain(role);
      else expect(measurements(quick).get(role)).toContain(firstOf(found.peer, found.size));
    }
  expect(peerOf("two_rules")).toBeUndefined();
});

it("writes the policy for nft: a port an element, members in messages that fit", () => {
  const text = nftPolicy(guests, { rules: 3, members: 20_001 });
  expect(text).toContain("udp dport vmap { 9 : accept, 10000 : goto far, 10001 : goto far }");
  expect(text.match(/^add element .*$/gm)?.map((line) => line.split(",").length)).toEqual([10_000, 10_000, 1]);
  expect(nftPolicy(guests, { rules: 1, members: 0 }, { protocol: 6 })).toContain("tcp dport vmap { 9 : accept }");
});

it("a guest of several groups has the rules of each, and prefixes stand in the place of the remote group", () => {
  const ports = (size: Size): number[] =>
    [...desiredOf(guests, size).policies.values()]
      .flatMap(({ ingress }) => ingress.flatMap((rule) => rule.ports ?? []))
      .map(({ first }) => first)
      .sort((a, b) => a - b);
  expect(ports({ rules: 3, members: 1, groups: 2 })).toEqual([9, 10_000, 10_001, 10_002, 10_003]);
  expect(remoteTraffic({ rules: 3, members: 1, groups: 2 })).toMatchObject({ firstPort: 10_000, ports: 4 });
  const { prefixes } = desiredOf(guests, { rules: 3, members: 1, cidrs: 300 });
  expect([...prefixes.keys()].filter((prefix) => /^12\./.test(prefix))).toHaveLength(300);
  expect(nftPolicy(guests, { rules: 2, members: 1, cidrs: 300 })).toContain("12.0.255.0/24, 12.1.0.0/24");
});
