/** The clouds that the benchmarks enforce: two guests here, a group of rules, and members elsewhere. */
import type { KeyPut } from "../datastore/types.js";

const PREFIX = "/calico/resources/v3/projectcalico.org";
export const HOSTNAME = "bench";
/** Port that every guest of the cloud accepts from anyone. */
export const OPEN_PORT = 9;
export const FIRST_RULE_PORT = 10_000;
/** 11.0.0.0: where the members of the remote group begin. */
export const FIRST_MEMBER = 0x0b000000;

export interface GuestPlace {
  readonly name: string;
  readonly tap: string;
  readonly mac: string;
  readonly address: string;
}

const label = (group: string): string => `sg.projectcalico.org/openstack-${group}`;

export const dotted = (n: number): string => [24, 16, 8, 0].map((shift) => (n >>> shift) & 255).join(".");

function endpoint(node: string, name: string, tap: string, mac: string, address: string, group: string): KeyPut {
  const id = [node, "openstack", name, name].map((part) => part.replaceAll("-", "--")).join("-");
  const value = {
    kind: "WorkloadEndpoint",
    apiVersion: "projectcalico.org/v3",
    metadata: {
      name: id,
      namespace: "openstack",
      labels: {
        [label(group)]: group,
        "projectcalico.org/namespace": "openstack",
        "projectcalico.org/orchestrator": "openstack",
      },
    },
    spec: {
      orchestrator: "openstack",
      workload: name,
      node,
      endpoint: name,
      interfaceName: tap,
      mac,
      ipNetworks: [`${address}/32`],
      allowedIps: [],
    },
  };
  return {
    op: "put",
    key: `${PREFIX}/workloadendpoints/openstack/${id}`,
    value: { text: JSON.stringify(value) },
    origin: "bench",
  };
}

/**
 * `rules` rules in the guests' group: port 9 from anyone, the others one UDP port each from the group of the `members`
 * remote addresses, which are counted up from 11.0.0.0.
 */
export function* cloud(guests: readonly GuestPlace[], rules: number, members: number): IterableIterator<KeyPut> {
  for (const { name, tap, mac, address } of guests) yield endpoint(HOSTNAME, name, tap, mac, address, "local");
  for (let i = 0; i < members; i++)
    yield endpoint("elsewhere", `m${i}`, `tapm${i}`, "fa:16:3e:ff:ff:ff", dotted(FIRST_MEMBER + i), "far");
  const udp = (port: number): object => ({
    action: "Allow",
    ipVersion: 4,
    protocol: 17,
    destination: { ports: [port] },
  });
  const ingress = [
    udp(OPEN_PORT),
    ...Array.from({ length: rules - 1 }, (_, i) => ({
      ...udp(FIRST_RULE_PORT + i),
      source: { selector: `has(${label("far")})` },
    })),
  ];
  const value = {
    kind: "NetworkPolicy",
    apiVersion: "projectcalico.org/v3",
    metadata: { name: "ossg.default.local", namespace: "openstack" },
    spec: { ingress, egress: [{ action: "Allow", ipVersion: 4 }], selector: `has(${label("local")})` },
  };
  yield {
    op: "put",
    key: `${PREFIX}/networkpolicies/openstack/ossg.default.local`,
    value: { text: JSON.stringify(value) },
    origin: "bench",
  };
}
