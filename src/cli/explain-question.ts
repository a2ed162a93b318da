/** What `explain` is asked: flags and names to the two ends of one packet. Pure. */
import { addressToPrefix, family, isSingle, parseAddress, prefixToAddress } from "../model/cidr.js";
import { ICMP, ICMPV6, parseProtocol, PORT_PROTOCOLS, protocolName } from "../model/protocols.js";
import type { Address, Family } from "../model/types.js";
import { quote } from "../text.js";
import { CommandError, EXIT, UsageError, type FlagRow, type Invocation } from "./command.js";
import { findPort, type Port } from "./ports.js";

export interface End {
  readonly address: Address;
  /** Absent: not one of this host's. */
  readonly port?: Port;
}

export interface Question {
  readonly family: Family;
  /** IANA number. */
  readonly protocol: number;
  readonly from: End;
  readonly to: End;
  /** The host itself sends it. */
  readonly fromHost: boolean;
  /** 0 where the protocol has none. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly icmp?: { readonly type: number; readonly code: number };
  /** Of TCP. */
  readonly tcpFlags: number;
}

export const QUESTION_FLAGS: readonly FlagRow[] = [
  {
    name: "from",
    value: "PORT|ADDR",
    doc: 'Who sends: a port of this host, an address, or "host" for this host itself.',
  },
  { name: "to", value: "PORT|ADDR", doc: "Who is to get it: a port of this host, or an address." },
  { name: "proto", value: "NAME", doc: "tcp (default where --port is given), udp, icmp, sctp, … or a number." },
  { name: "port", value: "NUMBER", doc: "Destination port." },
  {
    name: "source-port",
    value: "NUMBER",
    doc: "Default 49152. That of a flow that is known shows what becomes of it.",
  },
  { name: "source-address", value: "ADDR", doc: "Of the sender, instead of its first: a pair's, or a forged one." },
  { name: "icmp-type", value: "NUMBER", doc: "Default: an echo request." },
  { name: "icmp-code", value: "NUMBER", doc: "Default 0." },
  { name: "tcp-flags", value: "LIST", doc: 'Default "syn"; any of fin,syn,rst,psh,ack.' },
  { name: "ipv6", short: "6", doc: "Take the ports' IPv6 addresses." },
];

const SOURCE_PORT = 49_152;
const FLAGS: Readonly<Record<string, number>> = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 };
const wrong = (what: string): UsageError => new UsageError(`torbie explain: ${what} (torbie explain --help)`);

export interface Host {
  readonly ports: readonly Port[];
  /** Number of the port that has a single address now. */
  readonly ownerOf: (address: Address) => number | undefined;
  /** Its own addresses. */
  readonly addresses: ReadonlySet<string>;
}

/** @throws UsageError, CommandError absent (no such port, nothing of it is on this host) */
export function questionOf({ flags }: Pick<Invocation, "flags">, host: Host): Question {
  const [from, to] = [flags.get("from"), flags.get("to")];
  if (from === undefined || to === undefined) throw wrong(`--${from === undefined ? "from" : "to"} is missing`);
  const said = flags.get("source-address");
  const source = said === undefined ? undefined : parseAddress(said);
  if (said !== undefined && source === undefined) throw wrong(`--source-address: ${quote(said, 60)} is no address`);
  const fixed = [source, parseAddress(from), parseAddress(to)].filter((address) => address !== undefined);
  const of = familyOf(fixed, flags.has("ipv6"));
  const fromHost = from === "host";
  const sender = fromHost
    ? { address: source ?? hostAddress(host.addresses, of) }
    : endOf(from, of, host, "from", source);
  const receiver = endOf(to, of, host, "to");
  if (receiver.port === undefined && (fromHost || sender.port === undefined))
    throw new CommandError(
      EXIT.absent,
      "NOT_HERE",
      `neither end is a port of this host: what others decide is to be asked on the host of ${fromHost ? quote(to, 60) : `${quote(from, 60)} or ${quote(to, 60)}`} (torbie endpoint list)`,
    );
  return { family: of, from: sender, to: receiver, fromHost, ...layer4(flags, of) };
}

function familyOf(addresses: readonly Address[], ipv6: boolean): Family {
  const families = new Set([...addresses.map((address) => family(address)), ...(ipv6 ? [6 as const] : [])]);
  if (families.size > 1)
    throw wrong(ipv6 ? "-6 and an IPv4 address contradict each other" : "one address is IPv4 and another IPv6");
  const [only] = families;
  return only ?? 4;
}

function hostAddress(addresses: ReadonlySet<string>, of: Family): Address {
  const found = [...addresses]
    .flatMap((text) => parseAddress(text) ?? [])
    .find((address) => family(address) === of && !/^(127\.|::1$|fe80:)/.test(address));
  if (found === undefined) throw wrong(`this host has no IPv${of} address of its own: name one with --source-address`);
  return found;
}

function endOf(word: string, of: Family, { ports, ownerOf }: Host, flag: string, instead?: Address): End {
  const literal = parseAddress(word);
  if (literal !== undefined) {
    const number = ownerOf(literal);
    const port = ports.find((one) => one.number === number);
    return { address: instead ?? literal, ...(port !== undefined && { port }) };
  }
  const port = findPort(ports, word);
  const address = instead ?? firstAddress(port, of);
  if (address === undefined)
    throw wrong(
      `--${flag}: ${quote(word, 60)} has no IPv${of} address${of === 4 ? " (-6 takes its IPv6 address)" : ""}`,
    );
  return { address, port };
}

/** A single address under the port's own MAC, before others. */
function firstAddress({ sources }: Port, of: Family): Address | undefined {
  const singles = sources.filter(({ prefix }) => isSingle(prefix) && family(prefixToAddress(prefix)) === of);
  const best = singles.find(({ mac }) => mac === undefined) ?? singles[0];
  return best === undefined ? undefined : prefixToAddress(best.prefix);
}

type Layer4 = Pick<Question, "protocol" | "sourcePort" | "destinationPort" | "icmp" | "tcpFlags">;

function layer4(flags: ReadonlyMap<string, string>, of: Family): Layer4 {
  const word = flags.get("proto") ?? (flags.has("port") ? "tcp" : flags.has("icmp-type") ? "icmp" : undefined);
  if (word === undefined) throw wrong("--proto is missing: tcp, udp, icmp, … or a number");
  const named = parseProtocol(word);
  if (named === undefined) throw wrong(`--proto: no protocol is called ${quote(word, 40)}`);
  const protocol = named === ICMP && of === 6 ? ICMPV6 : named;
  const icmp = protocol === (of === 4 ? ICMP : ICMPV6);
  const ports = PORT_PROTOCOLS.has(protocol);
  const refuse = (names: readonly string[], unless: boolean): void => {
    const extra = names.find((name) => flags.has(name));
    if (extra !== undefined && !unless) throw wrong(`--${extra} makes no sense with ${protocolName(protocol)}`);
  };
  refuse(["port", "source-port"], ports);
  refuse(["icmp-type", "icmp-code"], icmp);
  refuse(["tcp-flags"], protocol === 6);
  if (ports && !flags.has("port")) throw wrong(`--port is missing: where ${protocolName(protocol)} goes to`);
  return {
    protocol,
    sourcePort: ports ? numberOf(flags, "source-port", 0xffff, SOURCE_PORT) : 0,
    destinationPort: ports ? numberOf(flags, "port", 0xffff, 0) : 0,
    tcpFlags: protocol === 6 ? tcpFlags(flags.get("tcp-flags") ?? "syn") : 0,
    ...(icmp && {
      icmp: {
        type: numberOf(flags, "icmp-type", 255, of === 4 ? 8 : 128),
        code: numberOf(flags, "icmp-code", 255, 0),
      },
    }),
  };
}

function numberOf(flags: ReadonlyMap<string, string>, name: string, most: number, fallback: number): number {
  const said = flags.get(name);
  if (said === undefined) return fallback;
  const number = /^\d{1,5}$/.test(said) ? Number(said) : Infinity;
  if (number > most) throw wrong(`--${name}: expected a number from 0 to ${most}, not ${quote(said, 40)}`);
  return number;
}

function tcpFlags(list: string): number {
  return list
    .toLowerCase()
    .split(",")
    .reduce((bits, word) => {
      const bit = Object.hasOwn(FLAGS, word) ? FLAGS[word] : undefined;
      if (bit === undefined) throw wrong(`--tcp-flags: ${quote(word, 40)} is none of ${Object.keys(FLAGS).join(", ")}`);
      return bits | bit;
    }, 0);
}

/** "tcp 10.65.0.11:49152 -> 10.65.0.12:80". */
export function questionText({ protocol, from, to, sourcePort, destinationPort, icmp }: Question): string {
  const end = (address: Address, port: number): string =>
    !PORT_PROTOCOLS.has(protocol) ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  const kind = icmp === undefined ? "" : ` type ${icmp.type} code ${icmp.code}`;
  return `${protocolName(protocol)}${kind} ${end(from.address, sourcePort)} -> ${end(to.address, destinationPort)}`;
}

/** Whether a port's prefix is exactly this address. */
export const hasAddress = ({ sources }: Pick<Port, "sources">, address: Address): boolean =>
  sources.some(({ prefix }) => prefix === addressToPrefix(address));
