/** From what is known of the kernel and what differs in what is desired: the writes that are due, and no others. */
import { NameKind } from "../../abi/layout.gen.js";
import type { DesiredDelta, DesiredEndpoint, DesiredState, PolicyKey, PolicySetKey } from "../../compile/desired.js";
import type { EndpointId } from "../../model/types.js";
import type { Interfaces } from "../backend.js";
import { policyImage, type PolicyImage } from "./images-policy.js";
import { countRules, type Knowledge } from "./knowledge.js";
import type { Maps } from "./maps.js";
import { planAddresses } from "./plan-addresses.js";
import { planEndpoints, setUsers } from "./plan-endpoints.js";
import type { Plan } from "./plan.js";
import { buildSet, discardSet, HalfDifferences, numberingOf, planSet, type Images, type SetState } from "./sets.js";

export interface Change {
  readonly desired: DesiredState;
  readonly interfaces: Interfaces;
  readonly delta: DesiredDelta;
  /** They are those of the last plan. */
  readonly sameInterfaces: boolean;
  /** Sets that hold each policy. */
  readonly holders: () => ReadonlyMap<PolicyKey, ReadonlySet<PolicySetKey>>;
}

/** What differs, written to the plan. @returns what will be known when it is carried out */
export function planDelta(plan: Plan, maps: Maps, known: Knowledge, change: Change): Knowledge {
  const { desired, interfaces, delta, sameInterfaces } = change;
  const { registry, table, shadows } = known;
  const numbering = numberingOf(registry, table);
  const policies = new Set(delta.policies);
  const lists = [
    ...[...delta.addresses].map((key) => desired.addresses.get(key)),
    ...[...delta.prefixes].map((key) => desired.prefixes.get(key)),
  ];
  const members = new Set(lists.flatMap((list) => (list === undefined ? [] : [...table.prepare(list)])));
  if (members.size > 0)
    for (const [key, policy] of desired.policies)
      if ([...policy.ingress, ...policy.egress].some((rule) => members.has(rule.remote))) policies.add(key);

  const images = new Map<PolicyKey, PolicyImage>(known.images);
  for (const key of policies) {
    const policy = desired.policies.get(key);
    if (policy === undefined) images.delete(key);
    else images.set(key, policyImage(policy, numbering, members.size > 0 ? undefined : known.images.get(key)));
    countRules(known.ruleUsers, images.get(key), 1);
  }

  const { sets, narrowedUsers } = planSets(plan, known, change, policies, images);
  const setNumber = (key: PolicySetKey): number => sets.get(key)?.number ?? 0;
  const flipped = [...sets]
    .filter(([key, state]) => known.sets.has(key) && known.sets.get(key)?.number !== state.number)
    .map(([key]) => key);
  const users =
    flipped.length + narrowedUsers.length === 0
      ? new Map<PolicySetKey, Set<EndpointId>>()
      : setUsers(desired.endpoints.values());
  const dirty = new Set([...delta.endpoints, ...flipped.flatMap((key) => [...(users.get(key) ?? [])])]);

  planAddresses(plan, desired, table, {
    addresses: delta.addresses,
    prefixes: delta.prefixes,
    exact: (key) => maps.get("remote", key),
    own: (key) => shadows.prefix.get(key),
    flips: flipped.length > 0,
  });
  const moved = symmetricDifference(known.alsoRemote, desired.alsoRemote);
  const endpoints =
    sameInterfaces && dirty.size + moved.length === 0
      ? { states: known.endpoints, owners: known.owners }
      : planEndpoints(plan, {
          desired,
          interfaces,
          dirty,
          prefixes: moved,
          states: known.endpoints,
          owners: known.owners,
          shadows,
          registry,
          setNumber,
          current: (map, key) => maps.get(map, key),
        });

  for (const id of new Set(narrowedUsers.flatMap((key) => [...(users.get(key) ?? [])]))) {
    const state = endpoints.states.get(id);
    if (state !== undefined) plan.bumps.add(state.number);
  }
  plan.host ||= delta.narrowed.size > 0;
  for (const key of policies) {
    const former = known.images.get(key);
    countRules(known.ruleUsers, former, -1);
    for (const number of former?.rules ?? []) {
      if ((known.ruleUsers.get(number) ?? 0) > 0) continue;
      known.ruleUsers.delete(number);
      registry.release(NameKind.NAME_RULE, number);
    }
  }
  return {
    ...known,
    sets,
    images,
    endpoints: endpoints.states,
    owners: endpoints.owners,
    alsoRemote: moved.length === 0 ? known.alsoRemote : new Set(desired.alsoRemote),
  };
}

function planSets(
  plan: Plan,
  known: Knowledge,
  { desired, delta, holders }: Change,
  policies: ReadonlySet<PolicyKey>,
  images: Images,
): { sets: Map<PolicySetKey, SetState>; narrowedUsers: PolicySetKey[] } {
  const { registry, table } = known;
  const numbering = numberingOf(registry, table);
  const sets = new Map(known.sets);
  const affected = new Set(delta.sets);
  if (policies.size > 0) {
    const index = holders();
    for (const policy of policies) for (const key of index.get(policy) ?? []) affected.add(key);
  }
  const differences = new HalfDifferences(known.images, images);
  const narrowedUsers: PolicySetKey[] = [];
  const moving = movingSets([...delta.endpoints], known, desired);
  for (const key of affected) {
    const [shape, old] = [desired.sets.get(key), known.sets.get(key)];
    if (shape === undefined) {
      if (old === undefined) continue;
      discardSet(plan, old, known.images);
      registry.release(NameKind.NAME_POLICY_SET, old.number);
      sets.delete(key);
    } else if (old === undefined) {
      const built = buildSet(shape, registry.number(NameKind.NAME_POLICY_SET, key), images, numbering);
      for (const [at, value] of built.entries) plan.set("policyUp", "policy", at, value);
      for (const [at, value] of built.planes) plan.set("planesNew", "plane", at, value);
      sets.set(key, built.state);
    } else {
      const renew = (): number => registry.renew(NameKind.NAME_POLICY_SET, key).number;
      const planned = planSet(
        plan,
        old,
        shape,
        known.images,
        images,
        differences,
        policies,
        numbering,
        renew,
        moving.has(key),
      );
      if (planned.flipped) registry.release(NameKind.NAME_POLICY_SET, old.number);
      else if (planned.narrowed) narrowedUsers.push(key);
      if (planned.state !== old) sets.set(key, planned.state);
    }
  }
  return { sets, narrowedUsers };
}

/** Sets that an endpoint comes to or leaves. One that goes altogether is down before anything else is written. */
function movingSets(ids: readonly EndpointId[], known: Knowledge, desired: DesiredState): Set<PolicySetKey> {
  const setsOf = (endpoint: DesiredEndpoint | undefined): PolicySetKey[] =>
    endpoint === undefined ? [] : [endpoint.set, ...endpoint.owned.flatMap(({ set }) => set ?? [])];
  const moving = new Set<PolicySetKey>();
  for (const id of ids) {
    const next = desired.endpoints.get(id);
    if (next === undefined) continue;
    const [from, to] = [setsOf(known.endpoints.get(id)?.desired), setsOf(next)];
    for (const key of from) if (!to.includes(key)) moving.add(key);
    for (const key of to) if (!from.includes(key)) moving.add(key);
    // An address may go from one set of the endpoint to another.
    if (new Set([...from, ...to]).size > 1) for (const key of [...from, ...to]) moving.add(key);
  }
  return moving;
}

function symmetricDifference<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): T[] {
  const found: T[] = [];
  for (const item of a) if (!b.has(item)) found.push(item);
  for (const item of b) if (!a.has(item)) found.push(item);
  return found;
}
