/** Reads the maps back and plans every difference: at start, after a failure, and whenever the agent asks (D6). */
import { ClassNumber, EndpointFlag, NameKind, STRUCTS } from "../../abi/layout.gen.js";
import { parse, policySetOf, readSource, readU32, record, u32, type Bytes } from "../../abi/records.js";
import type { DesiredState, PolicySetKey } from "../../compile/desired.js";
import type { Interfaces } from "../backend.js";
import { ClassTable, classNumbers } from "./images-classes.js";
import { directionOf, SIDES } from "./images-rule.js";
import { localKeys } from "./images-endpoints.js";
import { countRules, type Knowledge } from "./knowledge.js";
import type { Maps } from "./maps.js";
import { planAddresses, unwantedAddresses, unwantedPrefixes } from "./plan-addresses.js";
import { clearEndpoint, planEndpoints, type Shadows, type ShadowName, SHADOWED } from "./plan-endpoints.js";
import type { Plan } from "./plan.js";
import { Registry } from "./registry.js";
import {
  buildSet,
  expandPolicies,
  isOpenValue,
  narrowsEntry,
  numberingOf,
  planeKey,
  planPlane,
  type SetState,
} from "./sets.js";

type Dump = Map<Bytes, Bytes>;
interface KernelSet {
  readonly planes: Dump;
  readonly entries: Dump;
}

/** @param plainly the plan is to be looked at and not to be written: every difference in its place, however a packet would take it */
export function planEverything(
  plan: Plan,
  maps: Maps,
  desired: DesiredState,
  interfaces: Interfaces,
  plainly = false,
): Knowledge {
  const shadows = Object.fromEntries(SHADOWED.map((name) => [name, maps.dump(name)])) as Record<
    ShadowName,
    Dump
  > as Shadows;
  const remote = maps.dump("remote");
  const kernelSets = readSets(maps);
  const registry = Registry.read(maps.dump("name"));
  reserveNumbers(registry, shadows, remote, kernelSets);
  const table = new ClassTable(registry);
  for (const list of new Set([...desired.addresses.values(), ...desired.prefixes.values()])) table.prepare(list);
  const numbering = numberingOf(registry, table);
  const images = expandPolicies(desired.policies.values(), numbering);
  const ruleUsers = new Map<number, number>();
  for (const image of images.values()) countRules(ruleUsers, image, 1);

  const sets = new Map<PolicySetKey, SetState>();
  let flips = false;
  const moving = movingNumbers(desired, shadows, registry);
  for (const [key, shape] of desired.sets) {
    const number = registry.number(NameKind.NAME_POLICY_SET, key);
    const built = buildSet(shape, number, images, numbering);
    const there = kernelSets.get(number);
    if (plainly && there !== undefined) planPlain(plan, built, there);
    else if (there !== undefined && mustFlip(built.planes, built.entries, there, built.state, moving.has(number))) {
      const renewed = registry.renew(NameKind.NAME_POLICY_SET, key).number;
      const again = buildSet(shape, renewed, images, numbering);
      planNew(plan, again);
      sets.set(key, again.state);
      registry.release(NameKind.NAME_POLICY_SET, number);
      flips = true;
      continue;
    }
    if (there === undefined) planNew(plan, built);
    else if (planDifference(plan, built, there)) plan.host = true;
    sets.set(key, built.state);
    kernelSets.delete(number);
  }
  for (const { planes, entries } of kernelSets.values()) {
    for (const key of planes.keys()) plan.delete("planesGarbage", "plane", key);
    for (const key of entries.keys()) plan.delete("policyGarbage", "policy", key);
  }

  const lost = planAddresses(plan, desired, table, {
    addresses: [...desired.addresses.keys(), ...unwantedAddresses(remote.keys(), desired)],
    prefixes: [...desired.prefixes.keys(), ...unwantedPrefixes(shadows.prefix.keys(), desired)],
    exact: (key) => remote.get(key),
    own: (key) => shadows.prefix.get(key),
    flips,
  });
  plan.host ||= lost || flips || maps.misled?.() === true;

  const endpoints = planEndpoints(plan, {
    desired,
    interfaces,
    dirty: new Set(desired.endpoints.keys()),
    prefixes: [],
    states: new Map(),
    owners: new Map(),
    shadows,
    registry,
    setNumber: (key) => sets.get(key)?.number ?? 0,
    current: (map, key) => maps.get(map, key),
  });
  const known: Knowledge = {
    registry,
    table,
    shadows,
    sets,
    images,
    ruleUsers,
    endpoints: endpoints.states,
    owners: endpoints.owners,
    alsoRemote: new Set(desired.alsoRemote),
  };
  planLeftOver(plan, known);
  for (const kind of Object.values(NameKind))
    for (const number of registry.leftOver(kind)) registry.release(kind, number);
  return known;
}

function readSets(maps: Maps): Map<number, KernelSet> {
  const sets = new Map<number, KernelSet>();
  const of = (number: number): KernelSet => {
    let set = sets.get(number);
    if (set === undefined) sets.set(number, (set = { planes: new Map(), entries: new Map() }));
    return set;
  };
  for (const [key, value] of maps.dump("plane")) of(parse("plane_key", key).policy_set).planes.set(key, value);
  for (const [key, value] of maps.dump("policy")) of(policySetOf(key)).entries.set(key, value);
  return sets;
}

/** Numbers in use without a name: a crash came between two writes. They stay taken until what refers to them is gone. */
function reserveNumbers(
  registry: Registry,
  shadows: Shadows,
  remote: Dump,
  sets: ReadonlyMap<number, KernelSet>,
): void {
  const rule = STRUCTS.policy_entry.fields.rule.offset;
  const classOffset = STRUCTS.policy_key.fields.class.offset;
  for (const [number, { entries }] of sets) {
    registry.reserve(NameKind.NAME_POLICY_SET, number);
    for (const [key, value] of entries) {
      const named = readU32(key, classOffset);
      if (named === ClassNumber.CLASS_SOURCE_PORT) continue;
      registry.reserve(NameKind.NAME_RULE, readU32(value, rule));
      registry.reserve(NameKind.NAME_CLASS, named);
    }
  }
  for (const value of new Set([...remote.values(), ...shadows.prefix.values()])) {
    for (const number of classNumbers(value).numbers) registry.reserve(NameKind.NAME_CLASS, number);
  }
  for (const [key, value] of shadows.endpoint) {
    const endpoint = parse("endpoint", value);
    if ((endpoint.flags & EndpointFlag.ENDPOINT_PRESENT) === 0) continue;
    registry.reserve(NameKind.NAME_ENDPOINT, readU32(key));
    if (endpoint.policy_set !== 0) registry.reserve(NameKind.NAME_POLICY_SET, endpoint.policy_set);
  }
}

function planNew(plan: Plan, { entries, planes }: { entries: Dump; planes: Dump }): void {
  for (const [key, value] of entries) plan.set("policyUp", "policy", key, value);
  for (const [key, value] of planes) plan.set("planesNew", "plane", key, value);
}

/** Numbers of the sets that an endpoint comes to or leaves, as far as the kernel says where it is now (see planSet). */
function movingNumbers(desired: DesiredState, shadows: Shadows, registry: Registry): Set<number> {
  const moving = new Set<number>();
  for (const { id, set } of desired.endpoints.values()) {
    const number = registry.find(NameKind.NAME_ENDPOINT, id);
    const value = number === undefined ? undefined : shadows.endpoint.get(u32(number));
    const from = value === undefined ? 0 : parse("endpoint", value).policy_set;
    const to = registry.find(NameKind.NAME_POLICY_SET, set) ?? 0;
    if (from !== to) moving.add(from).add(to);
  }
  return moving;
}

/** Whether going from `there` to the wanted set one write at a time would show a packet something in between. */
function mustFlip(planes: Dump, entries: Dump, there: KernelSet, state: SetState, moving: boolean): boolean {
  if (planes.size !== there.planes.size || [...planes.keys()].some((key) => !there.planes.has(key))) return true;
  const open = new Set<string>();
  for (const side of SIDES) {
    for (const [i, plane] of state[side].entries()) {
      const was = there.planes.get(planeKey(state.number, side, i));
      if (was === undefined) return true;
      const [a, b] = [parse("plane", was), parse("plane", plane.value)];
      if (plane.open && isOpenValue(was) && a.end === b.end) open.add(`${directionOf(side)}/${i}`);
      else if (was !== plane.value) return true;
    }
  }
  const closed = (key: Bytes): boolean => {
    const { way, plane } = parse("policy_key", key);
    return moving || !open.has(`${way & 1}/${plane}`);
  };
  const differs = (from: Dump, to: Dump): boolean =>
    [...from].some(([key, value]) => to.get(key) !== value && closed(key));
  return differs(entries, there.entries) || differs(there.entries, entries);
}

function planPlain(plan: Plan, wanted: { entries: Dump; planes: Dump }, there: KernelSet): void {
  for (const [key, value] of wanted.entries)
    if (there.entries.get(key) !== value) plan.set("policyUp", "policy", key, value);
  for (const [key, value] of wanted.planes)
    if (there.planes.get(key) !== value) plan.set("planesUp", "plane", key, value);
  for (const key of there.entries.keys()) if (!wanted.entries.has(key)) plan.delete("policyDown", "policy", key);
  for (const key of there.planes.keys()) if (!wanted.planes.has(key)) plan.delete("planesDown", "plane", key);
}

/** Returns whether something may have narrowed. */
function planDifference(plan: Plan, wanted: { entries: Dump; planes: Dump }, there: KernelSet): boolean {
  let narrowed = false;
  for (const [key, value] of wanted.entries) {
    const was = there.entries.get(key);
    if (was === value) continue;
    plan.set("policyUp", "policy", key, value);
    narrowed ||= narrowsEntry(was, value);
  }
  for (const key of there.entries.keys()) {
    if (wanted.entries.has(key)) continue;
    plan.delete("policyDown", "policy", key);
    narrowed = true;
  }
  for (const [key, value] of wanted.planes) {
    const was = there.planes.get(key) ?? record("plane", {});
    if (was !== value) planPlane(plan, key, was, value);
  }
  return narrowed;
}

/** Endpoints, sources and owned addresses of a former run that nobody wants any more. */
function planLeftOver(plan: Plan, { shadows, endpoints, owners }: Knowledge): void {
  const numbers = new Set([...endpoints.values()].map(({ number }) => number));
  for (const [key, value] of shadows.endpoint) {
    const present = (parse("endpoint", value).flags & EndpointFlag.ENDPOINT_PRESENT) !== 0;
    if (present && !numbers.has(readU32(key))) clearEndpoint(plan, shadows, readU32(key));
  }
  const sources = new Set([...endpoints.values()].flatMap((state) => [...state.sources.keys()]));
  for (const key of shadows.source.keys()) {
    if (sources.has(key)) continue;
    plan.delete("ownersDown", "source", key);
    const { endpoint } = readSource(key);
    if (numbers.has(endpoint)) plan.bumps.add(endpoint);
  }
  const wanted = new Set([...owners.keys()].flatMap((prefix) => localKeys(prefix).keys));
  for (const key of shadows.local.keys()) if (!wanted.has(key)) plan.delete("ownersDown", "local", key);
  for (const key of shadows.local_prefix.keys()) if (!wanted.has(key)) plan.delete("ownersDown", "local_prefix", key);
}
