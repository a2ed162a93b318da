/**
 * etcd keys ↔ what they name (networking-calico.md §1.5). A WorkloadEndpoint's name is its four parts joined by "-" with every
 * hyphen inside a part doubled.
 */
import { quote } from "../text.js";
import type { EndpointId, PolicyId } from "./types.js";

const RESOURCES = "/calico/resources/v3/projectcalico.org/";
const SUBNET = /^\/calico\/dhcp\/v2\/([^/]+)\/subnet\/([^/]+)$/;

/** Kinds whose key has a namespace, and those whose key has none. */
const NAMESPACED = {
  workloadendpoints: "WorkloadEndpoint",
  networkpolicies: "NetworkPolicy",
  networksets: "NetworkSet",
  livemigrations: "LiveMigration",
} as const;
const GLOBAL = {
  globalnetworkpolicies: "GlobalNetworkPolicy",
  globalnetworksets: "GlobalNetworkSet",
  profiles: "Profile",
  tiers: "Tier",
  clusterinformations: "ClusterInformation",
  felixconfigurations: "FelixConfiguration",
} as const;
/** Calico kinds that enforce nothing on a host, or nothing that Torbie has to do. */
const SILENT = new Set([
  "stagednetworkpolicies",
  "stagedglobalnetworkpolicies",
  "stagedkubernetesnetworkpolicies",
  "nodes",
  "ippools",
  "ipreservations",
  "ipamconfigs",
  "ipamconfigurations",
  "ipamblocks",
  "ipamhandles",
  "blockaffinities",
  "bgpconfigurations",
  "bgppeers",
  "bgpfilters",
  "caliconodestatuses",
  "kubecontrollersconfigurations",
]);

/**
 * Everything that a host has to read, in key order: the prefixes of all kinds that Torbie enforces, or has to say that it does not.
 * @param region as in keys: "no-region" or "region-<name>"
 */
export function watchedPrefixes(region: string): readonly string[] {
  const plurals = [...Object.keys(NAMESPACED), ...Object.keys(GLOBAL), "hostendpoints"];
  return [`/calico/dhcp/v2/${region}/subnet/`, ...plurals.sort().map((plural) => `${RESOURCES}${plural}/`)];
}

/** Whether resources of a kind are among watchedPrefixes, or need not be. @param group "projectcalico.org" @param plural "tiers" */
export function isReadOrSilent(group: string, plural: string): boolean {
  const known = Object.hasOwn(NAMESPACED, plural) || Object.hasOwn(GLOBAL, plural) || plural === "hostendpoints";
  return `/calico/resources/v3/${group}/` === RESOURCES && (known || SILENT.has(plural));
}

export type NamespacedKind = (typeof NAMESPACED)[keyof typeof NAMESPACED];
export type GlobalKind = (typeof GLOBAL)[keyof typeof GLOBAL];
export type Kind = NamespacedKind | GlobalKind | "Subnet";

export interface EndpointParts {
  readonly node: string;
  readonly orchestrator: string;
  readonly workload: string;
  readonly endpoint: string;
}

export type ParsedKey =
  | { readonly kind: NamespacedKind; readonly namespace: string; readonly name: string }
  | { readonly kind: GlobalKind | "Subnet"; readonly namespace?: never; readonly name: string }
  /** Somebody else's, or nothing that concerns a host's enforcement. */
  | { readonly kind: "ignored" }
  /** Calico enforces it, Torbie does not, or does not know it; the reason is a sentence for the operator. */
  | { readonly kind: "not enforced"; readonly reason: string }
  /** It should name a kind that Torbie knows, and does not. */
  | { readonly kind: "malformed"; readonly reason: string };

export function parseKey(key: string): ParsedKey {
  if (!key.startsWith(RESOURCES)) return parseOtherKey(key);
  const [plural = "", ...names] = key.slice(RESOURCES.length).split("/");
  if (Object.hasOwn(NAMESPACED, plural)) {
    const kind = NAMESPACED[plural as keyof typeof NAMESPACED];
    const [namespace = "", name = ""] = names;
    if (names.length !== 2 || name === "") return malformed(`a ${kind} key ends in <namespace>/<name>`);
    // The namespace becomes a label value in selectors, whose grammar has no escape for quotes.
    if (!/^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$/.test(namespace))
      return malformed(`${quote(namespace)} is no namespace`);
    return { kind, namespace, name };
  }
  if (Object.hasOwn(GLOBAL, plural)) {
    const kind = GLOBAL[plural as keyof typeof GLOBAL];
    const [name = ""] = names;
    return names.length === 1 && name !== "" ? { kind, name } : malformed(`a ${kind} key ends in <name>`);
  }
  if (plural === "hostendpoints")
    return notEnforced("Torbie enforces nothing on the host's own interfaces: this HostEndpoint has no effect");
  return SILENT.has(plural)
    ? { kind: "ignored" }
    : notEnforced(`Torbie does not know resources of the kind ${quote(plural)}`);
}

function parseOtherKey(key: string): ParsedKey {
  const subnet = SUBNET.exec(key);
  if (subnet?.[2] !== undefined) return { kind: "Subnet", name: subnet[2] };
  return key.startsWith("/calico/resources/")
    ? notEnforced("Torbie reads projectcalico.org/v3 resources only")
    : { kind: "ignored" };
}

/** The key of a resource; `namespace` only for the kinds that have one. */
export function keyOf(kind: Kind, name: string, namespace?: string): string {
  if (kind === "Subnet") return `/calico/dhcp/v2/no-region/subnet/${name}`;
  const plural = Object.entries({ ...NAMESPACED, ...GLOBAL }).find(([, known]) => known === kind)?.[0] ?? "";
  return RESOURCES + (namespace === undefined ? `${plural}/${name}` : `${plural}/${namespace}/${name}`);
}

/** The kind that a resource calls itself, when Torbie knows it. */
export function knownKind(name: string): Kind | undefined {
  const kinds: readonly Kind[] = [...Object.values(NAMESPACED), ...Object.values(GLOBAL), "Subnet"];
  return kinds.find((kind) => kind === name);
}

export function isNamespaced(kind: Kind): kind is NamespacedKind {
  return Object.values<string>(NAMESPACED).includes(kind);
}

/** "host--1-openstack-<device>-<port>" of its parts. */
export function endpointName(parts: EndpointParts): string {
  return [parts.node, parts.orchestrator, parts.workload, parts.endpoint]
    .map((part) => part.replaceAll("-", "--"))
    .join("-");
}

/** Inverse of endpointName, or undefined: not four parts. */
export function splitEndpointName(name: string): EndpointParts | undefined {
  const parts = name
    .replaceAll("--", "\0")
    .split("-")
    .map((part) => part.replaceAll("\0", "-"));
  const [node, orchestrator, workload, endpoint] = parts;
  if (parts.length !== 4 || node === undefined || !orchestrator || !workload || !endpoint) return undefined;
  // A part that begins or ends with a hyphen, or holds a NUL, can be read in two ways: such a name is nobody's.
  return parts.some((part) => /^-|-$/.test(part)) || name.includes("\0")
    ? undefined
    : { node, orchestrator, workload, endpoint };
}

/** "<namespace>/<name as in the key>". */
export function endpointId(namespace: string, name: string): EndpointId {
  return `${namespace}/${name}` as EndpointId;
}

export function policyId(name: string, namespace?: string): PolicyId {
  return (namespace === undefined ? `gnp:${name}` : `np:${namespace}/${name}`) as PolicyId;
}

/** "ns:<namespace>/<name>" or "gns:<name>". */
export function networkSetId(name: string, namespace?: string): string {
  return namespace === undefined ? `gns:${name}` : `ns:${namespace}/${name}`;
}

function malformed(reason: string): ParsedKey {
  return { kind: "malformed", reason };
}

function notEnforced(reason: string): ParsedKey {
  return { kind: "not enforced", reason };
}
