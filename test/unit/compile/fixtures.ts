/** Models written by hand, without the datastore: what the compiler's tests start from. */
import type { Compiler } from "../../../src/compile/compiler.js";
import type { DesiredDelta } from "../../../src/compile/desired.js";
import { parseSelector } from "../../../src/model/selector.js";
import type {
  AllowedPair,
  Endpoint,
  EndpointId,
  LabelSet,
  LocalWorkload,
  Mac,
  Model,
  ModelDelta,
  NetworkSet,
  Policy,
  PolicyId,
  Prefix,
  Profile,
  Rule,
  RuleSide,
  Tier,
} from "../../../src/model/types.js";

export const HOST = "here";

export const prefix = (text: string): Prefix => text as Prefix;
export const policyId = (text: string): PolicyId => text as PolicyId;
export const endpointId = (text: string): EndpointId => text as EndpointId;
export const selector = (text: string): string => parseSelector(text).text;

/** One object for equal labels, as the model promises. */
export class Labels {
  private readonly known = new Map<string, LabelSet>();

  set(labels: Readonly<Record<string, string>>): LabelSet {
    const text = JSON.stringify(Object.entries(labels).sort());
    const found = this.known.get(text) ?? { id: this.known.size + 1, labels: new Map(Object.entries(labels)) };
    this.known.set(text, found);
    return found;
  }
}

export function side(said: Partial<RuleSide> = {}): RuleSide {
  return { nets: [], notNets: [], ports: [], notPorts: [], ...said };
}

export function rule(said: Partial<Rule> = {}): Rule {
  return { index: "ingress/0", action: "allow", source: side(), destination: side(), ...said };
}

export function policy(id: string, said: Partial<Policy> = {}): Policy {
  return {
    id: policyId(id),
    key: `/calico/${id}`,
    origin: `test:${id}`,
    name: id,
    tier: "default",
    order: Number.POSITIVE_INFINITY,
    selector: selector("all()"),
    ingressApplies: true,
    egressApplies: true,
    ingress: [],
    egress: [],
    stateful: true,
    ...said,
  };
}

export function remoteEndpoint(id: string, labels: LabelSet, prefixes: readonly string[], node = "there"): Endpoint {
  return { id: endpointId(id), key: `/calico/${id}`, node, prefixes: prefixes.map(prefix), labels };
}

export function workload(
  id: string,
  labels: LabelSet,
  fixed: readonly string[],
  said: Partial<LocalWorkload> = {},
): LocalWorkload {
  const pairs: readonly AllowedPair[] = said.pairs ?? [];
  return {
    ...remoteEndpoint(id, labels, [...fixed, ...pairs.map((pair) => pair.prefix)], HOST),
    namespace: "openstack",
    orchestrator: "openstack",
    workload: id,
    endpoint: id,
    interfaceName: `tap${id}`,
    mac: "fa:16:3e:00:00:01" as Mac,
    fixed: fixed.map(prefix),
    pairs,
    gateways: {},
    nats: [],
    profiles: [],
    portSecurity: true,
    adminUp: true,
    notEnforced: [],
    origin: `test:${id}`,
    ...said,
  };
}

export function networkSet(id: string, labels: LabelSet, prefixes: readonly string[]): NetworkSet {
  return { id, key: `/calico/${id}`, prefixes: prefixes.map(prefix), labels };
}

export function tier(name: string, order: number, end: Tier["end"] = "deny"): Tier {
  return { name, order, end };
}

export function profile(name: string, said: Partial<Profile> = {}): Profile {
  return { name, labels: new Map(), ingress: [], egress: [], ...said };
}

export interface Change {
  readonly endpoints?: readonly (Endpoint | LocalWorkload | string)[];
  readonly policies?: readonly (Policy | string)[];
  readonly profiles?: readonly (Profile | string)[];
  readonly tiers?: readonly (Tier | string)[];
  readonly networkSets?: readonly (NetworkSet | string)[];
}

/** A model that changes, and what each change touched. A bare string removes what it names. */
export class TestModel implements Model {
  readonly hostname = HOST;
  readonly endpoints = new Map<EndpointId, Endpoint | LocalWorkload>();
  readonly locals = new Map<EndpointId, LocalWorkload>();
  readonly policies = new Map<PolicyId, Policy>();
  readonly profiles = new Map<string, Profile>();
  readonly tiers = new Map<string, Tier>();
  readonly networkSets = new Map<string, NetworkSet>();
  readonly subnets = new Map();
  readonly migrations = new Map();

  change({ endpoints = [], policies = [], profiles = [], tiers = [], networkSets = [] }: Change): ModelDelta {
    for (const one of endpoints) {
      if (typeof one !== "string" && "fixed" in one) this.locals.set(one.id, one);
      else this.locals.delete(idOf(one) as EndpointId);
    }
    return {
      endpoints: put(this.endpoints, endpoints) as Set<EndpointId>,
      policies: put(this.policies, policies) as Set<PolicyId>,
      profiles: put(this.profiles, profiles),
      tiers: put(this.tiers, tiers),
      networkSets: put(this.networkSets, networkSets),
      subnets: new Set(),
      migrations: new Set(),
      settings: false,
    };
  }
}

export function apply(compiler: Compiler, model: TestModel, change: Change): DesiredDelta {
  return compiler.apply(model, model.change(change));
}

type Named = { readonly id: string } | { readonly name: string };

function idOf(item: Named | string): string {
  return typeof item === "string" ? item : "id" in item ? item.id : item.name;
}

function put<K extends string, V extends Named>(map: Map<K, V>, items: readonly (V | string)[]): Set<string> {
  for (const item of items) {
    if (typeof item === "string") map.delete(item as K);
    else map.set(idOf(item) as K, item);
  }
  return new Set(items.map(idOf));
}
