/** S5: rules, flows, ICMP errors, fragments; what was not begun is judged as a beginning. */
import { bare } from "../../support/packet.js";
import {
  ack,
  arrives,
  deliver,
  drop,
  each,
  echo,
  forward,
  incoming,
  ipOf,
  out,
  sends,
  syn,
  tcp,
  unreachable,
  wait,
  type Case,
} from "../case.js";
import { ELSE_OUTSIDE, GUESTS, OUTSIDE, VIP, ip } from "../world.js";

export const FLOWS: readonly Case[] = [
  ...each("S5", "ingress is denied unless a rule admits it", (f) => [
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 81)), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).udp({ sport: 40000, dport: 80 }), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("bare1", f)).tcp(syn(40000, 80)), drop("POLICY_INGRESS", "bare1")),
  ]),
  ...each("S5", "egress is what the rules say", (f) => [
    sends("db1", out("db1", f, OUTSIDE[f]).udp({ sport: 40000, dport: 53 }), forward),
    sends("db1", out("db1", f, OUTSIDE[f]).tcp(syn(40000, 443)), drop("POLICY_EGRESS", "db1")),
    sends("db1", out("db1", f, ip("fardb", f)).tcp(syn(40000, 5432)), forward),
    sends("db1", out("db1", f, ip("web1", f)).tcp(syn(40000, 80)), drop("POLICY_EGRESS", "db1")),
    sends("bare1", out("bare1", f, OUTSIDE[f]).tcp(syn(40000, 443)), drop("POLICY_EGRESS", "bare1")),
  ]),
  ...each("S5", "port ranges, prefixes and protocols by number", (f) => [
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).udp({ sport: 40000, dport: 5000 }), deliver("web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).udp({ sport: 40000, dport: 5010 }), deliver("web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).udp({ sport: 40000, dport: 4999 }), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).udp({ sport: 40000, dport: 5011 }), drop("POLICY_INGRESS", "web1")),
    arrives(
      incoming(f, ELSE_OUTSIDE[f], ip("web1", f)).udp({ sport: 40000, dport: 5005 }),
      drop("POLICY_INGRESS", "web1"),
    ),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).payload(20, 47), deliver("web1")),
    arrives(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)).payload(20, 47), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).payload(20, 50), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).payload(20, 51), drop("POLICY_INGRESS", "web1")),
  ]),
  ...each("S5", "SCTP, UDP-Lite and DCCP have ports", (f) => [
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).sctp({ sport: 1, dport: 3868 }), deliver("web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).sctp({ sport: 1, dport: 3869 }), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).udplite({ sport: 1, dport: 4000 }), deliver("web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).udplite({ sport: 1, dport: 4001 }), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).dccp({ sport: 1, dport: 5001 }), deliver("web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).dccp({ sport: 1, dport: 5002 }), drop("POLICY_INGRESS", "web1")),
  ]),
  ...(["udplite", "dccp", "sctp"] as const).flatMap((protocol) =>
    each("S5", `what is answered by ${protocol} admits no other port`, (f) => {
      const [port, other] = { udplite: [4000, 4001], dccp: [5001, 5002], sctp: [3868, 3869] }[protocol] as [
        number,
        number,
      ];
      return [
        arrives(incoming(f, OUTSIDE[f], ip("web1", f))[protocol]({ sport: 1, dport: port }), deliver("web1")),
        sends("web1", out("web1", f, OUTSIDE[f])[protocol]({ sport: port, dport: 1 }), forward),
        arrives(
          incoming(f, OUTSIDE[f], ip("web1", f))[protocol]({ sport: 1, dport: other }),
          drop("POLICY_INGRESS", "web1"),
        ),
      ];
    }),
  ),
  ...each("S5", "an answer by DCCP passes whatever rules admit", (f) => [
    sends("web1", out("web1", f, OUTSIDE[f]).dccp({ sport: 7, dport: 5002 }), forward),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).dccp({ sport: 5002, dport: 7 }), deliver("web1")),
  ]),
  ...each("S5", "a remote group means its members' addresses", (f) => [
    sends("web2", out("web2", f, ip("db1", f)).tcp(syn(40000, 5432)), deliver("db1")),
    arrives(incoming(f, ip("far1", f), ip("db1", f)).tcp(syn(40000, 5432)), deliver("db1")),
    sends("vip1", out("vip1", f, ip("db1", f), { src: VIP[f] }).tcp(syn(40000, 5432)), deliver("db1")),
    sends("db2", out("db2", f, ip("db1", f)).tcp(syn(40000, 5432)), drop("POLICY_INGRESS", "db1")),
    arrives(incoming(f, OUTSIDE[f], ip("db1", f)).tcp(syn(40000, 5432)), drop("POLICY_INGRESS", "db1")),
  ]),
  {
    clause: "S5",
    name: "an IPv6 address that ends like an IPv4 member's is nobody's",
    steps: [
      arrives(incoming(6, "2001:db8::ffff:a41:b", ip("db1", 6)).tcp(syn(40000, 5432)), drop("POLICY_INGRESS", "db1")),
    ],
  },
  ...each("S5", "answers pass, both sides local", (f) => [
    sends("web1", out("web1", f, ip("db1", f)).tcp(syn(40000, 5432)), deliver("db1")),
    sends("db1", out("db1", f, ip("web1", f)).tcp(tcp(5432, 40000, "SA")), deliver("web1")),
    sends("web1", out("web1", f, ip("db1", f)).tcp(ack(40000, 5432)).payload(30), deliver("db1")),
    sends("db1", out("db1", f, ip("web1", f)).tcp(tcp(5432, 40001, "SA")), drop("POLICY_EGRESS", "db1")),
  ]),
  ...each("S5", "answers pass, UDP and other protocols", (f) => [
    sends("db1", out("db1", f, OUTSIDE[f]).udp({ sport: 40000, dport: 53 }), forward),
    arrives(incoming(f, OUTSIDE[f], ip("db1", f)).udp({ sport: 53, dport: 40000 }), deliver("db1")),
    arrives(incoming(f, OUTSIDE[f], ip("db1", f)).udp({ sport: 53, dport: 40001 }), drop("POLICY_INGRESS", "db1")),
    arrives(incoming(f, ELSE_OUTSIDE[f], ip("db1", f)).udp({ sport: 53, dport: 40000 }), drop("POLICY_INGRESS", "db1")),
    sends("web1", out("web1", f, ELSE_OUTSIDE[f]).payload(20, 47), forward),
    arrives(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)).payload(20, 47), deliver("web1")),
  ]),
  ...each("S5", "a segment of no known flow is judged as a first packet", (f) => [
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(40000, 80)), deliver("web1")),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(ack(80, 40000)), forward),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(40000, 81)), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 40000, "SA")), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 40000, "R")), drop("POLICY_INGRESS", "web1")),
  ]),
  ...each("S5", "a SYN from the other side is judged anew, and costs the flow nothing", (f) => [
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 443)), forward),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 40000, "SA")), deliver("web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(443, 40000)), drop("POLICY_INGRESS", "web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(443, 40000)), deliver("web1")),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 443)), forward),
  ]),
  ...each("S5", "a SYN on a closed entry is judged anew", (f) => [
    sends("db1", out("db1", f, OUTSIDE[f]).tcp(syn(40000, 443)), drop("POLICY_EGRESS", "db1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(tcp(80, 40000, "RA")), forward),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(tcp(80, 40000, "SA")), forward),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(40000, 80, "FA")), deliver("web1")),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(tcp(80, 40000, "FA")), forward),
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(80, 40000)), forward),
    // Now web1 is the opener: the other side's SYN is a new one, its other segments are answers.
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(40000, 80, "SA")), deliver("web1")),
  ]),
  ...each("S5", "a reset entry does not let the other side begin", (f) => [
    sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 443)), forward),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 40000, "RA")), deliver("web1")),
    arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(syn(443, 40000)), drop("POLICY_INGRESS", "web1")),
  ]),
  ...each(
    "S5",
    "flows end in time",
    (f) => [
      sends("db1", out("db1", f, OUTSIDE[f]).udp({ sport: 40000, dport: 53 }), forward),
      wait(31),
      arrives(incoming(f, OUTSIDE[f], ip("db1", f)).udp({ sport: 53, dport: 40000 }), drop("POLICY_INGRESS", "db1")),
      sends("db1", out("db1", f, OUTSIDE[f]).udp({ sport: 40001, dport: 53 }), forward),
      arrives(incoming(f, OUTSIDE[f], ip("db1", f)).udp({ sport: 53, dport: 40001 }), deliver("db1")),
      wait(150),
      arrives(incoming(f, OUTSIDE[f], ip("db1", f)).udp({ sport: 53, dport: 40001 }), deliver("db1")),
      wait(181),
      arrives(incoming(f, OUTSIDE[f], ip("db1", f)).udp({ sport: 53, dport: 40001 }), drop("POLICY_INGRESS", "db1")),
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40000, 443)), forward),
      wait(31),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 40000, "SA")), drop("POLICY_INGRESS", "web1")),
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(syn(40001, 443)), forward),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(tcp(443, 40001, "SA")), deliver("web1")),
      sends("web1", out("web1", f, OUTSIDE[f]).tcp(ack(40001, 443)), forward),
      wait(40_000),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(443, 40001)), deliver("web1")),
      wait(86_401),
      arrives(incoming(f, OUTSIDE[f], ip("web1", f)).tcp(ack(443, 40001)), drop("POLICY_INGRESS", "web1")),
    ],
    { needs: ["time"] },
  ),
  ...each("S5", "ping: the answer passes by its identifier, a stray answer is judged by its type", (f) => [
    sends("web1", echo(out("web1", f, OUTSIDE[f]), f, "request", 7), forward),
    arrives(echo(incoming(f, OUTSIDE[f], ip("web1", f)), f, "reply", 7), deliver("web1")),
    arrives(echo(incoming(f, OUTSIDE[f], ip("web1", f)), f, "reply", 8), drop("POLICY_INGRESS", "web1")),
    arrives(echo(incoming(f, ELSE_OUTSIDE[f], ip("web1", f)), f, "reply", 7), drop("POLICY_INGRESS", "web1")),
    arrives(echo(incoming(f, OUTSIDE[f], ip("web1", f)), f, "request", 9), deliver("web1")),
    arrives(echo(incoming(f, OUTSIDE[f], ip("db1", f)), f, "request", 9), drop("POLICY_INGRESS", "db1")),
    sends("db1", echo(out("db1", f, OUTSIDE[f]), f, "request", 9), drop("POLICY_EGRESS", "db1")),
  ]),
  ...each("S5", "two guests that ping each other with one identifier", (f) => [
    sends("web1", echo(out("web1", f, ip("web2", f)), f, "request", 7), deliver("web2")),
    sends("web2", echo(out("web2", f, ip("web1", f)), f, "request", 7), deliver("web1")),
    sends("web1", echo(out("web1", f, ip("web2", f)), f, "reply", 7), deliver("web2")),
    sends("web2", echo(out("web2", f, ip("web1", f)), f, "reply", 7), deliver("web1")),
    sends("web1", echo(out("web1", f, ip("db1", f)), f, "request", 7), drop("POLICY_INGRESS", "db1")),
    sends("web1", echo(out("web1", f, ip("web2", f)), f, "reply", 8), drop("POLICY_INGRESS", "web2")),
  ]),
  ...each("S5", "other ICMP is judged packet by packet", (f) => {
    const odd = (frame: ReturnType<typeof out>): ReturnType<typeof out> =>
      (f === 4 ? frame.icmp({ type: 9 }) : frame.icmp6({ type: 144 })).payload(8);
    return [
      sends("web1", odd(out("web1", f, OUTSIDE[f])), forward),
      arrives(odd(incoming(f, OUTSIDE[f], ip("web1", f))), drop("POLICY_INGRESS", "web1")),
    ];
  }),
  ...each("S5", "an ICMP error passes with the flow it is about", (f) => {
    const sent = ipOf(bare, f, ip("db1", f), OUTSIDE[f]).udp({ sport: 40000, dport: 53 });
    const never = ipOf(bare, f, ip("db1", f), OUTSIDE[f]).udp({ sport: 40009, dport: 53 });
    const theirs = ipOf(bare, f, OUTSIDE[f], ip("db1", f)).udp({ sport: 53, dport: 40000 });
    return [
      arrives(unreachable(incoming(f, ELSE_OUTSIDE[f], ip("db1", f)), f, sent), drop("ICMP_ERROR_UNRELATED", "db1")),
      sends("db1", out("db1", f, OUTSIDE[f]).udp({ sport: 40000, dport: 53 }), forward),
      arrives(unreachable(incoming(f, ELSE_OUTSIDE[f], ip("db1", f)), f, sent), deliver("db1")),
      arrives(unreachable(incoming(f, OUTSIDE[f], ip("db1", f)), f, sent), deliver("db1")),
      arrives(unreachable(incoming(f, OUTSIDE[f], ip("db1", f)), f, never), drop("ICMP_ERROR_UNRELATED", "db1")),
      // About what it received, not about what it sent.
      arrives(unreachable(incoming(f, OUTSIDE[f], ip("db1", f)), f, theirs), drop("ICMP_ERROR_UNRELATED", "db1")),
      // To another than the sender of what it is about.
      arrives(unreachable(incoming(f, OUTSIDE[f], ip("db2", f)), f, sent), drop("ICMP_ERROR_UNRELATED", "db2")),
      sends("db1", unreachable(out("db1", f, OUTSIDE[f]), f, theirs), forward),
      sends("db1", unreachable(out("db1", f, OUTSIDE[f]), f, never), drop("ICMP_ERROR_UNRELATED", "db1")),
    ];
  }),
  ...each("S5", "ICMP errors between two guests of the host", (f) => {
    const sent = ipOf(bare, f, ip("web1", f), ip("db1", f)).tcp(syn(40000, 5432));
    return [
      sends("web1", out("web1", f, ip("db1", f)).tcp(syn(40000, 5432)), deliver("db1")),
      sends("db1", unreachable(out("db1", f, ip("web1", f)), f, sent), deliver("web1")),
      // From someone who has no part in the flow.
      sends("db2", unreachable(out("db2", f, ip("web1", f)), f, sent), drop("ICMP_ERROR_UNRELATED", "db2")),
      arrives(unreachable(incoming(f, OUTSIDE[f], ip("web1", f)), f, sent), drop("ICMP_ERROR_UNRELATED", "web1")),
    ];
  }),
  ...each("S5", "never about an ICMP error, and about a ping only to who sent it", (f) => {
    const error = unreachable(
      ipOf(bare, f, ip("web1", f), OUTSIDE[f]),
      f,
      ipOf(bare, f, OUTSIDE[f], ip("web1", f)).udp({ sport: 1, dport: 2 }),
    );
    return [
      arrives(unreachable(incoming(f, OUTSIDE[f], ip("web1", f)), f, error), drop("ICMP_ERROR_ABOUT_ERROR", "web1")),
      sends(
        "web1",
        unreachable(out("web1", f, OUTSIDE[f]), f, unreachable(ipOf(bare, f, OUTSIDE[f], ip("web1", f)), f, error)),
        drop("ICMP_ERROR_ABOUT_ERROR", "web1"),
      ),
      sends("web1", echo(out("web1", f, OUTSIDE[f]), f, "request", 7), forward),
      arrives(
        unreachable(
          incoming(f, OUTSIDE[f], ip("web1", f)),
          f,
          echo(ipOf(bare, f, ip("web1", f), OUTSIDE[f]), f, "request", 7),
        ),
        deliver("web1"),
      ),
      arrives(
        unreachable(
          incoming(f, OUTSIDE[f], ip("web1", f)),
          f,
          echo(ipOf(bare, f, ip("web1", f), OUTSIDE[f]), f, "request", 8),
        ),
        drop("ICMP_ERROR_UNRELATED", "web1"),
      ),
    ];
  }),
  ...each("S5", "a stateless group: no answer passes by itself", (f) => [
    arrives(incoming(f, OUTSIDE[f], ip("free1", f)).tcp(syn(40000, 80)), deliver("free1")),
    sends("free1", out("free1", f, OUTSIDE[f]).tcp(tcp(80, 40000, "SA")), drop("POLICY_EGRESS", "free1")),
    sends("free1", out("free1", f, OUTSIDE[f]).udp({ sport: 40000, dport: 53 }), forward),
    arrives(incoming(f, OUTSIDE[f], ip("free1", f)).udp({ sport: 53, dport: 40000 }), drop("POLICY_INGRESS", "free1")),
  ]),
  ...each("S5", "a stateful guest and a stateless one: each side by its own", (f) => [
    sends("web1", out("web1", f, ip("free1", f)).tcp(syn(40000, 80)), deliver("free1")),
    sends("web1", out("web1", f, ip("free1", f)).tcp(ack(40000, 80)), deliver("free1")),
    sends("free1", out("free1", f, ip("web1", f)).tcp(tcp(80, 40000, "SA")), drop("POLICY_EGRESS", "free1")),
    sends("web1", out("web1", f, ip("free1", f)).tcp(syn(40000, 81)), drop("POLICY_INGRESS", "free1")),
    // Of a half that is not remembered no error can be known: the rules decide.
    sends(
      "free1",
      unreachable(out("free1", f, ip("web1", f)), f, ipOf(bare, f, ip("web1", f), ip("free1", f)).tcp(syn(40000, 80))),
      drop("ICMP_ERROR_UNRELATED", "free1"),
    ),
  ]),
  ...each("S5", "later fragments follow the first", (f) => {
    const first = (id: number, dport: number): ReturnType<typeof out> =>
      f === 4
        ? incoming(4, OUTSIDE[4], GUESTS.web1.v4, { id, mf: true }).udp({ sport: 40000, dport }).payload(16)
        : incoming(6, OUTSIDE[6], GUESTS.web1.v6).fragment({ id, more: true }).udp({ sport: 40000, dport }).payload(16);
    const later = (id: number, offset: number, more = false): ReturnType<typeof out> =>
      f === 4
        ? incoming(4, OUTSIDE[4], GUESTS.web1.v4, { id, offset, mf: more }).payload(16, 17)
        : incoming(6, OUTSIDE[6], GUESTS.web1.v6).fragment({ id, offset, more }).payload(16, 17);
    return [
      arrives(later(5, 24), drop("FRAGMENT_WITHOUT_FIRST", "web1")),
      arrives(first(5, 5000), deliver("web1")),
      arrives(later(5, 24, true), deliver("web1")),
      arrives(later(5, 40), deliver("web1")),
      arrives(later(6, 24), drop("FRAGMENT_WITHOUT_FIRST", "web1")),
      arrives(first(7, 4999), drop("POLICY_INGRESS", "web1")),
      arrives(later(7, 24), drop("FRAGMENT_WITHOUT_FIRST", "web1")),
    ];
  }),
  ...each("S5", "a guest's fragments", (f) => {
    const first = (dst: string): ReturnType<typeof out> =>
      f === 4
        ? out("db1", 4, dst, { id: 9, mf: true }).udp({ sport: 40000, dport: 53 }).payload(16)
        : out("db1", 6, dst).fragment({ id: 9, more: true }).udp({ sport: 40000, dport: 53 }).payload(16);
    const later = (dst: string): ReturnType<typeof out> =>
      f === 4
        ? out("db1", 4, dst, { id: 9, offset: 24 }).payload(16, 17)
        : out("db1", 6, dst).fragment({ id: 9, offset: 24 }).payload(16, 17);
    return [
      sends("db1", later(OUTSIDE[f]), drop("FRAGMENT_WITHOUT_FIRST", "db1")),
      sends("db1", first(OUTSIDE[f]), forward),
      sends("db1", later(OUTSIDE[f]), forward),
      sends("db1", later(ELSE_OUTSIDE[f]), drop("FRAGMENT_WITHOUT_FIRST", "db1")),
    ];
  }),
  ...each("S5", "tiny and overlapping fragments", (f) => {
    const tcpStart = out("web1", f, OUTSIDE[f])
      .tcp(ack(1, 2))
      .payload(4)
      .bytes()
      .subarray(f === 4 ? 34 : 54);
    const fragment = (
      offset: number,
      more: boolean,
      bytes: number | Uint8Array,
      protocol: number,
    ): ReturnType<typeof out> =>
      f === 4
        ? out("web1", 4, OUTSIDE[4], { id: 9, offset, mf: more }).payload(bytes, protocol)
        : out("web1", 6, OUTSIDE[6]).fragment({ id: 9, offset, more }).payload(bytes, protocol);
    return [
      sends("web1", fragment(0, true, 16, 6), drop("FRAGMENT_TINY", "web1")),
      sends("web1", fragment(8, true, 16, 6), drop("FRAGMENT_TINY", "web1")),
      sends("web1", fragment(0, true, tcpStart, 6), forward),
      sends("web1", fragment(24, false, 16, 6), forward),
      sends("web1", fragment(8, false, 16, 6), drop("FRAGMENT_TINY", "web1")),
      sends("web1", fragment(8, false, 16, 132), drop("FRAGMENT_TINY", "web1")),
      sends("web1", fragment(8, false, 16, 17), drop("FRAGMENT_WITHOUT_FIRST", "web1")),
    ];
  }),
  ...each(
    "S5",
    "fragments are forgotten in time",
    (f) => [
      sends(
        "web1",
        (f === 4
          ? out("web1", 4, OUTSIDE[4], { id: 9, mf: true })
          : out("web1", 6, OUTSIDE[6]).fragment({ id: 9, more: true })
        )
          .udp({ sport: 1, dport: 2 })
          .payload(16),
        forward,
      ),
      wait(31),
      sends(
        "web1",
        f === 4
          ? out("web1", 4, OUTSIDE[4], { id: 9, offset: 24 }).payload(16, 17)
          : out("web1", 6, OUTSIDE[6]).fragment({ id: 9, offset: 24 }).payload(16, 17),
        drop("FRAGMENT_WITHOUT_FIRST", "web1"),
      ),
    ],
    { needs: ["time"] },
  ),
];
