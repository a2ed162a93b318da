/**
 * What the bytes of the datastore mean: plain, frozen data. Pure: no effects.
 * Addresses and prefixes are canonical text: IPv4 dotted quad, IPv6 as RFC 5952, prefix "address/length" with the
 * host bits cleared; two equal addresses are equal strings. src/model/cidr.ts makes and takes them apart.
 */

export type Address = string & { readonly __brand: "Address" };
export type Prefix = string & { readonly __brand: "Prefix" };
/** "aa:bb:cc:dd:ee:ff", lower case. */
export type Mac = string & { readonly __brand: "Mac" };
export type Family = 4 | 6;

/** Name part of the WorkloadEndpoint key with its namespace: "openstack/host1-openstack-…-…" (unescaped nothing). */
export type EndpointId = string & { readonly __brand: "EndpointId" };
/** "np:<namespace>/<name>" or "gnp:<name>". */
export type PolicyId = string & { readonly __brand: "PolicyId" };

/** Interned: equal labels are the same object, so that work per label set is done once for all endpoints that share it. */
export interface LabelSet {
  readonly id: number;
  readonly labels: ReadonlyMap<string, string>;
}

export interface AllowedPair {
  readonly prefix: Prefix;
  /** Absent: the port's own. */
  readonly mac?: Mac;
}

/** What every host must know of any endpoint of the cloud: where it is, its addresses and labels. */
export interface Endpoint {
  readonly id: EndpointId;
  readonly key: string;
  readonly node: string;
  /** ipNetworks and allowed pairs as canonical prefixes; mostly /32 and /128. */
  readonly prefixes: readonly Prefix[];
  /** Its own labels, those of its profiles (labelsToApply), projectcalico.org/namespace and …/orchestrator. */
  readonly labels: LabelSet;
}

export interface Nat {
  readonly internal: Address;
  readonly external: Address;
}

/** An endpoint of this host, in full. */
export interface LocalWorkload extends Endpoint {
  readonly namespace: string;
  readonly orchestrator: string;
  readonly workload: string;
  /** Neutron port id, or the endpoint part of the key. */
  readonly endpoint: string;
  readonly interfaceName: string;
  readonly mac: Mac;
  /** Its fixed addresses: ipNetworks without the allowed pairs. */
  readonly fixed: readonly Prefix[];
  readonly pairs: readonly AllowedPair[];
  readonly gateways: { readonly v4?: Address; readonly v6?: Address };
  readonly nats: readonly Nat[];
  readonly profiles: readonly string[];
  readonly portSecurity: boolean;
  readonly adminUp: boolean;
  /** Set when part of it could not be understood and there was no last good version: passes nothing (D5). */
  readonly blocked?: string;
  /** Whatever else the resource carries and Torbie does not enforce yet (qosControls …), named for `status`. */
  readonly notEnforced: readonly string[];
  readonly networkId?: string;
  readonly origin: string;
}

export interface PortRange {
  /** 0..65535, first <= last. */
  readonly first: number;
  readonly last: number;
}

/** One side of a rule. Empty lists mean "not said". */
export interface RuleSide {
  /** Parsed selector in canonical text, the namespace term included; absent: not said. */
  readonly selector?: string;
  readonly notSelector?: string;
  readonly nets: readonly Prefix[];
  readonly notNets: readonly Prefix[];
  readonly ports: readonly PortRange[];
  readonly notPorts: readonly PortRange[];
}

export interface Rule {
  /** Stable within the policy: "ingress/3". */
  readonly index: string;
  readonly action: "allow" | "deny" | "pass" | "log";
  readonly family?: Family;
  /** IANA number; absent: any. */
  readonly protocol?: number;
  readonly notProtocol?: number;
  readonly icmp?: { readonly type: number; readonly code?: number };
  readonly notIcmp?: { readonly type: number; readonly code?: number };
  readonly source: RuleSide;
  readonly destination: RuleSide;
  /**
   * Set when the rule can't be expressed as written (D5): an allow then matches nothing; a deny has been widened by the
   * parser to all that it might have meant (the unreadable match left out); a pass or log matches nothing.
   */
  readonly inexpressible?: string;
  /** Neutron's rule id where the annotation says it. */
  readonly neutronId?: string;
}

export interface Policy {
  readonly id: PolicyId;
  readonly key: string;
  readonly origin: string;
  /** What people call it: the security group's id or the policy's name. */
  readonly name: string;
  readonly tier: string;
  /** Missing order is Infinity: last. */
  readonly order: number;
  readonly selector: string;
  readonly ingressApplies: boolean;
  readonly egressApplies: boolean;
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
  /** torbie/stateful: false */
  readonly stateful: boolean;
}

export interface Tier {
  readonly name: string;
  readonly order: number;
  /** What happens to a packet that no policy of the tier decided, when one of them applies to the endpoint. */
  readonly end: "deny" | "pass";
}

export interface Profile {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
}

/** NetworkSet ("ns:<namespace>/<name>") or GlobalNetworkSet ("gns:<name>"). */
export interface NetworkSet {
  readonly id: string;
  readonly key: string;
  readonly prefixes: readonly Prefix[];
  readonly labels: LabelSet;
}

/** A subnet that Neutron's DHCP knows. */
export interface Subnet {
  readonly id: string;
  readonly networkId: string;
  readonly cidr: Prefix;
  readonly gateway?: Address;
  readonly dnsServers: readonly Address[];
  readonly hostRoutes: readonly { readonly destination: Prefix; readonly nexthop: Address }[];
  readonly ipv6RaMode?: string;
  readonly ipv6AddressMode?: string;
}

export interface ClusterInfo {
  readonly guid?: string;
  readonly type?: string;
  readonly ready: boolean;
}

/** The settings of FelixConfiguration that Torbie honours. */
export interface FelixSettings {
  readonly interfacePrefixes?: readonly string[];
  readonly endpointReporting?: boolean;
}

/** target and source are EndpointIds. */
export interface LiveMigration {
  readonly name: string;
  readonly source: EndpointId;
  readonly target: EndpointId;
}

/** What changed, for the compiler; the objects themselves are in the Model. */
export interface ModelDelta {
  readonly endpoints: ReadonlySet<EndpointId>;
  readonly policies: ReadonlySet<PolicyId>;
  readonly profiles: ReadonlySet<string>;
  readonly tiers: ReadonlySet<string>;
  readonly networkSets: ReadonlySet<string>;
  readonly subnets: ReadonlySet<string>;
  readonly migrations: ReadonlySet<string>;
  readonly settings: boolean;
}

/** Everything the datastore said, as last understood. Read-only to every later stage. */
export interface Model {
  /** The host whose endpoints are kept in full. */
  readonly hostname: string;
  /** Every endpoint of the cloud; those of this host are LocalWorkload (see isLocal in store.ts). */
  readonly endpoints: ReadonlyMap<EndpointId, Endpoint | LocalWorkload>;
  readonly locals: ReadonlyMap<EndpointId, LocalWorkload>;
  readonly policies: ReadonlyMap<PolicyId, Policy>;
  readonly profiles: ReadonlyMap<string, Profile>;
  readonly tiers: ReadonlyMap<string, Tier>;
  readonly networkSets: ReadonlyMap<string, NetworkSet>;
  readonly subnets: ReadonlyMap<string, Subnet>;
  readonly migrations: ReadonlyMap<string, LiveMigration>;
  readonly cluster?: ClusterInfo;
  readonly felix?: FelixSettings;
}
