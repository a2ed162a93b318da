/** The clouds that the benchmarks enforce, as the Neutron driver would write them into etcd. Pure. */
import type { KeyPut } from "../datastore/types.js";

const PREFIX = "/calico/resources/v3/projectcalico.org";
export const HOSTNAME = "bench";
/** The two guests whose packets are measured: 10.65.0.1 and .2, fd00::1 and ::2. */
export const FROM = 0x0a410001;
export const TO = 0x0a410002;
export const guest6 = (i: number): string => `fd00::${i + 1}`;
/** Port that every guest of cloud() accepts from anyone. */
export const OPEN_PORT = 9;
export const FIRST_RULE_PORT = 10_000;
/** 11.0.0.0: where the members of the remote group begin. */
export const FIRST_MEMBER = 0x0b000000;
/** 12.0.0.0/24: the first of the prefixes that rules name. */
const FIRST_CIDR = 0x0c000000;

/** An etcd key and the value that is written there as JSON. */
export interface Entry {
  readonly key: string;
  readonly value: object;
}

export interface Workload {
  readonly node: string;
  readonly name: string;
  readonly tap: string;
  readonly mac: string;
  readonly address: string;
  readonly address6?: string;
  readonly groups: readonly string[];
}

export interface Size {
  /** Of each group. */
  readonly rules: number;
  /** Of the remote group that the rules name. */
  readonly members: number;
  /** Groups of every guest; default 1. */
  readonly groups?: number;
  /** The rules name so many /24, each all of them, and no remote group. */
  readonly cidrs?: number;
}

const label = (group: string): string => `sg.projectcalico.org/openstack-${group}`;
export const dotted = (n: number): string => [24, 16, 8, 0].map((shift) => (n >>> shift) & 255).join(".");

export function workload({ node, name, tap, mac, address, address6, groups }: Workload): Entry {
  const id = [node, "openstack", name, name].map((part) => part.replaceAll("-", "--")).join("-");
  const labels = {
    ...Object.fromEntries(groups.map((group) => [label(group), group])),
    "projectcalico.org/namespace": "openstack",
    "projectcalico.org/orchestrator": "openstack",
  };
  const place = { orchestrator: "openstack", workload: name, node, endpoint: name, interfaceName: tap };
  const ipNetworks = [`${address}/32`, ...(address6 === undefined ? [] : [`${address6}/128`])];
  return {
    key: `${PREFIX}/workloadendpoints/openstack/${id}`,
    value: {
      kind: "WorkloadEndpoint",
      apiVersion: "projectcalico.org/v3",
      metadata: { name: id, namespace: "openstack", labels },
      spec: { ...place, mac, ipNetworks, allowedIps: [] },
    },
  };
}

/** A security group that allows everything out and these rules in. */
export function group(name: string, ingress: readonly object[], { ipv6, stateless }: CloudOptions = {}): Entry {
  const egress = (ipv6 ? [4, 6] : [4]).map((ipVersion) => ({ action: "Allow", ipVersion }));
  const annotations = stateless ? { annotations: { "torbie/stateful": "false" } } : {};
  const full = `ossg.default.${name}`;
  return {
    key: `${PREFIX}/networkpolicies/openstack/${full}`,
    value: {
      kind: "NetworkPolicy",
      apiVersion: "projectcalico.org/v3",
      metadata: { name: full, namespace: "openstack", ...annotations },
      spec: { ingress, egress, selector: `has(${label(name)})` },
    },
  };
}

/** @param from the name of a group, or prefixes; absent: anyone */
export function allow(
  protocol: number,
  port: number | string,
  from?: string | readonly string[],
  ipVersion = 4,
): object {
  const source =
    from === undefined
      ? {}
      : { source: typeof from === "string" ? { selector: `has(${label(from)})` } : { nets: from } };
  return { action: "Allow", ipVersion, protocol, destination: { ports: [port] }, ...source };
}

export function ready(): Entry {
  return {
    key: `${PREFIX}/clusterinformations/default`,
    value: {
      kind: "ClusterInformation",
      apiVersion: "projectcalico.org/v3",
      metadata: { name: "default" },
      spec: { clusterGUID: "bench", clusterType: "openstack", datastoreReady: true },
    },
  };
}

/** Has the status of every endpoint written. */
export function reporting(): Entry {
  return {
    key: `${PREFIX}/felixconfigurations/default`,
    value: {
      kind: "FelixConfiguration",
      apiVersion: "projectcalico.org/v3",
      metadata: { name: "default" },
      spec: { endpointReportingEnabled: true },
    },
  };
}

/** An endpoint of another host. */
export function member(i: number): Entry {
  const name = `m${i}`;
  const address = dotted(FIRST_MEMBER + i);
  return workload({ node: "elsewhere", name, tap: `tap${name}`, mac: "fa:16:3e:ff:ff:ff", address, groups: ["far"] });
}

export interface CloudOptions {
  /** IP protocol of every rule's port; default 17, UDP. */
  readonly protocol?: number;
  /** The open port is open to IPv6 too. */
  readonly ipv6?: boolean;
  readonly stateless?: boolean;
  /** So many ports from the open one on are open; default 1. */
  readonly openPorts?: number;
}

export const cidr = (i: number): string => `${dotted(FIRST_CIDR + i * 256)}/24`;
export const cidrsOf = ({ cidrs = 0 }: Size): string[] => Array.from({ length: cidrs }, (_, i) => cidr(i));
/** The ports that rules open to the remote group, or to the prefixes. */
const remotePorts = ({ rules, groups = 1 }: Size): number => (rules - 1) * groups;
export const remotePortsOf = (size: Size): number[] =>
  Array.from({ length: remotePorts(size) }, (_, i) => FIRST_RULE_PORT + i);

/** What cloud() lets in from elsewhere, and where all of it may be drawn from. */
export function remoteTraffic(size: Size): {
  readonly firstSource: number;
  readonly sources: number;
  readonly firstPort: number;
  readonly ports: number;
} {
  const { members, cidrs = 0 } = size;
  const from =
    cidrs > 0 ? { firstSource: FIRST_CIDR, sources: cidrs * 256 } : { firstSource: FIRST_MEMBER, sources: members };
  return { ...from, firstPort: FIRST_RULE_PORT, ports: remotePorts(size) };
}

/**
 * `rules` rules in each of the guests' groups: port 9 from anyone in the first, the others one port each from the group of the
 * `members` remote addresses, which are counted up from 11.0.0.0, or from the prefixes.
 */
export function* cloud(
  guests: readonly Omit<Workload, "node" | "groups">[],
  size: Size,
  options: CloudOptions = {},
): IterableIterator<KeyPut> {
  const { protocol = 17, openPorts = 1, ipv6 = false } = options;
  const put = ({ key, value }: Entry): KeyPut => ({
    op: "put",
    key,
    value: { text: JSON.stringify(value) },
    origin: "bench",
  });
  const groups = Array.from({ length: size.groups ?? 1 }, (_, i) => (i === 0 ? "local" : `local${i}`));
  for (const guest of guests) yield put(workload({ ...guest, node: HOSTNAME, groups }));
  for (let i = 0; i < size.members; i++) yield put(member(i));
  const from = size.cidrs === undefined ? "far" : cidrsOf(size);
  const remote = remotePortsOf(size).map((port) => allow(protocol, port, from));
  const open = openPorts === 1 ? OPEN_PORT : `${OPEN_PORT}:${OPEN_PORT + openPorts - 1}`;
  const toAll = [4, ...(ipv6 ? [6] : [])].map((family) => allow(protocol, open, undefined, family));
  for (const [i, name] of groups.entries()) {
    const own = remote.slice(i * (size.rules - 1), (i + 1) * (size.rules - 1));
    yield put(group(name, i === 0 ? [...toAll, ...own] : own, options));
  }
}
