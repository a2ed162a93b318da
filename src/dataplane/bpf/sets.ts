/** Policy sets as they are in the kernel, and the plan from one state of them to the next. Pure. */
import { NameKind, PlaneFlag } from "../../abi/layout.gen.js";
import { parse, placePolicyKey, record, type Bytes } from "../../abi/records.js";
import type {
  ClassKey,
  CompiledPolicy,
  DesiredRule,
  DesiredState,
  PlaneShape,
  PolicyKey,
  PolicySetKey,
  PolicySetShape,
} from "../../compile/desired.js";
import { concernsPlane, isOpenPlane, openEntry, openEntryOf, openPlaneValue, planeImage } from "./images-plane.js";
import { policyImage, type Numbering, type PolicyHalf, type PolicyImage } from "./images-policy.js";
import { directionOf, SIDES, type Side } from "./images-rule.js";
import { sameMasks, unitePlanes } from "./masks.js";
import type { ClassTable } from "./images-classes.js";
import type { Plan } from "./plan.js";
import { digestOf, type Registry } from "./registry.js";
import { ruleText } from "./rule-text.js";

export interface PlaneState {
  readonly open: boolean;
  readonly value: Bytes;
  readonly policies: readonly PolicyKey[];
  /** Kept only where the plane is not open: an open one's follow from its policies. */
  readonly closed?: ReadonlyMap<Bytes, Bytes>;
}

export interface SetState {
  readonly number: number;
  readonly shape: PolicySetShape;
  readonly ingress: readonly PlaneState[];
  readonly egress: readonly PlaneState[];
}

export type Images = ReadonlyMap<PolicyKey, PolicyImage>;

export const planeKey = (set: number, side: Side, number: number): Bytes =>
  record("plane_key", { policy_set: set, direction: directionOf(side), number });

/** Digests of rules' texts: a rule object of the DesiredState never changes. */
const digests = new WeakMap<DesiredRule, { readonly side: Side; readonly text: string; readonly digest: Buffer }>();

function nameOf(
  rule: DesiredRule,
  policy: CompiledPolicy,
  side: Side,
): { readonly text: string; readonly digest: Buffer } {
  const known = digests.get(rule);
  if (known?.side === side) return known;
  const text = ruleText(rule, policy, side);
  const name = { side, text, digest: digestOf(text) };
  digests.set(rule, name);
  return name;
}

/** The numbers that expanding asks for. Rules that say the same twice within a policy share a number. */
export function numberingOf(registry: Registry, classes: ClassTable): Numbering {
  return {
    rule: (rule: DesiredRule, policy: CompiledPolicy, side: Side) => {
      const { text, digest } = nameOf(rule, policy, side);
      return registry.number(NameKind.NAME_RULE, text, undefined, digest);
    },
    classes: (key: ClassKey) => classes.numbers(key),
  };
}

export function expandPolicies(policies: Iterable<CompiledPolicy>, numbering: Numbering): Map<PolicyKey, PolicyImage> {
  return new Map([...policies].map((policy) => [policy.key, policyImage(policy, numbering)]));
}

/** A whole set, and every entry of it under its number. */
export function buildSet(
  shape: PolicySetShape,
  number: number,
  images: Images,
  numbering: Numbering,
): { state: SetState; entries: Map<Bytes, Bytes>; planes: Map<Bytes, Bytes> } {
  const entries = new Map<Bytes, Bytes>();
  const planes = new Map<Bytes, Bytes>();
  const build = (side: Side): PlaneState[] =>
    shape[side].map((plane, i) => {
      const image = planeImage(plane, side, images, numbering);
      planes.set(planeKey(number, side, i), image.value);
      for (const [key, value] of image.entries) entries.set(placePolicyKey(key, number, i), value);
      return {
        open: image.open,
        value: image.value,
        policies: plane.policies,
        ...(image.open ? {} : { closed: image.entries }),
      };
    });
  return { state: { number, shape, ingress: build("ingress"), egress: build("egress") }, entries, planes };
}

/** Plans the keys of a set that nothing refers to any more away. */
export function discardSet(plan: Plan, state: SetState, images: Images): void {
  for (const side of SIDES) {
    state[side].forEach((plane, i) => {
      plan.delete("planesGarbage", "plane", planeKey(state.number, side, i));
      const keys = new Set(
        plane.closed?.keys() ?? plane.policies.flatMap((key) => [...(images.get(key)?.[side].entries.keys() ?? [])]),
      );
      for (const key of keys) plan.delete("policyGarbage", "policy", placePolicyKey(key, state.number, i));
    });
  }
}

export interface SetPlan {
  readonly state: SetState;
  /** Endpoints must move to the new number; the old set goes once they have. */
  readonly flipped: boolean;
  /** Something that was allowed may no longer be, with no flip to tell the endpoints. */
  readonly narrowed: boolean;
}

/** What differs between two expansions of a policy's half; remembered, since many sets ask. */
export class HalfDifferences {
  /** By side, whether it was there and whether it is; then by policy. */
  readonly #known = new Map<string, Map<PolicyKey, ReadonlySet<Bytes>>>();
  readonly #stay: Readonly<Record<Side, Map<PolicyKey, boolean>>> = { ingress: new Map(), egress: new Map() };
  constructor(
    private readonly before: Images,
    private readonly after: Images,
  ) {}

  /** The half is there before and after, open both times, and remembers flows as before: an open plane that holds it stays one. */
  staysOpen(key: PolicyKey, side: Side): boolean {
    let stays = this.#stay[side].get(key);
    if (stays === undefined) {
      const [a, b] = [this.before.get(key)?.[side], this.after.get(key)?.[side]];
      stays = a?.open === true && b?.open === true && a.stateless === b.stateless && a.stateful === b.stateful;
      this.#stay[side].set(key, stays);
    }
    return stays;
  }

  /** The half's part in a plane's value is the same as before. */
  hasSameMasks(key: PolicyKey, side: Side): boolean {
    const [a, b] = [this.before.get(key)?.[side], this.after.get(key)?.[side]];
    return a !== undefined && b !== undefined && sameMasks(a.masks, b.masks);
  }

  /** What an open plane of these policies said of a key, and what it says now. */
  entries(policies: readonly PolicyKey[], side: Side, key: Bytes): readonly [Bytes | undefined, Bytes | undefined] {
    return [openEntryOf(this.before, policies, side, key), openEntryOf(this.after, policies, side, key)];
  }

  /** Keys whose entry differs. */
  of(key: PolicyKey, side: Side, wasThere: boolean, isThere: boolean): ReadonlySet<Bytes> {
    const name = wasThere && isThere ? side : `${wasThere ? 1 : 0}${isThere ? 1 : 0}${side}`;
    let known = this.#known.get(name);
    if (known === undefined) this.#known.set(name, (known = new Map<PolicyKey, ReadonlySet<Bytes>>()));
    let keys = known.get(key);
    if (keys === undefined) {
      const a = wasThere ? this.before.get(key)?.[side].entries : undefined;
      const b = isThere ? this.after.get(key)?.[side].entries : undefined;
      const found = new Set<Bytes>();
      if (a !== b) {
        for (const [at, value] of a ?? []) if (b?.get(at) !== value) found.add(at);
        for (const at of b?.keys() ?? []) if (a?.has(at) !== true) found.add(at);
      }
      known.set(key, (keys = found));
    }
    return keys;
  }
}

const sameClosed = (a: ReadonlyMap<Bytes, Bytes> | undefined, b: ReadonlyMap<Bytes, Bytes>): boolean =>
  a !== undefined && a.size === b.size && [...b].every(([key, value]) => a.get(key) === value);

const halvesOf = (images: Images, policies: readonly PolicyKey[], side: Side): PolicyHalf[] =>
  policies.flatMap((key) => images.get(key)?.[side] ?? []);

const samePlane = (a: PlaneShape, b: PlaneShape): boolean =>
  a === b ||
  (a.end === b.end && a.policies.length === b.policies.length && a.policies.every((key, i) => key === b.policies[i]));

const SEVERAL = Symbol("several");

/** Which of a plane's policies changed. */
function touchedOf(
  policies: readonly PolicyKey[],
  changed: ReadonlySet<PolicyKey>,
): PolicyKey | typeof SEVERAL | undefined {
  let only: PolicyKey | undefined;
  for (const key of policies) {
    if (!changed.has(key)) continue;
    if (only !== undefined) return SEVERAL;
    only = key;
  }
  return only;
}

/**
 * Plans one set from its state to `shape`. `changed`: policies whose expansion may differ. `renew` gives the number to flip to. `moving`: an endpoint comes to this set or leaves it at the same
 * time; changed in place, the set would for a moment say to it what neither its former nor its next one says, so that it flips instead.
 */
export function planSet(
  plan: Plan,
  old: SetState,
  shape: PolicySetShape,
  before: Images,
  after: Images,
  differences: HalfDifferences,
  changed: ReadonlySet<PolicyKey>,
  numbering: Numbering,
  renew: () => number,
  moving: boolean,
): SetPlan {
  const flip = (): SetPlan => {
    const { state, entries, planes } = buildSet(shape, renew(), after, numbering);
    for (const [key, value] of entries) plan.set("policyUp", "policy", key, value);
    for (const [key, value] of planes) plan.set("planesNew", "plane", key, value);
    discardSet(plan, old, before);
    return { state, flipped: true, narrowed: true };
  };
  const changes: (() => void)[] = [];
  const states: Record<Side, PlaneState[]> = { ingress: [], egress: [] };
  let narrowed = false;
  // A rule of a group that hundreds of sets hold comes by here hundreds of times: what is as it was costs no object.
  for (const side of SIDES) {
    const planes = shape[side];
    if (old[side].length !== planes.length) return flip();
    for (let i = 0; i < planes.length; i++) {
      const [plane, was, wasShape] = [planes[i], old[side][i], old.shape[side][i]];
      if (plane === undefined || was === undefined || wasShape === undefined) return flip();
      const stays = samePlane(wasShape, plane);
      const touched = touchedOf(plane.policies, changed);
      if (stays && touched === undefined) {
        states[side].push(was);
        continue;
      }
      const change = (key: Bytes, from: Bytes | undefined, to: Bytes | undefined): void => {
        if (from === to) return;
        const placed = placePolicyKey(key, old.number, i);
        if (to === undefined) changes.push(() => plan.delete("policyDown", "policy", placed));
        else changes.push(() => plan.set("policyUp", "policy", placed, to));
        narrowed ||= to === undefined || narrowsEntry(from, to);
      };
      const settle = (value: Bytes): void => {
        if (value !== was.value) changes.push(() => planPlane(plan, planeKey(old.number, side, i), was.value, value));
        const same = value === was.value && was.open && plane.policies === was.policies;
        states[side].push(same ? was : { open: true, value, policies: plane.policies });
      };
      // A policy that many sets hold: only what differs in it is looked at, whatever else they hold.
      if (stays && was.open && touched !== undefined && touched !== SEVERAL && differences.staysOpen(touched, side)) {
        const keys = differences.of(touched, side, true, true);
        for (const key of keys) {
          const [from, to] = differences.entries(plane.policies, side, key);
          change(key, from, to);
        }
        const asBefore = differences.hasSameMasks(touched, side) && !concernsPlane(keys);
        settle(asBefore ? was.value : openPlaneValue(halvesOf(after, plane.policies, side), plane.end));
        continue;
      }
      const halves = halvesOf(after, plane.policies, side);
      if (!was.open || !isOpenPlane(halves) || wasShape.end !== plane.end) {
        const image = planeImage(plane, side, after, numbering);
        if (was.open || image.open || image.value !== was.value || !sameClosed(was.closed, image.entries))
          return flip();
        states[side].push({ ...was, policies: plane.policies });
        continue;
      }
      const formerHalves = halvesOf(before, was.policies, side);
      const keys = new Set<Bytes>();
      for (const policy of new Set([...was.policies, ...plane.policies])) {
        for (const key of differences.of(policy, side, was.policies.includes(policy), plane.policies.includes(policy)))
          keys.add(key);
      }
      for (const key of keys) change(key, openEntry(formerHalves, key), openEntry(halves, key));
      settle(openPlaneValue(halves, plane.end));
    }
  }
  if (moving && changes.length > 0) return flip();
  for (const change of changes) change();
  const same = shape === old.shape && SIDES.every((side) => states[side].every((plane, i) => plane === old[side][i]));
  return { state: same ? old : { number: old.number, shape, ...states }, flipped: false, narrowed };
}

/** An entry that no longer remembers the flow. */
export function narrowsEntry(from: Bytes | undefined, to: Bytes): boolean {
  if (from === undefined) return false;
  const [a, b] = [parse("policy_entry", from), parse("policy_entry", to)];
  return a.flags !== b.flags;
}

/** Both masks while entries come and go, then the new one. */
export function planPlane(plan: Plan, key: Bytes, from: Bytes, to: Bytes): void {
  const united = unitePlanes(from, to);
  if (united !== from) plan.set("planesUp", "plane", key, united);
  if (united !== to) plan.set("planesDown", "plane", key, to);
}

/** Whether a plane in the kernel is one whose entries may be changed one by one. */
export function isOpenValue(value: Bytes): boolean {
  const { flags } = parse("plane", value);
  return (
    (flags & PlaneFlag.PLANE_ALLOW_ONLY) !== 0 && (flags & (PlaneFlag.PLANE_SOURCE_PORTS | PlaneFlag.PLANE_LOG)) === 0
  );
}

/** Policies of a set, both directions. */
export function policiesOf(shape: PolicySetShape): Set<PolicyKey> {
  return new Set(SIDES.flatMap((side) => shape[side].flatMap((plane) => plane.policies)));
}

/** Sets that hold each policy. */
export function holders(sets: DesiredState["sets"]): Map<PolicyKey, Set<PolicySetKey>> {
  const index = new Map<PolicyKey, Set<PolicySetKey>>();
  for (const [key, shape] of sets)
    for (const policy of policiesOf(shape)) index.set(policy, (index.get(policy) ?? new Set()).add(key));
  return index;
}
