/** Why a packet was dropped, in a sentence for the operator; by the numbers of enum reason (bpf/abi.h). */
import type { Reason } from "../../abi/layout.gen.js";
import { ReasonNames } from "../../abi/layout.gen.js";

export type ReasonName = Exclude<keyof typeof Reason, "REASON_NONE" | "REASONS">;

export const REASON_SENTENCES: Readonly<Record<ReasonName, string>> = {
  NO_ENDPOINT: "The tap belongs to no endpoint that this host knows: without one nobody has said what it may do.",
  ADMIN_DOWN: "The port's admin state is down: it passes nothing.",
  ENDPOINT_IS_BLOCKED: "The endpoint's description could not be understood, so nothing passes until it can.",
  MALFORMED: "The packet's headers contradict its length or each other.",
  UNKNOWN_ETHERTYPE: "The frame is neither IPv4, IPv6 nor ARP: nothing else is routed.",
  VLAN_TAGGED: "The guest tagged the frame with a VLAN: it would leave the host tagged.",
  WRONG_DESTINATION_MAC:
    "The frame is addressed to another MAC than the host's: there is no other machine on this link.",
  SPOOFED_MAC: "The guest sent from a MAC that is neither its own nor that of an allowed address pair.",
  SPOOFED_ADDRESS: "The guest sent from an address that is neither fixed to it nor an allowed address pair.",
  SPOOFED_ARP: "The guest claimed another's address or MAC in ARP.",
  SPOOFED_ND: "The guest claimed another's address or MAC in neighbour discovery.",
  LINK_LOCAL: "Link-local addresses reach only the host, and only for neighbour and router discovery, MLD and DHCPv6.",
  MULTICAST: "Broadcast and multicast do not pass: there is no link that guests share.",
  MARTIAN: "The source or destination is an address that is never forwarded.",
  SOURCE_ROUTE: "The packet carries a source route, which would lead it past what was judged.",
  DHCP_SERVER: "A guest answered DHCP: only the host may.",
  ROUTER_ADVERTISEMENT: "A guest sent a router advertisement or a redirect: only the host may.",
  CHECKSUM_METADATA: "The frame asked the host to write a checksum elsewhere than into the header that was judged.",
  POLICY_EGRESS: "No rule of the sender's security groups admits it.",
  POLICY_INGRESS: "No rule of the receiver's security groups admits it.",
  DENIED_EGRESS: "A Deny rule that applies to the sender matched.",
  DENIED_INGRESS: "A Deny rule that applies to the receiver matched.",
  POLICY_MISSING: "The endpoint's policy has not been written yet: without it nothing is allowed.",
  FRAGMENT_WITHOUT_FIRST: "A later fragment came without its first one, which alone says what it belongs to.",
  FRAGMENT_TINY: "The first fragment does not hold the whole transport header, or a later one overlaps it.",
  EXTENSION_HEADERS:
    "The IPv6 extension headers are too many or out of order, so the transport header can't be trusted.",
  FLOW_TABLE_FULL: "The port has no entry left in the flow table: its share is used up and nothing can be borrowed.",
  ICMP_ERROR_UNRELATED: "An ICMP error about a flow that this endpoint does not have.",
  ICMP_ERROR_ABOUT_ERROR: "An ICMP error about an ICMP error, which nobody may send (RFC 1122, RFC 4443).",
  HOST_UNREACHABLE_TO_GUEST: "The packet was for the host itself, which guests do not reach unless that is configured.",
  NO_ROUTE: "The host has no route to the destination.",
  UPLINK_SPOOFED: "A packet from another host carries the address of a guest of this one.",
  RECEIVER_GONE: "The receiver has no tap on this host now.",
  RECEIVER_DOWN: "The receiver's admin state is down, or its description could not be understood.",
  ARP_ABSORBED: "ARP that needs no answer; not a fault.",
  ND_ABSORBED: "Neighbour discovery that needs no answer; not a fault.",
  UNSPECIFIED_SOURCE:
    "The guest sent from the unspecified address, which is for DHCP and duplicate address detection only.",
  SELF: "Source and destination are the same address.",
  FLOW_RACE: "Two processors wanted the same flow entry at once; the retransmission passes.",
  HOST_TO_GUEST_OFF: "The host itself sent it to the guest, which is switched off.",
  ROUTING_LOOP: "The hop limit is used up and no answer can be given.",
};

/** The name and sentence of a reason's number; unknown numbers (of a newer version) are named as such. */
export function explainReason(number: number): { readonly name: string; readonly sentence: string } {
  const name = ReasonNames[number];
  const sentence = name === undefined ? undefined : (REASON_SENTENCES as Readonly<Record<string, string>>)[name];
  return {
    name: name ?? `REASON_${number}`,
    sentence: sentence ?? `Dropped for reason ${number}, which this version does not know.`,
  };
}

/** The sentence of a reason's name. */
export const sentenceOf = (name: string): string =>
  (REASON_SENTENCES as Readonly<Record<string, string>>)[name] ?? `Dropped as ${name}.`;
