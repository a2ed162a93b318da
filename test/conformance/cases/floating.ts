/** S8: what is sent to a floating IP is judged as to the address that it stands for, and goes on to the kernel's NAT. */
import { bare, type Frame } from "../../support/packet.js";
import {
  arrives,
  change,
  drop,
  each,
  echo,
  forward,
  host,
  incoming,
  ipOf,
  out,
  sends,
  stack,
  syn,
  unreachable,
  type Case,
} from "../case.js";
import { BASE, changed, HOST_ADDRESS, ip, OUTSIDE, respec, VIP, type Family, type GuestName } from "../world.js";

const EXTERNAL = { 4: "172.24.4.7", 6: "2001:db8:f::7" } as const;
const OTHER = { 4: "172.24.4.6", 6: "2001:db8:f::6" } as const;
const floats = (name: GuestName, ...external: Record<Family, string>[]): Readonly<Record<string, string>> =>
  Object.fromEntries(external.flatMap((one) => [4, 6].map((f) => [one[f as Family], ip(name, f as Family)])));

const web1 = respec("web1", { groups: ["web"], floating: floats("web1", EXTERNAL, OTHER) });
const FLOATING_WORLD = changed(BASE, [web1]);
const onDb = changed(BASE, [respec("db1", { groups: ["db"], floating: floats("db1", EXTERNAL) })]);
const more = { world: FLOATING_WORLD, needs: ["nat"] as const };
const judged = stack("floating");

const id = 9;
const first = (f: Family): Frame =>
  f === 4
    ? incoming(4, OUTSIDE[4], EXTERNAL[4], { id, mf: true }).udp({ sport: 40000, dport: 5000 }).payload(16)
    : incoming(6, OUTSIDE[6], EXTERNAL[6]).fragment({ id, more: true }).udp({ sport: 40000, dport: 5000 }).payload(16);
const later = (f: Family): Frame =>
  f === 4
    ? incoming(4, OUTSIDE[4], EXTERNAL[4], { id, offset: 24 }).payload(16, 17)
    : incoming(6, OUTSIDE[6], EXTERNAL[6]).fragment({ id, offset: 24 }).payload(16, 17);

export const FLOATING: readonly Case[] = [
  ...each(
    "S8",
    "a floating IP is judged as its guest's own address, from outside",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], EXTERNAL[f]).tcp(syn(40000, 80)), judged),
      arrives(incoming(f, OUTSIDE[f], OTHER[f]).tcp(syn(40000, 80)), judged),
      arrives(incoming(f, OUTSIDE[f], EXTERNAL[f]).tcp(syn(40000, 81)), drop("POLICY_INGRESS", "web1")),
      arrives(echo(incoming(f, OUTSIDE[f], EXTERNAL[f]), f, "request"), judged),
      arrives(incoming(f, ip("web2", f), EXTERNAL[f]).tcp(syn(40000, 80)), drop("UPLINK_SPOOFED", "web2")),
    ],
    more,
  ),
  ...each(
    "S8",
    "a guest of the host is known by its own address, and its rules by where it goes in the end",
    (f) => [
      sends("web2", out("web2", f, EXTERNAL[f]).tcp(syn(40000, 80)), judged),
      sends("db2", out("db2", f, EXTERNAL[f]).tcp(syn(40000, 80)), drop("POLICY_EGRESS", "db2")),
      change(onDb),
      // Of group "web", which db1 admits; db2 may send to members of "db".
      sends("web2", out("web2", f, EXTERNAL[f]).tcp(syn(40000, 5432)), judged),
      sends("web2", out("web2", f, EXTERNAL[f]).tcp(syn(40000, 80)), drop("POLICY_INGRESS", "db1")),
      sends("db2", out("db2", f, EXTERNAL[f]).tcp(syn(40000, 5432)), drop("POLICY_INGRESS", "db1")),
    ],
    more,
  ),
  ...each(
    "S8",
    "a guest reaches itself by its floating IP, and by no other way",
    (f) => [
      sends("web1", out("web1", f, EXTERNAL[f]).tcp(syn(40000, 80)), judged),
      sends("web1", out("web1", f, EXTERNAL[f]).tcp({ sport: 80, dport: 40000, flags: "SA" }), judged),
      sends("web1", out("web1", f, EXTERNAL[f]).tcp(syn(40000, 81)), drop("POLICY_INGRESS", "web1")),
      sends("web1", out("web1", f, ip("web1", f)).tcp(syn(40000, 80)), drop("SELF", "web1")),
      sends("web1", echo(out("web1", f, EXTERNAL[f]), f, "request"), judged),
      sends("web1", echo(out("web1", f, EXTERNAL[f]), f, "reply"), judged),
    ],
    more,
  ),
  ...each(
    "S8",
    "nobody sends from a floating IP",
    (f) => [
      sends(
        "web1",
        out("web1", f, OUTSIDE[f], { src: EXTERNAL[f] }).tcp(syn(40000, 80)),
        drop("SPOOFED_ADDRESS", "web1"),
      ),
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 80)), forward),
    ],
    more,
  ),
  ...each(
    "S8",
    "an error about what went there passes with its flow only",
    (f) => {
      const about = ipOf(bare, f, EXTERNAL[f], OUTSIDE[f]).tcp(syn(80, 40000));
      return [
        arrives(unreachable(incoming(f, OUTSIDE[f], EXTERNAL[f]), f, about), drop("ICMP_ERROR_UNRELATED", "web1")),
      ];
    },
    more,
  ),
  ...each(
    "S8",
    "later fragments follow the first to it",
    (f) => {
      return [
        arrives(later(f), drop("FRAGMENT_WITHOUT_FIRST", "web1")),
        arrives(first(f), judged),
        arrives(later(f), judged),
      ];
    },
    more,
  ),
  ...each(
    "S8",
    "one that is gone, or leads nowhere, is an address like any other",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], EXTERNAL[f]).tcp(syn(40000, 80)), judged),
      change(BASE),
      arrives(incoming(f, OUTSIDE[f], EXTERNAL[f]).tcp(syn(40000, 80)), host),
      sends("web2", out("web2", f, EXTERNAL[f]).tcp(syn(40000, 80)), forward),
      change(changed(BASE, [respec("web1", { groups: ["web"], adminUp: false, floating: floats("web1", EXTERNAL) })])),
      arrives(incoming(f, OUTSIDE[f], EXTERNAL[f]).tcp(syn(40000, 80)), host),
    ],
    more,
  ),
  ...each(
    "S8",
    "it takes no address that an endpoint or the host has",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], HOST_ADDRESS[f]).tcp(syn(40000, 80)), host),
      sends("web2", out("web2", f, HOST_ADDRESS[f]).tcp(syn(40000, 80)), drop("HOST_UNREACHABLE_TO_GUEST", "web2")),
      sends("web2", out("web2", f, ip("db1", f)).tcp(syn(40000, 80)), drop("POLICY_INGRESS", "db1")),
      sends("web2", out("web2", f, VIP[f]).tcp(syn(40000, 81)), drop("POLICY_INGRESS", "vip1")),
    ],
    {
      ...more,
      world: changed(BASE, [
        respec("web1", {
          groups: ["web"],
          floating: floats("web1", HOST_ADDRESS, { 4: ip("db1", 4), 6: ip("db1", 6) }, VIP),
        }),
      ]),
    },
  ),
];
