/** Short ways to say what a datastore says. */
import type { KeyChange, RawValue } from "../../../src/datastore/types.js";
import { endpointName, keyOf, type Kind } from "../../../src/model/keys.js";
import { ModelStore } from "../../../src/model/store.js";
import type { LocalWorkload, ModelDelta, Policy, PolicyId, Rule } from "../../../src/model/types.js";

export const HOST = "host-1";

/** Text is JSON or not; anything else is an object as YAML gives it. */
export function put(key: string, value: unknown): KeyChange {
  const raw: RawValue = typeof value === "string" ? { text: value } : { object: value };
  return { op: "put", key, value: raw, origin: "test:1" };
}

export function change(store: ModelStore, key: string, value: unknown): ModelDelta {
  return store.apply({ type: "changes", changes: [put(key, value)] });
}

/** A store in sync, with these values by key. */
export function load(host: string, values: Readonly<Record<string, unknown>>): ModelStore {
  const store = new ModelStore(host);
  store.apply({ type: "snapshot-begin" });
  store.apply({ type: "changes", changes: Object.entries(values).map(([key, value]) => put(key, value)) });
  store.apply({ type: "in-sync" });
  return store;
}

export function resource(kind: Kind, name: string, spec: unknown, metadata: object = {}): object {
  return { kind, apiVersion: "projectcalico.org/v3", metadata: { name, ...metadata }, spec };
}

export const wepName = (name: string, node = HOST): string =>
  endpointName({ node, orchestrator: "openstack", workload: `vm-${name}`, endpoint: name });
export const wepKey = (name: string, node = HOST): string =>
  keyOf("WorkloadEndpoint", wepName(name, node), "openstack");

/** A good endpoint, with parts of spec and metadata replaced. */
export function wep(name: string, spec: object = {}, metadata: object = {}, node = HOST): object {
  return resource(
    "WorkloadEndpoint",
    wepName(name, node),
    {
      node,
      orchestrator: "openstack",
      workload: `vm-${name}`,
      endpoint: name,
      interfaceName: `tap${name}`,
      mac: "fa:16:3e:00:00:01",
      ipNetworks: ["10.65.0.1/32"],
      ...spec,
    },
    { namespace: "openstack", labels: { group: "web" }, ...metadata },
  );
}

/** The endpoint of this host that a value gives. */
export function local(store: ModelStore, name = "a"): LocalWorkload | undefined {
  return store.model.locals.get(`openstack/${wepName(name)}` as never);
}

export const NP = keyOf("NetworkPolicy", "p", "openstack");
export const GNP = keyOf("GlobalNetworkPolicy", "g");

/** The policy that a spec gives in a fresh store, with the problems. */
export function policy(
  spec: object,
  key = NP,
  metadata: object = {},
): { policy: Policy | undefined; store: ModelStore; codes: string[] } {
  const global = key === GNP;
  const value = global
    ? resource("GlobalNetworkPolicy", "g", spec, metadata)
    : resource("NetworkPolicy", "p", spec, { namespace: "openstack", ...metadata });
  const store = load(HOST, { [key]: value });
  const id = (global ? "gnp:g" : "np:openstack/p") as PolicyId;
  return { policy: store.model.policies.get(id), store, codes: store.problems().map(({ code }) => code) };
}

/** The one ingress rule that a raw rule gives. */
export function rule(raw: unknown, key = NP): { rule: Rule; codes: string[]; consequences: string[] } {
  const { policy: parsed, store, codes } = policy({ selector: "all()", ingress: [raw] }, key);
  const [found] = parsed?.ingress ?? [];
  if (found === undefined) throw new Error("no rule");
  return { rule: found, codes, consequences: store.problems().map(({ consequence }) => consequence) };
}
