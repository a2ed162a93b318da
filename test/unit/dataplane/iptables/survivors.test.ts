/** What of that which was left is found again, and what is not taken for ours. */
import { describe, expect, it } from "vitest";
import { nothingStands, type Standing } from "../../../../src/dataplane/iptables/plan.js";
import { Written, type Reading } from "../../../../src/dataplane/iptables/reading.js";
import { printsOf, survivors } from "../../../../src/dataplane/iptables/survivors.js";

const CHAIN = "TRB-new";
const LEFT = ["-j DROP", "-j ACCEPT"];
const LINK = ['type filter hook ingress device "tap1" priority -400; policy drop;', "ip saddr 10.0.0.1 accept", "drop"];

function left(): Standing {
  const standing = nothingStands();
  standing.tables[4].filter.chains.set(CHAIN, LEFT);
  standing.links.set("tap1", LINK.slice(1));
  return standing;
}

function reading({ chain = LEFT, link = LINK }: { chain?: readonly string[]; link?: readonly string[] } = {}): Reading {
  const none = { raw: new Map(), filter: new Map() };
  return {
    sets: new Map(),
    tables: { 4: { ...none, filter: new Map([[CHAIN, chain]]) }, 6: none },
    links: new Map([["t_tap1", link]]),
    written: new Written(),
  };
}

describe("what stands", () => {
  it("is taken for what was written, and found again", () => {
    const prints = printsOf(left(), reading());
    expect([...prints.keys()].sort()).toEqual(["4 filter TRB-new", "link t_tap1"]);
    const { standing, drifts } = survivors(left(), prints, reading());
    expect(drifts).toBe(0);
    expect(standing.tables[4].filter.chains.get(CHAIN)).toBe(LEFT);
    expect(standing.links.get("tap1")).toEqual(LINK.slice(1));
  });

  it("is not taken for it when somebody took a rule away before it was read, and is written again", () => {
    const disturbed = reading({ chain: ["-j ACCEPT"], link: LINK.slice(0, 2) });
    const prints = printsOf(left(), disturbed);
    expect([...prints.keys()]).toEqual([]);
    const { standing } = survivors(left(), prints, disturbed);
    expect(standing.tables[4].filter.chains.get(CHAIN)).not.toEqual(LEFT);
    expect(standing.links.get("tap1")).toEqual([]);
  });

  it("is as it was written where that happened after the reading began", () => {
    const ahead = reading({ chain: ["-j RETURN"] });
    ahead.written.note({ sets: new Set(), chains: { 4: new Set([CHAIN]), 6: new Set() } });
    const { standing, drifts } = survivors(left(), printsOf(left(), reading()), ahead);
    expect([standing.tables[4].filter.chains.get(CHAIN), drifts]).toEqual([LEFT, 0]);
  });
});
