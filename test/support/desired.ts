/** Small desired states, written by hand: what the compiler would hand to a backend. */
import type {
  ClassKey,
  ClassList,
  CompiledPolicy,
  DesiredDelta,
  DesiredEndpoint,
  DesiredRule,
  DesiredState,
  PlaneShape,
  PolicyKey,
  PolicySetKey,
  PolicySetShape,
  RuleKey,
} from "../../src/compile/desired.js";
import { ANY_CLASS } from "../../src/compile/desired.js";
import type { Interfaces, Tap } from "../../src/dataplane/backend.js";
import type { Address, EndpointId, LabelSet, LocalWorkload, Mac, Prefix } from "../../src/model/types.js";

export function rule(says: Partial<Omit<DesiredRule, "remote">> & { remote?: string } = {}): DesiredRule {
  return {
    key: "" as RuleKey,
    action: "allow",
    stateless: false,
    families: [4, 6],
    origin: { policy: "test" },
    ...says,
    remote: (says.remote ?? ANY_CLASS) as ClassKey,
  };
}

export function policy(
  key: string,
  rules: { ingress?: readonly DesiredRule[]; egress?: readonly DesiredRule[] },
): CompiledPolicy {
  const keyed = (side: "ingress" | "egress"): DesiredRule[] =>
    (rules[side] ?? []).map((one, i) => ({ ...one, key: `${key}/${side}/${i}` as RuleKey }));
  return { key: key as PolicyKey, name: key, ingress: keyed("ingress"), egress: keyed("egress") };
}

let macs = 0;

export function endpoint(
  id: string,
  says: { owned: readonly string[]; set: string; interfaceName?: string } & Partial<
    Pick<DesiredEndpoint, "adminUp" | "portSecurity" | "blocked" | "mac">
  >,
): DesiredEndpoint {
  const number = [...id].reduce((sum, character) => sum + character.charCodeAt(0) - 96, 0);
  const mac = says.mac ?? (`fa:16:3e:00:00:${(number & 0xff).toString(16).padStart(2, "0")}` as Mac);
  macs++;
  const labels: LabelSet = { id: macs, labels: new Map() };
  const workload: LocalWorkload = {
    id: id as EndpointId,
    key: id,
    node: "host",
    prefixes: says.owned as Prefix[],
    labels,
    namespace: "openstack",
    orchestrator: "openstack",
    workload: id,
    endpoint: id,
    interfaceName: says.interfaceName ?? `tap${id}`,
    mac,
    fixed: says.owned as Prefix[],
    pairs: [],
    gateways: {},
    nats: [],
    profiles: [],
    portSecurity: says.portSecurity ?? true,
    adminUp: says.adminUp ?? true,
    notEnforced: [],
    origin: "test",
  };
  return {
    id: id as EndpointId,
    workload,
    interfaceName: workload.interfaceName,
    mac,
    owned: says.owned.map((prefix) => ({ prefix: prefix as Prefix, kind: "fixed" as const })),
    set: says.set as PolicySetKey,
    portSecurity: workload.portSecurity,
    adminUp: workload.adminUp,
    ...(says.blocked === undefined ? {} : { blocked: says.blocked }),
  };
}

/** Planes as lists of policy names; one that ends in pass is written { pass: [...] }. */
type Planes = readonly (readonly string[] | { readonly pass: readonly string[] })[];

function planes(list: Planes): PlaneShape[] {
  return list.map((plane, i) => ({
    tier: `tier${i}`,
    policies: ("pass" in plane ? plane.pass : plane) as readonly PolicyKey[],
    end: "pass" in plane ? "pass" : "deny",
  }));
}

export function stateOf(says: {
  endpoints?: readonly DesiredEndpoint[];
  policies?: readonly CompiledPolicy[];
  sets?: Readonly<Record<string, { ingress: Planes; egress: Planes }>>;
  addresses?: Readonly<Record<string, readonly string[]>>;
  prefixes?: Readonly<Record<string, readonly string[]>>;
  alsoRemote?: readonly string[];
}): DesiredState {
  const lists = (record: Readonly<Record<string, readonly string[]>>): [string, ClassList][] =>
    Object.entries(record).map(([key, classes]) => [key, { classes: classes as readonly ClassKey[], complete: false }]);
  return {
    endpoints: new Map((says.endpoints ?? []).map((one) => [one.id, one])),
    sets: new Map(
      Object.entries(says.sets ?? {}).map(([key, { ingress, egress }]) => {
        const shape: PolicySetShape = { key: key as PolicySetKey, ingress: planes(ingress), egress: planes(egress) };
        return [shape.key, shape];
      }),
    ),
    policies: new Map((says.policies ?? []).map((one) => [one.key, one])),
    addresses: new Map(lists(says.addresses ?? {}) as [Address, ClassList][]),
    prefixes: new Map(lists(says.prefixes ?? {}) as [Prefix, ClassList][]),
    alsoRemote: new Set((says.alsoRemote ?? []) as Prefix[]),
  };
}

export function interfacesOf(taps: readonly Tap[] = []): Interfaces {
  return { taps: new Map(taps.map((tap) => [tap.name, tap])), uplinks: [] };
}

/** Everything that differs between two states, as the compiler would say it (narrowed: whatever lost or gained). */
export function deltaOf(from: DesiredState, to: DesiredState): DesiredDelta {
  const changed = <K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): Set<K> =>
    new Set([...a.keys(), ...b.keys()].filter((key) => JSON.stringify(a.get(key)) !== JSON.stringify(b.get(key))));
  const addresses = changed(from.addresses, to.addresses);
  const prefixes = changed(from.prefixes, to.prefixes);
  const lists = [
    ...[...addresses].map((key) => from.addresses.get(key)),
    ...[...prefixes].map((key) => from.prefixes.get(key)),
  ];
  return {
    endpoints: changed(from.endpoints, to.endpoints),
    sets: changed(from.sets, to.sets),
    policies: changed(from.policies, to.policies),
    addresses,
    prefixes,
    narrowed: new Set(lists.flatMap((list) => list?.classes ?? [])),
  };
}

/** `from` with some policies, the shape of some sets, and the sets of some endpoints, of `to`. */
export function mixed(from: DesiredState, to: DesiredState, choice: readonly boolean[]): DesiredState {
  const pick = <K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>, offset: number): Map<K, V> =>
    new Map([...a].map(([key, value], i) => [key, choice[offset + i] === true ? (b.get(key) ?? value) : value]));
  return {
    ...from,
    policies: pick(from.policies, to.policies, 0),
    sets: pick(from.sets, to.sets, 4),
    endpoints: pick(from.endpoints, to.endpoints, 6),
  };
}
