import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Bytes } from "../../../src/abi/records.js";
import { nameMapDifferences } from "../../../src/check/name-maps.js";
import { compareMaps } from "../../../src/dataplane/bpf/compare.js";
import { Engine } from "../../../src/dataplane/bpf/engine.js";
import { IndexedMaps } from "../../../src/dataplane/bpf/indexed-maps.js";
import type { MapName } from "../../../src/dataplane/bpf/plan.js";
import type { Mac } from "../../../src/model/types.js";
import { endpoint, interfacesOf, policy, rule, stateOf } from "../../support/desired.js";
import { desiredStates } from "../dataplane/bpf/arbitrary.js";
import { MemoryMaps } from "../dataplane/bpf/memory.js";

const SETTINGS = { flowLimit: 1024, hz: 250, timeouts: {}, hostToGuest: true };
const NONE = interfacesOf();
/** What compareMaps looks at: written by the agent, and no counters. */
const LOOKED_AT: readonly MapName[] = [
  "endpoint",
  "tap",
  "source",
  "local",
  "local_prefix",
  "remote",
  "prefix",
  "plane",
  "policy",
  "name",
];
const names = {
  name: () => undefined,
  port: (number: number) => `port${number}`,
  interface: (ifindex: number) => `if${ifindex}`,
};

async function written(desired: Parameters<Engine["apply"]>[0], interfaces = NONE): Promise<MemoryMaps> {
  const maps = new MemoryMaps();
  expect((await new Engine(new IndexedMaps(maps), SETTINGS).apply(desired, interfaces)).failures).toEqual([]);
  return maps;
}

describe("comparing maps", () => {
  it("finds nothing in what was written, and writes nothing", async () => {
    await fc.assert(
      fc.asyncProperty(desiredStates(false), async (desired) => {
        const maps = await written(desired);
        const before = maps.writes;
        expect(compareMaps(maps, SETTINGS, desired, NONE)).toEqual([]);
        expect(maps.writes).toBe(before);
      }),
      { numRuns: 60 },
    );
  });

  it("finds each entry that was taken away or bent, and what follows from it alone", async () => {
    await fc.assert(
      fc.asyncProperty(desiredStates(false), fc.nat(), fc.boolean(), async (desired, which, bend) => {
        const maps = await written(desired);
        const all = LOOKED_AT.flatMap((map) => [...maps.of(map)].map(([key, value]) => ({ map, key, value })));
        fc.pre(all.length > 0);
        const { map, key, value } = all[which % all.length] as (typeof all)[number];
        // Padding, generations and texts of names are not told apart: bend the first byte, which never is one.
        if (bend && map !== "name")
          maps.of(map).set(key, `${String.fromCharCode(value.charCodeAt(0) ^ 1)}${value.slice(1)}` as Bytes);
        else maps.of(map).delete(key);
        fc.pre(map !== "endpoint" || !bend);
        const found = compareMaps(maps, SETTINGS, desired, NONE);
        // A number without a name is asked for anew: what has the number is found, the name with it.
        if (map !== "name") expect(found.some((one) => one.map === map && one.key === key)).toBe(true);
        else expect(found.length).toBeGreaterThan(0);
        expect(() => nameMapDifferences(found, names)).not.toThrow();
      }),
      { numRuns: 150 },
    );
  });

  it("an entry of nobody is extra, in words", async () => {
    const desired = stateOf({
      endpoints: [endpoint("a", { owned: ["10.0.0.1/32"], set: "s" })],
      sets: { s: { ingress: [["p"]], egress: [["p"]] } },
      policies: [policy("p", { ingress: [rule({ families: [4], protocols: [6], ports: [{ first: 80, last: 80 }] })] })],
    });
    const maps = await written(desired);
    const [[key, value] = ["" as Bytes, "" as Bytes]] = maps.of("policy");
    const other = `${key.slice(0, -1)}${String.fromCharCode(key.charCodeAt(key.length - 1) ^ 2)}` as Bytes;
    maps.of("policy").set(other, value);
    const [found, ...more] = nameMapDifferences(compareMaps(maps, SETTINGS, desired, NONE), names);
    expect(more).toEqual([]);
    expect(found).toMatchObject({
      kind: "map",
      where: "policy",
      is: expect.stringContaining("action allow") as string,
      wanted: null,
    });
  });

  it("of an entry that differs only the fields that do are told", async () => {
    const tap = { name: "tapa", ifindex: 7, mac: "02:00:00:00:00:07" as Mac, mtu: 1500, up: true };
    const desired = stateOf({
      endpoints: [endpoint("a", { owned: ["10.0.0.1/32"], set: "s" })],
      sets: { s: { ingress: [], egress: [] } },
    });
    const maps = await written(desired, interfacesOf([tap]));
    const found = compareMaps(maps, SETTINGS, desired, interfacesOf([{ ...tap, mtu: 9000 }]));
    expect(nameMapDifferences(found, names)).toEqual([
      { kind: "map", where: "endpoint", key: "endpoint port1 (1)", is: "mtu 1500", wanted: "mtu 9000" },
    ]);
  });

  it("a place of the index that says otherwise than the addresses is found; what the index leaves out is none", async () => {
    const addresses = Object.fromEntries([1, 2, 3, 4, 5].map((last) => [`10.0.0.${last}`, ["c"]]));
    const desired = stateOf({
      addresses,
      sets: { s: { ingress: [["p"]], egress: [["p"]] } },
      policies: [policy("p", { ingress: [rule({ remote: "c" })] })],
      endpoints: [endpoint("a", { owned: ["10.1.0.1/32"], set: "s" })],
    });
    const maps = await written(desired);
    expect(maps.of("block").size).toBe(1);
    expect(compareMaps(maps, SETTINGS, desired, NONE)).toEqual([]);
    const [[block, members] = ["" as Bytes, "" as Bytes]] = maps.of("member");
    // 10.0.0.9 is said to be in the list of 10.0.0.1, and is no address of anybody.
    const place = members.slice(2, 4);
    maps.of("member").set(block, `${members.slice(0, 18)}${place}${members.slice(20)}` as Bytes);
    expect(compareMaps(maps, SETTINGS, desired, NONE)).toMatchObject([{ map: "member", key: block, wanted: members }]);
    maps.of("block").clear();
    expect(compareMaps(maps, SETTINGS, desired, NONE)).toEqual([]);
  });
});
