/** S9, D5: administration, unknown taps, what the host itself originates, interfaces that are not listed. */
import { bare, BROADCAST, eth } from "../../support/packet.js";
import {
  ack,
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
  type At,
  type Case,
  type Step,
} from "../case.js";
import { BASE, changed, GUESTS, HOST_ADDRESS, OUTSIDE, respec, STRAY_TAP, ip } from "../world.js";

const { web1, down1, bad1 } = GUESTS;
const linkLocal = { host: "fe80::fc16:3eff:fe00:11", guest: "fe80::f816:3eff:fe00:11" } as const;

const atStray = (at: Partial<Record<"host" | "other", true>>, frame: ReturnType<typeof eth>): Step => {
  const place: At = at.host
    ? { host: true, tap: STRAY_TAP }
    : at.other
      ? { other: "eth9", tap: STRAY_TAP }
      : { tap: STRAY_TAP };
  return { at: place, frame: frame.bytes(), expect: drop("NO_ENDPOINT") };
};

export const HOST_CASES: readonly Case[] = [
  ...each("S9", "admin state down passes nothing, either way", (f) => [
    sends("down1", out("down1", f, OUTSIDE[f]).tcp(syn(40000, 80)), drop("ADMIN_DOWN", "down1")),
    sends("down1", out("down1", f, ip("web1", f)).tcp(syn(40000, 80)), drop("ADMIN_DOWN", "down1")),
    arrives(incoming(f, OUTSIDE[f], ip("down1", f)).tcp(syn(40000, 80)), drop("RECEIVER_DOWN", "down1")),
    sends("web1", out("web1", f, ip("down1", f)).tcp(syn(40000, 80)), drop("RECEIVER_DOWN", "down1")),
    hostSends("down1", echo(towards("down1", f, HOST_ADDRESS[f]), f, "request"), drop("ADMIN_DOWN", "down1")),
    strays("down1", towards("down1", f, OUTSIDE[f]).tcp(syn(40000, 80)), drop("ADMIN_DOWN", "down1")),
  ]),
  {
    clause: "S9",
    name: "admin state down: not even ARP, ND and DHCP",
    steps: [
      sends(
        "down1",
        eth({ from: down1.mac, to: BROADCAST }).arp({ op: 1, sha: down1.mac, spa: down1.v4, tpa: "10.65.0.1" }),
        drop("ADMIN_DOWN", "down1"),
      ),
      sends(
        "down1",
        eth({ from: down1.mac, to: "33:33:ff:00:00:01" })
          .ip6({ src: down1.v6, dst: "ff02::1:ff00:1", hop: 255 })
          .ns({ target: "2001:db8:65::1", ll: down1.mac }),
        drop("ADMIN_DOWN", "down1"),
      ),
      sends(
        "down1",
        eth({ from: down1.mac, to: BROADCAST })
          .ip4({ src: "0.0.0.0", dst: "255.255.255.255" })
          .udp({ sport: 68, dport: 67 }),
        drop("ADMIN_DOWN", "down1"),
      ),
    ],
  },
  ...each("S9", "taken down, a guest's flows stop; brought up, it passes again", (f) => {
    const down = changed(BASE, [respec("web1", { groups: ["web"], adminUp: false })]);
    return [
      sends("web1", out("web1", f, ip("web2", f)).tcp(syn(40000, 80)), deliver("web2")),
      change(down),
      sends("web1", out("web1", f, ip("web2", f)).tcp(ack(40000, 80)), drop("ADMIN_DOWN", "web1")),
      sends("web2", out("web2", f, ip("web1", f)).tcp(ack(80, 40000)), drop("RECEIVER_DOWN", "web1")),
      change(BASE),
      sends("web1", out("web1", f, ip("web2", f)).tcp(syn(40000, 80)), deliver("web2")),
    ];
  }),
  ...each("S9", "an unknown tap passes nothing", (f) => [
    atStray(
      {},
      ipOf(eth({ from: web1.mac, to: "fe:16:3e:00:00:fe" }), f, ip("web1", f), OUTSIDE[f]).tcp(syn(40000, 80)),
    ),
    atStray(
      { host: true },
      ipOf(eth({ from: "fe:16:3e:00:00:fe", to: web1.mac }), f, HOST_ADDRESS[f], ip("web1", f)).tcp(syn(40000, 80)),
    ),
    atStray(
      { other: true },
      ipOf(eth({ from: "fe:16:3e:00:00:fe", to: web1.mac }), f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)),
    ),
  ]),
  {
    clause: "S9",
    name: "an unknown tap is not answered either",
    steps: [
      atStray({}, eth({ from: web1.mac, to: BROADCAST }).arp({ op: 1, sha: web1.mac, spa: web1.v4, tpa: "10.65.0.1" })),
      atStray(
        {},
        eth({ from: web1.mac, to: BROADCAST })
          .ip4({ src: "0.0.0.0", dst: "255.255.255.255" })
          .udp({ sport: 68, dport: 67 }),
      ),
    ],
  },
  ...each("D5", "an endpoint that could not be understood passes nothing", (f) => [
    sends("bad1", out("bad1", f, OUTSIDE[f]).tcp(syn(40000, 80)), drop("ENDPOINT_IS_BLOCKED", "bad1")),
    arrives(incoming(f, OUTSIDE[f], ip("bad1", f)).tcp(syn(40000, 80)), drop("RECEIVER_DOWN", "bad1")),
    hostSends("bad1", echo(towards("bad1", f, HOST_ADDRESS[f]), f, "request"), drop("ENDPOINT_IS_BLOCKED", "bad1")),
  ]),
  {
    clause: "D5",
    name: "a blocked endpoint is not answered",
    steps: [
      sends(
        "bad1",
        eth({ from: bad1.mac, to: BROADCAST }).arp({ op: 1, sha: bad1.mac, spa: bad1.v4, tpa: "10.65.0.1" }),
        drop("ENDPOINT_IS_BLOCKED", "bad1"),
      ),
    ],
  },
  ...each("S9", "what the host originates passes, and the answers to it", (f) => [
    hostSends("db1", echo(towards("db1", f, HOST_ADDRESS[f]), f, "request", 5), deliver("db1")),
    sends("db1", echo(out("db1", f, HOST_ADDRESS[f]), f, "reply", 5), host),
    sends("db1", echo(out("db1", f, HOST_ADDRESS[f]), f, "reply", 6), drop("POLICY_EGRESS", "db1")),
    sends("web1", echo(out("web1", f, HOST_ADDRESS[f]), f, "reply", 5), drop("HOST_UNREACHABLE_TO_GUEST", "web1")),
    hostSends("db1", towards("db1", f, HOST_ADDRESS[f]).tcp(syn(40000, 22)), deliver("db1")),
    sends("db1", out("db1", f, HOST_ADDRESS[f]).tcp(tcp(22, 40000, "SA")), host),
    hostSends("db1", towards("db1", f, HOST_ADDRESS[f]).tcp(ack(40000, 22)), deliver("db1")),
    sends("db1", out("db1", f, HOST_ADDRESS[f]).tcp(ack(22, 40001)), drop("POLICY_EGRESS", "db1")),
  ]),
  ...each("S9", "what a guest begins towards the host does not pass for an answer", (f) => [
    hostSends("web1", towards("web1", f, HOST_ADDRESS[f]).tcp(syn(40000, 22)), deliver("web1")),
    sends("web1", out("web1", f, HOST_ADDRESS[f]).tcp(syn(22, 40000)), drop("HOST_UNREACHABLE_TO_GUEST", "web1")),
    sends("web1", out("web1", f, HOST_ADDRESS[f]).tcp(tcp(22, 40000, "SA")), host),
    sends("web2", out("web2", f, HOST_ADDRESS[f]).tcp(tcp(22, 40000, "SA")), drop("HOST_UNREACHABLE_TO_GUEST", "web2")),
    hostSends("web1", echo(towards("web1", f, HOST_ADDRESS[f]), f, "request", 5), deliver("web1")),
    sends("web1", echo(out("web1", f, HOST_ADDRESS[f]), f, "request", 5), drop("HOST_UNREACHABLE_TO_GUEST", "web1")),
  ]),
  ...each("S9", "an ICMP error about what the host sent reaches it", (f) => {
    const sent = ipOf(bare, f, HOST_ADDRESS[f], ip("db1", f)).udp({ sport: 40000, dport: 9 });
    return [
      sends("db1", unreachable(out("db1", f, HOST_ADDRESS[f]), f, sent), drop("ICMP_ERROR_UNRELATED", "db1")),
      hostSends("db1", towards("db1", f, HOST_ADDRESS[f]).udp({ sport: 40000, dport: 9 }), deliver("db1")),
      sends("db1", unreachable(out("db1", f, HOST_ADDRESS[f]), f, sent), host),
    ];
  }),
  {
    clause: "S9",
    name: "the host's ARP, DHCP, RA and link-local ping pass",
    steps: [
      hostSends(
        "web1",
        eth({ from: web1.hostMac, to: web1.mac }).arp({ op: 1, sha: web1.hostMac, spa: HOST_ADDRESS[4], tpa: web1.v4 }),
        deliver("web1"),
      ),
      hostSends(
        "web1",
        eth({ from: web1.hostMac, to: BROADCAST })
          .ip4({ src: HOST_ADDRESS[4], dst: "255.255.255.255" })
          .udp({ sport: 67, dport: 68 }),
        deliver("web1"),
      ),
      hostSends(
        "web1",
        eth({ from: web1.hostMac, to: "33:33:00:00:00:01" })
          .ip6({ src: linkLocal.host, dst: "ff02::1", hop: 255 })
          .ra(),
        deliver("web1"),
      ),
      hostSends(
        "web1",
        echo(
          eth({ from: web1.hostMac, to: web1.mac }).ip6({
            src: linkLocal.host.replace(":11", ":b"),
            dst: linkLocal.guest.replace(":11", ":b"),
          }),
          6,
          "request",
          3,
        ),
        deliver("web1"),
      ),
      sends(
        "web1",
        echo(
          eth({ from: web1.mac, to: web1.hostMac }).ip6({
            src: linkLocal.guest.replace(":11", ":b"),
            dst: linkLocal.host.replace(":11", ":b"),
          }),
          6,
          "reply",
          3,
        ),
        host,
      ),
    ],
  },
  ...each("D4", "what comes by an interface that is not listed is judged all the same", (f) => [
    strays("web1", towards("web1", f, OUTSIDE[f]).tcp(syn(40000, 80)), deliver("web1")),
    strays("web1", towards("web1", f, OUTSIDE[f]).tcp(syn(40000, 81)), drop("POLICY_INGRESS", "web1")),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(50000, 443)), forward),
    strays("web1", towards("web1", f, OUTSIDE[f]).tcp(tcp(443, 50000, "SA")), deliver("web1")),
  ]),
  {
    clause: "D4",
    name: "ARP does not come by another interface",
    steps: [
      strays(
        "web1",
        eth({ from: web1.hostMac, to: web1.mac }).arp({ op: 1, sha: web1.hostMac, spa: OUTSIDE[4], tpa: web1.v4 }),
        drop("UNKNOWN_ETHERTYPE", "web1"),
      ),
    ],
  },
];
