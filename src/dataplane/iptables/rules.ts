/**
 * The rules of one policy in one direction and family → one chain, and the sets that its rules look into. Rules of one action in a
 * row commute, so each such run is sorted by what it asks: thousands of rules come to a handful of lookups. Pure.
 */
import { ANY_CLASS, type ClassKey, type DesiredRule } from "../../compile/desired.js";
import { normalise } from "../../compile/ranges.js";
import { family } from "../../model/cidr.js";
import type { Family, PortRange, Prefix } from "../../model/types.js";
import { sayable } from "./members.js";
import { classSet, ruleSet, type Direction } from "./names.js";
import type { RenderedSet } from "./types.js";

export const ALLOW = "TRB-allow";
export const ALLOW_STATELESS = "TRB-allowst";
export const PASS = "TRB-pass";

/** More ranges than this of one protocol are a set. */
const FEW_RANGES = 4;
/** A rule with more elements than this asks by itself instead of in the set that it would share. */
const MOST_ELEMENTS = 128;
/** "-m multiport" has room for 15 ports; a range takes two. */
const MULTIPORT = 15;
const TCP = 6;
const UDP = 17;
/** xt_set finds ports of these (ip_set_getport.c), under these names; DCCP has none. */
const SET_PROTOCOLS: Readonly<Record<number, string>> = { 6: "tcp", 17: "udp", 132: "sctp", 136: "udplite" };
const EVERY_PORT: readonly PortRange[] = [{ first: 0, last: 65535 }];

export interface RuleChain {
  readonly rules: readonly string[];
  readonly sets: readonly RenderedSet[];
  /** Classes whose sets it names. */
  readonly classes: readonly ClassKey[];
}

interface Place {
  readonly policy: string;
  readonly direction: Direction;
  readonly family: Family;
}

export function renderRules(all: readonly DesiredRule[], place: Place): RuleChain {
  const rules: string[] = [];
  const sets: RenderedSet[] = [];
  const classes = new Set<ClassKey>();
  let run: DesiredRule[] = [];
  let number = 0;
  const flush = (): void => {
    if (run.length > 0) new Run(run, place, number++, { rules, sets, classes }).render();
    run = [];
  };
  for (const rule of all) {
    if (!rule.families.includes(place.family)) continue;
    const [before] = run;
    if (before !== undefined && (before.action !== rule.action || before.stateless !== rule.stateless)) flush();
    // Each has its own words in the log.
    if (rule.action === "log") flush();
    run.push(rule);
    if (rule.action === "log") flush();
  }
  flush();
  return { rules, sets, classes: [...classes] };
}

interface Output {
  readonly rules: string[];
  readonly sets: RenderedSet[];
  readonly classes: Set<ClassKey>;
}

class Run {
  readonly #target: string;
  readonly #remote: "src" | "dst";
  /** Elements of the sets of networks, by what the rule asks besides: "" nothing, else a protocol's match. */
  readonly #nets = new Map<string, Set<string>>();
  readonly #netPorts = new Set<string>();

  constructor(
    private readonly run: readonly DesiredRule[],
    private readonly place: Place,
    private readonly number: number,
    private readonly out: Output,
  ) {
    this.#remote = place.direction === "ingress" ? "src" : "dst";
    this.#target = targetOf(run[0]);
  }

  render(): void {
    /** Class → match of the protocol → ranges. */
    const rest = new Map<ClassKey, Map<Asked, PortRange[] | undefined>>();
    for (const rule of this.run) {
      const nets = netsOf(rule.remote)?.filter((net) => family(net) === this.place.family);
      if (rule.sourcePorts !== undefined) this.#alone(rule);
      else if (nets !== undefined) this.#ofNets(rule, nets);
      else this.#collect(rest, rule);
    }
    if (this.#netPorts.size > 0)
      this.#emit(`${this.#match(this.#set("np", "hash:net,port", this.#netPorts), `${this.#remote},dst`)}`);
    for (const [match, members] of this.#nets)
      this.#emit(`${match}${this.#match(this.#set(`n${match}`, "hash:net", members), this.#remote)}`);
    for (const [key, protocols] of rest)
      for (const [protocol, ranges] of protocols)
        for (const match of this.#transport(protocol, ranges, key)) this.#emit(`${this.#class(key)}${match}`);
  }

  #emit(match: string): void {
    this.out.rules.push(`${match.trim()} ${this.#target}`.trim());
  }

  #set(what: string, type: RenderedSet["type"], members: ReadonlySet<string>): string {
    const { policy, direction, family: of } = this.place;
    const name = ruleSet(policy, `${direction} ${this.number} ${what}`, of);
    this.out.sets.push({ name, type, family: of, members });
    return name;
  }

  #match = (set: string, sides: string): string => `-m set --match-set ${set} ${sides} `;

  #class(key: ClassKey): string {
    if (key === ANY_CLASS) return "";
    const nets = netsOf(key)?.filter((net) => family(net) === this.place.family);
    const [only] = nets ?? [];
    if (nets?.length === 1 && only !== undefined) return `${this.#remote === "src" ? "-s" : "-d"} ${only} `;
    this.out.classes.add(key);
    return this.#match(classSet(key, this.place.family), this.#remote);
  }

  /** Everything that it says, each protocol by itself. */
  #alone(rule: DesiredRule): void {
    const from = chunks(rule.sourcePorts ?? EVERY_PORT);
    for (const protocol of rule.protocols ?? [])
      for (const match of this.#transport(protocol, rule.ports, rule.remote))
        for (const part of from) this.#emit(`${this.#class(rule.remote)}${match}-m multiport --sports ${part} `);
  }

  /** Networks by themselves: elements of a set that all such rules of the run share. */
  #ofNets(rule: DesiredRule, nets: readonly Prefix[]): void {
    const parts = nets.flatMap(sayable);
    const add = (match: string): void => {
      const members = this.#nets.get(match) ?? new Set();
      for (const part of parts) members.add(part);
      this.#nets.set(match, members);
    };
    for (const protocol of askedOf(rule)) {
      if (typeof protocol === "string") {
        for (const match of this.#transport(protocol, undefined, rule.remote)) add(match);
        continue;
      }
      const name = SET_PROTOCOLS[protocol];
      const ports = (rule.ports ?? EVERY_PORT).reduce((sum, { first, last }) => sum + last - first + 1, 0);
      if (rule.ports === undefined) for (const match of this.#protocol(protocol)) add(match);
      else if (name !== undefined && ports * parts.length <= MOST_ELEMENTS) {
        for (const { first, last } of rule.ports)
          for (let port = first; port <= last; port++)
            for (const part of parts) this.#netPorts.add(`${part},${name}:${port}`);
      } else for (const match of this.#transport(protocol, rule.ports, rule.remote)) add(match);
    }
  }

  #collect(rest: Map<ClassKey, Map<Asked, PortRange[] | undefined>>, rule: DesiredRule): void {
    const protocols = rest.get(rule.remote) ?? new Map<Asked, PortRange[] | undefined>();
    rest.set(rule.remote, protocols);
    for (const protocol of askedOf(rule)) {
      if (rule.ports === undefined) protocols.set(protocol, undefined);
      else if (!protocols.has(protocol)) protocols.set(protocol, [...rule.ports]);
      else protocols.get(protocol)?.push(...rule.ports);
    }
  }

  /** Matches that together say: this protocol, these ports (or types and codes). */
  #transport(protocol: Asked, ranges: readonly PortRange[] | undefined, key: ClassKey): string[] {
    if (protocol === "any") return [""];
    if (typeof protocol === "string") return [`! -p ${protocol.slice(4)} `];
    if (ranges === undefined) return this.#protocol(protocol);
    const icmp = this.place.family === 4 ? 1 : 58;
    if (protocol === icmp) return icmpMatches(normalise(ranges), this.place.family);
    // The other family's ICMP: nothing reads its types there, so a rule that asks for them matches none.
    if (protocol === 1 || protocol === 58) return [];
    const all = normalise(ranges);
    if (all.length > FEW_RANGES && (protocol === TCP || protocol === UDP)) {
      const members = new Set<string>();
      for (const { first, last } of all) for (let port = first; port <= last; port++) members.add(String(port));
      const set = this.#set(`p${protocol} ${key}`, "bitmap:port", members);
      return [`-p ${protocol} ${this.#match(set, "dst")}`];
    }
    return chunks(all).map((part) => `-p ${protocol} -m multiport --dports ${part} `);
  }

  /** To iptables protocol 0 means any. In IPv6 it is the hop-by-hop header, which no packet ends with. */
  #protocol(protocol: number): string[] {
    if (protocol !== 0) return [`-p ${protocol} `];
    return this.place.family === 4 ? [`-m u32 --u32 "6&0xFF=0" `] : [];
  }
}

/** A protocol, any, or all but one ("not 6"). */
type Asked = number | "any" | `not ${number}`;

function askedOf({ protocols }: DesiredRule): readonly Asked[] {
  if (protocols === undefined) return ["any"];
  if (protocols.length !== 255) return protocols;
  const named = new Set(protocols);
  for (let missing = 1; missing < 256; missing++) if (!named.has(missing)) return [`not ${missing}`];
  return protocols;
}

function targetOf(rule: DesiredRule | undefined): string {
  switch (rule?.action) {
    case "allow":
      return `-g ${rule.stateless ? ALLOW_STATELESS : ALLOW}`;
    case "pass":
      return `-g ${PASS}`;
    case "log":
      return `-m limit --limit 10/sec -j LOG --log-prefix "${logPrefix(rule)}"`;
    default:
      return "-j DROP";
  }
}

/** The kernel's log takes 29 characters. */
const logPrefix = (rule: DesiredRule): string => `torbie ${rule.key.replace(/[^A-Za-z0-9_./-]/g, "_").slice(-20)} `;

/** Networks of a class that says nothing else. */
function netsOf(key: ClassKey): Prefix[] | undefined {
  return /^nets [0-9a-f.:/,]+$/.test(key) ? (key.slice(5).split(",") as Prefix[]) : undefined;
}

function chunks(ranges: readonly PortRange[]): string[] {
  const parts: string[][] = [];
  let room = 0;
  for (const { first, last } of ranges) {
    const costs = first === last ? 1 : 2;
    if (room < costs) {
      parts.push([]);
      room = MULTIPORT;
    }
    parts.at(-1)?.push(first === last ? String(first) : `${first}:${last}`);
    room -= costs;
  }
  return parts.map((part) => part.join(","));
}

/** Types whole, or types with a code. */
function icmpMatches(ranges: readonly PortRange[], of: Family): string[] {
  const match = (what: string): string =>
    of === 4 ? `-p 1 -m icmp --icmp-type ${what} ` : `-p 58 -m icmp6 --icmpv6-type ${what} `;
  const matches: string[] = [];
  for (const { first, last } of ranges)
    for (let at = first; at <= last;) {
      const whole = (at & 255) === 0 && at + 255 <= last;
      // To iptables type 255 of ICMP means any.
      if (of === 4 && at >> 8 === 255)
        matches.push(`-p 1 -m u32 --u32 "0>>22&0x3C@0>>${whole ? "24=255" : `16=${at}`}" `);
      else matches.push(match(whole ? String(at >> 8) : `${at >> 8}/${at & 255}`));
      at += whole ? 256 : 1;
    }
  return matches;
}
