/** Plans endpoints, their taps and what they own from what is there to what is wanted. Pure, but for `chosen`, which reads a map. */
import { EndpointFlag, NameKind } from "../../abi/layout.gen.js";
import { parse, record, u32, type Bytes } from "../../abi/records.js";
import type { DesiredEndpoint, DesiredState, PolicySetKey } from "../../compile/desired.js";
import type { EndpointId, Prefix } from "../../model/types.js";
import { settledTap, type Interfaces, type Tap } from "../backend.js";
import {
  collidingMarks,
  endpointValue,
  floatingEntries,
  localKeys,
  localValue,
  markOf,
  receivedPrefixes,
  sourceEntries,
  tapSlots,
  type SetNumber,
} from "./images-endpoints.js";
import type { MapName, Plan } from "./plan.js";
import type { Registry } from "./registry.js";

/** What the kernel holds in the small maps, as far as it is known: binary text to binary text. */
export type Shadows = Readonly<Record<ShadowName, Map<Bytes, Bytes>>>;
export const SHADOWED = [
  "tap",
  "tap_slot",
  "uplink",
  "source",
  "local",
  "local_prefix",
  "floating",
  "endpoint",
  "prefix",
  "control",
] as const;
export type ShadowName = (typeof SHADOWED)[number];

export interface EndpointState {
  readonly number: number;
  readonly desired: DesiredEndpoint;
  readonly sources: ReadonlyMap<Bytes, Bytes>;
  /** ifindex, MAC, MTU and mark as written. */
  readonly tap: string;
}

export interface EndpointWork {
  readonly desired: DesiredState;
  readonly interfaces: Interfaces;
  /** Endpoints to look at; those of `states` that are no longer desired must be among them. */
  readonly dirty: ReadonlySet<EndpointId>;
  /** Prefixes to look at besides those of the dirty endpoints. */
  readonly prefixes: Iterable<Prefix>;
  readonly states: ReadonlyMap<EndpointId, EndpointState>;
  readonly owners: ReadonlyMap<Prefix, ReadonlySet<EndpointId>>;
  readonly shadows: Shadows;
  readonly registry: Registry;
  readonly setNumber: SetNumber;
  /** The value in the kernel right now: the program moves shared addresses. */
  readonly current: (map: MapName, key: Bytes) => Bytes | undefined;
}

export interface EndpointsPlan {
  readonly states: Map<EndpointId, EndpointState>;
  readonly owners: Map<Prefix, Set<EndpointId>>;
}

const endpointKey = (number: number): Bytes => u32(number);
const DOWN = EndpointFlag.ENDPOINT_ADMIN_DOWN | EndpointFlag.ENDPOINT_BLOCKED;

/**
 * The tap that each endpoint gets: one that several claim has the lowest id, as the compiler has it (src/compile/locals.ts), which blocks the
 * others and reports them.
 */
export function assignTaps(desired: DesiredState, interfaces: Interfaces): Map<EndpointId, Tap> {
  const holders = new Map<string, EndpointId>();
  for (const { id, interfaceName } of desired.endpoints.values()) {
    const holder = holders.get(interfaceName);
    if (holder === undefined || id < holder) holders.set(interfaceName, id);
  }
  const taps = new Map<EndpointId, Tap>();
  for (const [name, id] of holders) {
    const tap = settledTap(interfaces.taps, name);
    if (tap !== undefined) taps.set(id, tap);
  }
  return taps;
}

export function planEndpoints(plan: Plan, work: EndpointWork): EndpointsPlan {
  const { desired, registry, shadows } = work;
  const taps = assignTaps(desired, work.interfaces);
  const colliding = collidingMarks(work.interfaces.taps.values());
  const signature = (id: EndpointId): string => {
    const tap = taps.get(id);
    return tap === undefined ? "" : `${tap.ifindex} ${tap.mac} ${tap.mtu} ${colliding.has(markOf(tap.ifindex))}`;
  };
  const dirty = new Set(work.dirty);
  for (const [id, state] of work.states) if (state.tap !== signature(id)) dirty.add(id);
  const states = new Map(work.states);
  const owners = new Map<Prefix, Set<EndpointId>>([...work.owners].map(([prefix, ids]) => [prefix, new Set(ids)]));
  const prefixes = new Set(work.prefixes);
  const move = (id: EndpointId, from: DesiredEndpoint | undefined, to: DesiredEndpoint | undefined): void => {
    for (const prefix of from === undefined ? [] : receivedPrefixes(from)) {
      owners.get(prefix)?.delete(id);
      prefixes.add(prefix);
    }
    for (const prefix of to === undefined ? [] : receivedPrefixes(to)) {
      const ids = owners.get(prefix);
      if (ids === undefined) owners.set(prefix, new Set([id]));
      else ids.add(id);
      prefixes.add(prefix);
    }
  };

  /** Flows of a port that is gone stay on its account until the programs find them (D7): the next port must not pay for them. */
  const hasFlows = (number: number): boolean => {
    const account = work.current("account", u32(number));
    return account !== undefined && parse("account", account).count > 0;
  };
  for (const id of dirty) {
    const state = work.states.get(id);
    const endpoint = desired.endpoints.get(id);
    move(id, state?.desired, endpoint);
    if (endpoint === undefined) {
      if (state === undefined) continue;
      clearEndpoint(plan, shadows, state.number);
      for (const key of state.sources.keys()) plan.delete("ownersDown", "source", key);
      registry.release(NameKind.NAME_ENDPOINT, state.number);
      states.delete(id);
      continue;
    }
    const number = registry.number(NameKind.NAME_ENDPOINT, id, hasFlows);
    const sources = sourceEntries(endpoint, number, work.setNumber);
    let lost = false;
    for (const [key, value] of sources) {
      const was = shadows.source.get(key);
      if (was === value) continue;
      plan.set("ownersUp", "source", key, value);
      lost ||= was !== undefined;
    }
    for (const key of state?.sources.keys() ?? []) {
      if (sources.has(key)) continue;
      plan.delete("ownersDown", "source", key);
      lost = true;
    }
    const narrowed = planEndpoint(plan, shadows, endpoint, number, taps.get(id), colliding, work.setNumber, lost);
    if (narrowed) plan.bumps.add(number);
    states.set(id, { number, desired: endpoint, sources, tap: signature(id) });
  }
  planLocals(plan, work, states, owners, prefixes);
  planFloating(plan, shadows, desired);
  planTaps(plan, shadows, states, taps);
  return { states, owners };
}

/** Frees an endpoint's slot. Its generation goes on, so that flows of a former holder of the number are never taken for the next one's. */
export function clearEndpoint(plan: Plan, shadows: Shadows, number: number): void {
  const was = shadows.endpoint.get(endpointKey(number));
  const generation = was === undefined ? 1 : parse("endpoint", was).generation + 1;
  plan.set("endpointsDown", "endpoint", endpointKey(number), record("endpoint", { generation: generation >>> 0 }));
}

/** Returns whether something may have narrowed for its flows; a new endpoint has none. `lost`: it owns something less, or otherwise. */
function planEndpoint(
  plan: Plan,
  shadows: Shadows,
  endpoint: DesiredEndpoint,
  number: number,
  tap: Tap | undefined,
  colliding: ReadonlySet<number>,
  setNumber: SetNumber,
  lost: boolean,
): boolean {
  const key = endpointKey(number);
  const was = shadows.endpoint.get(key);
  const before = was === undefined ? undefined : parse("endpoint", was);
  const present = before !== undefined && (before.flags & EndpointFlag.ENDPOINT_PRESENT) !== 0;
  const generation = before === undefined ? 1 : present ? before.generation : (before.generation + 1) >>> 0;
  const value = endpointValue(endpoint, tap, colliding, generation, setNumber);
  if (!present) {
    plan.set("endpointsUp", "endpoint", key, value);
    return false;
  }
  const after = parse("endpoint", value);
  const goesDown = (after.flags & ~before.flags & DOWN) !== 0;
  const tapGone = before.ifindex !== 0 && before.ifindex !== after.ifindex;
  if (goesDown || tapGone) {
    const down = { ...before, flags: before.flags | (after.flags & DOWN), ...(tapGone ? { ifindex: 0, mark: 0 } : {}) };
    plan.set("endpointsDown", "endpoint", key, record("endpoint", down));
  }
  if (value !== was) plan.set("endpointsUp", "endpoint", key, value);
  const sameMac = Buffer.from(after.mac).equals(Buffer.from(before.mac));
  return lost || before.policy_set !== after.policy_set || before.flags !== after.flags || !sameMac;
}

const canReceive = ({ desired, tap }: EndpointState): boolean =>
  tap !== "" && desired.adminUp && desired.blocked === undefined;

function planLocals(
  plan: Plan,
  work: EndpointWork,
  states: ReadonlyMap<EndpointId, EndpointState>,
  owners: Map<Prefix, Set<EndpointId>>,
  prefixes: Iterable<Prefix>,
): void {
  for (const prefix of prefixes) {
    const ids = [...(owners.get(prefix) ?? [])];
    if (ids.length === 0) owners.delete(prefix);
    const all = ids.flatMap((id) => states.get(id) ?? []).filter(({ desired }) => desired.move !== "held");
    // Where another one can be reached, nothing goes to one that can't.
    const reachable = all.filter(canReceive);
    const list = (reachable.length > 0 ? reachable : all).map(({ desired, number }) => ({ endpoint: desired, number }));
    const { map, keys } = localKeys(prefix);
    for (const key of keys) {
      const was =
        list.length > 1 ? work.current(map, key) : work.shadows[map === "local" ? "local" : "local_prefix"].get(key);
      const chosen = was === undefined ? undefined : parse("local", was).endpoint;
      const value = localValue(prefix, list, chosen, work.desired.alsoRemote.has(prefix), work.setNumber);
      if (value === undefined) {
        if (was !== undefined) plan.delete("ownersDown", map, key);
      } else if (value !== was) {
        plan.set("ownersUp", map, key, value);
        // Flows to who had it and can no longer be reached are judged anew, and find who has it now.
        if (
          chosen !== undefined &&
          chosen !== parse("local", value).endpoint &&
          all.some(({ number }) => number === chosen)
        )
          plan.bumps.add(chosen);
        // Flows may know the address as one of elsewhere.
        if (was === undefined) plan.host = true;
      }
    }
  }
}

/** An address that moves is one write. Flows may know one that is new as an address of elsewhere. */
function planFloating(plan: Plan, shadows: Shadows, desired: DesiredState): void {
  const wanted = floatingEntries(desired.endpoints.values());
  for (const key of shadows.floating.keys()) if (!wanted.has(key)) plan.delete("ownersDown", "floating", key);
  for (const [key, value] of wanted) {
    if (shadows.floating.get(key) === value) continue;
    plan.set("ownersUp", "floating", key, value);
    plan.host = true;
  }
}

function planTaps(
  plan: Plan,
  shadows: Shadows,
  states: ReadonlyMap<EndpointId, EndpointState>,
  taps: ReadonlyMap<EndpointId, Tap>,
): void {
  const numbers = new Map<number, number>();
  for (const [id, { ifindex }] of taps) {
    const state = states.get(id);
    if (state !== undefined) numbers.set(ifindex, state.number);
  }
  const slots = tapSlots(numbers);
  // A slot goes before what it repeats, and comes after it.
  const empty = record("tap_slot", {});
  for (const [key, value] of shadows.tap_slot)
    if (value !== empty && slots.get(key) !== value) plan.set("tapsDown", "tap_slot", key, empty);
  const wanted = new Map([...numbers].map(([ifindex, number]) => [u32(ifindex), u32(number)]));
  for (const [key, value] of shadows.tap) if (wanted.get(key) !== value) plan.delete("tapsDown", "tap", key);
  for (const [key, value] of wanted) if (shadows.tap.get(key) !== value) plan.set("tapsUp", "tap", key, value);
  for (const [key, value] of slots) if (shadows.tap_slot.get(key) !== value) plan.set("tapsUp", "tap_slot", key, value);
}

/** Endpoints that name each policy set, themselves or for one of their addresses. */
export function setUsers(endpoints: Iterable<DesiredEndpoint>): Map<PolicySetKey, Set<EndpointId>> {
  const users = new Map<PolicySetKey, Set<EndpointId>>();
  for (const { id, set, owned } of endpoints) {
    for (const key of [set, ...owned.flatMap((entry) => entry.set ?? [])])
      users.set(key, (users.get(key) ?? new Set()).add(id));
  }
  return users;
}
