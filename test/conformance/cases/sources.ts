/** S6, S7: what a guest may send from, and what it may not smuggle; what it may ask of the host. */
import { BROADCAST, eth, type Frame } from "../../support/packet.js";
import {
  ack,
  arrives,
  deliver,
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
  strays,
  syn,
  towards,
  type Case,
} from "../case.js";
import {
  BASE,
  changed,
  GUESTS,
  HOST_ADDRESS,
  IN_PAIR_NET,
  MAC_PAIR,
  OUTSIDE,
  PAIR_MAC,
  respec,
  VIP,
  ip,
  type GuestName,
} from "../world.js";

const { web1, web2, open1, pair1 } = GUESTS;
/** Hold every address of this world. */
const WIDE_V4 = "0.0.0.0/0";
const WIDE_V6 = "::/0";
const hostLinkLocal = (guest: GuestName): string => `fe80::fc16:3eff:fe00:${GUESTS[guest].hostMac.slice(-2)}`;
const guestLinkLocal = (guest: GuestName): string => `fe80::f816:3eff:fe00:${GUESTS[guest].mac.slice(-2)}`;
const dhcp4 = (src: string, dst: string, to = BROADCAST, mac = web1.mac): Frame =>
  eth({ from: mac, to }).ip4({ src, dst }).udp({ sport: 68, dport: 67 }).payload(240);
const dhcp6 = (o: { src?: string; dst?: string; to?: string } = {}): Frame =>
  eth({ from: web1.mac, to: o.to ?? "33:33:00:01:00:02" })
    .ip6({ src: o.src ?? guestLinkLocal("web1"), dst: o.dst ?? "ff02::1:2" })
    .udp({ sport: 546, dport: 547 })
    .payload(50);
const linkLocal = (dst: string, to = web1.hostMac): Frame =>
  eth({ from: web1.mac, to }).ip6({ src: guestLinkLocal("web1"), dst });
const mld = (src: string): Frame =>
  eth({ from: web1.mac, to: "33:33:00:00:00:16" })
    .ip6({ src, dst: "ff02::16", hop: 1 })
    .hopByHop({ routerAlert: true })
    .icmp6({ type: 143 })
    .payload(20);

export const SOURCES: readonly Case[] = [
  ...each("S6", "its own address and MAC, no other", (f) => [
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 80)), forward),
    sends(
      "web1",
      out("web1", f, OUTSIDE[f], { src: ip("web2", f) }).tcp(syn(40000, 80)),
      drop("SPOOFED_ADDRESS", "web1"),
    ),
    sends("web1", out("web1", f, OUTSIDE[f], { src: OUTSIDE[f] }).tcp(syn(40000, 80)), drop("SPOOFED_ADDRESS", "web1")),
    sends("web1", out("web1", f, OUTSIDE[f], { src: VIP[f] }).tcp(syn(40000, 80)), drop("SPOOFED_ADDRESS", "web1")),
    sends("web1", out("web1", f, OUTSIDE[f], { mac: web2.mac }).tcp(syn(40000, 80)), drop("SPOOFED_MAC", "web1")),
    sends("web1", out("web1", f, OUTSIDE[f], { mac: PAIR_MAC }).tcp(syn(40000, 80)), drop("SPOOFED_MAC", "web1")),
  ]),
  ...each("S6", "a spoofed packet does not ride on another's flow", (f) => [
    sends("web1", out("web1", f, ip("web2", f)).tcp(syn(40000, 80)), deliver("web2")),
    sends(
      "db1",
      out("db1", f, ip("web2", f), { src: ip("web1", f) }).tcp(ack(40000, 80)),
      drop("SPOOFED_ADDRESS", "db1"),
    ),
  ]),
  ...each("S6", "allowed pairs: CIDRs with its own MAC, addresses with their own", (f) => [
    sends("pair1", out("pair1", f, OUTSIDE[f], { src: IN_PAIR_NET[f] }).tcp(syn(40000, 80)), forward),
    sends(
      "pair1",
      out("pair1", f, OUTSIDE[f], { src: IN_PAIR_NET[f], mac: PAIR_MAC }).tcp(syn(40001, 80)),
      drop("SPOOFED_MAC", "pair1"),
    ),
    sends("pair1", out("pair1", f, OUTSIDE[f], { src: MAC_PAIR[f], mac: PAIR_MAC }).tcp(syn(40002, 80)), forward),
    sends("pair1", out("pair1", f, OUTSIDE[f], { src: MAC_PAIR[f] }).tcp(syn(40003, 80)), drop("SPOOFED_MAC", "pair1")),
    sends(
      "pair1",
      out("pair1", f, OUTSIDE[f], { src: f === 4 ? "10.99.1.5" : "2001:db8:99:1::5" }).tcp(syn(40004, 80)),
      drop("SPOOFED_ADDRESS", "pair1"),
    ),
    arrives(incoming(f, OUTSIDE[f], IN_PAIR_NET[f]).tcp(syn(40005, 80)), deliver("pair1")),
    arrives(incoming(f, OUTSIDE[f], MAC_PAIR[f]).tcp(syn(40006, 80)), deliver("pair1", PAIR_MAC)),
    arrives(incoming(f, OUTSIDE[f], MAC_PAIR[f]).tcp(syn(40006, 81)), drop("POLICY_INGRESS", "pair1")),
  ]),
  ...each("S6", "both owners of a shared address send from it", (f) => [
    sends("vip1", out("vip1", f, OUTSIDE[f], { src: VIP[f] }).tcp(syn(40000, 80)), forward),
    sends("vip2", out("vip2", f, OUTSIDE[f], { src: VIP[f] }).tcp(syn(40001, 80)), forward),
    sends("web1", out("web1", f, OUTSIDE[f], { src: VIP[f] }).tcp(syn(40002, 80)), drop("SPOOFED_ADDRESS", "web1")),
  ]),
  ...each("S6", "only to the host's MAC", (f) => [
    sends(
      "web1",
      out("web1", f, ip("web2", f), { to: web2.mac }).tcp(syn(40000, 80)),
      drop("WRONG_DESTINATION_MAC", "web1"),
    ),
    sends(
      "web1",
      out("web1", f, ip("web2", f), { to: BROADCAST }).tcp(syn(40000, 80)),
      drop("WRONG_DESTINATION_MAC", "web1"),
    ),
    sends(
      "open1",
      out("open1", f, ip("web2", f), { to: web2.mac }).tcp(syn(40000, 80)),
      drop("WRONG_DESTINATION_MAC", "open1"),
    ),
  ]),
  {
    clause: "S6",
    name: "VLAN tags",
    steps: [
      sends(
        "web1",
        eth({ from: web1.mac, to: web1.hostMac }).vlan(5).ip4({ src: web1.v4, dst: web2.v4 }).tcp(syn(40000, 80)),
        drop("VLAN_TAGGED", "web1"),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: web1.hostMac }).vlan(4095).ip6({ src: web1.v6, dst: web2.v6 }).tcp(syn(40000, 80)),
        drop("VLAN_TAGGED", "web1"),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: web1.hostMac })
          .vlan(5, { tpid: 0x88a8 })
          .ip4({ src: web1.v4, dst: web2.v4 })
          .tcp(syn(40000, 80)),
        drop("VLAN_TAGGED", "web1"),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: web1.hostMac })
          .vlan(0)
          .vlan(5)
          .ip4({ src: web1.v4, dst: web2.v4 })
          .tcp(syn(40000, 80)),
        drop("VLAN_TAGGED", "web1"),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: BROADCAST }).vlan(5).arp({ op: 1, sha: web1.mac, spa: web1.v4, tpa: web2.v4 }),
        drop("VLAN_TAGGED", "web1"),
      ),
      sends(
        "open1",
        eth({ from: open1.mac, to: open1.hostMac }).vlan(5).ip4({ src: open1.v4, dst: web2.v4 }).tcp(syn(40000, 80)),
        drop("VLAN_TAGGED", "open1"),
      ),
    ],
  },
  {
    clause: "S6",
    name: "VLAN 0 counts as untagged",
    needs: ["vlan-metadata"],
    steps: [
      sends(
        "web1",
        eth({ from: web1.mac, to: web1.hostMac })
          .vlan(0, { priority: 5 })
          .ip4({ src: web1.v4, dst: web2.v4 })
          .tcp(syn(40000, 80)),
        deliver("web2"),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: web1.hostMac }).vlan(0).ip6({ src: web1.v6, dst: web2.v6 }).tcp(syn(40000, 80)),
        deliver("web2"),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: web1.hostMac }).vlan(0).ip6({ src: web2.v6, dst: web2.v6 }).tcp(syn(40000, 80)),
        drop("SPOOFED_ADDRESS", "web1"),
      ),
    ],
  },
  ...each("S6", "the unspecified address", (f) => {
    const none = f === 4 ? "0.0.0.0" : "::";
    return [
      sends("web1", out("web1", f, OUTSIDE[f], { src: none }).tcp(syn(40000, 80)), drop("UNSPECIFIED_SOURCE", "web1")),
      sends(
        "web1",
        echo(out("web1", f, ip("web2", f), { src: none }), f, "request"),
        drop("UNSPECIFIED_SOURCE", "web1"),
      ),
      sends(
        "open1",
        out("open1", f, OUTSIDE[f], { src: none }).tcp(syn(40000, 80)),
        drop("UNSPECIFIED_SOURCE", "open1"),
      ),
    ];
  }),
  {
    clause: "S7",
    name: "DHCPv4 reaches the host, and nobody else",
    steps: [
      sends("web1", dhcp4("0.0.0.0", "255.255.255.255"), host),
      sends("web1", dhcp4(web1.v4, "255.255.255.255"), host),
      sends("web1", dhcp4(web1.v4, HOST_ADDRESS[4], web1.hostMac), host),
      sends("web1", dhcp4(web2.v4, "255.255.255.255"), drop("SPOOFED_ADDRESS", "web1")),
      sends("web1", dhcp4("0.0.0.0", "255.255.255.255", BROADCAST, web2.mac), drop("SPOOFED_MAC", "web1")),
      sends("web1", dhcp4("0.0.0.0", web2.v4, web1.hostMac), drop("UNSPECIFIED_SOURCE", "web1")),
      sends("web1", dhcp4(web1.v4, web2.v4, web1.hostMac), drop("POLICY_INGRESS", "web2")),
      sends(
        "bare1",
        eth({ from: GUESTS.bare1.mac, to: BROADCAST })
          .ip4({ src: "0.0.0.0", dst: "255.255.255.255" })
          .udp({ sport: 68, dport: 67 }),
        host,
      ),
      sends(
        "open1",
        eth({ from: open1.mac, to: BROADCAST })
          .ip4({ src: "0.0.0.0", dst: "255.255.255.255" })
          .udp({ sport: 68, dport: 67 }),
        host,
      ),
    ],
  },
  {
    clause: "S7",
    name: "DHCPv6 reaches the host, and nobody else",
    steps: [
      sends("web1", dhcp6(), host),
      sends("web1", dhcp6({ src: web1.v6 }), drop("MULTICAST", "web1")),
      sends("web1", dhcp6({ dst: hostLinkLocal("web1"), to: web1.hostMac }), host),
      sends("web1", dhcp6({ dst: "ff05::1:3" }), drop("LINK_LOCAL", "web1")),
      sends("web1", dhcp6({ src: web2.v6 }), drop("SPOOFED_ADDRESS", "web1")),
      sends("web1", dhcp6({ dst: guestLinkLocal("web2"), to: web1.hostMac }), drop("LINK_LOCAL", "web1")),
    ],
  },
  ...each("S6", "a guest does not serve DHCP", (f) => {
    const ports = f === 4 ? { sport: 67, dport: 68 } : { sport: 547, dport: 546 };
    return [
      sends("web1", out("web1", f, ip("web2", f)).udp(ports), drop("DHCP_SERVER", "web1")),
      sends("web1", out("web1", f, OUTSIDE[f]).udp(ports), drop("DHCP_SERVER", "web1")),
      sends("open1", out("open1", f, OUTSIDE[f]).udp(ports), forward),
    ];
  }),
  {
    clause: "S6",
    name: "link-local: only to the host, only discovery, MLD and DHCPv6",
    steps: [
      sends("web1", mld(guestLinkLocal("web1")), host),
      sends("web1", mld(web1.v6), host),
      sends("web1", mld(web2.v6), drop("SPOOFED_ADDRESS", "web1")),
      sends("web1", mld("::"), host),
      // Not a listener report but a packet like any other: judged.
      sends("web1", out("web1", 6, OUTSIDE[6]).icmp6({ type: 143 }).payload(20), forward),
      sends("db1", out("db1", 6, OUTSIDE[6]).icmp6({ type: 143 }).payload(20), drop("POLICY_EGRESS", "db1")),
      sends("web1", linkLocal(hostLinkLocal("web1")).tcp(syn(40000, 22)), drop("LINK_LOCAL", "web1")),
      sends("web1", echo(linkLocal(hostLinkLocal("web1")), 6, "request"), drop("LINK_LOCAL", "web1")),
      sends("web1", echo(linkLocal(guestLinkLocal("web2")), 6, "request"), drop("LINK_LOCAL", "web1")),
      sends("web1", echo(linkLocal(web2.v6), 6, "request"), drop("LINK_LOCAL", "web1")),
      sends("web1", echo(linkLocal("ff02::1", "33:33:00:00:00:01"), 6, "request"), drop("MULTICAST", "web1")),
      sends(
        "web1",
        eth({ from: web2.mac, to: "33:33:00:00:00:16" })
          .ip6({ src: guestLinkLocal("web1"), dst: "ff02::16", hop: 1 })
          .icmp6({ type: 143 })
          .payload(20),
        drop("SPOOFED_MAC", "web1"),
      ),
      sends("web1", echo(out("web1", 6, guestLinkLocal("web2")), 6, "request"), drop("LINK_LOCAL", "web1")),
      sends("web1", echo(out("web1", 6, hostLinkLocal("web1")), 6, "request"), drop("LINK_LOCAL", "web1")),
      sends(
        "open1",
        echo(
          eth({ from: open1.mac, to: open1.hostMac }).ip6({ src: guestLinkLocal("open1"), dst: web2.v6 }),
          6,
          "request",
        ),
        drop("LINK_LOCAL", "open1"),
      ),
      sends("web1", out("web1", 4, "169.254.7.7").tcp(syn(40000, 80)), drop("LINK_LOCAL", "web1")),
      sends(
        "web1",
        out("web1", 4, OUTSIDE[4], { src: "169.254.7.7" }).tcp(syn(40000, 80)),
        drop("SPOOFED_ADDRESS", "web1"),
      ),
    ],
  },
  ...each("S6", "port security off lifts source checks and groups, not the routing", (f) => [
    sends("open1", out("open1", f, OUTSIDE[f], { src: ip("web2", f) }).tcp(syn(40000, 80)), forward),
    sends("open1", out("open1", f, OUTSIDE[f], { mac: web2.mac }).tcp(syn(40001, 80)), forward),
    sends("open1", out("open1", f, ip("db1", f)).tcp(syn(40002, 5432)), drop("POLICY_INGRESS", "db1")),
    arrives(incoming(f, OUTSIDE[f], ip("open1", f)).tcp(syn(40003, 9999)), deliver("open1")),
    sends("web1", out("web1", f, ip("open1", f)).udp({ sport: 1, dport: 2 }), deliver("open1")),
    sends(
      "open1",
      out("open1", f, f === 4 ? "224.0.0.5" : "ff0e::5").udp({ sport: 1, dport: 2 }),
      drop("MULTICAST", "open1"),
    ),
    sends("open1", out("open1", f, HOST_ADDRESS[f]).tcp(syn(40004, 22)), drop("HOST_UNREACHABLE_TO_GUEST", "open1")),
    sends(
      "open1",
      out("open1", f, OUTSIDE[f], { src: f === 4 ? "127.0.0.1" : "::1" }).udp({ sport: 1, dport: 2 }),
      drop("MARTIAN", "open1"),
    ),
  ]),
  ...each("S7", "nothing else of the host is reachable", (f) => [
    sends("web1", out("web1", f, HOST_ADDRESS[f]).tcp(syn(40000, 22)), drop("HOST_UNREACHABLE_TO_GUEST", "web1")),
    sends("web1", echo(out("web1", f, HOST_ADDRESS[f]), f, "request"), drop("HOST_UNREACHABLE_TO_GUEST", "web1")),
    sends(
      "web1",
      out("web1", f, HOST_ADDRESS[f], { ttl: 1 }).udp({ sport: 40000, dport: 53 }),
      drop("HOST_UNREACHABLE_TO_GUEST", "web1"),
    ),
  ]),
  ...each("S6", "from outside with the address of a local guest", (f) => [
    arrives(incoming(f, ip("web2", f), ip("web1", f)).tcp(syn(40000, 80)), drop("UPLINK_SPOOFED", "web2")),
    arrives(incoming(f, ip("open1", f), ip("web1", f)).tcp(syn(40000, 80)), drop("UPLINK_SPOOFED", "open1")),
    arrives(incoming(f, ip("web2", f), HOST_ADDRESS[f]).tcp(syn(40000, 22)), drop("UPLINK_SPOOFED", "web2")),
    // A pair that is a prefix proves nothing about who sends.
    arrives(incoming(f, IN_PAIR_NET[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
    arrives(incoming(f, ip("far1", f), ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
    strays("web1", towards("web1", f, ip("web2", f)).tcp(syn(40000, 80)), drop("UPLINK_SPOOFED", "web2")),
  ]),
  ...each(
    "S6",
    "from outside with an address of a guest's prefix: the answer goes where the routes lead, and is dropped there",
    (f) => [
      arrives(echo(incoming(f, IN_PAIR_NET[f], ip("web1", f)), f, "request"), deliver("web1")),
      sends("web1", echo(out("web1", f, IN_PAIR_NET[f]), f, "reply"), stack("routed")),
      // There it is one that nobody has judged for this tap, from a guest of this host.
      strays(
        "pair1",
        echo(ipOf(eth({ from: pair1.hostMac, to: pair1.mac }), f, ip("web1", f), IN_PAIR_NET[f]), f, "reply"),
        drop("UPLINK_SPOOFED", "web1"),
      ),
    ],
  ),
  ...each(
    "S6",
    "a pair that is a prefix takes nothing that another has by its own address, and nothing of the host's",
    (f) => [
      sends("web1", out("web1", f, ip("far1", f)).tcp(syn(40000, 80)), forward),
      sends("web1", out("web1", f, ip("web2", f)).tcp(syn(40000, 80)), deliver("web2")),
      arrives(incoming(f, OUTSIDE[f], HOST_ADDRESS[f]).tcp(syn(40000, 22)), host),
      sends("web1", out("web1", f, HOST_ADDRESS[f]).tcp(syn(40000, 22)), drop("HOST_UNREACHABLE_TO_GUEST", "web1")),
      sends("pair1", out("pair1", f, ip("far1", f), { src: OUTSIDE[f] }).tcp(syn(40000, 80)), forward),
    ],
    { world: changed(BASE, [respec("pair1", { groups: ["web"], pairs: [{ ip: WIDE_V4 }, { ip: WIDE_V6 }] })]) },
  ),
];
