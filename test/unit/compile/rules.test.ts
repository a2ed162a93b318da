import { describe, expect, test } from "vitest";
import { ANY_CLASS } from "../../../src/compile/desired.js";
import { compileRule, type RuleSource } from "../../../src/compile/rules.js";
import type { Rule, RuleSide } from "../../../src/model/types.js";
import { prefix, rule, selector, side } from "./fixtures.js";

const SOURCE: RuleSource = {
  id: "np:x/web",
  name: "web",
  origin: "groups.yaml:3",
  stateless: false,
  ingress: [],
  egress: [],
};
const compiled = (said: Partial<Rule>, direction: "ingress" | "egress" = "ingress") =>
  compileRule(rule(said), direction, SOURCE)?.rule;
const nets = (...list: string[]): RuleSide => side({ nets: list.map(prefix) });

describe("what a rule says of the remote side", () => {
  test("nothing: any address, both families, any protocol", () => {
    expect(compiled({ neutronId: "n1" })).toEqual({
      key: "np:x/web/ingress/0",
      action: "allow",
      stateless: false,
      families: [4, 6],
      remote: ANY_CLASS,
      origin: { policy: "web", neutronId: "n1" },
    });
  });

  test("everything of one family is any, in that family alone", () => {
    expect(compiled({ source: nets("0.0.0.0/0") })).toMatchObject({ remote: ANY_CLASS, families: [4] });
    expect(compiled({ source: nets("::/0") })).toMatchObject({ remote: ANY_CLASS, families: [6] });
    expect(compiled({ source: nets("0.0.0.0/0", "::/0", "10.0.0.0/8") })).toMatchObject({
      remote: ANY_CLASS,
      families: [4, 6],
    });
  });

  test("nets restrict the families, and are one class in whatever order and with whatever within them", () => {
    const one = compiled({ source: nets("10.0.0.0/8", "192.0.2.0/24") });
    expect(one).toMatchObject({ families: [4], remote: "nets 10.0.0.0/8,192.0.2.0/24" });
    expect(compiled({ source: nets("192.0.2.0/24", "10.1.0.0/16", "10.0.0.0/8") })?.remote).toBe(one?.remote);
  });

  test("for an egress rule it is the destination", () => {
    expect(compiled({ source: side(), destination: nets("10.0.0.0/8") }, "egress")?.remote).toBe("nets 10.0.0.0/8");
    expect(compiled({ source: nets("10.0.0.0/8") }, "egress")?.remote).toBe(ANY_CLASS);
  });

  test("a match that no address fulfils leaves the rule out", () => {
    expect(compiled({ family: 6, source: nets("10.0.0.0/8") })).toBeUndefined();
    expect(
      compiled({ source: side({ nets: [prefix("10.1.0.0/16")], notNets: [prefix("10.0.0.0/8")] }) }),
    ).toBeUndefined();
    expect(compiled({ source: side({ notNets: [prefix("0.0.0.0/0"), prefix("::/0")] }) })).toBeUndefined();
    expect(compiled({ source: side({ notNets: [prefix("0.0.0.0/0")] }) })).toMatchObject({
      families: [6],
      remote: ANY_CLASS,
    });
  });

  test("a selector whose text looks like another match is not that match", () => {
    const tricky = selector(`a == 'x" & nets 10.0.0.0/8'`);
    expect(compiled({ source: side({ selector: tricky }) })?.remote).not.toBe(
      compiled({ source: side({ selector: selector("a == 'x'"), nets: [prefix("10.0.0.0/8")] }) })?.remote,
    );
    expect(compiled({ source: side({ selector: selector("has(a)") }) })?.remote).not.toBe(
      compiled({ source: side({ notSelector: selector("has(a)") }) })?.remote,
    );
  });
});

describe("protocols, ports, ICMP", () => {
  const ports = (...list: [number, number][]): RuleSide =>
    side({ ports: list.map(([first, last]) => ({ first, last })) });

  test("destination and source ports mean the packet's in both directions", () => {
    for (const direction of ["ingress", "egress"] as const) {
      expect(
        compiled({ protocol: 6, destination: ports([80, 80]), source: ports([1024, 65535]) }, direction),
      ).toMatchObject({
        protocols: [6],
        ports: [{ first: 80, last: 80 }],
        sourcePorts: [{ first: 1024, last: 65535 }],
      });
    }
  });

  test("ranges are joined, all ports are no match, notPorts is the rest", () => {
    expect(compiled({ protocol: 17, destination: ports([5, 9], [1, 4]) })?.ports).toEqual([{ first: 1, last: 9 }]);
    expect(compiled({ protocol: 17, destination: ports([0, 65535]) })).not.toHaveProperty("ports");
    expect(compiled({ protocol: 17, destination: side({ notPorts: [{ first: 1, last: 65535 }] }) })?.ports).toEqual([
      { first: 0, last: 0 },
    ]);
    expect(
      compiled({
        protocol: 17,
        destination: side({ ports: [{ first: 1, last: 9 }], notPorts: [{ first: 0, last: 10 }] }),
      }),
    ).toBeUndefined();
  });

  test("ports without a protocol speak of the protocols that have ports", () => {
    expect(compiled({ destination: ports([53, 53]) })?.protocols).toEqual([6, 17, 33, 132, 136]);
    expect(compiled({ notProtocol: 17, destination: ports([53, 53]) })?.protocols).toEqual([6, 33, 132, 136]);
  });

  test("ports of a protocol without ports: an allow matches nothing, a deny every port", () => {
    expect(compiled({ protocol: 47, destination: ports([1, 1]) })).toBeUndefined();
    const deny = compiled({ action: "deny", protocol: 47, destination: ports([1, 1]) });
    expect(deny).toMatchObject({ protocols: [47] });
    expect(deny).not.toHaveProperty("ports");
  });

  test("notProtocol is the other 255", () => {
    const protocols = compiled({ notProtocol: 6 })?.protocols;
    expect(protocols).toHaveLength(255);
    expect(protocols).not.toContain(6);
    expect(compiled({ protocol: 6, notProtocol: 6 })).toBeUndefined();
  });

  test("ICMP: a type, a type with its code, and all but those", () => {
    expect(compiled({ protocol: 1, icmp: { type: 8 } })?.ports).toEqual([{ first: 0x800, last: 0x8ff }]);
    expect(compiled({ protocol: 58, icmp: { type: 128, code: 0 } })?.ports).toEqual([{ first: 0x8000, last: 0x8000 }]);
    expect(compiled({ protocol: 1, notIcmp: { type: 0 } })?.ports).toEqual([{ first: 0x100, last: 0xffff }]);
    expect(compiled({ icmp: { type: 8 }, family: 6 })?.protocols).toEqual([58]);
  });
});

describe("rules that cannot be expressed", () => {
  test("allow, pass and log match nothing; a deny stays as the parser widened it", () => {
    for (const action of ["allow", "pass", "log"] as const)
      expect(compiled({ action, inexpressible: "services" })).toBeUndefined();
    expect(compiled({ action: "deny", inexpressible: "services" })).toMatchObject({
      action: "deny",
      remote: ANY_CLASS,
    });
  });
});
