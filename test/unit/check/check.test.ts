import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lasting, verdictOf, type Difference } from "../../../src/check/difference.js";
import { nameLinkDifferences } from "../../../src/check/name-links.js";
import { comparePrintouts } from "../../../src/check/rules.js";
import { behind, desiredLines, readDesired } from "../../../src/compile/desired-text.js";
import type { LinksDue } from "../../../src/links/links.js";
import type { Route, TapRoute } from "../../../src/links/types.js";
import type { Address, Mac, Prefix } from "../../../src/model/types.js";
import { parseSave, parseSets } from "../../../src/dataplane/iptables/read-back.js";
import { endpoint, stateOf } from "../../support/desired.js";
import { desiredStates } from "../dataplane/bpf/arbitrary.js";

describe("a desired state as text", () => {
  it("comes back the same, and lists that were shared are shared", () => {
    fc.assert(
      fc.property(desiredStates(false), (desired) => {
        const back = readDesired([...desiredLines(desired)].flatMap((line) => line.split("\n")));
        expect(behind(back, desired)).toEqual([]);
        const texts = new Map([...back.addresses.values()].map((list) => [JSON.stringify(list), list]));
        for (const list of back.addresses.values()) expect(texts.get(JSON.stringify(list))).toBe(list);
      }),
      { numRuns: 50 },
    );
  });

  it("what was cut short, or is of another version, is refused", () => {
    const lines = [...desiredLines(stateOf({}))];
    expect(() => readDesired(lines.slice(0, -1))).toThrow(/cut short/);
    expect(() => readDesired(['{"field":"tomorrow"}', ...lines])).toThrow(/does not know/);
  });

  it("what an agent has not taken up is named; labels and where something was read are not", () => {
    const [a, b] = [
      endpoint("a", { owned: ["10.0.0.1/32"], set: "s" }),
      endpoint("b", { owned: ["10.0.0.2/32"], set: "s" }),
    ];
    const read = {
      ...a,
      workload: { ...a.workload, origin: "etcd revision 7", labels: { id: 99, labels: new Map() } },
    };
    const agent = stateOf({ endpoints: [a, b] });
    expect(behind(agent, stateOf({ endpoints: [read, b] }))).toEqual([]);
    expect(behind(agent, stateOf({ endpoints: [{ ...a, adminUp: false }] }))).toEqual([
      { kind: "endpoint", id: "a", what: "otherwise in the datastore" },
      { kind: "endpoint", id: "b", what: "gone from the datastore" },
    ]);
    expect(behind(stateOf({}), stateOf({ endpoints: [a] }))).toEqual([
      { kind: "endpoint", id: "a", what: "not known to the agent" },
    ]);
  });
});

describe("differences", () => {
  const one = (key: string, is: string | null = null): Difference => ({
    kind: "map",
    where: "local",
    key,
    is,
    wanted: "x",
  });
  it("only what is there twice counts, as it is the second time", () => {
    expect(lasting([one("a"), one("b")], [one("b", "y"), one("c")])).toEqual([one("b", "y")]);
  });
  it("have a verdict", () => {
    expect([one("a"), one("a", "y"), { ...one("a", "y"), wanted: null }].map(verdictOf)).toEqual([
      "missing",
      "different",
      "extra",
    ]);
  });
});

describe("rules", () => {
  const printout = (save: string, sets = "", links: Record<string, string[]> = {}) => ({
    tables: new Map([["iptables filter", parseSave(save)]]),
    sets: parseSets(sets),
    links: new Map(Object.entries(links)),
  });
  const SAVE = [
    ":FORWARD ACCEPT [0:0]",
    ":TRB-a - [0:0]",
    "-A FORWARD -j TRB-a",
    "-A FORWARD -j OTHERS",
    "-A TRB-a -s 10.0.0.1 -j RETURN",
    "-A TRB-a -j DROP",
  ].join("\n");
  const chains = (save: string): Difference[] => comparePrintouts(printout(save), printout(SAVE));

  it("the same is the same, whatever others have behind ours", () => {
    expect(chains(SAVE)).toEqual([]);
    expect(chains(SAVE.replace("-A FORWARD -j OTHERS", "-A FORWARD -j MORE\n-A FORWARD -j DROP"))).toEqual([]);
  });
  it("a rule more or less is one difference at its place", () => {
    expect(chains(SAVE.replace("-A TRB-a -s", "-A TRB-a -j ACCEPT\n-A TRB-a -s"))).toEqual([
      { kind: "chain", where: "iptables filter TRB-a", key: "rule 1", is: "-j ACCEPT", wanted: null },
    ]);
    expect(chains(SAVE.replace("\n-A TRB-a -j DROP", ""))).toEqual([
      { kind: "chain", where: "iptables filter TRB-a", key: "rule 2", is: null, wanted: "-j DROP" },
    ]);
    expect(chains(SAVE.replace("10.0.0.1", "10.0.0.9"))).toMatchObject([
      { key: "rule 1", is: "-s 10.0.0.9 -j RETURN" },
    ]);
  });
  it("somebody's rule before ours, and ours gone from the kernel's chain", () => {
    expect(chains(SAVE.replace("-A FORWARD -j TRB-a", "-A FORWARD -j ACCEPT\n-A FORWARD -j TRB-a"))).toEqual([
      { kind: "chain", where: "iptables filter FORWARD", key: "rule 1", is: "-j ACCEPT", wanted: null },
    ]);
    expect(chains(SAVE.replace("-A FORWARD -j TRB-a\n", ""))).toMatchObject([
      { where: "iptables filter FORWARD", key: "rule 1", is: "-j OTHERS", wanted: "-j TRB-a" },
    ]);
  });
  it("a chain that is gone, one of nobody, members, types, taps", () => {
    const gone = SAVE.split("\n").filter((line) => !/TRB-a (-|\[|-s)/.test(line));
    expect(chains([...gone, ":TRB-old - [0:0]"].join("\n"))).toEqual(
      expect.arrayContaining([
        { kind: "chain", where: "iptables filter TRB-a", key: "", is: null, wanted: "2 rules" },
        { kind: "chain", where: "iptables filter TRB-old", key: "", is: "0 rules", wanted: null },
      ]),
    );
    const set = (...members: string[]): string =>
      ["create trb4-c-x hash:ip family inet", ...members.map((one) => `add trb4-c-x ${one}`)].join("\n");
    expect(
      comparePrintouts(
        printout(SAVE, set("10.0.0.1", "10.0.0.3"), { t_tap1: ["drop"] }),
        printout(SAVE, set("10.0.0.1", "10.0.0.2"), { t_tap1: ["accept"], t_tap2: ["drop"] }),
      ),
    ).toEqual([
      { kind: "set", where: "trb4-c-x", key: "10.0.0.2", is: null, wanted: "a member" },
      { kind: "set", where: "trb4-c-x", key: "10.0.0.3", is: "a member", wanted: null },
      { kind: "tap rules", where: "nft netdev torbie_link t_tap1", key: "rule 1", is: "drop", wanted: "accept" },
      { kind: "tap rules", where: "nft netdev torbie_link t_tap2", key: "", is: null, wanted: "1 rule" },
    ]);
  });
});

describe("routes, neighbours, settings", () => {
  it("are named with what holds their place", () => {
    const route = (prefix: string, ifindex: number): TapRoute => ({
      family: 4,
      prefix: prefix as Prefix,
      metric: 1024,
      ifindex,
    });
    const due: LinksDue = {
      plan: { routes: new Map(), neighbours: new Map(), problems: [] },
      routes: {
        add: [route("10.0.0.1/32", 1), route("10.0.0.2/32", 2)],
        replace: [route("10.0.0.3/32", 1)],
        remove: [route("10.0.0.4/32", 2)],
      },
      neighbours: {
        set: [{ family: 4, address: "10.0.0.1" as Address, ifindex: 1, mac: "02:00:00:00:00:01" as Mac }],
        remove: [],
      },
      held: { routes: new Map([["x", route("10.0.0.3/32", 2)]]), neighbours: new Map() },
      sysctls: [{ setting: "net/ipv4/ip_forward", from: "0", to: "1" }],
    };
    const other: Route = {
      family: 4,
      table: 254,
      protocol: 80,
      prefix: "10.0.0.2/32" as Prefix,
      metric: 1024,
      tos: 0,
      links: [3],
      gateways: [],
    };
    expect(
      nameLinkDifferences(due, (ifindex) => `tap${ifindex}`, [other]).map(({ where, is, wanted }) => [
        where,
        is,
        wanted,
      ]),
    ).toEqual([
      ["10.0.0.1/32 metric 1024", null, "by tap1"],
      ["10.0.0.2/32 metric 1024", "somebody else's (protocol 80), by tap3", "by tap2"],
      ["10.0.0.3/32 metric 1024", "by tap2", "by tap1"],
      ["10.0.0.4/32 metric 1024", "by tap2", null],
      ["10.0.0.1 on tap1", null, "02:00:00:00:00:01"],
      ["net.ipv4.ip_forward", "0", "1"],
    ]);
  });
});
