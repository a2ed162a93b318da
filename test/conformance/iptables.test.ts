import { release } from "node:os";
import { afterAll, describe, it } from "vitest";
import { endpoint } from "../support/resources.js";
import { bare } from "../support/packet.js";
import {
  arrives,
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
  type Step,
} from "./case.js";
import { CASES } from "./cases.js";
import { IptablesWorld, play } from "./iptables.js";
import { BASE, changed, ELSE_OUTSIDE, ELSEWHERE, ip, OUTSIDE, spec, VIP } from "./world.js";

/**
 * Where iptables differs from the programs, and why; README says the same. A case that is listed here and passes fails the test, so that
 * the list stays true. By name, without the family.
 */
const DIFFERS: Readonly<Record<string, string>> = {
  "a shared address: the lowest id, then whoever announced it last": "the kernel's routes decide: always the lowest id",
  "an allowed pair that is another guest's very address shares it: the lowest id is given what is sent there":
    "the kernel's routes decide, also for answers to the other",
  "left to a stateless rule, what an outsider began is nobody's: the guest's next packet begins anew":
    "to the kernel it stays one connection that the outsider began: an error about the answer is judged by the rules",
  "an expired hop limit goes up the stack, judged": "the kernel answers before FORWARD, whatever the rules say",
  "spoofed sources from the uplink, in whatever shape": "its last step is a refused packet with hop limit 1",
  "extension headers are read through, to eight": "the kernel reads more than eight",
  "hop-by-hop options come first or not at all": "the kernel does not look at those that come later",
  "ND is answered with the host's MAC for every unicast address":
    "a question without a link-layer option is answered without one: nft can't make a packet longer",
  "nobody announces what is not its own":
    "without port security an announcement of a foreign address is answered: nft can't compare two fields",
  "a pair that holds every address does not hold those that are never forwarded":
    "its last step: a packet to its own sender is told only for single addresses",
  "answers pass, UDP and other protocols": "GRE of version 1 is tracked only as PPTP has it",
  "an answer by DCCP passes whatever rules admit":
    "newer kernels know nothing of its ports: each packet is judged by the rules",
  "an ICMP error whose inside is forged opens nothing": "four bytes of the inner header are enough for conntrack",
  "later fragments follow the first": "fragments are put together before they are judged",
  "a guest's fragments": "fragments are put together before they are judged",
  "tiny and overlapping fragments": "fragments are put together before they are judged",
  "a later fragment does not lie over the header that was judged": "fragments are put together before they are judged",
  "a header behind options in the first fragment is out of reach of later ones as well":
    "fragments are put together before they are judged",
  "a whole packet in a fragment header is no first fragment, and one such header is enough":
    "fragments are put together before they are judged",
  "a fragment's identity is its sender's, its receiver's and its protocol's":
    "fragments are put together before they are judged",
};

/** The same, where the kernel is of this series or newer. */
const DIFFERS_SINCE: Readonly<Record<string, readonly [major: number, why: string]>> = {
  "two tags, either kind": [7, "nft looks behind two tags, so that two of VLAN 0 are judged as one is"],
};
const [KERNEL = 0] = release().split(".").map(Number);

function whyDiffers(name: string): string | undefined {
  const [since = Infinity, why] = DIFFERS_SINCE[name] ?? [];
  return KERNEL >= since ? why : DIFFERS[name];
}

const VIP_ELSEWHERE = changed(BASE, [
  endpoint(spec("far1", { groups: ["web"], pairs: [{ ip: VIP[4] }, { ip: VIP[6] }] }, ELSEWHERE)),
]);

/** The other side of the first two: what the kernel's routes bring to another than the opener has to pass his rules. */
const HOLDERS: readonly Case[] = [
  ...each("S6", "an answer to one holder of an address passes no other holder's rules", (f) => [
    sends("vip2", out("vip2", f, ip("web1", f), { src: VIP[f] }).tcp(syn(40000, 80)), deliver("web1")),
    sends("web1", out("web1", f, VIP[f]).tcp(tcp(80, 40000, "SA")), drop("POLICY_INGRESS", "vip1")),
    sends("vip1", out("vip1", f, ip("web1", f), { src: VIP[f] }).tcp(syn(40001, 80)), deliver("web1")),
    sends("web1", out("web1", f, VIP[f]).tcp(tcp(80, 40001, "SA")), deliver("vip1")),
  ]),
  ...each(
    "S6",
    "nor does an answer to a holder elsewhere",
    (f) => [
      arrives(incoming(f, VIP[f], ip("web1", f)).tcp(syn(40000, 80)), deliver("web1")),
      sends("web1", out("web1", f, VIP[f]).tcp(tcp(80, 40000, "SA")), drop("POLICY_INGRESS", "vip1")),
    ],
    { world: VIP_ELSEWHERE },
  ),
  ...each("S6", "nor does one that a guest without port security has drawn by another's address", (f) => [
    sends("open1", out("open1", f, ip("web1", f), { src: ip("web2", f) }).tcp(syn(40000, 80)), deliver("web1")),
    sends("web1", out("web1", f, ip("web2", f)).tcp(tcp(80, 40000, "SA")), drop("POLICY_INGRESS", "web2")),
    sends("open1", out("open1", f, ip("web1", f)).tcp(syn(40001, 80)), deliver("web1")),
    sends("web1", out("web1", f, ip("open1", f)).tcp(tcp(80, 40001, "SA")), deliver("open1")),
  ]),
  ...each("S6", "nor does an error about what one of them sent", (f) => {
    const error = (sport: number): Step =>
      arrives(
        unreachable(
          incoming(f, ELSE_OUTSIDE[f], VIP[f]),
          f,
          ipOf(bare, f, VIP[f], OUTSIDE[f]).udp({ sport, dport: 53 }),
        ),
        sport === 40006 ? deliver("vip1") : drop("ICMP_ERROR_UNRELATED", "vip1"),
      );
    return [
      sends("vip2", out("vip2", f, OUTSIDE[f], { src: VIP[f] }).udp({ sport: 40005, dport: 53 }), forward),
      error(40005),
      sends("vip1", out("vip1", f, OUTSIDE[f], { src: VIP[f] }).udp({ sport: 40006, dport: 53 }), forward),
      error(40006),
    ];
  }),
];

const world = new IptablesWorld();
afterAll(() => world.close());

for (const clause of [...new Set(CASES.map((one) => one.clause))])
  describe(`iptables: ${clause}`, () => {
    for (const one of CASES.filter((candidate) => candidate.clause === clause)) {
      const waits =
        (["time", "services", "nat"] as const).some((need) => one.needs?.includes(need) === true) ||
        one.steps.some((step) => "wait" in step);
      const why = whyDiffers(one.name.replace(/ \(v[46]\)$/, ""));
      if (why === undefined) it.skipIf(waits)(one.name, () => play(world, one));
      else it.fails(`${one.name}: differs, ${why}`, () => play(world, one));
    }
  });

describe("iptables: holders of one address", () => {
  for (const one of HOLDERS) it(one.name, () => play(world, one));
});
