/** S4, and what S6 says about ARP and ND: who is answered, what a guest may claim. */
import { BROADCAST, cat, eth, mac as macBytes, type Frame } from "../../support/packet.js";
import {
  arrives,
  deliver,
  drop,
  host,
  incoming,
  out,
  reply,
  sends,
  type Case,
  type Expectation,
  type Step,
} from "../case.js";
import {
  FAMILIES,
  GUESTS,
  HOST_ADDRESS,
  IN_PAIR_NET,
  MAC_PAIR,
  OUTSIDE,
  PAIR_MAC,
  VIP,
  type GuestName,
} from "../world.js";

const { web1, web2, vip1, open1 } = GUESTS;
const SOLICITED_NODE = "ff02::1:ff00:1";
const MULTICAST_MAC = "33:33:ff:00:00:01";
/** fe80:: with the modified EUI-64 of the tap's and the guest's MAC. */
const hostLinkLocal = (guest: GuestName): string => `fe80::fc16:3eff:fe00:${GUESTS[guest].hostMac.slice(-2)}`;
const guestLinkLocal = (guest: GuestName): string => `fe80::f816:3eff:fe00:${GUESTS[guest].mac.slice(-2)}`;

interface Ask {
  readonly sender?: string;
  readonly sha?: string;
  readonly mac?: string;
  readonly to?: string;
  readonly op?: number;
}

const arp = (guest: GuestName, target: string, ask: Ask = {}): Frame =>
  eth({ from: ask.mac ?? GUESTS[guest].mac, to: ask.to ?? BROADCAST }).arp({
    op: ask.op ?? 1,
    sha: ask.sha ?? GUESTS[guest].mac,
    spa: ask.sender ?? GUESTS[guest].v4,
    tpa: target,
  });
const arpAnswer = (guest: GuestName, target: string, sender = GUESTS[guest].v4, mac = GUESTS[guest].mac): Expectation =>
  reply(
    eth({ from: GUESTS[guest].hostMac, to: mac }).arp({
      op: 2,
      sha: GUESTS[guest].hostMac,
      spa: target,
      tha: mac,
      tpa: sender,
    }),
  );

interface Solicit {
  readonly src?: string;
  readonly ll?: string;
  readonly mac?: string;
  readonly to?: string;
  readonly hop?: number;
  readonly dst?: string;
}

const nd = (guest: GuestName, o: Solicit = {}): Frame =>
  eth({ from: o.mac ?? GUESTS[guest].mac, to: o.to ?? MULTICAST_MAC }).ip6({
    src: o.src ?? GUESTS[guest].v6,
    dst: o.dst ?? SOLICITED_NODE,
    hop: o.hop ?? 255,
  });
const ns = (guest: GuestName, target: string, o: Solicit = {}): Frame =>
  nd(guest, o).ns({ target, ...(o.src === "::" ? {} : { ll: o.ll ?? GUESTS[guest].mac }) });
const na = (guest: GuestName, target: string, o: Solicit = {}): Frame =>
  nd(guest, { dst: "ff02::1", ...o }).na({ target, ll: o.ll ?? GUESTS[guest].mac });
const ndAnswer = (guest: GuestName, target: string, to = GUESTS[guest].v6, mac = GUESTS[guest].mac): Expectation =>
  reply(
    eth({ from: GUESTS[guest].hostMac, to: mac })
      .ip6({ src: target, dst: to, hop: 255 })
      .na({ target, ll: GUESTS[guest].hostMac, flags: 0xe0 }),
  );

const toVip = (expected: GuestName, sport: number): Step[] =>
  FAMILIES.map((f) =>
    arrives(incoming(f, OUTSIDE[f], VIP[f]).tcp({ sport, dport: 80, flags: "S" }), deliver(expected)),
  );

export const NEIGHBOURS: readonly Case[] = [
  {
    clause: "S4",
    name: "ARP is answered with the host's MAC for every unicast address",
    steps: [
      ...["10.65.0.1", web2.v4, "8.8.8.8", GUESTS.far1.v4, HOST_ADDRESS[4], VIP[4]].map((target) =>
        sends("web1", arp("web1", target), arpAnswer("web1", target)),
      ),
      sends("web1", arp("web1", "10.65.0.1", { to: web1.hostMac }), arpAnswer("web1", "10.65.0.1")),
      sends("open1", arp("open1", "10.65.0.1"), arpAnswer("open1", "10.65.0.1")),
    ],
  },
  {
    clause: "S4",
    name: "ARP is not answered for its own, for probes of its own, for link-local and non-unicast",
    steps: [
      ...[web1.v4, "169.254.1.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "127.0.0.1", "0.0.0.0"].map(
        (target) => sends("web1", arp("web1", target), drop("ARP_ABSORBED", "web1")),
      ),
      sends("web1", arp("web1", web1.v4, { sender: "0.0.0.0" }), drop("ARP_ABSORBED", "web1")),
      sends("vip1", arp("vip1", VIP[4], { sender: "0.0.0.0" }), drop("ARP_ABSORBED", "vip1")),
      sends("web1", arp("web1", "10.65.0.1", { sender: "0.0.0.0" }), arpAnswer("web1", "10.65.0.1", "0.0.0.0")),
      sends("open1", arp("open1", open1.v4), drop("ARP_ABSORBED", "open1")),
    ],
  },
  {
    clause: "S4",
    name: "an allowed pair that another has is answered, one that nobody else has is not",
    steps: [
      sends("vip1", arp("vip1", VIP[4]), arpAnswer("vip1", VIP[4])),
      sends("pair1", arp("pair1", IN_PAIR_NET[4]), drop("ARP_ABSORBED", "pair1")),
      sends("vip1", ns("vip1", VIP[6]), ndAnswer("vip1", VIP[6])),
      sends("pair1", ns("pair1", IN_PAIR_NET[6]), drop("ND_ABSORBED", "pair1")),
    ],
  },
  {
    clause: "S6",
    name: "ARP must tell the truth about its sender",
    steps: [
      sends("web1", arp("web1", "10.65.0.1", { sender: web2.v4 }), drop("SPOOFED_ARP", "web1")),
      sends("web1", arp("web1", "10.65.0.1", { sha: web2.mac }), drop("SPOOFED_ARP", "web1")),
      sends("web1", arp("web1", "10.65.0.1", { mac: web2.mac }), drop("SPOOFED_MAC", "web1")),
      sends("web1", arp("web1", "10.65.0.1", { mac: web2.mac, sha: web2.mac }), drop("SPOOFED_ARP", "web1")),
      sends("web1", arp("web1", "10.65.0.1", { sender: "0.0.0.0", sha: web2.mac }), drop("SPOOFED_ARP", "web1")),
      sends("web1", arp("web1", web2.v4, { sender: web2.v4 }), drop("SPOOFED_ARP", "web1")),
      sends("web1", arp("web1", "10.65.0.1", { sender: web2.v4, op: 2 }), drop("SPOOFED_ARP", "web1")),
      sends("web1", arp("web1", "10.65.0.1", { to: web2.mac }), drop("WRONG_DESTINATION_MAC", "web1")),
      sends(
        "pair1",
        arp("pair1", "10.65.0.1", { sender: MAC_PAIR[4], mac: PAIR_MAC, sha: PAIR_MAC }),
        arpAnswer("pair1", "10.65.0.1", MAC_PAIR[4], PAIR_MAC),
      ),
      sends("pair1", arp("pair1", "10.65.0.1", { sender: MAC_PAIR[4] }), drop("SPOOFED_ARP", "pair1")),
      sends(
        "pair1",
        arp("pair1", "10.65.0.1", { sender: IN_PAIR_NET[4] }),
        arpAnswer("pair1", "10.65.0.1", IN_PAIR_NET[4]),
      ),
      sends("open1", arp("open1", "10.65.0.1", { sender: web2.v4 }), arpAnswer("open1", "10.65.0.1", web2.v4)),
    ],
  },
  {
    clause: "S6",
    name: "ARP replies and gratuitous ARP",
    steps: [
      sends("web1", arp("web1", HOST_ADDRESS[4], { op: 2, to: web1.hostMac }), host),
      sends("web1", arp("web1", web1.v4), drop("ARP_ABSORBED", "web1")),
    ],
  },
  {
    clause: "S6",
    name: "malformed ARP",
    steps: [
      sends(
        "web1",
        eth({ from: web1.mac, to: BROADCAST }).arp({ op: 1, htype: 6, sha: web1.mac, spa: web1.v4, tpa: web2.v4 }),
        drop("MALFORMED", "web1"),
      ),
      sends("web1", arp("web1", web2.v4, { op: 3 }), drop("MALFORMED", "web1")),
      sends("web1", eth({ from: web1.mac, to: BROADCAST, type: 0x0806 }).payload(20), drop("MALFORMED", "web1")),
    ],
  },
  {
    clause: "S4",
    name: "ND is answered with the host's MAC for every unicast address",
    steps: [
      ...["2001:db8:65::1", web2.v6, "2606:4700::1111", GUESTS.far1.v6, HOST_ADDRESS[6], VIP[6]].map((target) =>
        sends("web1", ns("web1", target), ndAnswer("web1", target)),
      ),
      sends("web1", ns("web1", hostLinkLocal("web1")), ndAnswer("web1", hostLinkLocal("web1"))),
      sends(
        "web1",
        ns("web1", hostLinkLocal("web1"), { src: guestLinkLocal("web1") }),
        ndAnswer("web1", hostLinkLocal("web1"), guestLinkLocal("web1")),
      ),
      sends(
        "web1",
        ns("web1", "2001:db8:65::1", { to: web1.hostMac, dst: hostLinkLocal("web1") }),
        ndAnswer("web1", "2001:db8:65::1"),
      ),
      sends("web1", nd("web1").ns({ target: "2001:db8:65::1" }), ndAnswer("web1", "2001:db8:65::1")),
      sends("open1", ns("open1", "2001:db8:65::1"), ndAnswer("open1", "2001:db8:65::1")),
    ],
  },
  {
    clause: "S4",
    name: "ND is not answered for its own, for DAD, for others' link-local and non-unicast",
    steps: [
      ...[web1.v6, guestLinkLocal("web1"), hostLinkLocal("web2"), "fe80::1", "::1", "::", "ff02::1"].map((target) =>
        sends("web1", ns("web1", target), drop("ND_ABSORBED", "web1")),
      ),
      sends("web1", ns("web1", web1.v6, { src: "::" }), drop("ND_ABSORBED", "web1")),
      sends("web1", ns("web1", guestLinkLocal("web1"), { src: "::" }), drop("ND_ABSORBED", "web1")),
      sends("web1", ns("web1", web2.v6, { src: "::" }), drop("ND_ABSORBED", "web1")),
      sends("vip1", ns("vip1", VIP[6], { src: "::" }), drop("ND_ABSORBED", "vip1")),
    ],
  },
  {
    clause: "S6",
    name: "ND must tell the truth",
    steps: [
      sends("web1", ns("web1", "2001:db8:65::1", { src: web2.v6 }), drop("SPOOFED_ND", "web1")),
      sends("web1", ns("web1", "2001:db8:65::1", { ll: web2.mac }), drop("SPOOFED_ND", "web1")),
      sends("web1", ns("web1", "2001:db8:65::1", { src: hostLinkLocal("web1") }), drop("SPOOFED_ND", "web1")),
      sends("web1", na("web1", web2.v6), drop("SPOOFED_ND", "web1")),
      sends("web1", na("web1", web1.v6, { ll: web2.mac }), drop("SPOOFED_ND", "web1")),
      sends("web1", na("web1", hostLinkLocal("web1")), drop("SPOOFED_ND", "web1")),
      sends("web1", na("web1", "2001:db8:65::1"), drop("SPOOFED_ND", "web1")),
      sends("pair1", na("pair1", MAC_PAIR[6]), drop("SPOOFED_ND", "pair1")),
      sends(
        "pair1",
        na("pair1", MAC_PAIR[6], { mac: PAIR_MAC, src: MAC_PAIR[6], ll: PAIR_MAC }),
        drop("ND_ABSORBED", "pair1"),
      ),
      sends("web1", ns("web1", "2001:db8:65::1", { mac: web2.mac }), drop("SPOOFED_MAC", "web1")),
      sends("web1", ns("web1", "2001:db8:65::1", { hop: 254 }), drop("MALFORMED", "web1")),
      sends("web1", na("web1", web1.v6, { hop: 64 }), drop("MALFORMED", "web1")),
      sends("web1", nd("web1").icmp6({ type: 135 }).payload(8), drop("MALFORMED", "web1")),
      sends(
        "web1",
        nd("web1")
          .icmp6({ type: 135 })
          .payload(cat(new Uint8Array(16), [1, 0], macBytes(web1.mac))),
        drop("MALFORMED", "web1"),
      ),
      sends("web1", ns("web1", "2001:db8:65::1", { to: web2.mac }), drop("WRONG_DESTINATION_MAC", "web1")),
    ],
  },
  {
    clause: "S6",
    name: "advertisements that are true go to the host, if to nobody else",
    steps: [
      sends("web1", na("web1", web1.v6), drop("ND_ABSORBED", "web1")),
      sends("web1", na("web1", web1.v6, { to: web1.hostMac, dst: hostLinkLocal("web1") }), host),
      sends("web1", na("web1", web1.v6, { to: web1.hostMac, dst: HOST_ADDRESS[6] }), host),
      sends(
        "web1",
        na("web1", guestLinkLocal("web1"), {
          src: guestLinkLocal("web1"),
          to: web1.hostMac,
          dst: hostLinkLocal("web1"),
        }),
        host,
      ),
    ],
  },
  {
    clause: "S6",
    name: "routers: a guest may ask, never tell",
    steps: [
      sends("web1", nd("web1", { src: guestLinkLocal("web1"), dst: "ff02::2" }).rs({ ll: web1.mac }), host),
      sends(
        "web1",
        nd("web1", { src: guestLinkLocal("web1"), dst: "ff02::2" }).rs({ ll: web2.mac }),
        drop("SPOOFED_ND", "web1"),
      ),
      sends("web1", nd("web1", { src: "::", dst: "ff02::2" }).rs(), drop("UNSPECIFIED_SOURCE", "web1")),
      // Discovery ends at the host: nothing of it is forwarded past the rules.
      sends(
        "web1",
        nd("web1", { dst: OUTSIDE[6], to: web1.hostMac }).rs({ ll: web1.mac }),
        drop("ND_ABSORBED", "web1"),
      ),
      sends("web1", na("web1", web1.v6, { dst: OUTSIDE[6], to: web1.hostMac }), drop("ND_ABSORBED", "web1")),
      sends("web1", nd("web1", { dst: "ff02::1", hop: 64 }).ra(), drop("MALFORMED", "web1")),
      sends(
        "web1",
        nd("web1", { src: guestLinkLocal("web1"), dst: "ff02::1" }).ra(),
        drop("ROUTER_ADVERTISEMENT", "web1"),
      ),
      sends(
        "web1",
        nd("web1", { src: web1.v6, dst: web2.v6, to: web1.hostMac }).ra(),
        drop("ROUTER_ADVERTISEMENT", "web1"),
      ),
      sends(
        "web1",
        nd("web1", { dst: "ff02::1" }).icmp6({ type: 137 }).payload(32),
        drop("ROUTER_ADVERTISEMENT", "web1"),
      ),
    ],
  },
  {
    clause: "S1",
    name: "a shared address: the lowest id, then whoever announced it last",
    steps: [
      ...toVip("vip1", 40000),
      sends("vip2", arp("vip2", VIP[4], { sender: VIP[4] }), drop("ARP_ABSORBED", "vip2")),
      sends("vip2", na("vip2", VIP[6], { src: VIP[6] }), drop("ND_ABSORBED", "vip2")),
      ...toVip("vip2", 40001),
      // Flows that were there stay where they are.
      ...FAMILIES.map((f) =>
        arrives(incoming(f, OUTSIDE[f], VIP[f]).tcp({ sport: 40000, dport: 80, flags: "A" }), deliver("vip1")),
      ),
      sends("vip1", arp("vip1", HOST_ADDRESS[4], { sender: VIP[4], op: 2 }), drop("ARP_ABSORBED", "vip1")),
      sends("vip1", na("vip1", VIP[6], { src: vip1.v6, to: vip1.hostMac, dst: hostLinkLocal("vip1") }), host),
      ...toVip("vip1", 40002),
      ...FAMILIES.map((f) =>
        sends("vip2", out("vip2", f, OUTSIDE[f], { src: VIP[f] }).tcp({ sport: 50000, dport: 443, flags: "S" }), {
          verdict: "forward",
        }),
      ),
      ...FAMILIES.map((f) =>
        arrives(incoming(f, OUTSIDE[f], VIP[f]).tcp({ sport: 443, dport: 50000, flags: "SA" }), deliver("vip2")),
      ),
    ],
  },
  {
    clause: "S6",
    name: "nobody announces what is not its own",
    steps: [
      sends("web1", arp("web1", VIP[4], { sender: VIP[4] }), drop("SPOOFED_ARP", "web1")),
      sends("open1", arp("open1", VIP[4], { sender: VIP[4] }), drop("ARP_ABSORBED", "open1")),
      sends("web1", na("web1", VIP[6]), drop("SPOOFED_ND", "web1")),
      ...toVip("vip1", 40000),
    ],
  },
];
