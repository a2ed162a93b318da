/** What goes into the reference evaluator and what comes out; the conformance table speaks this language too. */
import type { Served } from "../model/services.js";
import type { Address, EndpointId, Mac } from "../model/types.js";

/** Names of `enum reason` in bpf/abi.h, without REASON_NONE; a test compares the two. */
export const REASON_NAMES = [
  "NO_ENDPOINT",
  "ADMIN_DOWN",
  "ENDPOINT_IS_BLOCKED",
  "MALFORMED",
  "UNKNOWN_ETHERTYPE",
  "VLAN_TAGGED",
  "WRONG_DESTINATION_MAC",
  "SPOOFED_MAC",
  "SPOOFED_ADDRESS",
  "SPOOFED_ARP",
  "SPOOFED_ND",
  "LINK_LOCAL",
  "MULTICAST",
  "MARTIAN",
  "SOURCE_ROUTE",
  "DHCP_SERVER",
  "ROUTER_ADVERTISEMENT",
  "CHECKSUM_METADATA",
  "POLICY_EGRESS",
  "POLICY_INGRESS",
  "DENIED_EGRESS",
  "DENIED_INGRESS",
  "POLICY_MISSING",
  "FRAGMENT_WITHOUT_FIRST",
  "FRAGMENT_TINY",
  "EXTENSION_HEADERS",
  "FLOW_TABLE_FULL",
  "ICMP_ERROR_UNRELATED",
  "ICMP_ERROR_ABOUT_ERROR",
  "HOST_UNREACHABLE_TO_GUEST",
  "NO_ROUTE",
  "UPLINK_SPOOFED",
  "RECEIVER_GONE",
  "RECEIVER_DOWN",
  "ARP_ABSORBED",
  "ND_ABSORBED",
  "UNSPECIFIED_SOURCE",
  "SELF",
  "FLOW_RACE",
  "HOST_TO_GUEST_OFF",
  "ROUTING_LOOP",
] as const;
export type ReasonName = (typeof REASON_NAMES)[number];

export interface Tap {
  readonly ifindex: number;
  /** The tap's own MAC: what its guest sends to. */
  readonly hostMac: Mac;
  /** L3 bytes; 0: unknown, not enforced. */
  readonly mtu: number;
}

/** What the host has besides the model: links, by name. */
export interface Interfaces {
  readonly taps: ReadonlyMap<string, Tap>;
  readonly uplinks: ReadonlySet<string>;
}

export interface EvaluatorOptions {
  /** Where the host's routes send what is for no guest of this host. Default: everything is reached by an uplink. */
  readonly fib?: (destination: Address) => "uplink" | "none" | "local-host";
  /** Targets of live migrations to which nothing leads yet. */
  readonly held?: ReadonlySet<EndpointId>;
  /** S9: what the host originates passes. Default true. */
  readonly hostToGuest?: boolean;
  /** S7: what guests reach of the host besides DHCP. Default: nothing. */
  readonly served?: Served;
  /** Who was the last to say that it has an address that several have, where that is known already. */
  readonly announcers?: ReadonlyMap<Address, EndpointId>;
}

/**
 * Where a frame is met: coming out of a guest (`tap`), in from an uplink, or about to leave by a tap towards the guest:
 * originated by the host (ingress_ifindex 0), or forwarded by the host's stack from an interface that is not listed.
 */
export type At =
  | { readonly tap: string }
  | { readonly uplink: string }
  | { readonly host: true; readonly tap: string }
  | { readonly other: string; readonly tap: string };

/**
 * floating: the kernel's NAT is to give it another address, or has given it one. routed: it belongs to a flow with somebody off this
 * host, but the kernel's routes lead to a tap, whose egress takes it for what comes from elsewhere (with a local guest's address: drops it).
 */
export type StackWhy = "hop-limit" | "too-big" | "options" | "floating" | "routed";

/** Where a packet went, and why. `rule` is the RuleKey that decided at the side judged last. */
export type Outcome = (
  | { readonly verdict: "deliver"; readonly to: EndpointId; readonly frame: Uint8Array }
  /** Off the host. MACs are the next hop's business; from the L3 header on the frame is what leaves. */
  | { readonly verdict: "forward"; readonly frame: Uint8Array }
  /** Judged and admitted, but the kernel has to do something with it. The frame is as it came. */
  | { readonly verdict: "stack"; readonly why: StackWhy }
  /** Admitted to the host itself; from an uplink: not for a guest, none of our business. */
  | { readonly verdict: "host" }
  /** Out of the tap it came from. */
  | { readonly verdict: "reply"; readonly frame: Uint8Array }
  /** `endpoint`: at whose side, where one is known. */
  | { readonly verdict: "drop"; readonly reason: ReasonName; readonly endpoint?: EndpointId }
) & { readonly rule?: string; readonly logged?: readonly string[] };

export type Verdict = Outcome["verdict"];
