/**
 * What this host must enforce, with no word about BPF or iptables: the contract between compiling and every backend.
 * Everything is keyed by stable text, so that a restarted agent finds again what it had written (D6).
 */
import type { Address, EndpointId, Family, LocalWorkload, Mac, Nat, PortRange, Prefix } from "../model/types.js";

/** What a rule says about the remote side, as canonical text; "any" when it says nothing. */
export type ClassKey = string & { readonly __brand: "ClassKey" };
export const ANY_CLASS = "any" as ClassKey;
/** A policy as it applies to a set of endpoints: its id, and a variant where its rules tell local sides apart. */
export type PolicyKey = string & { readonly __brand: "PolicyKey" };
/** The ordered policies that apply to an endpoint (or to one of its addresses). */
export type PolicySetKey = string & { readonly __brand: "PolicySetKey" };
/** "<policy id>/<ingress|egress>/<index>", the same text as long as the rule keeps its place. */
export type RuleKey = string & { readonly __brand: "RuleKey" };

export interface DesiredRule {
  readonly key: RuleKey;
  readonly action: "allow" | "deny" | "pass" | "log";
  readonly stateless: boolean;
  /** Families it speaks of. */
  readonly families: readonly Family[];
  /** IANA numbers; undefined: any protocol. notProtocol is expanded here. */
  readonly protocols?: readonly number[];
  readonly remote: ClassKey;
  /**
   * Destination ports, or for ICMP type << 8 | code, as disjoint ascending ranges; undefined: any. Never an empty list:
   * a rule that can match nothing is left out.
   */
  readonly ports?: readonly PortRange[];
  readonly sourcePorts?: readonly PortRange[];
  /** For people and counters: policy name, Neutron rule id. */
  readonly origin: { readonly policy: string; readonly neutronId?: string };
}

/** A policy compiled for one direction-pair; shared by every set that holds it. */
export interface CompiledPolicy {
  readonly key: PolicyKey;
  readonly name: string;
  readonly ingress: readonly DesiredRule[];
  readonly egress: readonly DesiredRule[];
}

/** One tier of a policy set, in one direction. Rules are judged policy by policy in this order. */
export interface PlaneShape {
  readonly tier: string;
  readonly policies: readonly PolicyKey[];
  /** When nothing matched. The last plane of a set (profiles) ends in "deny". */
  readonly end: "deny" | "pass";
}

export interface PolicySetShape {
  readonly key: PolicySetKey;
  /** At most 16 planes a direction, else the set denies all and a problem is reported. */
  readonly ingress: readonly PlaneShape[];
  readonly egress: readonly PlaneShape[];
}

/** An address or prefix that a local endpoint owns. */
export interface OwnedPrefix {
  readonly prefix: Prefix;
  /** Absent: the endpoint's own. */
  readonly mac?: Mac;
  /** Fixed address, or allowed pair. */
  readonly kind: "fixed" | "pair";
  /** The set that applies when this is the local side, where it is not the endpoint's. */
  readonly set?: PolicySetKey;
}

/**
 * What a live migration does to an endpoint here: held, nothing leads to it, since its guest still runs elsewhere; elevated, its routes are
 * preferred to those of the host that it left.
 */
export type Move = "held" | "elevated";

export interface DesiredEndpoint {
  readonly id: EndpointId;
  readonly workload: LocalWorkload;
  readonly interfaceName: string;
  readonly mac: Mac;
  readonly owned: readonly OwnedPrefix[];
  readonly set: PolicySetKey;
  readonly portSecurity: boolean;
  readonly adminUp: boolean;
  /** Absent: it is not moving. */
  readonly move?: Move;
  /** Floating IPs that lead here (S8); absent: none. */
  readonly floating?: readonly Nat[];
  /** Passes nothing, and why. */
  readonly blocked?: string;
}

/** Classes of an address or prefix, sorted; shared between addresses with the same list. */
export interface ClassList {
  readonly classes: readonly ClassKey[];
  /** True: these are all; classes of the longest prefix are not added (rules with a negated selector). */
  readonly complete: boolean;
}

export interface DesiredState {
  readonly endpoints: ReadonlyMap<EndpointId, DesiredEndpoint>;
  readonly sets: ReadonlyMap<PolicySetKey, PolicySetShape>;
  readonly policies: ReadonlyMap<PolicyKey, CompiledPolicy>;
  /** Exact addresses (every endpoint's) and the selector classes they are in. */
  readonly addresses: ReadonlyMap<Address, ClassList>;
  /** Prefixes that a rule or a network set names, and ALL classes that hold for addresses whose longest prefix it is. */
  readonly prefixes: ReadonlyMap<Prefix, ClassList>;
  /** Local addresses that endpoints of other hosts have as well. */
  readonly alsoRemote: ReadonlySet<Prefix>;
}

/** What differs since the last compile. */
export interface DesiredDelta {
  readonly endpoints: ReadonlySet<EndpointId>;
  readonly sets: ReadonlySet<PolicySetKey>;
  readonly policies: ReadonlySet<PolicyKey>;
  readonly addresses: ReadonlySet<Address>;
  readonly prefixes: ReadonlySet<Prefix>;
  /**
   * Classes that lost a member (an address or part of a prefix left them) or, used by a deny or pass, gained one, AND that a
   * rule of a local policy set names: flows judged before may no longer be allowed.
   */
  readonly narrowed: ReadonlySet<ClassKey>;
}
