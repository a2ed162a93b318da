/** The language of the table: frames, where they are met, and what must become of them. */
export type { At } from "../../src/compile/evaluate-types.js";
import type { At, ReasonName, StackWhy } from "../../src/compile/evaluate-types.js";
import { eth, type Frame, type Ip4 } from "../support/packet.js";
import { FAMILIES, GUESTS, UPLINK_MACS, ip, type ConformanceWorld, type Family, type GuestName } from "./world.js";

export type Expectation =
  /** `mac` where it is not the guest's own. The frame must be the one sent, rewritten for a routed hop. */
  | { readonly verdict: "deliver"; readonly to: GuestName; readonly mac?: string }
  | { readonly verdict: "forward" }
  | { readonly verdict: "stack"; readonly why: StackWhy }
  | { readonly verdict: "host" }
  | { readonly verdict: "reply"; readonly frame: Uint8Array }
  /** `at`: the guest at whose side it is counted. */
  | { readonly verdict: "drop"; readonly reason: ReasonName; readonly at?: GuestName };

export type Step =
  | { readonly at: At; readonly frame: Uint8Array; readonly expect: Expectation }
  | { readonly wait: number }
  | { readonly change: ConformanceWorld };

export type Clause = "S1" | "S2" | "S3" | "S4" | "S5" | "S6" | "S7" | "S8" | "S9" | "D2" | "D3" | "D4" | "D5";

export interface Case {
  readonly clause: Clause;
  readonly name: string;
  /** Default: BASE. */
  readonly world?: ConformanceWorld;
  readonly steps: readonly Step[];
  /** nat: what floating IPs lead to; test/traffic/floating.test.ts has it on both dataplanes. services: who answers is not in the table; test/traffic/services.test.ts has it on iptables. What a BPF test run can't set up everywhere: a tag in skb metadata, time that passes, frames without a whole IP header. */
  readonly needs?: readonly ("vlan-metadata" | "time" | "short-frames" | "services" | "nat")[];
}

export const deliver = (to: GuestName, mac?: string): Expectation => ({
  verdict: "deliver",
  to,
  ...(mac === undefined ? {} : { mac }),
});
export const forward: Expectation = { verdict: "forward" };
export const host: Expectation = { verdict: "host" };
export const stack = (why: StackWhy): Expectation => ({ verdict: "stack", why });
export const reply = (frame: Frame): Expectation => ({ verdict: "reply", frame: frame.bytes() });
export const drop = (reason: ReasonName, at?: GuestName): Expectation => ({
  verdict: "drop",
  reason,
  ...(at === undefined ? {} : { at }),
});

export const sends = (guest: GuestName, frame: Frame, expect: Expectation): Step => ({
  at: { tap: GUESTS[guest].tap },
  frame: frame.bytes(),
  expect,
});
export const arrives = (frame: Frame, expect: Expectation): Step => ({
  at: { uplink: "up0" },
  frame: frame.bytes(),
  expect,
});
/** The host itself sends to this guest's tap. */
export const hostSends = (to: GuestName, frame: Frame, expect: Expectation): Step => ({
  at: { host: true, tap: GUESTS[to].tap },
  frame: frame.bytes(),
  expect,
});
/** The stack forwards to this guest's tap what came from an interface that is not listed. */
export const strays = (to: GuestName, frame: Frame, expect: Expectation): Step => ({
  at: { other: "eth9", tap: GUESTS[to].tap },
  frame: frame.bytes(),
  expect,
});
export const wait = (seconds: number): Step => ({ wait: seconds });
export const change = (world: ConformanceWorld): Step => ({ change: world });

export interface Header extends Partial<Omit<Ip4, "dst">> {
  /** Ethernet source and destination. */
  readonly mac?: string;
  readonly to?: string;
}

/** A guest's frame up to its IP header; `ttl` is the hop limit in either family. */
export function out(guest: GuestName, family: Family, dst: string, header: Header = {}): Frame {
  const { mac, to, ...rest } = header;
  const me = GUESTS[guest];
  return ipOf(eth({ from: mac ?? me.mac, to: to ?? me.hostMac }), family, header.src ?? ip(guest, family), dst, rest);
}

/** The same as it comes in from the uplink. */
export function incoming(family: Family, src: string, dst: string, header: Header = {}): Frame {
  return ipOf(eth(UPLINK_MACS), family, src, dst, header);
}

/** As the host's stack hands it to a guest's tap. */
export function towards(guest: GuestName, family: Family, src: string, header: Header = {}): Frame {
  return ipOf(eth({ from: GUESTS[guest].hostMac, to: GUESTS[guest].mac }), family, src, ip(guest, family), header);
}

/** An IP layer of either family on top of what is there. */
export function ipOf(frame: Frame, family: Family, src: string, dst: string, header: Header = {}): Frame {
  if (family === 4) return frame.ip4({ ...header, src, dst });
  return frame.ip6({
    src,
    dst,
    ...(header.ttl === undefined ? {} : { hop: header.ttl }),
    ...(header.proto === undefined ? {} : { next: header.proto }),
  });
}

/** One case for each family; the name says which. */
export function each(
  clause: Clause,
  name: string,
  steps: (family: Family) => readonly Step[],
  more: Partial<Omit<Case, "steps">> = {},
): Case[] {
  return FAMILIES.map((family) => ({ clause, name: `${name} (v${family})`, steps: steps(family), ...more }));
}

export const syn = (sport: number, dport: number): { sport: number; dport: number; flags: string } => ({
  sport,
  dport,
  flags: "S",
});
export const ack = (sport: number, dport: number): { sport: number; dport: number; flags: string } => ({
  sport,
  dport,
  flags: "A",
});
export const tcp = (sport: number, dport: number, flags: string): { sport: number; dport: number; flags: string } => ({
  sport,
  dport,
  flags,
});

/** ICMP of the packet's family: echo by name, anything else by its numbers in v4 and v6. */
export function echo(frame: Frame, family: Family, what: "request" | "reply", id = 1): Frame {
  const type = family === 4 ? (what === "request" ? 8 : 0) : what === "request" ? 128 : 129;
  return family === 4 ? frame.icmp({ type, id, seq: 1 }).payload(16) : frame.icmp6({ type, id, seq: 1 }).payload(16);
}

/** Destination (port) unreachable, about the given packet (without Ethernet). */
export function unreachable(frame: Frame, family: Family, about: Frame): Frame {
  const inner = about.bytes();
  return family === 4
    ? frame.icmp({ type: 3, code: 3 }).payload(inner)
    : frame.icmp6({ type: 1, code: 4 }).payload(inner);
}
