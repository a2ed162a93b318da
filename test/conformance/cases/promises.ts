/** What docs/semantics.md promises or names as a limit, and no other file of the table holds. */
import { bare, BROADCAST, eth } from "../../support/packet.js";
import { endpoint, globalPolicy, type Resource } from "../../support/resources.js";
import {
  arrives,
  change,
  deliver,
  drop,
  each,
  echo,
  forward,
  host,
  hostSends,
  incoming,
  ipOf,
  out,
  sends,
  strays,
  syn,
  tcp,
  towards,
  unreachable,
  type Case,
} from "../case.js";
import {
  BASE,
  changed,
  ELSEWHERE,
  GUESTS,
  HOST_ADDRESS,
  OUTSIDE,
  respec,
  spec,
  VIP,
  ip,
  type ConformanceWorld,
} from "../world.js";

const { bare1 } = GUESTS;

/** The policy that docs/semantics.md shows, as YAML there (test/unit/docs/semantics.test.ts compares the two). */
export const PROTECT_MANAGEMENT: Resource = globalPolicy("protect-management", {
  order: 10,
  selector: "projectcalico.org/orchestrator == 'openstack'",
  types: ["Egress"],
  egress: [{ action: "Deny", destination: { nets: ["192.0.2.0/24", "2001:db8:1::/64"] } }],
});
/** Of another host, in the network that the uplink is in. */
const MANAGEMENT = { 4: "192.0.2.254", 6: "2001:db8:1::fe" } as const;

const inNetwork = (network: string, project: string) => ({
  annotations: { "openstack.projectcalico.org/network-id": network },
  labels: { "projectcalico.org/openstack-project-id": project },
});
const tenants = changed(BASE, [
  respec("web1", { groups: ["web"], ...inNetwork("11111111-1111-1111-1111-111111111111", "alpha") }),
  respec("web2", { groups: ["web"], ...inNetwork("22222222-2222-2222-2222-222222222222", "beta") }),
]);
const anycast = changed(BASE, [
  endpoint(spec("far1", { groups: ["web"], pairs: [{ ip: VIP[4] }, { ip: VIP[6] }] }, ELSEWHERE)),
]);
const quietHost: ConformanceWorld = { ...BASE, hostToGuest: false };

export const PROMISES: readonly Case[] = [
  ...each(
    "S1",
    "networks and projects play no part, rules do",
    (f) => [
      sends("web1", out("web1", f, ip("web2", f)).tcp(syn(40000, 80)), deliver("web2")),
      sends("web2", out("web2", f, ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
      sends("web1", out("web1", f, ip("web2", f)).tcp(syn(40000, 81)), drop("POLICY_INGRESS", "web2")),
    ],
    { world: tenants },
  ),
  ...each(
    "S1",
    "an address that guests of two hosts have: this host's own is nearer, and the other's may send from it",
    (f) => [
      sends("web1", out("web1", f, VIP[f]).tcp(syn(40000, 80)), deliver("vip1")),
      arrives(incoming(f, VIP[f], ip("web1", f)).tcp(syn(40001, 80)), deliver("web1")),
      arrives(incoming(f, VIP[f], ip("db1", f)).tcp(syn(40001, 80)), drop("POLICY_INGRESS", "db1")),
      change(BASE),
      arrives(incoming(f, VIP[f], ip("web1", f)).tcp(syn(40002, 80)), drop("UPLINK_SPOOFED", "vip1")),
    ],
    { world: anycast },
  ),
  ...each("S1", "other hosts' management addresses are reached unless an operator policy says no", (f) => [
    sends("web1", out("web1", f, MANAGEMENT[f]).tcp(syn(40000, 22)), forward),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 22)), forward),
    change(changed(BASE, [PROTECT_MANAGEMENT])),
    sends("web1", out("web1", f, MANAGEMENT[f]).tcp(tcp(40000, 22, "A")), drop("DENIED_EGRESS", "web1")),
    sends("web1", echo(out("web1", f, MANAGEMENT[f]), f, "request"), drop("DENIED_EGRESS", "web1")),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(tcp(40000, 22, "A")), forward),
    sends("web1", out("web1", f, ip("web2", f)).tcp(syn(40000, 80)), deliver("web2")),
    // What was begun over there is judged by ingress rules alone, and answered.
    arrives(incoming(f, MANAGEMENT[f], ip("web1", f)).tcp(syn(40001, 80)), deliver("web1")),
    sends("web1", out("web1", f, MANAGEMENT[f]).tcp(tcp(80, 40001, "SA")), forward),
  ]),
  ...each(
    "S6",
    "port security off lifts operator policies too",
    (f) => [
      sends("open1", out("open1", f, MANAGEMENT[f]).tcp(syn(40000, 22)), forward),
      sends("web1", out("web1", f, MANAGEMENT[f]).tcp(syn(40000, 22)), drop("DENIED_EGRESS", "web1")),
    ],
    { world: changed(BASE, [PROTECT_MANAGEMENT]) },
  ),
  ...each(
    "S6",
    "an allowed pair is a licence: what it holds may be sent from, another guest's address too",
    (f) => [
      sends("pair1", out("pair1", f, ip("far1", f), { src: ip("web1", f) }).tcp(syn(40000, 80)), forward),
      // What is answered goes to the guest that has the address itself.
      arrives(incoming(f, ip("far1", f), ip("web1", f)).tcp(syn(40001, 80)), deliver("web1")),
      sends(
        "pair1",
        out("pair1", f, ip("far1", f), { src: ip("db1", f) }).tcp(syn(40002, 80)),
        drop("SPOOFED_ADDRESS", "pair1"),
      ),
    ],
    {
      world: changed(BASE, [
        respec("pair1", { groups: ["web"], pairs: [{ ip: "10.65.0.0/28" }, { ip: "2001:db8:65::10/124" }] }),
      ]),
    },
  ),
  ...each(
    "S6",
    "an allowed pair that is another guest's very address shares it: the lowest id is given what is sent there",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("pair1")),
      sends("pair1", out("pair1", f, OUTSIDE[f], { src: ip("web1", f) }).tcp(syn(40001, 443)), forward),
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40002, 443)), forward),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 40002, "SA")), deliver("web1")),
    ],
    {
      world: changed(BASE, [
        respec("pair1", { groups: ["web"], pairs: [{ ip: ip("web1", 4) }, { ip: ip("web1", 6) }] }),
      ]),
    },
  ),
  {
    clause: "S6",
    name: "a port without a fixed address asks for one, and sends nothing else",
    world: changed(BASE, [respec("bare1", { addresses: [], groups: ["web"] })]),
    steps: [
      sends(
        "bare1",
        eth({ from: bare1.mac, to: BROADCAST })
          .ip4({ src: "0.0.0.0", dst: "255.255.255.255" })
          .udp({ sport: 68, dport: 67 }),
        host,
      ),
      sends("bare1", out("bare1", 4, OUTSIDE[4]).tcp(syn(40000, 80)), drop("SPOOFED_ADDRESS", "bare1")),
      sends("bare1", out("bare1", 6, OUTSIDE[6]).tcp(syn(40000, 80)), drop("SPOOFED_ADDRESS", "bare1")),
    ],
  },
  ...each(
    "S9",
    "with host-to-guest off the host begins nothing; errors of routing and what is forwarded pass as ever",
    (f) => [
      hostSends("web1", echo(towards("web1", f, HOST_ADDRESS[f]), f, "request"), drop("HOST_TO_GUEST_OFF", "web1")),
      hostSends("web1", towards("web1", f, HOST_ADDRESS[f]).tcp(syn(40000, 80)), drop("HOST_TO_GUEST_OFF", "web1")),
      hostSends(
        "web1",
        unreachable(
          towards("web1", f, HOST_ADDRESS[f]),
          f,
          ipOf(bare, f, ip("web1", f), OUTSIDE[f]).udp({ sport: 1, dport: 2 }),
        ),
        deliver("web1"),
      ),
      strays("web1", towards("web1", f, OUTSIDE[f]).tcp(syn(40000, 80)), deliver("web1")),
    ],
    { world: quietHost },
  ),
  ...each("D2", "protocol 255 is reserved and passes for nobody", (f) => [
    sends("web1", out("web1", f, OUTSIDE[f]).payload(8, 255), drop("MALFORMED", "web1")),
    sends("open1", out("open1", f, OUTSIDE[f]).payload(8, 255), drop("MALFORMED", "open1")),
    arrives(incoming(f, OUTSIDE[f], ip("db1", f)).payload(8, 255), drop("MALFORMED", "db1")),
  ]),
];
