/** S7: the metadata service's address and the host's name server, which rules have no say in; and what is not served. */
import { BROADCAST, eth, type Frame } from "../../support/packet.js";
import {
  ack,
  deliver,
  drop,
  each,
  host,
  hostSends,
  incoming,
  out,
  reply,
  sends,
  arrives,
  strays,
  syn,
  towards,
  type Case,
} from "../case.js";
import {
  BASE,
  GUESTS,
  HOST_ADDRESS,
  ip,
  OUTSIDE,
  type ConformanceWorld,
  type Family,
  type GuestName,
} from "../world.js";

const METADATA = { 4: "169.254.169.254", 6: "fe80::a9fe:a9fe" } as const;
const SERVING: ConformanceWorld = { ...BASE, served: { metadata: [4, 6], names: true } };
const hostLinkLocal = (guest: GuestName): string => `fe80::fc16:3eff:fe00:${GUESTS[guest].hostMac.slice(-2)}`;
const guestLinkLocal = (guest: GuestName): string => `fe80::f816:3eff:fe00:${GUESTS[guest].mac.slice(-2)}`;
const { bare1, web1 } = GUESTS;

/** From the address by which a guest asks: over IPv6 its link-local one. */
const asks = (guest: GuestName, f: Family, dport: number, dst: string = METADATA[f]): Frame =>
  out(guest, f, dst, f === 6 ? { src: guestLinkLocal(guest) } : {}).tcp(syn(40000, dport));

const NEEDS = { world: SERVING, needs: ["services"] } as const;
const solicit = (target: string): Frame =>
  eth({ from: web1.mac, to: web1.hostMac })
    .ip6({ src: web1.v6, dst: "ff02::1:ff00:1", hop: 255 })
    .ns({ target, ll: web1.mac });

export const SERVICES: readonly Case[] = [
  ...each(
    "S7",
    "metadata is reached whatever the rules, from an address of its own; no flow is remembered",
    (f) => [
      sends("bare1", asks("bare1", f, 80), host),
      sends("bare1", out("bare1", f, METADATA[f]).tcp(ack(40000, 80)), host),
      sends("open1", asks("open1", f, 80), host),
      hostSends(
        "bare1",
        towards("bare1", f, METADATA[f]).tcp({ sport: 80, dport: 40000, flags: "SA" }),
        deliver("bare1"),
      ),
      // The answer has opened nothing: what the guest then sends to another port is no answer to it.
      sends("bare1", asks("bare1", f, 81), drop("LINK_LOCAL", "bare1")),
    ],
    NEEDS,
  ),
  ...each(
    "S7",
    "nothing but TCP to port 80 of the metadata address, and of no other like it",
    (f) => [
      sends("web1", asks("web1", f, 8775), drop("LINK_LOCAL", "web1")),
      sends("web1", out("web1", f, METADATA[f]).udp({ sport: 40000, dport: 80 }), drop("LINK_LOCAL", "web1")),
      sends("web1", out("web1", f, METADATA[f]).udp({ sport: 40000, dport: 53 }), drop("LINK_LOCAL", "web1")),
      sends("web1", asks("web1", f, 80, f === 4 ? "169.254.169.253" : "fe80::a9fe:a9ff"), drop("LINK_LOCAL", "web1")),
      sends(
        "web1",
        out("web1", f, METADATA[f], { src: ip("web2", f) }).tcp(syn(40000, 80)),
        drop("SPOOFED_ADDRESS", "web1"),
      ),
      sends(
        "web1",
        out("web1", f, METADATA[f], { mac: "fa:16:3e:00:00:99" }).tcp(syn(40000, 80)),
        drop("SPOOFED_MAC", "web1"),
      ),
      sends(
        "web1",
        out("web1", f, METADATA[f], { to: BROADCAST }).tcp(syn(40000, 80)),
        drop("WRONG_DESTINATION_MAC", "web1"),
      ),
      sends("down1", asks("down1", f, 80), drop("ADMIN_DOWN", "down1")),
      sends("bad1", asks("bad1", f, 80), drop("ENDPOINT_IS_BLOCKED", "bad1")),
    ],
    NEEDS,
  ),
  ...each(
    "S7",
    "nobody else speaks from the metadata address",
    (f) => [
      arrives(
        incoming(f, METADATA[f], ip("web1", f)).tcp({ sport: 80, dport: 40000, flags: "SA" }),
        drop("LINK_LOCAL", "web1"),
      ),
      strays(
        "web1",
        towards("web1", f, METADATA[f]).tcp({ sport: 80, dport: 40000, flags: "SA" }),
        drop("LINK_LOCAL", "web1"),
      ),
    ],
    NEEDS,
  ),
  ...each("S7", "without the service its address is as any other of the link", (f) => [
    sends("web1", asks("web1", f, 80), drop("LINK_LOCAL", "web1")),
  ]),
  ...each(
    "S7",
    "the host's name server is reached whatever the rules, by UDP and TCP",
    (f) => [
      sends("bare1", out("bare1", f, HOST_ADDRESS[f]).udp({ sport: 40000, dport: 53 }), host),
      sends("bare1", out("bare1", f, HOST_ADDRESS[f]).tcp(syn(40000, 53)), host),
      hostSends("bare1", towards("bare1", f, HOST_ADDRESS[f]).udp({ sport: 53, dport: 40000 }), deliver("bare1")),
      sends("bare1", out("bare1", f, HOST_ADDRESS[f]).udp({ sport: 40000, dport: 54 }), drop("POLICY_EGRESS", "bare1")),
      // Those of others are reached by the rules.
      sends("bare1", out("bare1", f, OUTSIDE[f]).udp({ sport: 40000, dport: 53 }), drop("POLICY_EGRESS", "bare1")),
      sends("web2", out("web2", f, ip("web1", f)).udp({ sport: 40000, dport: 53 }), drop("POLICY_INGRESS", "web1")),
      sends(
        "bare1",
        out("bare1", f, f === 4 ? "127.0.0.53" : "::1").udp({ sport: 40000, dport: 53 }),
        drop("MARTIAN", "bare1"),
      ),
    ],
    NEEDS,
  ),
  {
    clause: "S7",
    name: "the host's name server is reached at its link-local address, and no other is",
    steps: [
      sends(
        "bare1",
        out("bare1", 6, hostLinkLocal("bare1"), { src: guestLinkLocal("bare1") }).udp({ sport: 40000, dport: 53 }),
        host,
      ),
      sends("bare1", out("bare1", 6, hostLinkLocal("bare1")).tcp(syn(40000, 53)), host),
      sends(
        "bare1",
        out("bare1", 6, hostLinkLocal("bare1")).udp({ sport: 40000, dport: 54 }),
        drop("LINK_LOCAL", "bare1"),
      ),
      sends(
        "bare1",
        out("bare1", 6, hostLinkLocal("web1")).udp({ sport: 40000, dport: 53 }),
        drop("LINK_LOCAL", "bare1"),
      ),
    ],
    ...NEEDS,
  },
  {
    clause: "S7",
    name: "a lease is renewed whatever the rules",
    steps: [
      sends(
        "bare1",
        eth({ from: bare1.mac, to: bare1.hostMac })
          .ip4({ src: bare1.v4, dst: HOST_ADDRESS[4] })
          .udp({ sport: 68, dport: 67 }),
        host,
      ),
    ],
  },
  {
    clause: "S4",
    name: "who asks for the metadata address on the link is answered, where it is served",
    steps: [
      sends(
        "web1",
        eth({ from: web1.mac, to: BROADCAST }).arp({ op: 1, sha: web1.mac, spa: web1.v4, tpa: METADATA[4] }),
        reply(
          eth({ from: web1.hostMac, to: web1.mac }).arp({
            op: 2,
            sha: web1.hostMac,
            spa: METADATA[4],
            tha: web1.mac,
            tpa: web1.v4,
          }),
        ),
      ),
      sends(
        "web1",
        eth({ from: web1.mac, to: BROADCAST }).arp({ op: 1, sha: web1.mac, spa: web1.v4, tpa: "169.254.169.253" }),
        drop("ARP_ABSORBED", "web1"),
      ),
      sends(
        "web1",
        solicit(METADATA[6]),
        reply(
          eth({ from: web1.hostMac, to: web1.mac })
            .ip6({ src: METADATA[6], dst: web1.v6, hop: 255 })
            .na({ target: METADATA[6], ll: web1.hostMac, flags: 0xe0 }),
        ),
      ),
      sends("web1", solicit("fe80::a9fe:a9ff"), drop("ND_ABSORBED", "web1")),
    ],
    ...NEEDS,
  },
];
