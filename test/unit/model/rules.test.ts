import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parsePrefix } from "../../../src/model/cidr.js";
import type { Rule, RuleSide } from "../../../src/model/types.js";
import { GNP, policy, rule } from "./help.js";

const IN_NS = "projectcalico.org/namespace == 'openstack'";

describe("what a rule says", () => {
  test("all of it at once", () => {
    const { rule: parsed, codes } = rule({
      action: "Allow",
      ipVersion: 4,
      protocol: "TCP",
      notProtocol: 17,
      source: {
        nets: ["10.1.2.3/8", "10.0.0.1"],
        notNets: ["10.9.0.0/16"],
        selector: "has(a)",
        notSelector: "has(b)",
        ports: ["1:2"],
      },
      destination: { ports: [22, "80", "8000:8080"], notPorts: [8001] },
    });
    expect(codes).toEqual([]);
    expect(parsed).toEqual({
      index: "ingress/0",
      action: "allow",
      family: 4,
      protocol: 6,
      notProtocol: 17,
      source: {
        nets: ["10.0.0.0/8", "10.0.0.1/32"],
        notNets: ["10.9.0.0/16"],
        selector: `has(a) && ${IN_NS}`,
        notSelector: "has(b)",
        ports: [{ first: 1, last: 2 }],
        notPorts: [],
      },
      destination: {
        nets: [],
        notNets: [],
        ports: [
          { first: 22, last: 22 },
          { first: 80, last: 80 },
          { first: 8000, last: 8080 },
        ],
        notPorts: [{ first: 8001, last: 8001 }],
      },
    });
  });

  test.each<[unknown, number]>([
    ["tcp", 6],
    ["TCP", 6],
    ["Udp", 17],
    ["ICMP", 1],
    ["ICMPv6", 58],
    ["ipv6-icmp", 58],
    ["SCTP", 132],
    ["UDPLite", 136],
    ["DCCP", 33],
    ["vrrp", 112],
    ["ah", 51],
    ["esp", 50],
    ["gre", 47],
    ["egp", 8],
    ["igmp", 2],
    ["ipip", 4],
    ["ipv6-encap", 41],
    ["ipv6-frag", 44],
    ["ipv6-nonxt", 59],
    ["ipv6-opts", 60],
    ["ipv6-route", 43],
    ["ospf", 89],
    ["pgm", 113],
    ["rsvp", 46],
    ["hopopt", 0],
    ["ip", 0],
    ["l2tp", 115],
    ["pim", 103],
    ["eigrp", 88],
    ["mobility-header", 135],
    ["nsh", 144],
    ["6", 6],
    ["250", 250],
    [0, 0],
    [254, 254],
  ])("protocol %j is %d", (protocol, number) => {
    expect(rule({ action: "Allow", protocol }).rule.protocol).toBe(number);
  });

  test("the namespace rules of selectors", () => {
    const side = (source: object, key?: string): RuleSide => rule({ action: "Allow", source }, key).rule.source;
    expect(side({ selector: "has(a)" }).selector).toBe(`has(a) && ${IN_NS}`);
    expect(side({ notSelector: "has(a)" })).toMatchObject({ selector: IN_NS, notSelector: "has(a)" });
    expect(side({ namespaceSelector: "all()" }).selector).toBe("has(projectcalico.org/namespace)");
    expect(side({ namespaceSelector: "global()", selector: "has(a)" }).selector).toBe(
      "!has(projectcalico.org/namespace) && has(a)",
    );
    expect(side({ namespaceSelector: "tier == 'x'", selector: "has(a)" }).selector).toBe("has(a) && pcns.tier == 'x'");
    expect(side({ nets: ["10.0.0.0/8"] }).selector).toBeUndefined();
    expect(side({ selector: "has(a)" }, GNP).selector).toBe("has(a)");
    expect(side({}).selector).toBeUndefined();
  });

  test("ICMP, its absence, and notICMP", () => {
    expect(rule({ action: "Allow", protocol: "ICMP", icmp: { type: 8, code: 0 } }).rule.icmp).toEqual({
      type: 8,
      code: 0,
    });
    expect(rule({ action: "Allow", protocol: 58, notICMP: { type: 128 } }).rule.notIcmp).toEqual({ type: 128 });
  });
});

/** Each a rule of which something cannot be expressed. */
const BAD: readonly (readonly [string, object, string])[] = [
  ["an unknown protocol", { protocol: "tpc" }, "UNKNOWN_PROTOCOL"],
  ["protocol -1", { protocol: "-1" }, "UNKNOWN_PROTOCOL"],
  ["protocol 255, the kernel maps' word for any", { protocol: 255 }, "UNKNOWN_PROTOCOL"],
  ["protocol 256", { protocol: 256 }, "UNKNOWN_PROTOCOL"],
  ["protocol null", { protocol: null }, "UNKNOWN_PROTOCOL"],
  ["protocol __proto__", { protocol: "__proto__" }, "UNKNOWN_PROTOCOL"],
  ["an unknown notProtocol", { notProtocol: "x" }, "UNKNOWN_PROTOCOL"],
  ["IP version 5", { ipVersion: 5 }, "BAD_IP_VERSION"],
  ["an IP version in quotes", { ipVersion: "4" }, "BAD_IP_VERSION"],
  ["ICMP type as ports (protocol 1)", { protocol: "1", destination: { ports: ["8:0"] } }, "PORTS_WITHOUT_PROTOCOL"],
  [
    "ICMP type as ports (protocol 58)",
    { protocol: "58", destination: { ports: ["128:None"] } },
    "PORTS_WITHOUT_PROTOCOL",
  ],
  ["ports of any protocol", { destination: { ports: [22] } }, "PORTS_WITHOUT_PROTOCOL"],
  ["ports of all but UDP", { notProtocol: "UDP", destination: { notPorts: [22] } }, "PORTS_WITHOUT_PROTOCOL"],
  ["a range upside down", { protocol: 6, destination: { ports: ["90:80"] } }, "BAD_PORT"],
  ["a half range", { protocol: 6, destination: { ports: ["22:None"] } }, "BAD_PORT"],
  ["port 65536", { protocol: 6, destination: { ports: [65536] } }, "BAD_PORT"],
  ["port -1", { protocol: 6, source: { ports: [-1] } }, "BAD_PORT"],
  ["port 1.5", { protocol: 6, source: { ports: [1.5] } }, "BAD_PORT"],
  ["a named port", { protocol: 6, destination: { ports: ["http"] } }, "BAD_PORT"],
  ["no port in the list", { protocol: 6, destination: { ports: [] } }, "BAD_LIST"],
  ["ports that are no list", { protocol: 6, destination: { ports: 22 } }, "BAD_LIST"],
  ["an impossible CIDR", { source: { nets: ["10.0.0.0/33"] } }, "BAD_CIDR"],
  ["a CIDR with a CIDR's tail", { source: { nets: ["10.0.0.0/24/32"] } }, "BAD_CIDR"],
  ["no net in the list", { source: { nets: [] } }, "BAD_LIST"],
  ["nets null", { source: { nets: null } }, "BAD_LIST"],
  ["a bad CIDR not to match", { source: { notNets: ["10.0.0.0/8", "x"] } }, "BAD_CIDR"],
  ["a bad port not to match", { protocol: 6, source: { notPorts: [1, "x"] } }, "BAD_PORT"],
  ["an unreadable selector", { source: { selector: "has(" } }, "BAD_SELECTOR"],
  ["an empty selector", { source: { selector: " " } }, "BAD_SELECTOR"],
  ["global() for endpoints", { source: { selector: "global()" } }, "BAD_SELECTOR"],
  ["an unreadable notSelector", { source: { notSelector: 5 } }, "BAD_SELECTOR"],
  ["an unreadable namespaceSelector", { source: { namespaceSelector: "&&" } }, "BAD_SELECTOR"],
  ["an ICMP type of TCP", { protocol: 6, icmp: { type: 8 } }, "BAD_ICMP"],
  ["an ICMP type of any protocol", { icmp: { type: 8 } }, "BAD_ICMP"],
  ["an ICMP code without type", { protocol: "ICMP", icmp: { code: 0 } }, "BAD_ICMP"],
  ["ICMP type 256", { protocol: "ICMP", icmp: { type: 256 } }, "BAD_ICMP"],
  ["ICMP with an unknown field", { protocol: "ICMP", icmp: { type: 8, kind: 1 } }, "BAD_ICMP"],
  ["not some ICMP nonsense", { protocol: "ICMP", notICMP: {} }, "BAD_ICMP"],
  ["HTTP", { protocol: 6, http: { methods: ["GET"] } }, "NOT_SUPPORTED"],
  ["service accounts", { source: { serviceAccounts: { names: ["x"] } } }, "NOT_SUPPORTED"],
  ["services", { destination: { services: { name: "x" } } }, "NOT_SUPPORTED"],
  ["an unknown match", { remoteAddressGroup: "x" }, "UNKNOWN_MATCH"],
  ["an unknown match of a side", { source: { domains: ["x"] } }, "UNKNOWN_MATCH"],
  ["a source that is text", { source: "10.0.0.0/8" }, "BAD_SIDE"],
  ["a source that is nothing", { source: null }, "BAD_SIDE"],
];

describe.each(BAD)("%s", (_, matches, code) => {
  test("an allow of it allows nothing", () => {
    const found = rule({ action: "Allow", ...matches });
    expect(found.rule.action).toBe("allow");
    expect(found.rule.inexpressible).toBeDefined();
    expect(found.codes).toContain(code);
    expect(found.consequences).toContain("this rule allows nothing");
  });

  test("a deny of it, and a pass of it, denies at least that", () => {
    for (const action of ["Deny", "Pass"]) {
      const found = rule({ action, ipVersion: 4, ...matches });
      expect(found.rule.action).toBe("deny");
      expect(found.codes).toContain(code);
    }
  });

  test("a log of it logs nothing", () => {
    expect(rule({ action: "Log", ...matches }).rule).toMatchObject({
      action: "log",
      inexpressible: expect.any(String) as string,
    });
  });
});

describe("lists with one bad entry", () => {
  test("an allow goes on with the good ones", () => {
    const found = rule({
      action: "Allow",
      protocol: 6,
      source: { nets: ["10.0.0.0/8", "x"] },
      destination: { ports: [22, "http"] },
    });
    expect(found.rule.inexpressible).toBeUndefined();
    expect(found.rule.source.nets).toEqual(["10.0.0.0/8"]);
    expect(found.rule.destination.ports).toEqual([{ first: 22, last: 22 }]);
    expect(found.codes).toEqual(["BAD_CIDR", "BAD_PORT"]);
  });

  test("a deny loses the match", () => {
    const found = rule({
      action: "Deny",
      protocol: 6,
      source: { nets: ["10.0.0.0/8", "x"] },
      destination: { ports: [22, "http"] },
    });
    expect(found.rule).toMatchObject({
      action: "deny",
      protocol: 6,
      source: { nets: [] },
      destination: { ports: [] },
      inexpressible: expect.any(String) as string,
    });
  });

  test("a deny that spares goes on sparing the good ones only", () => {
    expect(rule({ action: "Deny", source: { notNets: ["10.0.0.0/8", "x"] } }).rule.source.notNets).toEqual([
      "10.0.0.0/8",
    ]);
  });

  test("a deny keeps its namespace when its selector is unreadable", () => {
    expect(rule({ action: "Deny", source: { selector: "has(" } }).rule.source.selector).toBe(IN_NS);
  });
});

test.each([undefined, null, "Alow", 5, {}])("a rule whose action is %j may be a Deny, so it is one", (action) => {
  const found = rule({ action, protocol: 6, destination: { ports: [22] } });
  expect(found.rule).toMatchObject({ action: "deny", protocol: 6, destination: { ports: [{ first: 22, last: 22 }] } });
  expect(found.codes).toEqual(["BAD_ACTION"]);
});

test.each([null, "Allow", 5, []])("a rule that is %j denies everything", (raw) => {
  expect(rule(raw).rule).toMatchObject({ action: "deny", source: { nets: [] } });
});

test("a thousand bad rules do not fill the log", () => {
  const { store } = policy({ selector: "all()", ingress: Array(1000).fill({ action: "Allow", protocol: "x" }) });
  expect(store.problems()).toHaveLength(21);
  expect(store.problems().at(-1)).toMatchObject({
    code: "MORE_PROBLEMS",
    what: expect.stringContaining("980") as string,
  });
});

/** How much a rule asks of a packet: what it says, match by match. */
function constraints(parsed: Rule): readonly string[] {
  const side = (name: string, { selector, notSelector, nets, notNets, ports, notPorts }: RuleSide): string[] =>
    Object.entries({ selector, notSelector, nets, notNets, ports, notPorts })
      .filter(([, value]) => value !== undefined && value.length > 0)
      .map(([field]) => `${name}.${field}`);
  const own = (["family", "protocol", "notProtocol", "icmp", "notIcmp"] as const).filter(
    (field) => parsed[field] !== undefined,
  );
  return [...own, ...side("source", parsed.source), ...side("destination", parsed.destination)];
}

describe("never wider", () => {
  const full = {
    action: "Allow",
    ipVersion: 4,
    protocol: 6,
    notProtocol: 17,
    source: {
      nets: ["10.0.0.0/8", "192.0.2.0/24"],
      notNets: ["10.9.0.0/16"],
      selector: "has(a)",
      notSelector: "has(b)",
      ports: ["1:1024"],
      notPorts: [7],
    },
    destination: {
      nets: ["10.0.0.0/8"],
      notNets: ["10.8.0.0/16"],
      selector: "has(c)",
      notSelector: "has(d)",
      ports: [22, "80:90"],
      notPorts: [81],
    },
  };
  const paths = [
    ...["ipVersion", "protocol", "notProtocol", "source", "destination"].map((field) => [field]),
    ...["source", "destination"].flatMap((side) =>
      ["nets", "notNets", "selector", "notSelector", "ports", "notPorts"].map((field) => [side, field]),
    ),
    ["source", "nets", "0"],
    ["source", "nets", "1"],
    ["destination", "ports", "0"],
    ["destination", "ports", "1"],
    ["destination", "notPorts", "0"],
    ["source", "notNets", "0"],
  ];
  const original = rule(full).rule;

  test("mangling any part of an allow leaves every constraint, or an allow of nothing, or a deny", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...paths),
        fc.oneof(fc.anything(), fc.constantFrom(null, [], {}, "", 0, [null], ["x"])),
        (path, garbage) => {
          const mangled = structuredClone(full) as Record<string, unknown>;
          const parent = path
            .slice(0, -1)
            .reduce<Record<string, unknown>>((object, field) => object[field] as Record<string, unknown>, mangled);
          parent[path.at(-1) ?? ""] = garbage;
          // A side that is a good object but says less was written so, not mangled.
          fc.pre(!(path.length === 1 && typeof garbage === "object" && garbage !== null && !Array.isArray(garbage)));
          fc.pre(garbage !== undefined);
          const { rule: parsed } = rule(mangled);
          if (parsed.action !== "allow" || parsed.inexpressible !== undefined) return;
          expect(constraints(parsed)).toEqual(constraints(original));
          for (const net of parsed.source.nets) {
            const written = [
              ...original.source.nets,
              ...[garbage, ...(Array.isArray(garbage) ? garbage : [])].map((one) =>
                typeof one === "string" ? parsePrefix(one) : undefined,
              ),
            ];
            expect(written).toContain(net);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("mangling any part of a deny never adds a constraint", () => {
    const denied = constraints(rule({ ...full, action: "Deny" }).rule);
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.anything(), (path, garbage) => {
        const mangled = { ...structuredClone(full), action: "Deny" } as Record<string, unknown>;
        const parent = path
          .slice(0, -1)
          .reduce<Record<string, unknown>>((object, field) => object[field] as Record<string, unknown>, mangled);
        parent[path.at(-1) ?? ""] = garbage;
        const { rule: parsed } = rule(mangled);
        expect(parsed.action).toBe("deny");
        expect(denied).toEqual(expect.arrayContaining([...constraints(parsed)]));
      }),
      { numRuns: 1000 },
    );
  });
});
