/** What a guest or a neighbour on the uplink tries: parsers that disagree, addresses that are not theirs, answers that nobody asked for. */
import { group } from "../../support/resources.js";
import { bare, BROADCAST, eth, type Frame } from "../../support/packet.js";
import {
  ack,
  arrives,
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
  wait,
  type Case,
  type Step,
} from "../case.js";
import {
  ANYTHING,
  BASE,
  both,
  changed,
  GUESTS,
  HOST_ADDRESS,
  OUTSIDE,
  respec,
  UPLINK_MACS,
  WEB_INGRESS,
  ip,
  type Family,
} from "../world.js";

const { web1, web2, db1, open1, pair1 } = GUESTS;
const hostLinkLocal = (name: keyof typeof GUESTS): string =>
  `fe80::fc16:3eff:fe00:${parseInt(GUESTS[name].hostMac.slice(-2), 16).toString(16)}`;
const guestLinkLocal = (name: keyof typeof GUESTS): string =>
  `fe80::f816:3eff:fe00:${parseInt(GUESTS[name].mac.slice(-2), 16).toString(16)}`;
/** The step with some bytes of its frame, counted from the IP header, replaced. */
const patched = (step: Step, at: number, ...bytes: number[]): Step => {
  if (!("frame" in step)) throw new Error("no frame");
  const frame = step.frame.slice();
  frame.set(bytes, 14 + at);
  return { ...step, frame };
};
/** Where L4 begins in a packet without options. */
const l4 = (f: Family): number => (f === 4 ? 20 : 40);
/** The L4 bytes of a TCP SYN from web1 to the outside, with a right checksum. */
const synBytes = (f: Family, dport: number): Uint8Array =>
  out("web1", f, OUTSIDE[f])
    .tcp(syn(40000, dport))
    .payload(24)
    .bytes()
    .subarray(14 + l4(f));
const pairWithAll = changed(BASE, [respec("pair1", { groups: ["web"], pairs: [{ ip: "0.0.0.0/0" }, { ip: "::/0" }] })]);
const dhcpAllowed = changed(BASE, [
  group("web", {
    ingress: [...WEB_INGRESS, ...both({ protocol: 17, destination: { ports: [67, 547] } })],
    egress: ANYTHING,
  }),
]);
const pieces = (
  id: number,
  offset: number,
  more: boolean,
): { id: number; offset: number; mf: boolean; more: boolean } => ({ id, offset, mf: more, more });

const fragmentOut = (
  f: Family,
  id: number,
  offset: number,
  more: boolean,
  content: number | Uint8Array,
  protocol: number,
): Frame => {
  const { mf } = pieces(id, offset, more);
  return f === 4
    ? out("web1", 4, OUTSIDE[4], { id, offset, mf }).payload(content, protocol)
    : out("web1", 6, OUTSIDE[6]).fragment({ id, offset, more }).payload(content, protocol);
};

export const HOSTILE: readonly Case[] = [
  ...each("S5", "a TCP header shorter than TCP's is malformed", (f) => [
    patched(sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 80)), drop("MALFORMED", "web1")), l4(f) + 12, 0x40),
    patched(sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 80)), drop("MALFORMED", "web1")), l4(f) + 12, 0x00),
    patched(
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), drop("MALFORMED", "web1")),
      l4(f) + 12,
      0x40,
    ),
  ]),
  ...each("S5", "odd TCP flags open nothing that a SYN would not", (f) => [
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(40000, 81, "SF")), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(40000, 81, "")), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(40000, 81, "SFRPAU")), drop("POLICY_INGRESS", "web1")),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 443)), forward),
    // From the other side a SYN is new, whatever else it says that is no answer.
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 40000, "SF")), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 40000, "SPU")), drop("POLICY_INGRESS", "web1")),
  ]),
  ...each("S5", "a later fragment does not lie over the header that was judged", (f) => [
    sends("web1", fragmentOut(f, 9, 0, true, synBytes(f, 443), 6), forward),
    sends("web1", fragmentOut(f, 9, 16, false, 16, 6), drop("FRAGMENT_TINY", "web1")),
    sends("web1", fragmentOut(f, 9, 24, false, 16, 6), forward),
    // Another protocol, another packet.
    sends("web1", fragmentOut(f, 9, 24, false, 16, 17), drop("FRAGMENT_WITHOUT_FIRST", "web1")),
  ]),
  {
    clause: "S5",
    name: "a header behind options in the first fragment is out of reach of later ones as well",
    steps: [
      sends(
        "web1",
        out("web1", 6, OUTSIDE[6])
          .fragment({ id: 9, more: true })
          .destinationOptions()
          .destinationOptions()
          .payload(synBytes(6, 443), 6),
        forward,
      ),
      sends(
        "web1",
        out("web1", 6, OUTSIDE[6]).fragment({ id: 9, offset: 16, more: true }).payload(8, 60),
        drop("FRAGMENT_TINY", "web1"),
      ),
      sends(
        "web1",
        out("web1", 6, OUTSIDE[6]).fragment({ id: 9, offset: 32, more: true }).payload(8, 60),
        drop("FRAGMENT_TINY", "web1"),
      ),
      sends("web1", out("web1", 6, OUTSIDE[6]).fragment({ id: 9, offset: 40, more: true }).payload(8, 60), forward),
      sends(
        "web1",
        out("web1", 6, OUTSIDE[6]).fragment({ id: 9, offset: 16, more: true }).payload(8, 6),
        drop("FRAGMENT_WITHOUT_FIRST", "web1"),
      ),
      arrives(
        incoming(6, OUTSIDE[6], web1.v6)
          .fragment({ id: 8, more: true })
          .destinationOptions()
          .tcp(syn(40000, 80))
          .payload(4),
        deliver("web1"),
      ),
      arrives(
        incoming(6, OUTSIDE[6], web1.v6).fragment({ id: 8, offset: 8 }).payload(16, 60),
        drop("FRAGMENT_TINY", "web1"),
      ),
      arrives(incoming(6, OUTSIDE[6], web1.v6).fragment({ id: 8, offset: 32 }).payload(16, 60), deliver("web1")),
    ],
  },
  {
    clause: "S5",
    name: "a whole packet in a fragment header is no first fragment, and one such header is enough",
    steps: [
      sends("web1", out("web1", 6, OUTSIDE[6]).fragment({ id: 9 }).tcp(syn(40000, 443)), forward),
      sends(
        "web1",
        out("web1", 6, OUTSIDE[6]).fragment({ id: 9, offset: 24 }).payload(16, 6),
        drop("FRAGMENT_WITHOUT_FIRST", "web1"),
      ),
      sends(
        "web1",
        out("web1", 6, OUTSIDE[6]).fragment({ id: 9 }).fragment({ id: 9 }).tcp(syn(40000, 443)),
        drop("EXTENSION_HEADERS", "web1"),
      ),
      sends(
        "web1",
        out("web1", 6, OUTSIDE[6]).fragment({ id: 9, more: true }).fragment({ id: 9 }).tcp(syn(40000, 443)),
        drop("EXTENSION_HEADERS", "web1"),
      ),
      sends(
        "web1",
        out("web1", 6, OUTSIDE[6]).fragment({ id: 9 }).fragment({ id: 9, offset: 24 }).payload(16, 6),
        drop("EXTENSION_HEADERS", "web1"),
      ),
    ],
  },
  ...each("S5", "a fragment's identity is its sender's, its receiver's and its protocol's", (f) => {
    const first = (to: "web1" | "web2"): Frame =>
      (f === 4
        ? incoming(4, OUTSIDE[4], ip(to, 4), { id: 5, mf: true })
        : incoming(6, OUTSIDE[6], ip(to, 6)).fragment({ id: 5, more: true })
      )
        .udp({ sport: 40000, dport: 5000 })
        .payload(16);
    const later = (src: string, to: "web1" | "web2" | "db1", protocol = 17): Frame =>
      (f === 4
        ? incoming(4, src, ip(to, 4), { id: 5, offset: 24 })
        : incoming(6, src, ip(to, 6)).fragment({ id: 5, offset: 24 })
      ).payload(16, protocol);
    return [
      arrives(first("web1"), deliver("web1")),
      arrives(later(OUTSIDE[f], "web2"), drop("FRAGMENT_WITHOUT_FIRST", "web2")),
      arrives(later(OUTSIDE[f], "db1"), drop("FRAGMENT_WITHOUT_FIRST", "db1")),
      arrives(later(OUTSIDE[f], "web1", 6), drop("FRAGMENT_WITHOUT_FIRST", "web1")),
      arrives(later(ip("web2", f), "web1"), drop("UPLINK_SPOOFED", "web2")),
      // A guest that may send from there does not go on with what came from outside.
      sends(
        "open1",
        (f === 4
          ? out("open1", 4, web1.v4, { src: OUTSIDE[4], id: 5, offset: 24 })
          : out("open1", 6, web1.v6, { src: OUTSIDE[6] }).fragment({ id: 5, offset: 24 })
        ).payload(16, 17),
        drop("FRAGMENT_WITHOUT_FIRST", "open1"),
      ),
      arrives(later(OUTSIDE[f], "web1"), deliver("web1")),
    ];
  }),
  ...each(
    "S6",
    "a pair that holds every address does not hold those that are never forwarded",
    (f) => [
      sends(
        "pair1",
        out("pair1", f, OUTSIDE[f], { src: f === 4 ? "127.0.0.1" : "::1" }).tcp(syn(40000, 80)),
        drop("MARTIAN", "pair1"),
      ),
      sends(
        "pair1",
        out("pair1", f, ip("web1", f), { src: f === 4 ? "224.0.0.1" : "ff02::1" }).tcp(syn(40000, 80)),
        drop("MARTIAN", "pair1"),
      ),
      sends(
        "pair1",
        out("pair1", f, ip("web1", f), { src: f === 4 ? "255.255.255.255" : "ff0e::1" }).tcp(syn(40000, 80)),
        drop("MARTIAN", "pair1"),
      ),
      sends("pair1", out("pair1", f, OUTSIDE[f], { src: OUTSIDE[f] }).tcp(syn(40000, 80)), drop("SELF", "pair1")),
      sends("pair1", out("pair1", f, ip("web1", f), { src: HOST_ADDRESS[f] }).tcp(syn(40000, 80)), deliver("web1")),
    ],
    { world: pairWithAll },
  ),
  {
    clause: "S6",
    name: "an IPv4 address in IPv6's clothes is nobody's",
    steps: [
      sends("web1", out("web1", 6, `::ffff:${web2.v4}`).tcp(syn(40000, 80)), drop("MARTIAN", "web1")),
      sends(
        "web1",
        out("web1", 6, OUTSIDE[6], { src: `::ffff:${web1.v4}` }).tcp(syn(40000, 80)),
        drop("MARTIAN", "web1"),
      ),
      sends("open1", out("open1", 6, `::ffff:${web2.v4}`).tcp(syn(40000, 80)), drop("MARTIAN", "open1")),
      arrives(incoming(6, `::ffff:${web2.v4}`, web1.v6).tcp(syn(40000, 80)), drop("MARTIAN", "web1")),
    ],
  },
  {
    clause: "S6",
    name: "the host's own link-local address is the host's",
    steps: [
      sends(
        "web1",
        eth({ from: web1.mac, to: "33:33:00:00:00:16" })
          .ip6({ src: hostLinkLocal("web1"), dst: "ff02::16", hop: 1 })
          .icmp6({ type: 143 })
          .payload(20),
        drop("SPOOFED_ADDRESS", "web1"),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: "33:33:00:01:00:02" })
          .ip6({ src: hostLinkLocal("web1"), dst: "ff02::1:2" })
          .udp({ sport: 546, dport: 547 })
          .payload(50),
        drop("SPOOFED_ADDRESS", "web1"),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: "33:33:00:01:00:02" })
          .ip6({ src: guestLinkLocal("web1"), dst: "ff02::1:2" })
          .udp({ sport: 546, dport: 547 })
          .payload(50),
        host,
      ),
    ],
  },
  {
    clause: "S6",
    name: "discovery is sent to the host or to the multicast of IPv6, by whomever",
    steps: [
      sends(
        "web1",
        eth({ from: web1.mac, to: BROADCAST })
          .ip6({ src: web1.v6, dst: "ff02::1:ff00:1", hop: 255 })
          .ns({ target: "2001:db8:65::1", ll: web1.mac }),
        drop("WRONG_DESTINATION_MAC", "web1"),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: web2.mac })
          .ip6({ src: web1.v6, dst: "2001:db8:65::1", hop: 255 })
          .ns({ target: "2001:db8:65::1", ll: web1.mac }),
        drop("WRONG_DESTINATION_MAC", "web1"),
      ),
      sends(
        "open1",
        eth({ from: open1.mac, to: web2.mac })
          .ip6({ src: open1.v6, dst: "2001:db8:65::1", hop: 255 })
          .ns({ target: "2001:db8:65::1", ll: open1.mac }),
        drop("WRONG_DESTINATION_MAC", "open1"),
      ),
      sends(
        "open1",
        eth({ from: open1.mac, to: BROADCAST })
          .ip6({ src: open1.v6, dst: "ff02::1", hop: 255 })
          .na({ target: open1.v6, ll: open1.mac }),
        drop("WRONG_DESTINATION_MAC", "open1"),
      ),
    ],
  },
  ...each("S2", "link-local addresses do not come from beyond the link", (f) => {
    const src = f === 4 ? "169.254.169.254" : "fe80::1";
    return [
      arrives(incoming(f, src, ip("web1", f)).tcp(syn(40000, 80)), drop("LINK_LOCAL", "web1")),
      strays("web1", towards("web1", f, src).tcp(syn(40000, 80)), drop("LINK_LOCAL", "web1")),
      // Nor does what the host has begun there let anyone else answer.
      ...(f === 4
        ? [
            hostSends("web1", towards("web1", 4, src).tcp(syn(40000, 22)), deliver("web1")),
            arrives(incoming(4, src, web1.v4).tcp(ack(40000, 22)), drop("LINK_LOCAL", "web1")),
          ]
        : []),
    ];
  }),
  ...each(
    "S6",
    "an answer to a DHCP client is a server's, whoever asked",
    (f) => {
      const [client, server] = f === 4 ? [68, 67] : [546, 547];
      return [
        arrives(incoming(f, OUTSIDE[f], ip("web1", f)).udp({ sport: client, dport: server }), deliver("web1")),
        sends("web1", out("web1", f, OUTSIDE[f]).udp({ sport: server, dport: client }), drop("DHCP_SERVER", "web1")),
        sends("web2", out("web2", f, ip("web1", f)).udp({ sport: client, dport: server }), deliver("web1")),
        sends("web1", out("web1", f, ip("web2", f)).udp({ sport: server, dport: client }), drop("DHCP_SERVER", "web1")),
      ];
    },
    { world: dhcpAllowed },
  ),
  ...each(
    "S5",
    "a connection that nobody confirms is half open, and ends as such",
    (f) => [
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(tcp(80, 40000, "SA")), forward),
      wait(40),
      // Judged as a beginning: web1 may send anything, so look at the other side.
      arrives(incoming(f, OUTSIDE[f], ip("db1", f)).tcp(ack(40000, 80)), drop("POLICY_INGRESS", "db1")),
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(41000, 443)), forward),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 41000, "SA")), deliver("web1")),
      wait(40),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(443, 41000)), drop("POLICY_INGRESS", "web1")),
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(42000, 443)), forward),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 42000, "SA")), deliver("web1")),
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(ack(42000, 443)), forward),
      wait(40),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(443, 42000)), deliver("web1")),
    ],
    { needs: ["time"] },
  ),
  ...each("S5", "an ICMP error whose inside is forged opens nothing", (f) => {
    const flow = ipOf(bare, f, ip("web1", f), OUTSIDE[f]).udp({ sport: 40000, dport: 53 });
    const cut = (bytes: number): Frame => {
      const inner = flow
        .payload(8)
        .bytes()
        .subarray(0, l4(f) + bytes);
      return f === 4
        ? incoming(4, OUTSIDE[4], web1.v4).icmp({ type: 3, code: 3 }).payload(inner)
        : incoming(6, OUTSIDE[6], web1.v6).icmp6({ type: 1, code: 4 }).payload(inner);
    };
    const later =
      f === 4
        ? bare.ip4({ src: web1.v4, dst: OUTSIDE[4], id: 5, offset: 24 }).payload(16, 17)
        : bare.ip6({ src: web1.v6, dst: OUTSIDE[6] }).fragment({ id: 5, offset: 24 }).payload(16, 17);
    const foreign = ipOf(bare, f, ip("db1", f), OUTSIDE[f]).udp({ sport: 40000, dport: 53 });
    return [
      sends("web1", out("web1", f, OUTSIDE[f]).udp({ sport: 40000, dport: 53 }), forward),
      arrives(cut(8), deliver("web1")),
      arrives(cut(4), drop("ICMP_ERROR_UNRELATED", "web1")),
      arrives(cut(0), drop("ICMP_ERROR_UNRELATED", "web1")),
      arrives(unreachable(incoming(f, OUTSIDE[f], ip("web1", f)), f, later), drop("ICMP_ERROR_UNRELATED", "web1")),
      arrives(unreachable(incoming(f, OUTSIDE[f], ip("web1", f)), f, foreign), drop("ICMP_ERROR_UNRELATED", "web1")),
      // Sent by a guest about someone else's flow, to the one whose it is.
      sends("web2", unreachable(out("web2", f, ip("web1", f)), f, flow), drop("ICMP_ERROR_UNRELATED", "web1")),
      // The other way round: about what the far end sent, to the far end; from web1 it is an answer, from web2 not.
      sends(
        "web1",
        unreachable(
          out("web1", f, OUTSIDE[f]),
          f,
          ipOf(bare, f, OUTSIDE[f], ip("web1", f)).udp({ sport: 53, dport: 40000 }),
        ),
        forward,
      ),
      sends(
        "db1",
        unreachable(
          out("db1", f, OUTSIDE[f]),
          f,
          ipOf(bare, f, OUTSIDE[f], ip("web1", f)).udp({ sport: 53, dport: 40000 }),
        ),
        drop("ICMP_ERROR_UNRELATED", "db1"),
      ),
      sends("db1", unreachable(out("db1", f, ip("web1", f)), f, flow), drop("ICMP_ERROR_UNRELATED", "db1")),
    ];
  }),
  ...each(
    "S5",
    "an ICMP error neither keeps a flow alive nor opens one",
    (f) => {
      const flow = ipOf(bare, f, ip("db1", f), OUTSIDE[f]).udp({ sport: 40000, dport: 53 });
      return [
        sends("db1", out("db1", f, OUTSIDE[f]).udp({ sport: 40000, dport: 53 }), forward),
        wait(20),
        arrives(unreachable(incoming(f, OUTSIDE[f], ip("db1", f)), f, flow), deliver("db1")),
        wait(20),
        arrives(unreachable(incoming(f, OUTSIDE[f], ip("db1", f)), f, flow), drop("ICMP_ERROR_UNRELATED", "db1")),
        arrives(incoming(f, OUTSIDE[f], ip("db1", f)).udp({ sport: 53, dport: 40000 }), drop("POLICY_INGRESS", "db1")),
      ];
    },
    { needs: ["time"] },
  ),
  ...each("S5", "pings with another's identifier, and answers before the question", (f) => [
    sends("db1", echo(out("db1", f, OUTSIDE[f]), f, "reply", 7), drop("POLICY_EGRESS", "db1")),
    arrives(echo(incoming(f, OUTSIDE[f], ip("db1", f)), f, "reply", 7), drop("POLICY_INGRESS", "db1")),
    arrives(echo(incoming(f, OUTSIDE[f], ip("web1", f)), f, "request", 7), deliver("web1")),
    arrives(echo(incoming(f, OUTSIDE[f], ip("web1", f)), f, "reply", 7), drop("POLICY_INGRESS", "web1")),
    sends("web1", echo(out("web1", f, OUTSIDE[f]), f, "reply", 7), forward),
    sends("db1", echo(out("db1", f, OUTSIDE[f]), f, "reply", 7), drop("POLICY_EGRESS", "db1")),
  ]),
  {
    clause: "S6",
    name: "port security off does not make a router: advertisements and redirects arrive as what was forwarded",
    steps: [
      sends(
        "open1",
        eth({ from: open1.mac, to: open1.hostMac })
          .ip6({ src: guestLinkLocal("open1"), dst: web2.v6, hop: 255 })
          .ra(),
        drop("LINK_LOCAL", "open1"),
      ),
      sends(
        "open1",
        eth({ from: open1.mac, to: "33:33:00:00:00:01" })
          .ip6({ src: guestLinkLocal("open1"), dst: "ff02::1", hop: 255 })
          .ra(),
        drop("MULTICAST", "open1"),
      ),
      // With its hop limit below 255 by then (RFC 4861 §6.1.2).
      sends("open1", out("open1", 6, db1.v6, { ttl: 255 }).ra(), drop("POLICY_INGRESS", "db1")),
    ],
  },
  ...each("S9", "what the host began is for the one it was begun with", (f) => [
    hostSends("web1", towards("web1", f, HOST_ADDRESS[f]).udp({ sport: 40000, dport: 53 }), deliver("web1")),
    sends(
      "open1",
      out("open1", f, HOST_ADDRESS[f], { src: ip("web1", f) }).udp({ sport: 53, dport: 40000 }),
      drop("HOST_UNREACHABLE_TO_GUEST", "open1"),
    ),
    sends(
      "web1",
      out("web1", f, HOST_ADDRESS[f]).udp({ sport: 54, dport: 40000 }),
      drop("HOST_UNREACHABLE_TO_GUEST", "web1"),
    ),
    arrives(incoming(f, HOST_ADDRESS[f], ip("db1", f)).udp({ sport: 40000, dport: 53 }), drop("POLICY_INGRESS", "db1")),
  ]),
  ...each("S6", "spoofed sources from the uplink, in whatever shape", (f) => [
    arrives(echo(incoming(f, ip("web2", f), ip("web1", f)), f, "request"), drop("UPLINK_SPOOFED", "web2")),
    arrives(
      unreachable(
        incoming(f, ip("web2", f), ip("web1", f)),
        f,
        ipOf(bare, f, ip("web1", f), ip("web2", f)).udp({ sport: 1, dport: 2 }),
      ),
      drop("UPLINK_SPOOFED", "web2"),
    ),
    arrives(
      (f === 4
        ? incoming(4, web2.v4, web1.v4, { id: 3, offset: 64 })
        : incoming(6, web2.v6, web1.v6).fragment({ id: 3, offset: 64 })
      ).payload(16, 17),
      drop("UPLINK_SPOOFED", "web2"),
    ),
    arrives(incoming(f, ip("web1", f), ip("web1", f)).tcp(syn(40000, 80)), drop("UPLINK_SPOOFED", "web1")),
    // A flow between two guests of this host is not continued from outside.
    sends("web2", out("web2", f, ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
    arrives(incoming(f, ip("web2", f), ip("web1", f)).tcp(ack(40000, 80)), drop("UPLINK_SPOOFED", "web2")),
    arrives(
      ipOf(eth({ ...UPLINK_MACS }), f, OUTSIDE[f], ip("web1", f), { ttl: 1 }).tcp(syn(40000, 81)),
      drop("POLICY_INGRESS", "web1"),
    ),
  ]),
  ...each("S6", "two tags, either kind", (f) => [
    sends(
      "web1",
      ipOf(
        eth({ from: web1.mac, to: web1.hostMac }).vlan(0, { tpid: 0x88a8 }).vlan(0),
        f,
        ip("web1", f),
        ip("web2", f),
      ).tcp(syn(40000, 80)),
      drop("VLAN_TAGGED", "web1"),
    ),
    sends(
      "pair1",
      ipOf(
        eth({ from: pair1.mac, to: pair1.hostMac }).vlan(0).vlan(0, { tpid: 0x88a8 }),
        f,
        ip("pair1", f),
        ip("web2", f),
      ).tcp(syn(40000, 80)),
      drop("VLAN_TAGGED", "pair1"),
    ),
  ]),
];
