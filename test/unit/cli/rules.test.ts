import { describe, expect, it } from "vitest";
import type { RulesView } from "../../../src/cli/context.js";
import { ownerOf } from "../../../src/cli/owner.js";
import type { PinnedFlow } from "../../../src/dataplane/bpf/read-flows.js";
import { flowOfConnection } from "../../../src/dataplane/conntrack/as-flow.js";
import type { ConntrackEntry } from "../../../src/dataplane/conntrack/entry.js";
import { policyChain, classSet } from "../../../src/dataplane/iptables/names.js";
import { parseRuleCounts, parseSetInfos, policyKeys } from "../../../src/dataplane/iptables/read-state.js";
import type { Address, Prefix } from "../../../src/model/types.js";
import { cli, ENDPOINTS, HOSTILE } from "./fake.js";

const ENTRY: ConntrackEntry = {
  family: 4,
  protocol: 6,
  original: {
    source: "10.65.0.1" as Address,
    destination: "10.65.0.2" as Address,
    sourcePort: 4242,
    destinationPort: 80,
  },
  reply: {
    source: "10.65.0.2" as Address,
    destination: "10.65.0.1" as Address,
    sourcePort: 80,
    destinationPort: 4242,
  },
  status: 2 | 4 | 8,
  timeout: 431_000,
  mark: 0,
  zone: 0,
  id: 77,
  tcp: { state: 3, flags: [0, 0], windowScale: [0, 0] },
  counts: [
    { packets: 7n, bytes: 700n },
    { packets: 5n, bytes: 9007199254740993n },
  ],
};
const owner = ownerOf(ENDPOINTS);
const ends = {
  owner,
  name: (number: number) => `tap${number}`,
  isHost: (address: Address) => address === "10.65.0.254",
  stateless: 0xc000,
};

describe("a connection as a flow", () => {
  it("has its ends, counts, state and what is left", () => {
    expect(flowOfConnection(ENTRY, ends)).toMatchObject({
      protocol: 6,
      from: { address: "10.65.0.1", port: 4242, endpoint: 1, name: "tap1", packets: 7n },
      to: { address: "10.65.0.2", port: 80, endpoint: 2, name: "tap2", bytes: 9007199254740993n },
      state: "established",
      idle: null,
      left: 431_000,
      host: false,
      halfOpen: false,
      stateless: false,
    });
  });
  it("of nobody here it is none; one with the host says so; unanswered from outside it is half open", () => {
    const of = (source: string, destination: string, more: Partial<ConntrackEntry> = {}): PinnedFlow | undefined =>
      flowOfConnection(
        {
          ...ENTRY,
          ...more,
          original: { ...ENTRY.original, source: source as Address, destination: destination as Address },
        },
        ends,
      );
    expect(of("192.0.2.1", "192.0.2.2")).toBeUndefined();
    expect(of("10.65.0.254", "10.65.0.1")).toMatchObject({ host: true, from: { name: null } });
    expect(of("192.0.2.1", "10.65.0.1", { status: 8, mark: 0x4000 })).toMatchObject({
      halfOpen: true,
      stateless: true,
    });
  });
  it("an address within a prefix is its port's, a single one first", () => {
    const one = (number: number, ...prefixes: string[]) => ({
      number,
      sources: prefixes.map((prefix) => ({ prefix: prefix as Prefix })),
    });
    const find = ownerOf([one(3, "10.0.0.0/24"), one(5, "10.0.0.9/32", "fd00::/64"), one(4, "10.0.0.9/32")]);
    expect(["10.0.0.9", "10.0.0.8", "fd00::7", "10.1.0.1"].map((address) => find(address as Address))).toEqual([
      4, 3, 5, 0,
    ]);
  });
});

describe("what iptables and ipset print", () => {
  const set = JSON.stringify([[["default", "deny", "np:openstack/web~01"]], [["profiles", "deny", "profile:x"]]]);
  const policies = [{ set: 1, name: set, ingress: [], egress: [] }];
  it("chains are the policies that the sets are made of", () => {
    const keys = policyKeys({ policies });
    expect([...keys]).toEqual(["np:openstack/web~01", "profile:x"]);
    const chain = policyChain("np:openstack/web~01", "ingress");
    const text = `*filter\n[12:700] -A ${chain} -p tcp -j ACCEPT\n[3:4] -A TRB-Pe-unknown -j DROP\n[9:9] -A OTHER -j X\n`;
    expect(parseRuleCounts(text, 4, keys)).toMatchObject([
      { packets: 12n, bytes: 700n, policy: "np:openstack/web~01", direction: "ingress", rule: "-p tcp -j ACCEPT" },
      { packets: 3n, chain: "TRB-Pe-unknown", policy: undefined },
    ]);
    expect(policyKeys({ policies: [{ ...policies[0], name: "not ours" } as never] }).size).toBe(0);
  });
  it("sets with their size, and what they are", () => {
    const name = classSet("all()", 4);
    const text = [
      `Name: ${name}\nType: hash:net\nRevision: 7\nHeader: family inet hashsize 1024 maxelem 1048576 bucketsize 12\nSize in memory: 568\nReferences: 2\nNumber of entries: 3\n`,
      "Name: trb6-r-0\nType: bitmap:port\nHeader: range 0-65535\nSize in memory: 8264\nReferences: 0\nNumber of entries: 9\n",
      "Name: others\nType: hash:ip\n",
    ].join("\n");
    expect(parseSetInfos(text, new Map([[name, "all()"]]))).toEqual([
      {
        set: name,
        type: "hash:net",
        family: 4,
        entries: 3,
        maxEntries: 1_048_576,
        memory: 568,
        references: 2,
        of: "all()",
      },
      expect.objectContaining({ set: "trb6-r-0", family: 6, maxEntries: 65_536, of: expect.stringContaining("ports") }),
    ]);
  });
});

describe("where iptables enforces", () => {
  const rules = (more: Partial<RulesView> = {}) => ({
    openRules: () =>
      Promise.resolve<RulesView>({
        endpoints: () => [...ENDPOINTS],
        drops: () => [{ endpoint: 1, reason: "POLICY_INGRESS", sentence: "no rule allows it", packets: 7n }],
        dropCounts: () => Promise.resolve([]),
        standing: () => Promise.reject(new Error("there is no kernel")),
        policy: () => undefined,
        name: () => undefined,
        room: () => ({ used: 4, limit: 100 }),
        connections: (name) => {
          const flow = flowOfConnection(ENTRY, { ...ends, name });
          return Promise.resolve(flow === undefined ? [] : [flow]);
        },
        forget: (keys) => Promise.resolve(keys.length),
        ruleCounts: () =>
          Promise.resolve([
            {
              packets: 5n,
              bytes: 1n,
              family: 4,
              chain: "TRB-Pi-x",
              policy: "np:openstack/web",
              direction: "ingress",
              rule: `-p tcp ${HOSTILE}`,
            },
          ]),
        sets: () =>
          Promise.resolve([
            {
              set: "trb4-c-1",
              type: "hash:net",
              family: 4,
              entries: 2,
              maxEntries: 8,
              memory: 100,
              references: 1,
              of: "all()",
            },
          ]),
        members: () => Promise.resolve(["10.0.0.2", "10.0.0.1"]),
        close: () => undefined,
        ...more,
      }),
  });

  it("flow list, show and flush are of the kernel's connections, filters and all", async () => {
    const listed = await cli(["flow", "list", "--port", "web1", "--protocol", "tcp", "--json"], rules());
    expect(listed.exit).toBe(0);
    expect(JSON.parse(listed.out)).toMatchObject({ protocol: "tcp", state: "established", idle: null });
    expect((await cli(["flow", "list", "--state", "closed", "--json"], rules())).out).toBe("");
    expect((await cli(["flow", "show"], rules())).out).toMatch(/4 of 100 entries.*\n.*no port has a share/);
    expect((await cli(["flow", "flush", "--port", "web1"], rules())).out).toBe("1 flow forgotten\n");
    expect((await cli(["flow", "flush", "--address", "192.0.2.1"], rules())).out).toBe("0 flows forgotten\n");
    expect(await cli(["flow", "flush"], rules())).toMatchObject({ exit: 6 });
  });
  it("counter list names the policy of a chain", async () => {
    const { out } = await cli(["counter", "list"], rules());
    expect(out).toMatch(/^7 +tap1a2b3c4d-01 +POLICY_INGRESS/m);
    expect(out).toMatch(/^5 +np:openstack\/web ingress IPv4: -p tcp evil\\n/m);
  });
  it("route list knows what the rules know", async () => {
    const { out } = await cli(["route", "list", "--json"], rules());
    const { routes } = JSON.parse(out) as { routes: object[] };
    expect(routes).toContainEqual({
      prefix: "10.65.0.1/32",
      interfaces: [],
      metric: null,
      port: "tap1a2b3c4d-01",
      shared: false,
      known: "rules only",
    });
    expect(routes).toContainEqual(expect.objectContaining({ prefix: "fd00::/64", shared: true }));
  });
  it("map is of sets; one that is not there is said with what is", async () => {
    expect((await cli(["map", "list"], rules())).out).toMatch(/^trb4-c-1 +hash:net +v4 +2 +8 +25\.0% .*all\(\)$/m);
    expect((await cli(["map", "show", "trb4-c-1"], rules())).out).toMatch(/2 of 8 entries/);
    expect((await cli(["map", "dump", "trb4-c-1"], rules())).out).toBe("10.0.0.1\n10.0.0.2\n");
    expect(await cli(["map", "dump", "trb4-c-1", "--limit", "1", "--json"], rules())).toMatchObject({
      out: '{"member":"10.0.0.1"}\n',
      err: "1 more entries (--limit)\n",
    });
    expect(await cli(["map", "dump", "policy"], rules())).toMatchObject({
      exit: 3,
      err: expect.stringContaining("enforces with iptables, which has sets") as string,
    });
  });
});
