/**
 * One rule as iptables-save prints it, read back into what it asks of a packet and what it does: the words that our rendering uses
 * (filter.ts, endpoints.ts, policy.ts, rules.ts), in either back end's spelling. A word that is none of them makes the rule foreign.
 * Of a first packet: no connection is known. Pure.
 */
import { contains, parsePrefix } from "../../model/cidr.js";
import { parseProtocol } from "../../model/protocols.js";
import type { Address, Family } from "../../model/types.js";
import { matchesSet } from "./set-match.js";
import type { RenderedSet } from "./types.js";
import { matchesU32 } from "./u32.js";

export interface WalkPacket {
  readonly family: Family;
  /** IANA number. */
  readonly protocol: number;
  readonly source: Address;
  readonly destination: Address;
  /** Where it was sent to before NAT made it this. */
  readonly asked?: Address;
  /** 0 where the protocol has none. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly icmp?: { readonly type: number; readonly code: number };
  readonly tcpFlags: number;
  /** From the L3 header on. */
  readonly bytes: Uint8Array;
  readonly in?: string;
  readonly out?: string;
}

/** What rules note in the packet. */
export interface Marks {
  mark: number;
  connmark: number;
}

export type Sets = ReadonlyMap<string, Pick<RenderedSet, "type" | "members">>;
type Test = (packet: WalkPacket, marks: Marks, sets: Sets) => boolean;

export interface Rule {
  readonly tests: readonly Test[];
  /** A chain's name, ACCEPT, DROP, RETURN, MARK, CONNMARK or LOG; undefined: it only counts. */
  readonly target: string | undefined;
  readonly goto: boolean;
  /** Of MARK and CONNMARK: bits to clear, then to flip. */
  readonly xmark?: { readonly value: number; readonly mask: number };
}

/** Undefined: not one of ours. */
export function parseRule(text: string): Rule | undefined {
  const words = text.match(/"(?:[^"\\]|\\.)*"|\S+/g)?.map((word) => word.replace(/^"(.*)"$/, "$1")) ?? [];
  const tests: Test[] = [];
  let module = "";
  let target: string | undefined;
  let goto = false;
  let xmark: Rule["xmark"];
  while (words.length > 0) {
    const not = words[0] === "!";
    if (not) words.shift();
    const word = words.shift() ?? "";
    const next = (): string => words.shift() ?? "";
    if (word === "-m") {
      module = next();
      continue;
    }
    if (word === "-j" || word === "-g") {
      target = next();
      goto = word === "-g";
    } else if (word === "--set-xmark" && (target === "MARK" || target === "CONNMARK")) {
      const [value = NaN, mask = 0xffffffff] = next().split("/").map(Number);
      if (Number.isNaN(value)) return undefined;
      xmark = { value, mask };
    } else if (target === "LOG" && word.startsWith("--log-")) next();
    else if (module === "limit" && word.startsWith("--limit")) next();
    else {
      const test = testOf(word, module, next);
      if (test === undefined) return undefined;
      tests.push(not ? (...of) => !test(...of) : test);
    }
  }
  return { tests, target, goto, ...(xmark === undefined ? {} : { xmark }) };
}

const TCP_FLAGS: Readonly<Record<string, number>> = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, NONE: 0 };
const flagsOf = (text: string): number => text.split(",").reduce((all, name) => all | (TCP_FLAGS[name] ?? 0), 0);
const ICMP_ERRORS: Readonly<Record<Family, readonly number[]>> = { 4: [3, 4, 5, 11, 12], 6: [1, 2, 3, 4] };
const ICMP_ANSWERS: Readonly<Record<Family, readonly number[]>> = { 4: [0, 14, 16, 18], 6: [129] };

/** As connection tracking calls a packet of no known connection (nf_conntrack_proto_*.c, with tcp_loose): NEW, or INVALID. */
export function connectionState({ family, icmp, protocol, tcpFlags }: WalkPacket): "NEW" | "INVALID" {
  if (icmp !== undefined)
    return ICMP_ERRORS[family].includes(icmp.type) || ICMP_ANSWERS[family].includes(icmp.type) ? "INVALID" : "NEW";
  if (protocol !== 6) return "NEW";
  const flags = tcpFlags & 0x17;
  return flags === 2 || flags === 16 ? "NEW" : "INVALID";
}

function testOf(word: string, module: string, next: () => string): Test | undefined {
  switch (word) {
    case "-i":
    case "-o": {
      const name = next();
      const of = word === "-i" ? "in" : "out";
      return (packet) => fitsName(packet[of], name);
    }
    case "-s":
      return within("source", next());
    case "-d":
    case "--ctreplsrc":
      return within("destination", next());
    case "--ctorigdst": {
      const test = within("destination", next());
      return (
        test && ((packet, ...rest) => test({ ...packet, destination: packet.asked ?? packet.destination }, ...rest))
      );
    }
    case "--ctorigsrc":
      return within("source", next());
    case "-p":
    case "--ctproto": {
      const protocol = protocolOf(next());
      return protocol === undefined ? undefined : (packet) => packet.protocol === protocol;
    }
    case "--sport":
    case "--sports":
      return ranged("sourcePort", next());
    case "--dport":
    case "--dports":
    case "--ctorigdstport":
      return ranged("destinationPort", next());
    case "--tcp-flags": {
      const [mask, wanted] = [flagsOf(next()), flagsOf(next())];
      return ({ tcpFlags }) => (tcpFlags & mask) === wanted;
    }
    case "--icmp-type":
    case "--icmpv6-type": {
      const [type = NaN, code] = next().split("/").map(Number);
      if (Number.isNaN(type)) return undefined;
      return ({ icmp }) => icmp?.type === type && (code === undefined || icmp.code === code);
    }
    case "--ctstate": {
      const states = next().split(",");
      return (packet) =>
        states.includes(connectionState(packet)) || (packet.asked !== undefined && states.includes("DNAT"));
    }
    case "--ctdir": {
      const original = next() === "ORIGINAL";
      return () => original;
    }
    case "--mark": {
      const [value = NaN, mask = 0xffffffff] = next().split("/").map(Number);
      if (Number.isNaN(value) || (module !== "mark" && module !== "connmark")) return undefined;
      return (_, { mark, connmark }) => ((module === "mark" ? mark : connmark) & mask) >>> 0 === value >>> 0;
    }
    case "--match-set": {
      const [name, sides] = [next(), next().split(",")];
      return (packet, _, sets) => matchesSet(sets.get(name), sides, packet);
    }
    case "--u32": {
      const text = next();
      return ({ bytes }) => matchesU32(text, bytes);
    }
    case "--rt-segsleft":
      next();
      return () => false; // what is asked about has no routing header
    default:
      return undefined;
  }
}

const fitsName = (name: string | undefined, pattern: string): boolean =>
  name !== undefined && (pattern.endsWith("+") ? name.startsWith(pattern.slice(0, -1)) : name === pattern);

function protocolOf(word: string): number | undefined {
  return /^\d{1,3}$/.test(word) ? Number(word) : word === "ipv6-icmp" ? 58 : parseProtocol(word);
}

function within(side: "source" | "destination", text: string): Test | undefined {
  if (/^::ffff:/.test(text)) return () => false; // IPv4-mapped: no address that can be asked about is
  const prefix = parsePrefix(text);
  return prefix === undefined ? undefined : (packet) => contains(prefix, packet[side]);
}

function ranged(side: "sourcePort" | "destinationPort", text: string): Test | undefined {
  const ranges = text.split(",").map((part) => part.split(":").map(Number));
  if (ranges.some(([first = NaN]) => Number.isNaN(first))) return undefined;
  return (packet) => ranges.some(([first = 0, last = first]) => packet[side] >= first && packet[side] <= last);
}
