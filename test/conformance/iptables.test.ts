import { afterAll, describe, it } from "vitest";
import { CASES } from "./cases.js";
import { IptablesWorld, play } from "./iptables.js";

/**
 * Where iptables differs from the programs, and why; README says the same. A case that is listed here and passes fails the test, so that
 * the list stays true. By name, without the family.
 */
const DIFFERS: Readonly<Record<string, string>> = {
  "a shared address: the lowest id, then whoever announced it last": "the kernel's routes decide: always the lowest id",
  "an allowed pair that is another guest's very address shares it: the lowest id is given what is sent there":
    "the kernel's routes decide, also for answers to the other",
  "an expired hop limit goes up the stack, judged": "the kernel answers before FORWARD, whatever the rules say",
  "spoofed sources from the uplink, in whatever shape": "its last step is a refused packet with hop limit 1",
  "extension headers are read through, to eight": "the kernel reads more than eight",
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

const world = new IptablesWorld();
afterAll(() => world.close());

for (const clause of [...new Set(CASES.map((one) => one.clause))])
  describe(`iptables: ${clause}`, () => {
    for (const one of CASES.filter((candidate) => candidate.clause === clause)) {
      const waits =
        one.needs?.includes("time") === true ||
        one.needs?.includes("services") === true ||
        one.steps.some((step) => "wait" in step);
      const why = DIFFERS[one.name.replace(/ \(v[46]\)$/, "")];
      if (why === undefined) it.skipIf(waits)(one.name, () => play(world, one));
      else it.fails(`${one.name}: differs, ${why}`, () => play(world, one));
    }
  });
