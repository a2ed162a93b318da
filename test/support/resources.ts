/**
 * Resources of Calico's v3 model for tests, as the Neutron driver writes them, and the etcd changes that bring them: the same world
 * can go through the model into the evaluator, and through model, compiler and images into the kernel.
 */
import type { KeyChange } from "../../src/datastore/types.js";

const PREFIX = "/calico/resources/v3/projectcalico.org";
export const NAMESPACE = "openstack";
/** Label that a security group puts on its ports. */
export const groupLabel = (group: string): string => `sg.projectcalico.org/openstack-${group}`;
export const inGroup = (group: string): string => `has(${groupLabel(group)})`;

export interface Resource {
  readonly key: string;
  readonly object: Readonly<Record<string, unknown>>;
}

export interface EndpointSpec {
  readonly name: string;
  readonly node: string;
  readonly mac: string;
  readonly addresses: readonly string[];
  readonly groups?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly pairs?: readonly { readonly ip: string; readonly mac?: string }[];
  readonly portSecurity?: boolean;
  readonly adminUp?: boolean;
  readonly profiles?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** Floating IPs: external address to internal. */
  readonly floating?: Readonly<Record<string, string>>;
  /** Whatever else its spec says. */
  readonly spec?: Readonly<Record<string, unknown>>;
}

export const tapName = (endpoint: string): string => `tap${endpoint}`;
/** The last part of an EndpointId, as the model writes it. */
export const endpointKeyName = (spec: Pick<EndpointSpec, "name" | "node">): string =>
  [spec.node, "openstack", `vm-${spec.name}`, spec.name].map((part) => part.replaceAll("-", "--")).join("-");
export const endpointIdOf = (spec: Pick<EndpointSpec, "name" | "node">): string =>
  `${NAMESPACE}/${endpointKeyName(spec)}`;

export function endpoint(spec: EndpointSpec): Resource {
  const name = endpointKeyName(spec);
  const single = (address: string): string => `${address}/${address.includes(":") ? 128 : 32}`;
  const annotations = {
    ...(spec.portSecurity === false ? { "torbie/port-security": "off" } : {}),
    ...(spec.adminUp === false ? { "torbie/admin-state": "down" } : {}),
    ...(spec.pairs === undefined ? {} : { "torbie/allowed-address-pairs": JSON.stringify(spec.pairs) }),
    ...spec.annotations,
  };
  return {
    key: `${PREFIX}/workloadendpoints/${NAMESPACE}/${name}`,
    object: {
      kind: "WorkloadEndpoint",
      apiVersion: "projectcalico.org/v3",
      metadata: {
        name,
        namespace: NAMESPACE,
        annotations,
        labels: {
          ...Object.fromEntries((spec.groups ?? []).map((group) => [groupLabel(group), group])),
          "projectcalico.org/namespace": NAMESPACE,
          "projectcalico.org/orchestrator": "openstack",
          ...spec.labels,
        },
      },
      spec: {
        orchestrator: "openstack",
        workload: `vm-${spec.name}`,
        node: spec.node,
        endpoint: spec.name,
        interfaceName: tapName(spec.name),
        mac: spec.mac,
        ipNetworks: spec.addresses.map(single),
        allowedIps: [],
        ...(spec.profiles === undefined ? {} : { profiles: spec.profiles }),
        ...(spec.floating === undefined
          ? {}
          : {
              ipNATs: Object.entries(spec.floating).map(([externalIP, internalIP]) => ({ internalIP, externalIP })),
            }),
        ...spec.spec,
      },
    },
  };
}

export type RuleObject = Readonly<Record<string, unknown>>;

/** A security group: allow rules only, no order, no types. */
export function group(
  name: string,
  rules: { ingress?: readonly RuleObject[]; egress?: readonly RuleObject[]; stateful?: boolean },
): Resource {
  const full = `ossg.default.${name}`;
  const annotations = rules.stateful === false ? { annotations: { "torbie/stateful": "false" } } : {};
  return {
    key: `${PREFIX}/networkpolicies/${NAMESPACE}/${full}`,
    object: {
      kind: "NetworkPolicy",
      apiVersion: "projectcalico.org/v3",
      metadata: { name: full, namespace: NAMESPACE, ...annotations },
      spec: { ingress: rules.ingress ?? [], egress: rules.egress ?? [], selector: inGroup(name) },
    },
  };
}

/** Any other resource without a namespace: GlobalNetworkPolicy, GlobalNetworkSet, Tier, Profile. */
export function globalResource(
  plural: string,
  kind: string,
  name: string,
  spec: RuleObject,
  labels?: Readonly<Record<string, string>>,
): Resource {
  const metadata = { name, ...(labels === undefined ? {} : { labels }) };
  return { key: `${PREFIX}/${plural}/${name}`, object: { kind, apiVersion: "projectcalico.org/v3", metadata, spec } };
}

export function globalPolicy(name: string, spec: RuleObject): Resource {
  return globalResource("globalnetworkpolicies", "GlobalNetworkPolicy", name, spec);
}

/** What a datastore says when these are all that it holds, or when it goes from one list to another. */
export function changes(next: readonly Resource[], previous: readonly Resource[] = []): KeyChange[] {
  const before = new Map(previous.map((resource) => [resource.key, JSON.stringify(resource.object)]));
  const kept = new Set(next.map(({ key }) => key));
  return [
    ...previous.filter(({ key }) => !kept.has(key)).map(({ key }) => ({ op: "delete" as const, key })),
    ...next
      .filter(({ key, object }) => before.get(key) !== JSON.stringify(object))
      .map(({ key, object }) => ({ op: "put" as const, key, value: { object }, origin: "test" })),
  ];
}
