/** D3 and S5: what a change of rules, members or endpoints does to flows that were there. */
import { bare } from "../../support/packet.js";
import { endpoint, inGroup, group } from "../../support/resources.js";
import {
  ack,
  arrives,
  change,
  deliver,
  drop,
  each,
  forward,
  incoming,
  ipOf,
  out,
  sends,
  syn,
  tcp,
  unreachable,
  type Case,
} from "../case.js";
import {
  ANYTHING,
  BASE,
  both,
  changed,
  DB_EGRESS,
  DB_INGRESS,
  ELSEWHERE,
  ELSE_OUTSIDE,
  OUTSIDE,
  respec,
  spec,
  VIP,
  WEB_INGRESS,
  ip,
} from "../world.js";

const without80 = changed(BASE, [group("web", { ingress: WEB_INGRESS.slice(2), egress: ANYTHING })]);
const silentWeb = changed(BASE, [group("web", { ingress: WEB_INGRESS, egress: [] })]);
const noWebMember = changed(BASE, [respec("web1", { groups: ["db"] })]);
const statelessWeb = changed(BASE, [group("web", { ingress: WEB_INGRESS, egress: ANYTHING, stateful: false })]);
/** free1 in a stateful group and in a stateless one that lets the same in. */
const openToAll = changed(BASE, [
  respec("free1", { groups: ["free", "web"] }),
  group("free", { ingress: both({ protocol: 6, destination: { ports: [80] } }), egress: ANYTHING, stateful: false }),
]);
const web2Here = endpoint(spec("web2", { groups: ["web"] }));
const web2Gone = changed(BASE, [], [web2Here.key]);
const web2Moved = changed(BASE, [endpoint(spec("web2", { groups: ["web"] }, ELSEWHERE))], [web2Here.key]);
const moreRules = changed(BASE, [
  group("web", { ingress: [...WEB_INGRESS, ...both({ protocol: 6, destination: { ports: [81] } })], egress: ANYTHING }),
]);
const dbFromDb = changed(BASE, [
  group("db", {
    ingress: [
      ...DB_INGRESS,
      ...both({ protocol: 6, source: { selector: inGroup("db") }, destination: { ports: [5432] } }),
    ],
    egress: DB_EGRESS,
  }),
]);

export const CHANGES: readonly Case[] = [
  ...each("D3", "a removed rule ends the flows that it allowed, seen from the opener", (f) => [
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(tcp(80, 40000, "SA")), forward),
    change(without80),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(40000, 80)), drop("POLICY_INGRESS", "web1")),
  ]),
  ...each("D3", "refused anew, a packet is judged as a first one in its own direction", (f) => [
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
    change(without80),
    // The guest's own rules still let it send: a flow of its own now.
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(ack(80, 40000)), forward),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(40000, 80)), deliver("web1")),
  ]),
  ...each("D3", "between two guests of the host, either side's rule may go", (f) => [
    sends("web1", out("web1", f, ip("db1", f)).tcp(syn(40000, 5432)), deliver("db1")),
    change(silentWeb),
    sends("web1", out("web1", f, ip("db1", f)).tcp(ack(40000, 5432)), drop("POLICY_EGRESS", "web1")),
    sends("db1", out("db1", f, ip("web1", f)).tcp(ack(5432, 40000)), drop("POLICY_EGRESS", "db1")),
  ]),
  ...each("D3", "a member that leaves a group loses the flows that its membership allowed", (f) => [
    sends("web1", out("web1", f, ip("db1", f)).tcp(syn(40000, 5432)), deliver("db1")),
    sends("web2", out("web2", f, ip("db1", f)).tcp(syn(40000, 5432)), deliver("db1")),
    change(noWebMember),
    sends("web1", out("web1", f, ip("db1", f)).tcp(ack(40000, 5432)), drop("POLICY_INGRESS", "db1")),
    sends("web2", out("web2", f, ip("db1", f)).tcp(ack(40000, 5432)), deliver("db1")),
    sends("db1", out("db1", f, ip("web2", f)).tcp(ack(5432, 40000)), deliver("web2")),
  ]),
  ...each("D3", "what is still allowed goes on, whatever else changed", (f) => [
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
    sends("web1", out("web1", f, ELSE_OUTSIDE[f]).tcp(syn(40000, 443)), forward),
    change(moreRules),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(tcp(80, 40000, "SA")), forward),
    arrives(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 40000, "SA")), deliver("web1")),
    change(without80),
    arrives(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)).tcp(ack(443, 40000)), deliver("web1")),
  ]),
  ...each("D3", "a new rule and a new member admit at once", (f) => [
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 81)), drop("POLICY_INGRESS", "web1")),
    sends("db2", out("db2", f, ip("db1", f)).tcp(syn(40000, 5432)), drop("POLICY_INGRESS", "db1")),
    change(moreRules),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 81)), deliver("web1")),
    change(dbFromDb),
    sends("db2", out("db2", f, ip("db1", f)).tcp(syn(40000, 5432)), deliver("db1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(40000, 81)), drop("POLICY_INGRESS", "web1")),
  ]),
  ...each("D3", "a group made stateless forgets what it tracked", (f) => [
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 443)), forward),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 40000, "SA")), deliver("web1")),
    change(statelessWeb),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(443, 40000)), drop("POLICY_INGRESS", "web1")),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(ack(40000, 443)), forward),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(443, 40000)), drop("POLICY_INGRESS", "web1")),
  ]),
  ...each(
    "D3",
    "left to a stateless rule, what an outsider began is nobody's: the guest's next packet begins anew",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("free1", f)).tcp(syn(40000, 80)), deliver("free1")),
      change(changed(openToAll, [group("web", { ingress: WEB_INGRESS.slice(2), egress: ANYTHING })])),
      sends("free1", out("free1", f, OUTSIDE[f]).tcp(tcp(80, 40000, "SA")), forward),
      arrives(
        unreachable(
          incoming(f, ELSE_OUTSIDE[f], ip("free1", f)),
          f,
          ipOf(bare, f, ip("free1", f), OUTSIDE[f]).tcp(tcp(80, 40000, "SA")),
        ),
        deliver("free1"),
      ),
    ],
    { world: openToAll },
  ),
  ...each("D3", "a guest that is gone is off the host for the others", (f) => [
    sends("web1", out("web1", f, ip("web2", f)).tcp(syn(40000, 80)), deliver("web2")),
    change(web2Gone),
    sends("web2", out("web2", f, ip("web1", f)).tcp(ack(80, 40000)), drop("NO_ENDPOINT")),
    sends("web1", out("web1", f, ip("web2", f)).tcp(ack(40000, 80)), forward),
  ]),
  ...each("D3", "a guest that moves away, and back", (f) => [
    sends("web1", out("web1", f, ip("web2", f)).tcp(syn(40000, 80)), deliver("web2")),
    change(web2Moved),
    sends("web1", out("web1", f, ip("web2", f)).tcp(ack(40000, 80)), forward),
    arrives(incoming(f, ip("web2", f), ip("web1", f)).tcp(ack(80, 40000)), deliver("web1")),
    change(BASE),
    sends("web1", out("web1", f, ip("web2", f)).tcp(ack(40000, 80)), deliver("web2")),
    arrives(incoming(f, ip("web2", f), ip("web1", f)).tcp(ack(80, 40000)), drop("UPLINK_SPOOFED", "web2")),
  ]),
  ...each("D3", "an allowed pair taken away ends what was sent from it", (f) => {
    const vip = VIP[f];
    return [
      sends("vip1", out("vip1", f, OUTSIDE[f], { src: vip }).tcp(syn(40000, 443)), forward),
      change(changed(BASE, [respec("vip1", { groups: ["web"] })])),
      sends("vip1", out("vip1", f, OUTSIDE[f], { src: vip }).tcp(ack(40000, 443)), drop("SPOOFED_ADDRESS", "vip1")),
      arrives(incoming(f, OUTSIDE[f], vip).tcp(ack(443, 40000)), drop("POLICY_INGRESS", "vip2")),
      arrives(incoming(f, OUTSIDE[f], vip).tcp(syn(40001, 80)), deliver("vip2")),
    ];
  }),
];
