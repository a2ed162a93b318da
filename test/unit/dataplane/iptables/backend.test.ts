/** What the backend writes when taps come, go and are replaced; on programs that only note what they are given. */
import { expect, it } from "vitest";
import type { DesiredDelta } from "../../../../src/compile/desired.js";
import type { Tap } from "../../../../src/dataplane/backend.js";
import type { Runner } from "../../../../src/dataplane/run.js";
import { IptablesBackend } from "../../../../src/dataplane/iptables/backend.js";
import { chainOf } from "../../../../src/dataplane/iptables/link-rules.js";
import { BASE, GUESTS } from "../../../conformance/world.js";
import { compiledWorld } from "../../../support/iptables-worlds.js";

const NOTHING_NEW: DesiredDelta = {
  endpoints: new Set(),
  sets: new Set(),
  policies: new Set(),
  addresses: new Set(),
  prefixes: new Set(),
  narrowed: new Set(),
};
const TAP = GUESTS.web1.tap;
const CHAIN = `chain netdev torbie_link ${chainOf(TAP)}`;

/** Applies the world, then again with another tap in the place of TAP; what nft was given the second time. */
async function replaced(by: Partial<Tap> | undefined): Promise<string> {
  let given = "";
  const run: Runner = (program, _args, input = "") => {
    if (program === "nft") given += input;
    return Promise.resolve({
      status: 0,
      stdout: program === "iptables" ? "iptables v1.8.9 (nf_tables)" : "",
      stderr: "",
    });
  };
  const backend = await IptablesBackend.open({ prefixes: ["tap"], excluded: [], markShift: 0, hostToGuest: true, run });
  const { desired, taps } = compiledWorld(BASE);
  await backend.apply(desired, { taps, uplinks: [] });
  given = "";
  const others = [...taps].filter(([name]) => name !== TAP);
  const tap = taps.get(TAP) as Tap;
  const now = new Map(by === undefined ? others : [...others, [TAP, { ...tap, ...by }]]);
  const { failures } = await backend.apply(desired, { taps: now, uplinks: [] }, NOTHING_NEW);
  expect(failures).toEqual([]);
  return given;
}

it("a tap in the place of another of its name is given its chain anew: the kernel takes that away with its tap", async () => {
  const text = await replaced({ ifindex: 4711 });
  expect(text).toContain(`add ${CHAIN} { type filter hook ingress device "${TAP}"`);
  expect(text.match(/^add chain /gm)).toHaveLength(1);
});

it("the same tap is not", async () => {
  expect(await replaced({})).toBe("");
});

it("a chain that has gone with its tap can be deleted all the same: it is made just before", async () => {
  expect(await replaced(undefined)).toContain(`add ${CHAIN}\ndelete ${CHAIN}\n`);
});
