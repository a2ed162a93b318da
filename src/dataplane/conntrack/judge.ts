/**
 * Whether a connection that is tracked may still be (D3), by what this host must enforce. A connection is judged in the direction of who
 * opened it, at every local end, as its first packet would be. Pure.
 */
import {
  ANY_CLASS,
  type ClassKey,
  type DesiredDelta,
  type DesiredEndpoint,
  type DesiredRule,
  type DesiredState,
  type OwnedPrefix,
  type PolicyKey,
} from "../../compile/desired.js";
import { Trie } from "../../compile/trie.js";
import { addressToPrefix, family, isSingle } from "../../model/cidr.js";
import type { Address, EndpointId, Prefix } from "../../model/types.js";
import type { ConntrackEntry } from "./entry.js";

/** TCP, UDP, DCCP, SCTP, UDP-Lite: only of these a rule can ask ports. */
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);
/** Classes of this many addresses are remembered. */
const MOST_REMEMBERED = 4096;

type Direction = "ingress" | "egress";

/** The first packet of a connection, in the direction of who opened it, as its receiver sees it. */
export interface Opening {
  readonly protocol: number;
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort: number;
  /** Or ICMP type << 8 | code. */
  readonly port: number;
}

/** A local endpoint that owns an address, and by which of its prefixes. */
export interface Owner {
  readonly id: EndpointId;
  readonly owned: OwnedPrefix;
}

interface Half {
  readonly allowed: boolean;
  readonly stateless: boolean;
}

export interface Verdict extends Half {
  /** Of the opener, and of the other end: that side judges every packet by its rules. */
  readonly openerStateless: boolean;
  readonly otherStateless: boolean;
}

const FREE: Half = { allowed: true, stateless: false };
const REFUSED: Half = { allowed: false, stateless: false };
const NOBODY: readonly Owner[] = [];

export function openingOf({ protocol, original, reply }: ConntrackEntry): Opening {
  const { icmp } = original;
  // Where there is NAT, the answers tell who is really meant.
  return {
    protocol,
    source: original.source,
    destination: reply.source,
    sourcePort: original.sourcePort,
    port: icmp === undefined ? reply.sourcePort : (icmp.type << 8) | icmp.code,
  };
}

export class DesiredJudge {
  readonly #prefixes = new Trie<{ classes: readonly ClassKey[] }>();
  readonly #singles = new Map<Prefix, Owner[]>();
  readonly #wide = new Trie<Owner[]>();
  readonly #ownedBy = new Map<EndpointId, readonly OwnedPrefix[]>();
  readonly #known = new Set<Prefix>();
  readonly #classes = new Map<Address, ReadonlySet<ClassKey>>();

  constructor(private desired: DesiredState) {
    for (const prefix of desired.prefixes.keys()) this.#setPrefix(prefix);
    for (const id of desired.endpoints.keys()) this.#setEndpoint(id);
  }

  /** What the state is now, of which only this has changed. */
  update(desired: DesiredState, delta: Pick<DesiredDelta, "prefixes" | "endpoints">): void {
    this.desired = desired;
    this.#classes.clear();
    for (const prefix of delta.prefixes) this.#setPrefix(prefix);
    for (const id of delta.endpoints) this.#setEndpoint(id);
  }

  /** Those that the last update knew. */
  endpoints(): Iterable<EndpointId> {
    return this.#ownedBy.keys();
  }

  prefixes(): Iterable<Prefix> {
    return this.#known;
  }

  /** Local endpoints that own the address by the longest prefix that does; several where it is shared. */
  owners(address: Address): readonly Owner[] {
    const single = addressToPrefix(address);
    return this.#singles.get(single) ?? this.#wide.longest(single)?.data ?? NOBODY;
  }

  /** Prefixes of an endpoint, as of the last update. */
  ownedBy(id: EndpointId): readonly OwnedPrefix[] {
    return this.#ownedBy.get(id) ?? [];
  }

  /** Undefined: none of its ends is an endpoint of this host. Who shares an address decides for all: one that refuses is enough. */
  judge(opening: Opening): Verdict | undefined {
    const senders = this.owners(opening.source);
    const receivers = this.owners(opening.destination);
    if (senders.length === 0 && receivers.length === 0) return undefined;
    const out = this.#all(senders, "egress", opening);
    const into = this.#all(receivers, "ingress", opening);
    const stateful = (senders.length > 0 && !out.stateless) || (receivers.length > 0 && !into.stateless);
    return {
      allowed: out.allowed && into.allowed && stateful,
      stateless: !stateful,
      openerStateless: out.stateless,
      otherStateless: into.stateless,
    };
  }

  #all(owners: readonly Owner[], direction: Direction, opening: Opening): Half {
    let stateless = false;
    for (const owner of owners) {
      const half = this.#half(owner, direction, opening);
      if (!half.allowed) return REFUSED;
      stateless ||= half.stateless;
    }
    return stateless ? { allowed: true, stateless } : FREE;
  }

  #half({ id, owned }: Owner, direction: Direction, opening: Opening): Half {
    const endpoint: DesiredEndpoint | undefined = this.desired.endpoints.get(id);
    if (endpoint === undefined) return REFUSED;
    // It can't be reached, and nothing that it sent may go on (S9).
    if (!endpoint.adminUp || endpoint.blocked !== undefined) return REFUSED;
    if (!endpoint.portSecurity) return FREE;
    const remote = direction === "ingress" ? opening.source : opening.destination;
    const classes = this.#classesOf(remote);
    for (const plane of this.desired.sets.get(owned.set ?? endpoint.set)?.[direction] ?? []) {
      const decided = this.#decide(plane.policies, direction, opening, classes);
      const action = decided?.action ?? plane.end;
      if (action === "pass") continue;
      return action === "allow" ? { allowed: true, stateless: decided?.stateless === true } : REFUSED;
    }
    return REFUSED;
  }

  #decide(
    policies: readonly PolicyKey[],
    direction: Direction,
    opening: Opening,
    classes: ReadonlySet<ClassKey>,
  ): DesiredRule | undefined {
    for (const key of policies)
      for (const rule of this.desired.policies.get(key)?.[direction] ?? [])
        if (rule.action !== "log" && matches(rule, opening, classes)) return rule;
    return undefined;
  }

  #classesOf(address: Address): ReadonlySet<ClassKey> {
    let classes = this.#classes.get(address);
    if (classes !== undefined) return classes;
    const exact = this.desired.addresses.get(address);
    const prefix = exact?.complete === true ? undefined : this.#prefixes.longest(addressToPrefix(address))?.data;
    classes = new Set([...(exact?.classes ?? []), ...(prefix?.classes ?? [])]);
    if (this.#classes.size >= MOST_REMEMBERED) this.#classes.clear();
    this.#classes.set(address, classes);
    return classes;
  }

  #setPrefix(prefix: Prefix): void {
    const list = this.desired.prefixes.get(prefix);
    if (list !== undefined) {
      this.#known.add(prefix);
      this.#prefixes.insert(prefix).data = list;
      return;
    }
    const node = this.#prefixes.find(prefix);
    if (node === undefined) return;
    this.#known.delete(prefix);
    node.data = undefined;
    this.#prefixes.discard(node);
  }

  #setEndpoint(id: EndpointId): void {
    for (const { prefix } of this.#ownedBy.get(id) ?? []) this.#removeOwner(prefix, id);
    const owned = this.desired.endpoints.get(id)?.owned;
    if (owned === undefined) {
      this.#ownedBy.delete(id);
      return;
    }
    this.#ownedBy.set(id, owned);
    for (const one of owned) this.#addOwner(one.prefix, { id, owned: one });
  }

  #addOwner(prefix: Prefix, owner: Owner): void {
    if (isSingle(prefix)) {
      this.#singles.set(prefix, [...(this.#singles.get(prefix) ?? []), owner]);
      return;
    }
    const node = this.#wide.insert(prefix);
    node.data = [...(node.data ?? []), owner];
  }

  #removeOwner(prefix: Prefix, id: EndpointId): void {
    const without = (owners: readonly Owner[] = []): Owner[] | undefined => {
      const left = owners.filter((owner) => owner.id !== id);
      return left.length === 0 ? undefined : left;
    };
    if (isSingle(prefix)) {
      const left = without(this.#singles.get(prefix));
      if (left === undefined) this.#singles.delete(prefix);
      else this.#singles.set(prefix, left);
      return;
    }
    const node = this.#wide.find(prefix);
    if (node === undefined) return;
    node.data = without(node.data);
    this.#wide.discard(node);
  }
}

function matches(rule: DesiredRule, opening: Opening, classes: ReadonlySet<ClassKey>): boolean {
  const { protocol, port, sourcePort, source } = opening;
  const ported = WITH_PORTS.has(protocol);
  if (
    rule.protocols === undefined
      ? (rule.ports ?? rule.sourcePorts) !== undefined && !ported
      : !rule.protocols.includes(protocol)
  )
    return false;
  if (rule.remote !== ANY_CLASS && !classes.has(rule.remote)) return false;
  if (rule.ports !== undefined && (!(ported || protocol === 1 || protocol === 58) || !within(rule.ports, port)))
    return false;
  if (rule.sourcePorts !== undefined && !within(rule.sourcePorts, sourcePort)) return false;
  return rule.families.includes(family(source));
}

/** Ranges ascend and are disjoint. */
function within(ranges: readonly { readonly first: number; readonly last: number }[], port: number): boolean {
  for (const { first, last } of ranges) {
    if (port < first) return false;
    if (port <= last) return true;
  }
  return false;
}
