/** S1-S3, D4: who reaches whom, always by way of a routed hop, with their own addresses. */
import { bare, eth, BROADCAST, PROTOCOL, type Frame } from "../../support/packet.js";
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
  unreachable,
  type Case,
} from "../case.js";
import { ELSE_OUTSIDE, GUESTS, HOST_ADDRESS, NO_ROUTE, OUTSIDE, ip, type Family } from "../world.js";

const web1 = GUESTS.web1;
const GROUP_MAC = { 4: "01:00:5e:00:00:fb", 6: "33:33:00:00:00:fb" } as const;
const GROUP_ADDRESS = { 4: "224.0.0.251", 6: "ff02::fb" } as const;
const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;
const frameOfType = (type: number): ReturnType<typeof eth> =>
  eth({ from: web1.mac, to: web1.hostMac, type }).payload(46);

export const REACH: readonly Case[] = [
  ...each("S1", "same subnet, same host", (f) => [
    sends("web2", out("web2", f, ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
  ]),
  ...each("S1", "another subnet, same host", (f) => [
    sends("db1", out("db1", f, ip("db2", f)).tcp(syn(40000, 5432)), drop("POLICY_INGRESS", "db2")),
    sends("web1", out("web1", f, ip("db2", f)).tcp(syn(40000, 5432)), deliver("db2")),
  ]),
  ...each("S1", "a guest of another host", (f) => [
    sends("web1", out("web1", f, ip("far1", f)).tcp(syn(40000, 80)), forward),
  ]),
  ...each("S1", "from a guest of another host, by its group", (f) => [
    arrives(incoming(f, ip("far1", f), ip("db1", f)).tcp(syn(40000, 5432)), deliver("db1")),
    arrives(incoming(f, ip("fardb", f), ip("db1", f)).tcp(syn(40001, 5432)), drop("POLICY_INGRESS", "db1")),
  ]),
  ...each("S1", "outside, and the answer", (f) => [
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 443)), forward),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp({ sport: 443, dport: 40000, flags: "SA" }), deliver("web1")),
  ]),
  ...each("S1", "no route", (f) => [
    sends("web1", out("web1", f, NO_ROUTE[f]).tcp(syn(40000, 443)), drop("NO_ROUTE", "web1")),
  ]),
  ...each("S1", "a receiver without a tap", (f) => [
    sends("web1", out("web1", f, ip("gone1", f)).tcp(syn(40000, 80)), drop("RECEIVER_GONE", "gone1")),
    arrives(incoming(f, OUTSIDE[f], ip("gone1", f)).tcp(syn(40000, 80)), drop("RECEIVER_GONE", "gone1")),
  ]),
  ...each("S1", "not for a guest: none of our business", (f) => [
    arrives(incoming(f, OUTSIDE[f], HOST_ADDRESS[f]).tcp(syn(40000, 22)), host),
    arrives(incoming(f, OUTSIDE[f], ELSE_OUTSIDE[f]).tcp(syn(40000, 22)), host),
  ]),
  ...each("S2", "an expired hop limit goes up the stack, judged", (f) => [
    sends("web1", out("web1", f, ip("web2", f), { ttl: 1 }).tcp(syn(40000, 80)), stack("hop-limit")),
    sends("web1", out("web1", f, OUTSIDE[f], { ttl: 1 }).udp({ sport: 40000, dport: 33434 }), stack("hop-limit")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f), { ttl: 1 }).tcp(syn(40000, 80)), stack("hop-limit")),
    sends("web1", out("web1", f, ip("web2", f), { ttl: 1 }).tcp(syn(40000, 81)), drop("POLICY_INGRESS", "web2")),
    sends(
      "web1",
      out("web1", f, NO_ROUTE[f], { ttl: 1 }).udp({ sport: 40000, dport: 33434 }),
      drop("NO_ROUTE", "web1"),
    ),
  ]),
  ...each("S2", "hop limit 2 leaves with 1", (f) => [
    sends("web1", out("web1", f, ip("web2", f), { ttl: 2 }).tcp(syn(40000, 80)), deliver("web2")),
  ]),
  ...each("S2", "multicast does not pass, whatever MAC it is sent to", (f) => [
    sends("web1", out("web1", f, GROUP_ADDRESS[f]).udp({ sport: 5353, dport: 5353 }), drop("MULTICAST", "web1")),
    sends(
      "web1",
      out("web1", f, GROUP_ADDRESS[f], { to: GROUP_MAC[f] }).udp({ sport: 5353, dport: 5353 }),
      drop("MULTICAST", "web1"),
    ),
    strays("web1", towards("web1", f, OUTSIDE[f]).tcp(syn(40000, 80)), deliver("web1")),
    strays(
      "web1",
      ipOf(eth({ from: web1.hostMac, to: GROUP_MAC[f] }), f, OUTSIDE[f], GROUP_ADDRESS[f]).udp({
        sport: 5353,
        dport: 5353,
      }),
      drop("MULTICAST", "web1"),
    ),
  ]),
  {
    clause: "S2",
    name: "broadcast does not pass",
    steps: [
      sends("web1", out("web1", 4, "255.255.255.255").udp({ sport: 5000, dport: 5000 }), drop("MULTICAST", "web1")),
      sends(
        "web1",
        out("web1", 4, "255.255.255.255", { to: BROADCAST }).udp({ sport: 5000, dport: 5000 }),
        drop("MULTICAST", "web1"),
      ),
    ],
  },
  {
    clause: "S2",
    name: "raw L2 protocols do not pass",
    steps: [
      sends("web1", frameOfType(0x88cc), drop("UNKNOWN_ETHERTYPE", "web1")),
      sends("web1", frameOfType(0x0026), drop("UNKNOWN_ETHERTYPE", "web1")),
      sends("web1", frameOfType(0x8863), drop("UNKNOWN_ETHERTYPE", "web1")),
      sends("web1", frameOfType(0x8847), drop("UNKNOWN_ETHERTYPE", "web1")),
      sends(
        "open1",
        eth({ from: GUESTS.open1.mac, to: GUESTS.open1.hostMac, type: 0x88cc }).payload(46),
        drop("UNKNOWN_ETHERTYPE", "open1"),
      ),
      strays(
        "web1",
        eth({ from: web1.hostMac, to: web1.mac, type: 0x88cc }).payload(46),
        drop("UNKNOWN_ETHERTYPE", "web1"),
      ),
    ],
  },
  ...each("S2", "martian destinations and itself", (f) => [
    sends("web1", out("web1", f, LOOPBACK[f]).tcp(syn(40000, 80)), drop("MARTIAN", "web1")),
    sends("web1", out("web1", f, ip("web1", f)).tcp(syn(40000, 80)), drop("SELF", "web1")),
    sends("open1", out("open1", f, LOOPBACK[f]).tcp(syn(40000, 80)), drop("MARTIAN", "open1")),
  ]),
  {
    clause: "S2",
    name: "martians of one family",
    steps: [
      ...["0.0.0.0", "0.1.2.3", "240.0.0.1"].map((to) =>
        sends("web1", out("web1", 4, to).udp({ sport: 1, dport: 2 }), drop("MARTIAN", "web1")),
      ),
      ...["::", "::ffff:10.65.0.12"].map((to) =>
        sends("web1", out("web1", 6, to).udp({ sport: 1, dport: 2 }), drop("MARTIAN", "web1")),
      ),
      arrives(incoming(4, "127.0.0.1", web1.v4).tcp(syn(40000, 80)), drop("MARTIAN", "web1")),
      arrives(incoming(4, "224.0.0.1", web1.v4).tcp(syn(40000, 80)), drop("MARTIAN", "web1")),
      arrives(incoming(6, "::1", web1.v6).tcp(syn(40000, 80)), drop("MARTIAN", "web1")),
      arrives(incoming(6, "ff02::1", web1.v6).tcp(syn(40000, 80)), drop("MARTIAN", "web1")),
    ],
  },
  ...each("S3", "the source address arrives as it was sent", (f) => [
    sends("web1", echo(out("web1", f, ip("web2", f)), f, "request"), deliver("web2")),
    sends("web2", echo(out("web2", f, ip("web1", f)), f, "reply"), deliver("web1")),
    // The answer comes from the very address that was asked, or is none.
    arrives(echo(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)), f, "reply"), drop("POLICY_INGRESS", "web1")),
  ]),
  ...each("D4", "too big for the receiver's tap goes up the stack", (f) => [
    sends("web1", out("web1", f, ip("thin1", f)).tcp(ack(40000, 80)).payload(1300), stack("too-big")),
    sends("web1", out("web1", f, ip("thin1", f)).tcp(ack(40000, 80)).payload(1200), deliver("thin1")),
    arrives(incoming(f, OUTSIDE[f], ip("thin1", f)).tcp(ack(40000, 80)).payload(1300), stack("too-big")),
  ]),
  {
    clause: "D4",
    name: "IPv4 options and hop-by-hop headers: judged, then up the stack; source routes never",
    steps: [
      sends("web1", out("web1", 4, GUESTS.web2.v4, { options: [148, 4, 0, 0] }).tcp(syn(40000, 80)), stack("options")),
      sends(
        "web1",
        out("web1", 4, GUESTS.web2.v4, { options: [148, 4, 0, 0] }).tcp(syn(40000, 81)),
        drop("POLICY_INGRESS", "web2"),
      ),
      sends(
        "web1",
        out("web1", 4, GUESTS.web2.v4, { options: [131, 7, 4, 10, 0, 0, 1, 0] }).tcp(syn(40000, 80)),
        drop("SOURCE_ROUTE", "web1"),
      ),
      sends(
        "web1",
        out("web1", 4, GUESTS.web2.v4, { options: [1, 137, 7, 4, 10, 0, 0, 1] }).tcp(syn(40000, 80)),
        drop("SOURCE_ROUTE", "web1"),
      ),
      sends("web1", out("web1", 6, GUESTS.web2.v6).hopByHop().tcp(syn(40000, 80)), stack("options")),
      sends("web1", out("web1", 6, GUESTS.web2.v6).hopByHop().tcp(syn(40000, 81)), drop("POLICY_INGRESS", "web2")),
      sends(
        "web1",
        out("web1", 6, GUESTS.web2.v6).routing({ left: 1 }).tcp(syn(40000, 80)),
        drop("SOURCE_ROUTE", "web1"),
      ),
      arrives(
        incoming(6, OUTSIDE[6], web1.v6).routing({ left: 1, type: 0 }).tcp(syn(40000, 80)),
        drop("SOURCE_ROUTE", "web1"),
      ),
      arrives(
        incoming(4, OUTSIDE[4], web1.v4, { options: [131, 7, 4, 10, 0, 0, 1, 0] }).tcp(syn(40000, 80)),
        drop("SOURCE_ROUTE", "web1"),
      ),
    ],
  },
  {
    clause: "D4",
    name: "extension headers are read through, to eight",
    steps: [
      sends(
        "web1",
        out("web1", 6, GUESTS.web2.v6).destinationOptions().routing({ left: 0 }).tcp(syn(40000, 80)),
        deliver("web2"),
      ),
      sends(
        "web1",
        out("web1", 6, GUESTS.web2.v6).destinationOptions().routing({ left: 0 }).tcp(syn(40000, 81)),
        drop("POLICY_INGRESS", "web2"),
      ),
      sends("web1", manyHeaders(8).tcp(syn(40001, 80)), deliver("web2")),
      sends("web1", manyHeaders(9).tcp(syn(40002, 80)), drop("EXTENSION_HEADERS", "web1")),
    ],
  },
  {
    clause: "D4",
    name: "hop-by-hop options come first or not at all",
    steps: [
      sends("web1", manyHeaders(0).hopByHop().tcp(syn(40003, 80)), stack("options")),
      ...[1, 2, 3].map((before) =>
        sends("web1", manyHeaders(before).hopByHop().tcp(syn(40003, 80)), drop("EXTENSION_HEADERS", "web1")),
      ),
    ],
  },
  {
    clause: "D4",
    name: "an extension header is no longer than its packet, whatever protocol the rules admit",
    steps: [
      ...[0, 1, 2].flatMap((before) => [
        sends("web1", beyond(toOutside(before), 253), drop("MALFORMED", "web1")),
        sends("web1", beyond(toOutside(before), 6), drop("MALFORMED", "web1")),
        sends("web1", ending(toOutside(before), 253), forward),
        // What it answers is known by now, and its header all the same too long.
        arrives(ending(incoming(6, OUTSIDE[6], GUESTS.web1.v6), 253), deliver("web1")),
        arrives(beyond(incoming(6, OUTSIDE[6], GUESTS.web1.v6), 253), drop("MALFORMED", "web1")),
      ]),
      sends("web1", toOutside(1).routing({ left: 0 }).payload(8, 253), forward),
      sends(
        "web1",
        toOutside(0).payload(Uint8Array.of(253, 0), PROTOCOL.destinationOptions),
        drop("MALFORMED", "web1"),
      ),
    ],
  },
  // Linux 6.18 refuses to run a program on them (EINVAL).
  {
    clause: "D4",
    name: "packets shorter than their IP header",
    needs: ["short-frames"],
    steps: [
      sends("web1", eth({ from: web1.mac, to: web1.hostMac, type: 0x0800 }).payload(8), drop("MALFORMED", "web1")),
      sends("web1", eth({ from: web1.mac, to: web1.hostMac, type: 0x86dd }).payload(30), drop("MALFORMED", "web1")),
    ],
  },
  {
    clause: "D4",
    name: "malformed packets",
    steps: [
      ...[{ version: 6 }, { ihl: 4 }, { length: 19 }, { length: 2000 }].map((fault) =>
        sends("web1", out("web1", 4, GUESTS.web2.v4, fault).tcp(syn(40000, 80)), drop("MALFORMED", "web1")),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: web1.hostMac })
          .ip6({ src: web1.v6, dst: GUESTS.web2.v6, length: 2000 })
          .tcp(syn(40000, 80)),
        drop("MALFORMED", "web1"),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: web1.hostMac })
          .ip6({ src: web1.v6, dst: GUESTS.web2.v6, version: 4 })
          .tcp(syn(40000, 80)),
        drop("MALFORMED", "web1"),
      ),
      ...([4, 6] as const).flatMap((f: Family) =>
        [6, 17, 132, 136, 33, f === 4 ? 1 : 58].map((protocol) =>
          sends("web1", out("web1", f, ip("web2", f)).payload(7, protocol), drop("MALFORMED", "web1")),
        ),
      ),
      arrives(incoming(4, OUTSIDE[4], web1.v4, { ihl: 4 }).tcp(syn(40000, 80)), drop("MALFORMED", "web1")),
    ],
  },
  ...each("D4", "bytes behind the packet do not count", (f) => [
    sends("web1", out("web1", f, ip("web2", f), f === 4 ? { length: 40 } : {}).tcp(syn(40000, 80)), deliver("web2")),
  ]),
  ...each("S1", "an error about a packet that nobody sent is judged by the rules", (f) => [
    sends(
      "web1",
      unreachable(
        out("web1", f, ip("web2", f)),
        f,
        ipOf(bare, f, ip("web2", f), ip("web1", f)).udp({ sport: 1, dport: 2 }),
      ),
      drop("ICMP_ERROR_UNRELATED", "web2"),
    ),
    sends(
      "web1",
      unreachable(out("web1", f, OUTSIDE[f]), f, ipOf(bare, f, OUTSIDE[f], ip("web1", f)).udp({ sport: 1, dport: 2 })),
      forward,
    ),
  ]),
];

function manyHeaders(count: number): Frame {
  return behind(out("web1", 6, GUESTS.web2.v6), count);
}

function toOutside(count: number): Frame {
  return behind(out("web1", 6, OUTSIDE[6]), count);
}

function behind(frame: Frame, headers: number): Frame {
  for (let i = 0; i < headers; i++) frame = frame.destinationOptions();
  return frame;
}

/** Destination options of 32 bytes by their own account, of which 24 are there. */
function beyond(frame: Frame, next: number): Frame {
  return frame.payload(Uint8Array.of(next, 3, 1, 20, ...new Uint8Array(20)), PROTOCOL.destinationOptions);
}

/** The same with the whole of it there, and nothing behind. */
function ending(frame: Frame, next: number): Frame {
  return frame.payload(Uint8Array.of(next, 3, 1, 28, ...new Uint8Array(28)), PROTOCOL.destinationOptions);
}
