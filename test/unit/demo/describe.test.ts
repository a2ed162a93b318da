import { describe, expect, it } from "vitest";
import { describePolicy } from "../../../src/demo/describe.js";
import type { Policy, PolicyId, Prefix, Rule, RuleSide } from "../../../src/model/types.js";

const anyone: RuleSide = { nets: [], notNets: [], ports: [], notPorts: [] };
const from = (group: string): RuleSide => ({
  ...anyone,
  selector: `(group == "${group}" && projectcalico.org/namespace == "openstack")`,
});
const to = (port: number): RuleSide => ({ ...anyone, ports: [{ first: port, last: port }] });
const allow = (rule: Partial<Rule>): Rule => ({
  index: "ingress/0",
  action: "allow",
  source: anyone,
  destination: anyone,
  ...rule,
});

function policy(...ingress: Rule[]): Policy {
  return {
    id: "np:openstack/db" as PolicyId,
    key: "",
    origin: "",
    name: "db",
    tier: "default",
    order: Infinity,
    selector: "all()",
    ingressApplies: true,
    egressApplies: true,
    ingress,
    egress: [],
    stateful: true,
  };
}

describe("a group in an operator's words", () => {
  it("says ports, ping and from whom", () => {
    const web = policy(
      allow({ protocol: 6, destination: to(80) }),
      allow({ protocol: 1, icmp: { type: 8 } }),
      allow({ protocol: 58, icmp: { type: 128 } }),
    );
    expect(describePolicy(web)).toBe("tcp/80 and ping from anyone");
    expect(describePolicy(policy(allow({ protocol: 6, source: from("web"), destination: to(5432) })))).toBe(
      "tcp/5432 from group web, nothing else",
    );
  });

  it("says prefixes and exceptions", () => {
    const net = (text: string) => text as Prefix;
    const rule = allow({
      protocol: 17,
      source: { ...anyone, nets: [net("10.0.0.0/8")], notNets: [net("10.1.0.0/16")] },
    });
    expect(describePolicy(policy(rule))).toBe("udp from 10.0.0.0/8 but 10.1.0.0/16, nothing else");
  });

  it("does not count rules that allow nothing", () => {
    expect(describePolicy(policy())).toBe("nothing");
    expect(describePolicy(policy(allow({ inexpressible: "unknown kind" }), allow({ action: "deny" })))).toBe("nothing");
  });
});
