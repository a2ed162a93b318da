/** Whether an ipset holds what a packet says, as ipset(8) describes its types; elements as `ipset save` prints them. Pure. */
import { contains, parsePrefix, prefixLength } from "../../model/cidr.js";
import { parseProtocol } from "../../model/protocols.js";
import type { Address } from "../../model/types.js";
import type { WalkPacket } from "./rule-match.js";
import type { RenderedSet } from "./types.js";

/** @param sides "src" or "dst" for each part of an element. A set that is not there holds nothing. */
export function matchesSet(
  set: Pick<RenderedSet, "type" | "members"> | undefined,
  sides: readonly string[],
  packet: WalkPacket,
): boolean {
  if (set === undefined) return false;
  const address = sides[0] === "src" ? packet.source : packet.destination;
  switch (set.type) {
    case "hash:ip":
      return set.members.has(address);
    case "hash:net":
      return holds(set.members, address);
    case "bitmap:port":
      return set.members.has(String(sides[0] === "src" ? packet.sourcePort : packet.destinationPort));
    case "hash:net,port": {
      const port = sides[1] === "src" ? packet.sourcePort : packet.destinationPort;
      return [...set.members].some((member) => {
        const [net = "", rest = ""] = member.split(",");
        const [protocol = "", number = ""] = rest.split(":");
        const prefix = parsePrefix(net);
        return (
          prefix !== undefined &&
          parseProtocol(protocol) === packet.protocol &&
          Number(number) === port &&
          contains(prefix, address)
        );
      });
    }
  }
}

/** The longest prefix decides; "nomatch" says no. */
function holds(members: ReadonlySet<string>, address: Address): boolean {
  if (members.has(address)) return true;
  let [best, found] = [-1, false];
  for (const member of members) {
    const [net = "", option] = member.split(" ");
    const prefix = parsePrefix(net);
    if (prefix === undefined || !contains(prefix, address) || prefixLength(prefix) <= best) continue;
    [best, found] = [prefixLength(prefix), option !== "nomatch"];
  }
  return found;
}
