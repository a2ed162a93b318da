import { describe, expect, it } from "vitest";
import { Limits } from "../../../../src/abi/layout.gen.js";
import { parse, u32 } from "../../../../src/abi/records.js";
import { IndexedMaps } from "../../../../src/dataplane/bpf/indexed-maps.js";
import { Engine } from "../../../../src/dataplane/bpf/engine.js";
import type { Mac } from "../../../../src/model/types.js";
import { endpoint, interfacesOf, stateOf } from "../../../support/desired.js";
import { MemoryMaps } from "./memory.js";

const SETTINGS = { flowLimit: 1024, hz: 250, timeouts: {}, hostToGuest: true };
const TAP = { name: "tapx", ifindex: 7, mac: "fe:16:3e:00:00:01" as Mac, mtu: 1500, up: true };

describe("a tap that two endpoints claim", () => {
  const claims = stateOf({
    // The lowest id comes last: order decides nothing.
    endpoints: [
      endpoint("b", { owned: ["10.0.0.2/32"], set: "s", interfaceName: "tapx", blocked: "another has the tap" }),
      endpoint("a", { owned: ["10.0.0.1/32"], set: "s", interfaceName: "tapx" }),
    ],
    sets: { s: { ingress: [], egress: [] } },
  });

  it("is the lowest id's, in full, and no failure to be repeated for ever", async () => {
    const maps = new MemoryMaps();
    const { failures, written } = await new Engine(new IndexedMaps(maps), SETTINGS).apply(claims, interfacesOf([TAP]));
    expect(failures).toEqual([]);
    expect([...written]).toEqual(["a"]);
    const number = maps.get("tap", u32(7)) ?? u32(0);
    expect(parse("endpoint", maps.get("endpoint", number) ?? u32(0))).toMatchObject({ ifindex: 7 });
  });
});

describe("two taps that would share a slot of tap_slot", () => {
  const taps = [7, 7 + Limits.MAX_TAPS].map((ifindex, i) => ({
    ...TAP,
    name: `tap${i}`,
    ifindex,
    mac: `fe:16:3e:00:00:0${i}` as Mac,
  }));
  const state = stateOf({
    endpoints: taps.map(({ name }, i) =>
      endpoint(name, { owned: [`10.0.0.${i + 1}/32`], set: "s", interfaceName: name }),
    ),
    sets: { s: { ingress: [], egress: [] } },
  });
  const slotIn = (maps: MemoryMaps): number => parse("tap_slot", maps.get("tap_slot", u32(7)) ?? u32(0)).ifindex;

  it("are both in `tap`; one has the slot, and when it goes the other gets it", async () => {
    const maps = new MemoryMaps();
    const engine = new Engine(new IndexedMaps(maps), SETTINGS);
    await engine.apply(state, interfacesOf(taps));
    expect([...maps.dump("tap").keys()].sort()).toEqual(taps.map(({ ifindex }) => u32(ifindex)).sort());
    expect(slotIn(maps)).toBe(7);
    await engine.apply(state, interfacesOf(taps.slice(1)));
    expect(slotIn(maps)).toBe(7 + Limits.MAX_TAPS);
    await engine.apply(state, interfacesOf([]));
    expect(slotIn(maps)).toBe(0);
    const { writes } = await engine.apply(state, interfacesOf([]));
    expect(writes).toEqual({});
  });
});
