import { describe, expect, it } from "vitest";
import { parse, u32 } from "../../../../src/abi/records.js";
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
    const { failures, written } = await new Engine(maps, SETTINGS).apply(claims, interfacesOf([TAP]));
    expect(failures).toEqual([]);
    expect([...written]).toEqual(["a"]);
    const number = maps.get("tap", u32(7)) ?? u32(0);
    expect(parse("endpoint", maps.get("endpoint", number) ?? u32(0))).toMatchObject({ ifindex: 7 });
  });
});
