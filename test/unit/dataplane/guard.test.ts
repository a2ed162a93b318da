import { describe, expect, it } from "vitest";
import { droppingChains, ensureForward, ensureInput } from "../../../src/dataplane/forward-accept.js";
import { renderIptablesGuard } from "../../../src/dataplane/guard-iptables.js";
import {
  guardNames,
  dropped,
  guardDigest,
  guardTables,
  renderClaims,
  renderGuard,
  sleeps,
  stands,
  type GuardSettings,
} from "../../../src/dataplane/guard-rules.js";
import type { Runner } from "../../../src/dataplane/run.js";

const settings: GuardSettings = {
  table: "torbie_guard",
  taps: { prefixes: ["tap", "vm-"], excluded: ["tap9", "tapx*"] },
  markShift: 0,
};
const tables = guardTables(settings);
const digest = guardDigest(tables);
const NONE = { claimed: [], ruled: [], uplinks: [] };

describe("the guard's rules", () => {
  it("are these", () => {
    expect(
      renderGuard(settings, tables, { claimed: [7, "tap1"], ruled: ["tap1"], uplinks: [2] }).replaceAll(
        digest,
        "DIGEST",
      ),
    ).toBe(`table inet torbie_guard
delete table inet torbie_guard
table inet torbie_guard {
  set claimed {
    type iface_index
    size 16384
    elements = { 7, "tap1" }
  }
  set ruled {
    type iface_index
    size 16384
    elements = { "tap1" }
  }
  set uplinks {
    type iface_index
    size 16384
    elements = { 2 }
  }
  set awake {
    type iface_index
    size 16384
  }
  chain from_tap {
    iifname "tap9" return comment "torbie DIGEST 0"
    iifname "tapx*" return comment "torbie DIGEST 1"
    meta iifkind { "openvswitch", "bridge" } return comment "torbie DIGEST 2"
    counter drop comment "torbie DIGEST 3"
  }
  chain onward {
    meta iif != @uplinks return comment "torbie DIGEST 0"
    oifname "tap9" return comment "torbie DIGEST 1"
    oifname "tapx*" return comment "torbie DIGEST 2"
    meta oifkind { "openvswitch", "bridge" } return comment "torbie DIGEST 3"
    counter drop comment "torbie DIGEST 4"
  }
  chain to_tap {
    oifname "tap9" return comment "torbie DIGEST 0"
    oifname "tapx*" return comment "torbie DIGEST 1"
    meta oifkind { "openvswitch", "bridge" } return comment "torbie DIGEST 2"
    counter drop comment "torbie DIGEST 3"
  }
  chain prerouting {
    type filter hook prerouting priority -300; policy accept;
    meta mark & 0x0000c000 == 0x00008000 notrack accept comment "torbie DIGEST 0"
    meta mark & 0x0000c000 != 0 accept comment "torbie DIGEST 1"
    meta iif @ruled return comment "torbie DIGEST 2"
    iifname "tap*" goto from_tap comment "torbie DIGEST 3"
    iifname "vm-*" goto from_tap comment "torbie DIGEST 4"
  }
  chain forward {
    type filter hook forward priority -300; policy accept;
    meta mark & 0x00008000 != 0 accept comment "torbie DIGEST 0"
    meta oif @ruled return comment "torbie DIGEST 1"
    oifname "tap*" goto onward comment "torbie DIGEST 2"
    oifname "vm-*" goto onward comment "torbie DIGEST 3"
  }
  chain postrouting {
    type filter hook postrouting priority 300; policy accept;
    meta oif @claimed return comment "torbie DIGEST 0"
    oifname "tap*" goto to_tap comment "torbie DIGEST 1"
    oifname "vm-*" goto to_tap comment "torbie DIGEST 2"
  }
}
table arp torbie_guard
delete table arp torbie_guard
table arp torbie_guard {
  set claimed {
    type iface_index
    size 16384
    elements = { 7, "tap1" }
  }
  set ruled {
    type iface_index
    size 16384
    elements = { "tap1" }
  }
  set uplinks {
    type iface_index
    size 16384
    elements = { 2 }
  }
  chain from_tap {
    iifname "tap9" return comment "torbie DIGEST 0"
    iifname "tapx*" return comment "torbie DIGEST 1"
    meta iifkind { "openvswitch", "bridge" } return comment "torbie DIGEST 2"
    counter drop comment "torbie DIGEST 3"
  }
  chain to_tap {
    oifname "tap9" return comment "torbie DIGEST 0"
    oifname "tapx*" return comment "torbie DIGEST 1"
    meta oifkind { "openvswitch", "bridge" } return comment "torbie DIGEST 2"
    counter drop comment "torbie DIGEST 3"
  }
  chain input {
    type filter hook input priority -300; policy accept;
    meta mark & 0x0000c000 != 0 accept comment "torbie DIGEST 0"
    meta iif @ruled return comment "torbie DIGEST 1"
    iifname "tap*" goto from_tap comment "torbie DIGEST 2"
    iifname "vm-*" goto from_tap comment "torbie DIGEST 3"
  }
  chain output {
    type filter hook output priority 300; policy accept;
    meta oif @claimed return comment "torbie DIGEST 0"
    oifname "tap*" goto to_tap comment "torbie DIGEST 1"
    oifname "vm-*" goto to_tap comment "torbie DIGEST 2"
  }
}
`);
  });

  it("carry the shifted mark as an unsigned number, and another digest", () => {
    const shifted = guardTables({ ...settings, markShift: 16 });
    expect(renderGuard(settings, shifted, NONE)).toContain("meta mark & 0xc0000000 == 0x80000000");
    expect(renderGuard(settings, shifted, NONE)).toContain("meta mark & 0xc0000000 != 0 ");
    expect(guardDigest(shifted)).not.toBe(digest);
  });

  it("claim all taps in one transaction, or none", () => {
    expect(renderClaims(settings, tables, { claimed: [3, 4], ruled: [4], uplinks: [2] })).toBe(
      ["inet", "arp"]
        .map(
          (family) =>
            `flush set ${family} torbie_guard claimed\nadd element ${family} torbie_guard claimed { 3, 4 }\n` +
            `flush set ${family} torbie_guard ruled\nadd element ${family} torbie_guard ruled { 4 }\n` +
            `flush set ${family} torbie_guard uplinks\nadd element ${family} torbie_guard uplinks { 2 }\n` +
            // Refused where the table sleeps.
            (family === "inet" ? "flush set inet torbie_guard awake\n" : ""),
        )
        .join(""),
    );
    expect(renderClaims(settings, tables, NONE)).toBe(
      tables.flatMap(({ family, sets }) => sets.map((set) => `flush set ${family} torbie_guard ${set}\n`)).join(""),
    );
  });

  it("have none for IP where they sleep, and all for ARP", () => {
    const asleep = guardTables(settings, true);
    const text = renderGuard(settings, asleep, { ...NONE, claimed: [3], ruled: [3] });
    expect(text).toContain("set asleep");
    expect(text.match(/type filter hook \S+/g)).toEqual(["type filter hook input", "type filter hook output"]);
    const claims = renderClaims(settings, asleep, NONE);
    expect(claims).toContain("flush set inet torbie_guard asleep\n");
    expect(claims).not.toContain("awake");
    expect(guardDigest(asleep)).not.toBe(digest);
  });

  it("in iptables name no tap that would stand for others", () => {
    const text = renderIptablesGuard(settings, ["tap1", "tap+", "tap 2", "tap\nCOMMIT"], true);
    expect(renderIptablesGuard(settings, ["tap1"], false)).not.toContain("-i tap1 ");
    expect(text.split("\n").filter((line) => line.endsWith("-j RETURN"))).toEqual([
      "-A torbie-guard -i tap9 -j RETURN",
      "-A torbie-guard -i tapx+ -j RETURN",
      "-A torbie-guard -i tap1 -j RETURN",
      "-A torbie-guard -o tap9 -j RETURN",
      "-A torbie-guard -o tapx+ -j RETURN",
      "-A torbie-guard -o tap1 -j RETURN",
    ]);
    expect(text).toContain("-A torbie-guard -i tap+ -m mark --mark 0x0/0xc000 -j DROP");
  });
});

describe("reading the guard back", () => {
  const [inet] = tables;
  if (inet === undefined) throw new Error("no table");
  type Item = Record<string, Record<string, unknown>>;
  const listing = (change: (items: Item[]) => Item[] = (items) => items): string => {
    const items: Item[] = [
      { metainfo: {} },
      { set: { name: "claimed", elem: ["tap1", "77", "bad name"] } },
      { set: { name: "ruled" } },
      { set: { name: "uplinks" } },
      { set: { name: "awake" } },
    ];
    for (const chain of inet.chains) {
      const base = chain.base && { hook: chain.base.hook, prio: chain.base.priority, policy: "accept" };
      items.push({ chain: { name: chain.name, ...base } });
      chain.rules.forEach((rule, index) =>
        items.push({
          rule: {
            chain: chain.name,
            comment: `torbie ${digest} ${index}`,
            expr: [{ match: {} }, { counter: { packets: index } }, verdict(rule)],
          },
        }),
      );
    }
    return JSON.stringify({ nftables: change(items) });
  };
  const verdict = (rule: string): Record<string, unknown> => {
    const [, to] = / goto (\S+)$/.exec(rule) ?? [];
    return to === undefined ? { [rule.split(" ").at(-1) ?? ""]: null } : { goto: { target: to } };
  };
  const edit = (find: (item: Item) => boolean, by: (item: Item) => Item): string =>
    listing((items) => items.map((item) => (find(item) ? by(item) : item)));

  it("knows it as it was written", () => expect(stands(listing(), inet, digest)).toBe(true));
  it("knows one that sleeps, and takes neither for the other", () => {
    const [asleep = inet] = guardTables(settings, true);
    const output = JSON.stringify({ nftables: asleep.sets.map((name) => ({ set: { name } })) });
    expect([sleeps(output), stands(output, asleep, digest)]).toEqual([true, true]);
    expect([stands(output, inet, digest), stands(listing(), asleep, digest)]).toEqual([false, false]);
    expect(sleeps(listing())).toBe(false);
  });
  it.each([
    [
      "a rule is missing",
      listing((items) => items.filter((item) => item["rule"]?.["comment"] !== `torbie ${digest} 4`)),
    ],
    ["there is one more", listing((items) => [...items, { rule: { chain: "prerouting", expr: [{ accept: null }] } }])],
    ["they are in another order", listing((items) => items.slice().reverse())],
    [
      "a verdict is another",
      edit(
        (item) => item["rule"]?.["comment"] === `torbie ${digest} 4`,
        (item) => ({ rule: { ...item["rule"], expr: [{ accept: null }] } }),
      ),
    ],
    [
      "a chain has another priority",
      edit(
        (item) => item["chain"]?.["name"] === "prerouting",
        (item) => ({ chain: { ...item["chain"], prio: 0 } }),
      ),
    ],
    [
      "a jump leads elsewhere",
      edit(
        (item) => item["rule"]?.["chain"] === "postrouting",
        (item) => ({ rule: { ...item["rule"], expr: [{ goto: { target: "onward" } }] } }),
      ),
    ],
    [
      "a chain has another name",
      edit(
        (item) => item["chain"]?.["name"] === "onward",
        () => ({ chain: { name: "elsewhere" } }),
      ),
    ],
    ["a set is missing", listing((items) => items.filter((item) => item["set"]?.["name"] !== "ruled"))],
    ["it is another version's", listing().replaceAll(digest, "0123456789ab")],
    ["it is something else altogether", "[]"],
  ])("sees when %s", (_, output) => expect(stands(output, inet, digest)).toBe(false));

  it("finds claimed taps by name and counts drops by chain", () => {
    expect(guardNames(listing(), "claimed")).toEqual(["tap1"]);
    expect(guardNames(listing(), "ruled")).toEqual([]);
    expect(dropped(listing())).toEqual({
      from_tap: 6,
      onward: 10,
      to_tap: 6,
      prerouting: 10,
      forward: 6,
      postrouting: 3,
    });
  });
});

describe("others' firewalls", () => {
  it("are reported where their forward chain drops by policy, and nothing of iptables' own is", () => {
    const chain = (family: string, table: string, name: string, policy: string, hook = "forward") => ({
      chain: { family, table, name, hook, policy },
    });
    const problems = droppingChains(
      JSON.stringify({
        nftables: [
          chain("ip", "filter", "FORWARD", "drop"),
          chain("ip6", "filter", "FORWARD", "drop"),
          chain("inet", "filter", "forward", "drop"),
          chain("inet", "fw", "f", "accept"),
          chain("inet", "fw", "i", "drop", "input"),
          chain("bridge", "b", "f", "drop"),
        ],
      }),
      4,
    );
    expect(problems.map((problem) => problem.where)).toEqual(["nft chain inet filter forward"]);
    expect(problems[0]?.consequence).toContain("meta mark & 0x80000 == 0x80000 accept");
  });

  it("that refuse our rule are reported with what they said, and the others get it", async () => {
    const calls: string[] = [];
    const run: Runner = (program, args) => {
      calls.push([program, ...args].join(" "));
      const refuses = program === "ip6tables-nft" && args.includes("-I");
      const listing = args.includes("-S") ? "-P FORWARD DROP\n-A FORWARD -j X\n" : "";
      return Promise.resolve({
        status: program.includes("legacy") ? undefined : refuses ? 4 : 0,
        stdout: listing,
        stderr: refuses ? "no\nway" : "",
      });
    };
    const report = await ensureForward(run, 0);
    expect(report.changed).toEqual(["iptables-nft"]);
    expect(report.problems).toMatchObject([
      { where: "ip6tables-nft FORWARD", code: "FORWARD_RULE_REFUSED", what: 'ip6tables-nft: "no\\nway"' },
    ]);
    expect(calls).toContain(
      "iptables-nft -w -I FORWARD 1 -m mark --mark 0x8000/0x8000 -m comment --comment torbie -j ACCEPT",
    );
    expect((await ensureInput(run, 16, ["tap", "vnet"])).problems).toMatchObject([
      { where: "ip6tables-nft INPUT", code: "INPUT_RULE_REFUSED" },
    ]);
    for (const prefix of ["tap", "vnet"])
      expect(calls).toContain(
        `iptables-nft -w -I INPUT 1 -i ${prefix}+ -m mark --mark 0x40000000/0xc0000000 -m comment --comment torbie -j ACCEPT`,
      );
  });
});
