/** D5, S8: two endpoints that claim one tap, and an address of several of which not all can be reached. */
import { change, deliver, drop, each, out, sends, syn, type Case } from "../case.js";
import { BASE, GUESTS, VIP, changed, ip, respec, type ConformanceWorld, type GuestName } from "../world.js";
import type { Resource } from "../../support/resources.js";

/** The endpoint says that its interface is another guest's. */
function claiming(name: GuestName, of: GuestName): Resource {
  const { key, object } = respec(name, { groups: ["web"] });
  return { key, object: { ...object, spec: { ...(object["spec"] as object), interfaceName: GUESTS[of].tap } } };
}

const without = (name: GuestName): ConformanceWorld => ({
  ...BASE,
  taps: new Map([...BASE.taps].filter(([tap]) => tap !== GUESTS[name].tap)),
});
const pairs = [{ ip: VIP[4] }, { ip: VIP[6] }];
const WAYS: readonly (readonly [string, ConformanceWorld])[] = [
  ["has no tap", without("vip1")],
  ["is down", changed(BASE, [respec("vip1", { groups: ["web"], pairs, adminUp: false })])],
];

export const CLAIMS: readonly Case[] = [
  ...each(
    "D5",
    "of two endpoints that claim a tap the lowest id has it, and the other passes nothing",
    (f) => [
      sends("web1", out("web1", f, ip("vip1", f)).tcp(syn(40000, 80)), deliver("vip1")),
      sends("vip1", out("vip1", f, ip("web1", f)).tcp(syn(40001, 80)), deliver("web1")),
      sends(
        "web1",
        out("web2", f, ip("vip1", f), { to: GUESTS.web1.hostMac }).tcp(syn(40002, 80)),
        drop("SPOOFED_ADDRESS", "web1"),
      ),
      sends(
        "web1",
        out("web1", f, ip("vip1", f), { src: ip("web2", f) }).tcp(syn(40003, 80)),
        drop("SPOOFED_ADDRESS", "web1"),
      ),
      sends("vip1", out("vip1", f, ip("web2", f)).tcp(syn(40004, 80)), drop("RECEIVER_DOWN", "web2")),
    ],
    { world: changed(BASE, [claiming("web2", "web1")]) },
  ),
  ...each(
    "D5",
    "a tap that a second endpoint claims is the first one's again when that goes, and the second's when the first goes",
    (f) => [
      change(changed(BASE, [claiming("web2", "web1")])),
      sends("web1", out("web1", f, ip("vip1", f)).tcp(syn(40000, 80)), deliver("vip1")),
      change(changed(BASE, [claiming("web2", "web1")], [respec("web1", {}).key])),
      sends("web1", out("web1", f, ip("vip1", f)).tcp(syn(40001, 80)), drop("SPOOFED_ADDRESS", "web2")),
      sends("web1", out("web2", f, ip("vip1", f), { to: GUESTS.web1.hostMac }).tcp(syn(40002, 80)), deliver("vip1")),
      change(BASE),
      sends("web1", out("web1", f, ip("vip1", f)).tcp(syn(40003, 80)), deliver("vip1")),
      sends("web2", out("web2", f, ip("vip1", f)).tcp(syn(40004, 80)), deliver("vip1")),
    ],
  ),
  ...WAYS.flatMap(([what, world]) =>
    each("S1", `an address of several endpoints, of which the first ${what}, is delivered to the other`, (f) => [
      sends("web1", out("web1", f, VIP[f]).tcp(syn(40000, 80)), deliver("vip1")),
      change(world),
      sends("web1", out("web1", f, VIP[f]).tcp(syn(40001, 80)), deliver("vip2")),
      sends("web1", out("web1", f, VIP[f]).tcp(syn(40000, 80)), deliver("vip2")), // as a client tries again: its flow was the first's
      change(BASE),
      sends("vip1", out("vip1", f, ip("web1", f), { src: VIP[f] }).tcp(syn(40002, 80)), deliver("web1")),
    ]),
  ),
];
