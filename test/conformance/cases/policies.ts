/** D2: operator policies beside groups: order, deny, pass, log, tiers, profiles; negations; sets; rules that can't be expressed. */
import {
  globalPolicy,
  globalResource,
  group,
  inGroup,
  type Resource,
  type RuleObject,
} from "../../support/resources.js";
import {
  ack,
  arrives,
  change,
  deliver,
  drop,
  each,
  echo,
  forward,
  incoming,
  out,
  sends,
  syn,
  type Case,
} from "../case.js";
import { BASE, both, changed, ELSE_OUTSIDE, OUTSIDE, respec, ip, type ConformanceWorld } from "../world.js";

const tier = (name: string, order: number): Resource => globalResource("tiers", "Tier", name, { order });
const policy = (name: string, spec: RuleObject): Resource => globalPolicy(name, { selector: inGroup("web"), ...spec });
const rule = (action: string, more: RuleObject = {}): RuleObject => ({ action, ...more });
const tcpTo = (port: number): RuleObject => ({ protocol: "TCP", destination: { ports: [port] } });
const within = (...resources: Resource[]): { world: ConformanceWorld } => ({ world: changed(BASE, resources) });
const nets = { out4: "198.51.100.0/24", out6: "2001:db8:ffff::/48" };

export const POLICIES: readonly Case[] = [
  ...each(
    "D2",
    "a deny with an order comes before groups, which have none",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), drop("DENIED_INGRESS", "web1")),
      arrives(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 80)), forward),
    ],
    within(
      policy("ban", {
        order: 10,
        types: ["Ingress"],
        ingress: [rule("Deny", { source: { nets: [nets.out4, nets.out6] } })],
      }),
    ),
  ),
  ...each(
    "D2",
    "egress denied",
    (f) => [
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 25)), drop("DENIED_EGRESS", "web1")),
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 26)), forward),
      sends("db1", out("db1", f, OUTSIDE[f]).udp({ sport: 40000, dport: 53 }), forward),
    ],
    within(policy("no-mail", { order: 10, types: ["Egress"], egress: [rule("Deny", tcpTo(25))] })),
  ),
  ...each(
    "D2",
    "the lower order decides, then the name",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7001)), deliver("web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7002)), drop("DENIED_INGRESS", "web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7003)), deliver("web1")),
    ],
    within(
      policy("b-allow", { order: 5, types: ["Ingress"], ingress: [rule("Allow", tcpTo(7001))] }),
      policy("a-deny", {
        order: 6,
        types: ["Ingress"],
        ingress: [rule("Deny", tcpTo(7001)), rule("Deny", tcpTo(7002))],
      }),
      policy("z-late", { order: 7, types: ["Ingress"], ingress: [rule("Allow", tcpTo(7002))] }),
      policy("m-one", { order: 8, types: ["Ingress"], ingress: [rule("Allow", tcpTo(7003))] }),
      policy("m-two", { order: 8, types: ["Ingress"], ingress: [rule("Deny", tcpTo(7003))] }),
    ),
  ),
  ...each(
    "D2",
    "within a policy the first rule decides",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7001)), deliver("web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7002)), drop("DENIED_INGRESS", "web1")),
    ],
    within(
      policy("order", {
        order: 5,
        types: ["Ingress"],
        ingress: [
          rule("Log"),
          rule("Allow", tcpTo(7001)),
          rule("Deny", { protocol: "TCP", destination: { ports: ["7000:7010"] } }),
          rule("Allow", tcpTo(7002)),
        ],
      }),
    ),
  ),
  ...each(
    "D2",
    "a tier ends in deny where one of its policies applies; pass goes to the next",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 81)), drop("POLICY_INGRESS", "web1")),
      arrives(echo(incoming(f, OUTSIDE[f], ip("web1", f)), f, "request"), drop("POLICY_INGRESS", "web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7001)), drop("DENIED_INGRESS", "web1")),
      sends("web1", out("web1", f, ip("db1", f)).tcp(syn(40000, 5432)), deliver("db1")),
    ],
    within(
      tier("security", 100),
      globalPolicy("security.web", {
        tier: "security",
        order: 1,
        selector: inGroup("web"),
        types: ["Ingress"],
        ingress: [rule("Pass", tcpTo(80)), rule("Pass", tcpTo(81)), rule("Deny", tcpTo(7001))],
      }),
    ),
  ),
  ...each(
    "D2",
    "an earlier tier may allow what groups do not",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7001)), deliver("web1")),
      arrives(incoming(f, OUTSIDE[f], ip("db1", f)).tcp(syn(40000, 7001)), drop("POLICY_INGRESS", "db1")),
    ],
    within(
      tier("platform", 50),
      globalPolicy("platform.web", {
        tier: "platform",
        selector: inGroup("web"),
        types: ["Ingress"],
        ingress: [rule("Allow", tcpTo(7001)), rule("Pass")],
      }),
    ),
  ),
  ...each(
    "D2",
    "a policy for one direction leaves the other alone",
    (f) => [
      sends("bare1", out("bare1", f, OUTSIDE[f]).tcp(syn(40000, 443)), forward),
      arrives(incoming(f, OUTSIDE[f], ip("bare1", f)).tcp(syn(40000, 443)), drop("POLICY_INGRESS", "bare1")),
    ],
    within(globalPolicy("let-out", { selector: "!has(nothing)", types: ["Egress"], egress: [rule("Allow")] })),
  ),
  ...each(
    "D2",
    "profiles decide where no policy applies",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("bare1", f)).tcp(syn(40000, 7001)), deliver("bare1")),
      arrives(incoming(f, OUTSIDE[f], ip("bare1", f)).tcp(syn(40000, 7002)), drop("POLICY_INGRESS", "bare1")),
      sends("bare1", out("bare1", f, OUTSIDE[f]).tcp(syn(40000, 443)), forward),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7001)), drop("POLICY_INGRESS", "web1")),
    ],
    within(
      globalResource("profiles", "Profile", "kind", { ingress: [rule("Allow", tcpTo(7001))], egress: [rule("Allow")] }),
      respec("bare1", { profiles: ["kind"] }),
      respec("web1", { groups: ["web"], profiles: ["kind"] }),
    ),
  ),
  ...each(
    "D2",
    "negated nets, ports, protocols and selectors",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7001)), drop("POLICY_INGRESS", "web1")),
      arrives(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7001)), deliver("web1")),
      arrives(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7100)), drop("POLICY_INGRESS", "web1")),
      arrives(incoming(f, ip("far1", f), ip("web1", f)).udp({ sport: 1, dport: 7200 }), drop("POLICY_INGRESS", "web1")),
      arrives(incoming(f, ip("fardb", f), ip("web1", f)).udp({ sport: 1, dport: 7200 }), deliver("web1")),
      arrives(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)).udp({ sport: 1, dport: 7200 }), deliver("web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).payload(8, 89), deliver("web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).payload(8, 88), drop("POLICY_INGRESS", "web1")),
    ],
    within(
      policy("not", {
        order: 5,
        types: ["Ingress"],
        ingress: [
          rule("Allow", {
            protocol: "TCP",
            source: { notNets: [nets.out4, nets.out6] },
            destination: { ports: ["7000:7200"], notPorts: ["7100:7110"] },
          }),
          rule("Allow", { protocol: "UDP", source: { notSelector: inGroup("web") }, destination: { ports: [7200] } }),
          rule("Allow", {
            notProtocol: 88,
            source: { nets: [nets.out4, nets.out6] },
            destination: { nets: ["10.65.0.11/32", "2001:db8:65::11/128"] },
          }),
        ].map((one, i) => (i === 2 ? { ...one, protocol: 89 } : one)),
      }),
    ),
  ),
  ...each(
    "D2",
    "source ports and the local side's own addresses",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).udp({ sport: 123, dport: 7001 }), deliver("web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).udp({ sport: 124, dport: 7001 }), drop("POLICY_INGRESS", "web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web2", f)).udp({ sport: 123, dport: 7001 }), drop("POLICY_INGRESS", "web2")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7002)), drop("POLICY_INGRESS", "web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web2", f)).tcp(syn(40000, 7002)), deliver("web2")),
    ],
    within(
      policy("local", {
        order: 5,
        types: ["Ingress"],
        ingress: [
          rule("Allow", {
            protocol: "UDP",
            source: { ports: [123] },
            destination: { ports: [7001], nets: ["10.65.0.0/24", "2001:db8:65::/64"] },
          }),
          rule("Allow", {
            protocol: "TCP",
            destination: { ports: [7002], notNets: ["10.65.0.0/24", "2001:db8:65::/64"] },
          }),
        ],
      }),
    ),
  ),
  ...each(
    "D2",
    "network sets, nested and overlapping prefixes",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7001)), deliver("web1")),
      arrives(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7001)), drop("POLICY_INGRESS", "web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7002)), deliver("web1")),
      arrives(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7002)), deliver("web1")),
      arrives(incoming(f, ip("far1", f), ip("web1", f)).tcp(syn(40000, 7002)), drop("POLICY_INGRESS", "web1")),
      arrives(incoming(f, ip("far1", f), ip("web1", f)).tcp(syn(40000, 7003)), deliver("web1")),
    ],
    within(
      globalResource(
        "globalnetworksets",
        "GlobalNetworkSet",
        "partners",
        { nets: [nets.out4, nets.out6] },
        { kind: "partner" },
      ),
      globalResource(
        "globalnetworksets",
        "GlobalNetworkSet",
        "wide",
        { nets: ["192.0.0.0/4", "2001:db8:e000::/35"] },
        { kind: "wide" },
      ),
      policy("sets", {
        order: 5,
        types: ["Ingress"],
        ingress: [
          rule("Allow", { ...tcpTo(7001), source: { selector: "kind == 'partner'" } }),
          rule("Allow", { ...tcpTo(7002), source: { selector: "has(kind)" } }),
          rule("Allow", { ...tcpTo(7003), source: { selector: `has(kind) || ${inGroup("web")}` } }),
        ],
      }),
    ),
  ),
  ...each(
    "D2",
    "ICMP types and codes",
    (f) => {
      const typed = (type: number, code: number): ReturnType<typeof out> => {
        const frame = incoming(f, OUTSIDE[f], ip("db1", f));
        return (f === 4 ? frame.icmp({ type, code }) : frame.icmp6({ type, code })).payload(8);
      };
      return [
        arrives(typed(200, 3), deliver("db1")),
        arrives(typed(200, 4), drop("POLICY_INGRESS", "db1")),
        arrives(typed(201, 9), deliver("db1")),
        arrives(typed(202, 0), drop("POLICY_INGRESS", "db1")),
      ];
    },
    within(
      group("db", {
        ingress: both((f) => ({ protocol: f === 4 ? "ICMP" : "ICMPv6", icmp: { type: 200, code: 3 } })).concat(
          both((f) => ({ protocol: f === 4 ? "ICMP" : "ICMPv6", icmp: { type: 201 } })),
        ),
      }),
    ),
  ),
  ...each(
    "D5",
    "an allow rule that can't be expressed allows nothing, a deny denies all that it might have meant",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 7001)), drop("POLICY_INGRESS", "web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).udp({ sport: 1, dport: 5000 }), drop("DENIED_INGRESS", "web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
    ],
    within(
      policy("odd", {
        order: 5,
        types: ["Ingress"],
        ingress: [
          rule("Allow", { ...tcpTo(7001), source: { moon: ["full"] } }),
          rule("Deny", { protocol: "UDP", source: { nets: ["300.1.2.3/8"] } }),
        ],
      }),
    ),
  ),
  ...each("D5", "a deny added ends flows, and the policy's removal admits again", (f) => [
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
    change(changed(BASE, [policy("ban", { order: 1, types: ["Ingress"], ingress: [rule("Deny", tcpTo(80))] })])),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(40000, 80)), drop("DENIED_INGRESS", "web1")),
    change(BASE),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(40000, 80)), deliver("web1")),
  ]),
  ...each(
    "D2",
    "rules that unite over several groups",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
      arrives(incoming(f, ip("far1", f), ip("web1", f)).tcp(syn(40000, 5432)), deliver("web1")),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 5432)), drop("POLICY_INGRESS", "web1")),
    ],
    within(respec("web1", { groups: ["web", "db"] })),
  ),
  ...each(
    "D2",
    "a stateless group beside a stateful one: the stateful rule decides",
    (f) => [
      sends("free1", out("free1", f, OUTSIDE[f]).udp({ sport: 40000, dport: 53 }), forward),
      arrives(incoming(f, OUTSIDE[f], ip("free1", f)).udp({ sport: 53, dport: 40000 }), deliver("free1")),
      arrives(incoming(f, ELSE_OUTSIDE[f], ip("free1", f)).tcp(syn(40000, 80)), deliver("free1")),
      sends("free1", out("free1", f, ELSE_OUTSIDE[f]).tcp(ack(80, 40000)), forward),
    ],
    within(respec("free1", { groups: ["free", "web"] })),
  ),
];
