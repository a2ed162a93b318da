/** Rendering, by golden files and by what must hold of any of them. `vitest -u` writes them anew; look at the difference. */
import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { dispatchTree } from "../../../../src/dataplane/iptables/tree.js";
import { nothingStands, planSteps, type Standing } from "../../../../src/dataplane/iptables/plan.js";
import { parseSave, parseSets } from "../../../../src/dataplane/iptables/read-back.js";
import { dropCounters, parseDrops } from "../../../../src/dataplane/iptables/counters.js";
import type { RunResult } from "../../../../src/dataplane/run.js";
import type { Rendered } from "../../../../src/dataplane/iptables/types.js";
import { GOLDEN, ONE_MORE, renderWorld, textOf } from "../../../support/iptables-worlds.js";

const standing = (of: Rendered): Standing => ({
  sets: new Map(of.sets),
  tables: {
    4: { raw: copy(of.tables[4].raw), filter: copy(of.tables[4].filter) },
    6: { raw: copy(of.tables[6].raw), filter: copy(of.tables[6].filter) },
  },
  links: new Map(of.links),
});
const copy = ({ chains, hooks }: Rendered["tables"][4]["raw"]): Standing["tables"][4]["raw"] => ({
  chains: new Map(chains),
  hooks: new Map(hooks),
  displaced: new Set(),
});

/** Of the other worlds what differs from "base" in kind. */
const SHOWN: Readonly<Record<string, RegExp>> = {
  base: /./,
  "many-rules": /^1-ipset|iptables-filter/,
  "other-options": /iptables-/,
};

describe("golden files", () => {
  for (const name of Object.keys(GOLDEN))
    for (const file of textOf(name).filter((one) => SHOWN[name]?.test(one.name) === true))
      it(`${name} ${file.name}`, async () => {
        await expect(file.text).toMatchFileSnapshot(`../../../fixtures/iptables/${name}/${file.name}.txt`);
      });
});

describe("what is rendered", () => {
  for (const [name, world] of Object.entries(GOLDEN)) {
    const rendered = renderWorld(world);
    it(`${name}: names only chains and sets that are there, within the kernel's lengths`, () => {
      for (const set of rendered.sets.keys()) expect(set.length).toBeLessThanOrEqual(31);
      for (const family of [4, 6] as const)
        for (const table of Object.values(rendered.tables[family])) {
          for (const chain of table.chains.keys()) expect(chain.length).toBeLessThanOrEqual(28);
          for (const rule of [...table.chains.values(), ...table.hooks.values()].flat()) {
            const [, to] = /-[jg] (TRB-\S+)/.exec(rule) ?? [];
            if (to !== undefined) expect([...table.chains.keys()], rule).toContain(to);
            const [, set] = /--match-set (\S+)/.exec(rule) ?? [];
            if (set !== undefined) expect([...rendered.sets.keys()], rule).toContain(set);
            // To iptables protocol 0 and prefix 0 mean any.
            expect(rule).not.toMatch(/-p 0 |-[sd] \S+\/0 /);
          }
        }
    });
    it(`${name}: is written once`, () => expect(planSteps(standing(rendered), rendered)).toEqual([]));
  }

  it("a rule more is an element more, where its policy has many", () => {
    const many = GOLDEN["many-rules"];
    if (many === undefined) throw new Error("no such world");
    const before = renderWorld(many);
    const after = renderWorld(ONE_MORE);
    expect(
      planSteps(standing(before), after).map(({ tool, text }) => [tool, text.replace(/trb4-r-\w+/, "SET")]),
    ).toEqual([["ipset", "add SET 7777\n"]]);
  });

  it("1,000 rules come to a handful of rules", () => {
    const rendered = renderWorld(GOLDEN["many-rules"] ?? { world: never(), options: never() });
    for (const [name, chain] of rendered.tables[4].filter.chains)
      if (name.startsWith("TRB-Pi-")) expect(chain.length, name).toBeLessThan(16);
  });
});

const never = (): never => {
  throw new Error("no such world");
};

describe("the tree of taps", () => {
  const names = fc.uniqueArray(fc.stringMatching(/^tap[0-9a-f]{0,11}$/), { maxLength: 300 });
  it("leads every name to its own chain, and no other", () => {
    fc.assert(
      fc.property(names, fc.stringMatching(/^tap[0-9a-f]{0,11}$/), (all, other) => {
        const chains = dispatchTree("T", "-i", new Map(all.map((name) => [name, `leaf-${name}`])), [], ["-j DROP"]);
        for (const name of [...all, other])
          expect(walk(chains, name)).toBe(all.includes(name) ? `leaf-${name}` : "DROP");
      }),
    );
  });
  it("is no longer than its logarithm", () => {
    const all = Array.from(
      { length: 1000 },
      (_, i) => `tap${((i * 2654435761) >>> 0).toString(16).padStart(8, "0")}-${i % 16}`,
    );
    const chains = dispatchTree("T", "-i", new Map(all.map((name) => [name, `leaf-${name}`])), [], ["-j DROP"]);
    for (const name of all) expect(steps(chains, name)).toBeLessThan(45);
  });
});

function step(chain: readonly string[], name: string): { to: string; rules: number } {
  for (const [i, rule] of chain.entries()) {
    const [, pattern = "", to = ""] = /^-i (\S+) -g (\S+)$/.exec(rule) ?? [];
    if (pattern === name || (pattern.endsWith("+") && name.startsWith(pattern.slice(0, -1))))
      return { to, rules: i + 1 };
  }
  return { to: "DROP", rules: chain.length };
}
function walk(chains: ReadonlyMap<string, readonly string[]>, name: string): string {
  let at = "T";
  for (;;) {
    const chain = chains.get(at);
    if (chain === undefined) return at;
    at = step(chain, name).to;
  }
}
function steps(chains: ReadonlyMap<string, readonly string[]>, name: string): number {
  let [at, sum] = ["T", 0];
  for (;;) {
    const chain = chains.get(at);
    if (chain === undefined) return sum;
    const { to, rules } = step(chain, name);
    [at, sum] = [to, sum + rules];
  }
}

describe("reading back", () => {
  it("takes our chains and all of the kernel's own", () => {
    const saved = parseSave(
      ":FORWARD DROP [0:0]\n:TRB-a - [0:0]\n:MINE - [0:0]\n-A FORWARD -j MINE\n-A TRB-a -j DROP\n-A MINE -j DROP\n",
    );
    expect([...saved]).toEqual([
      ["FORWARD", ["-j MINE"]],
      ["TRB-a", ["-j DROP"]],
    ]);
  });
  it("takes our sets, their elements in one spelling", () => {
    const sets = parseSets(
      "create trb6-never hash:net family inet6 hashsize 1024 maxelem 1048576\nadd trb6-never ::ffff:0.0.0.0/96\nadd trb6-never fe80::/10 nomatch\ncreate other hash:ip\nadd other 1.2.3.4\n",
    );
    expect([...sets.keys()]).toEqual(["trb6-never"]);
    expect([...(sets.get("trb6-never")?.members ?? [])]).toEqual(["::ffff:0:0/96", "fe80::/10 nomatch"]);
  });
  it("counters that can't be read are an error, and not none", async () => {
    const run = (program: string): Promise<RunResult> =>
      Promise.resolve(
        program === "ip6tables-save"
          ? { status: 1, stdout: "", stderr: "it is broken" }
          : { status: 0, stdout: "[3:1] -A TRB-to-tap1 -j DROP\n", stderr: "" },
      );
    await expect(dropCounters(run)).rejects.toThrow(/counters of ip6tables raw.*it is broken/);
  });

  it("counts what was dropped by tap and reason", () => {
    expect(
      parseDrops(
        "[3:180] -A TRB-to-tapweb1 -j DROP\n[0:0] -A TRB-to-tapweb2 -j DROP\n[2:9] -A TRB-src-tapweb1 -p udp --sport 67 --dport 68 -j DROP\n[1:1] -A TRB-src -j DROP\n[9:9] -A MINE -j DROP\n",
      ),
    ).toEqual([
      {
        reason: "POLICY_INGRESS",
        packets: 3n,
        tap: "tapweb1",
        chain: "TRB-to-tapweb1",
        family: 4,
        direction: "ingress",
      },
      { reason: "DHCP_SERVER", packets: 2n, tap: "tapweb1", chain: "TRB-src-tapweb1", family: 4, direction: "egress" },
      { reason: "NO_ENDPOINT", packets: 1n, chain: "TRB-src", family: 4, direction: "egress" },
    ]);
  });
  it("nothing stands at first", () => expect(nothingStands().sets.size).toBe(0));
});
