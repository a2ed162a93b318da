/**
 * Makes the maps say what is desired: reads them back or remembers them, plans, writes. Knows nothing of interfaces' hooks; works on any Maps.
 */
import { NameKind } from "../../abi/layout.gen.js";
import { parse, record, u32, type Bytes } from "../../abi/records.js";
import type { DesiredDelta, DesiredEndpoint, DesiredState, PolicyKey, PolicySetKey } from "../../compile/desired.js";
import type { EndpointId, Prefix } from "../../model/types.js";
import type { Steps } from "../../steps.js";
import type { Interfaces } from "../backend.js";
import { controlBefore } from "./images-control.js";
import type { ClassTable } from "./images-classes.js";
import { policyImage } from "./images-policy.js";
import type { Maps } from "./maps.js";
import { planAddresses } from "./plan-addresses.js";
import {
  assignTaps,
  planEndpoints,
  SHADOWED,
  setUsers,
  type EndpointState,
  type Shadows,
  type ShadowName,
} from "./plan-endpoints.js";
import { planEverything } from "./plan-full.js";
import { controlOf, planUplinks, type EngineSettings } from "./plan-host.js";
import { planNames } from "./plan-names.js";
import { PHASES, Plan, type MapName, type PhaseName } from "./plan.js";
import type { Registry } from "./registry.js";
import {
  buildSet,
  discardSet,
  HalfDifferences,
  holders,
  numberingOf,
  planSet,
  type Images,
  type SetState,
} from "./sets.js";
import type { PolicyImage } from "./images-policy.js";

/** What is known of the kernel, and how it came about. */
export interface Knowledge {
  readonly registry: Registry;
  readonly table: ClassTable;
  readonly shadows: Shadows;
  readonly sets: ReadonlyMap<PolicySetKey, SetState>;
  readonly images: Images;
  /** How many policies use each rule number. */
  readonly ruleUsers: Map<number, number>;
  readonly endpoints: ReadonlyMap<EndpointId, EndpointState>;
  readonly owners: ReadonlyMap<Prefix, ReadonlySet<EndpointId>>;
  readonly alsoRemote: ReadonlySet<Prefix>;
}

export type { EngineSettings };

export interface EngineReport {
  readonly writes: Record<string, number>;
  readonly failures: { readonly where: string; readonly error: Error }[];
  /** Endpoints whose whole state is in the maps; whether their taps are attached is another's to say. */
  readonly written: ReadonlySet<EndpointId>;
}

/** More endpoints than this are told by the one host-wide generation. */
const FEW = 4;

export class Engine {
  #known: Knowledge | undefined;
  /** Set when a write failed: what is remembered is not what is there, the next apply reads everything back. */
  #unsure = false;
  /** Sets that hold each policy, as long as no set has changed. */
  #holders: ReadonlyMap<PolicyKey, ReadonlySet<PolicySetKey>> | undefined;
  /** What the last apply wrote, and for which interfaces. */
  #last: { readonly interfaces: Interfaces; readonly written: ReadonlySet<EndpointId> } | undefined;

  constructor(
    private readonly maps: Maps,
    private readonly settings: EngineSettings,
  ) {}

  /** Somebody else has written to the maps: the next apply reads everything back. */
  doubt(): void {
    this.#unsure = true;
  }

  async apply(
    desired: DesiredState,
    interfaces: Interfaces,
    delta?: DesiredDelta,
    steps?: Steps,
  ): Promise<EngineReport> {
    steps?.begin(delta === undefined ? "read the maps back and plan" : "plan");
    const plan = new Plan();
    const failures: EngineReport["failures"] = [];
    const known = this.#unsure ? undefined : this.#known;
    // Numbers are given out and taken back while planning: until all is written, only reading back tells what holds.
    this.#unsure = true;
    if (delta === undefined || delta.sets.size > 0) this.#holders = undefined;
    const last = known === undefined || delta === undefined ? undefined : this.#last;
    this.#last = undefined;
    const next =
      known === undefined || delta === undefined
        ? planEverything(plan, this.maps, desired, interfaces)
        : this.#planDelta(plan, known, desired, interfaces, delta, interfaces === last?.interfaces);
    planUplinks(plan, next.shadows, interfaces);
    this.#planControl(plan, next, desired);
    planNames(plan, next.registry, this.maps);
    next.table.forgetLists();
    const { writes, failed } = await this.#run(plan, next, desired, failures, steps);
    this.#known = next;
    this.#unsure = failed;
    // Taps that nothing was planned for are as they were.
    const written =
      last !== undefined && next.endpoints === known?.endpoints && !failed
        ? last.written
        : writtenEndpoints(next, desired, interfaces);
    if (!failed) this.#last = { interfaces, written };
    return { writes, failures, written };
  }

  #planDelta(
    plan: Plan,
    known: Knowledge,
    desired: DesiredState,
    interfaces: Interfaces,
    delta: DesiredDelta,
    sameInterfaces: boolean,
  ): Knowledge {
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

    const { sets, narrowedUsers } = this.#planSets(plan, known, desired, delta, policies, images);
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
      exact: (key) => this.maps.get("remote", key),
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
            current: (map, key) => this.maps.get(map, key),
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

  #planSets(
    plan: Plan,
    known: Knowledge,
    desired: DesiredState,
    delta: DesiredDelta,
    policies: ReadonlySet<PolicyKey>,
    images: Images,
  ): { sets: Map<PolicySetKey, SetState>; narrowedUsers: PolicySetKey[] } {
    const { registry, table } = known;
    const numbering = numberingOf(registry, table);
    const sets = new Map(known.sets);
    const affected = new Set(delta.sets);
    if (policies.size > 0) {
      const index = (this.#holders ??= holders(desired.sets));
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

  #planControl(plan: Plan, next: Knowledge, desired: DesiredState): void {
    const was = next.shadows.control.get(u32(0)) ?? record("control", {});
    const before = controlBefore(was, controlOf(this.settings, next, desired, 0));
    if (before !== was) plan.set("controlUp", "control", u32(0), before);
  }

  /** Moves generations of what narrowed. Worked out from what was reached, so that a failed plan is not half taken for done. */
  #generations(plan: Plan, next: Knowledge, desired: DesiredState, failed: boolean): [MapName, Bytes, Bytes][] {
    const { shadows } = next;
    const host = plan.host || plan.bumps.size > FEW;
    const updates: [MapName, Bytes, Bytes][] = [];
    for (const number of host && plan.bumps.size > FEW ? [] : plan.bumps) {
      const was = shadows.endpoint.get(u32(number));
      if (was === undefined) continue;
      const endpoint = parse("endpoint", was);
      updates.push([
        "endpoint",
        u32(number),
        record("endpoint", { ...endpoint, generation: (endpoint.generation + 1) >>> 0 }),
      ]);
    }
    const was = shadows.control.get(u32(0)) ?? record("control", {});
    const now = parse("control", was);
    const generation = (now.generation + (host ? 1 : 0)) >>> 0;
    const value = failed
      ? record("control", { ...now, generation })
      : controlOf(this.settings, next, desired, generation);
    if (value !== was) updates.push(["control", u32(0), value]);
    return updates;
  }

  async #run(
    plan: Plan,
    next: Knowledge,
    desired: DesiredState,
    failures: EngineReport["failures"],
    steps: Steps | undefined,
  ): Promise<{ writes: Record<string, number>; failed: boolean }> {
    const writes: Record<string, number> = {};
    let failed = false;
    const write = (map: MapName, entries: readonly (readonly [Bytes, Bytes | undefined])[]): void => {
      const shadow = (SHADOWED as readonly string[]).includes(map) ? next.shadows[map as ShadowName] : undefined;
      let at = 0;
      steps?.begin("write map", map);
      try {
        this.maps.write(map, entries, (count, beside) => {
          writes[beside ?? map] = (writes[beside ?? map] ?? 0) + count;
          if (beside !== undefined) return;
          for (const [key, value] of shadow === undefined ? [] : entries.slice(at, at + count)) {
            if (value === undefined) shadow?.delete(key);
            else shadow?.set(key, value);
          }
          at += count;
        });
      } catch (error) {
        failed = true;
        failures.push({ where: `map ${map}`, error: error instanceof Error ? error : new Error(String(error)) });
      }
    };
    for (const phase of Object.keys(PHASES) as PhaseName[]) {
      if (phase === "generations") {
        for (const [map, key, value] of this.#generations(plan, next, desired, failed)) write(map, [[key, value]]);
      }
      const batches = plan.batches(phase);
      // A packet that is being judged by a set that was left behind finishes with it: programs run for microseconds, never across this.
      if (phase === "policyGarbage" && batches.length > 0) await new Promise((resolve) => setImmediate(resolve));
      for (const { map, entries } of batches) if (!failed || PHASES[phase] === "shrink") write(map, entries);
    }
    return { writes, failed };
  }
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

export function countRules(users: Map<number, number>, image: PolicyImage | undefined, by: number): void {
  for (const number of image?.rules ?? []) users.set(number, (users.get(number) ?? 0) + by);
}

function symmetricDifference<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): T[] {
  const found: T[] = [];
  for (const item of a) if (!b.has(item)) found.push(item);
  for (const item of b) if (!a.has(item)) found.push(item);
  return found;
}

/** A tap's entry is the last thing written of an endpoint: where it is, everything is. */
function writtenEndpoints(known: Knowledge, desired: DesiredState, interfaces: Interfaces): Set<EndpointId> {
  const written = new Set<EndpointId>();
  for (const [id, tap] of assignTaps(desired, interfaces)) {
    const number = known.endpoints.get(id)?.number;
    if (number !== undefined && known.shadows.tap.get(u32(tap.ifindex)) === u32(number)) written.add(id);
  }
  return written;
}
