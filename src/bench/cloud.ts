/** The clouds that the benchmarks enforce, as the Neutron driver would write them into etcd. Pure. */
import type { KeyPut } from "../datastore/types.js";

const PREFIX = "/calico/resources/v3/projectcalico.org";
export const HOSTNAME = "bench";
/** Port that every guest of cloud() accepts from anyone. */
export const OPEN_PORT = 9;
export const FIRST_RULE_PORT = 10_000;
/** 11.0.0.0: where the members of the remote group begin. */
export const FIRST_MEMBER = 0x0b000000;

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
  readonly groups: readonly string[];
}

const label = (group: string): string => `sg.projectcalico.org/openstack-${group}`;
export const dotted = (n: number): string => [24, 16, 8, 0].map((shift) => (n >>> shift) & 255).join(".");

export function workload({ node, name, tap, mac, address, groups }: Workload): Entry {
  const id = [node, "openstack", name, name].map((part) => part.replaceAll("-", "--")).join("-");
  const labels = {
    ...Object.fromEntries(groups.map((group) => [label(group), group])),
    "projectcalico.org/namespace": "openstack",
    "projectcalico.org/orchestrator": "openstack",
  };
  const place = { orchestrator: "openstack", workload: name, node, endpoint: name, interfaceName: tap };
  return {
    key: `${PREFIX}/workloadendpoints/openstack/${id}`,
    value: {
      kind: "WorkloadEndpoint",
      apiVersion: "projectcalico.org/v3",
      metadata: { name: id, namespace: "openstack", labels },
      spec: { ...place, mac, ipNetworks: [`${address}/32`], allowedIps: [] },
    },
  };
}

/** A security group that allows everything out and these rules in. */
export function group(name: string, ingress: readonly object[]): Entry {
  const full = `ossg.default.${name}`;
  return {
    key: `${PREFIX}/networkpolicies/openstack/${full}`,
    value: {
      kind: "NetworkPolicy",
      apiVersion: "projectcalico.org/v3",
      metadata: { name: full, namespace: "openstack" },
      spec: { ingress, egress: [{ action: "Allow", ipVersion: 4 }], selector: `has(${label(name)})` },
    },
  };
}

export function allow(protocol: number, port: number, from?: string): object {
  const source = from === undefined ? {} : { source: { selector: `has(${label(from)})` } };
  return { action: "Allow", ipVersion: 4, protocol, destination: { ports: [port] }, ...source };
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
}

/**
 * `rules` rules in the guests' group: port 9 from anyone, the others one port each from the group of the `members`
 * remote addresses, which are counted up from 11.0.0.0.
 */
export function* cloud(
  guests: readonly Omit<Workload, "node" | "groups">[],
  rules: number,
  members: number,
  { protocol = 17 }: CloudOptions = {},
): IterableIterator<KeyPut> {
  const put = ({ key, value }: Entry): KeyPut => ({
    op: "put",
    key,
    value: { text: JSON.stringify(value) },
    origin: "bench",
  });
  for (const guest of guests) yield put(workload({ ...guest, node: HOSTNAME, groups: ["local"] }));
  for (let i = 0; i < members; i++) yield put(member(i));
  const remote = Array.from({ length: rules - 1 }, (_, i) => allow(protocol, FIRST_RULE_PORT + i, "far"));
  yield put(group("local", [allow(protocol, OPEN_PORT), ...remote]));
}
