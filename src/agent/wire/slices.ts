/** A big change compiled in many small steps with a turn of the event loop between them, so that all else goes on meanwhile. */
import { setImmediate as turn } from "node:timers/promises";
import type { Compiler } from "../../compile/compiler.js";
import type { DesiredDelta } from "../../compile/desired.js";
import { BigSet } from "../../model/big-map.js";
import { DeltaBuilder } from "../../model/delta.js";
import type { Model, ModelDelta } from "../../model/types.js";

/** Milliseconds that a step should take. */
const STEP = 12;
/** Objects of the first step; a change of no more is compiled at once. */
const FIRST = 64;

type Sliced = "tiers" | "networkSets" | "profiles" | "policies" | "endpoints";
/** What others refer to comes first: an endpoint that is compiled last is compiled once. */
const ORDER: readonly Sliced[] = ["tiers", "networkSets", "profiles", "policies", "endpoints"];

/**
 * As `compiler.apply(model, delta)`, in steps. The model may change meanwhile, if what changes is in the next delta.
 * @param delta undefined: the compiler is new, and everything is to be compiled
 * @returns what differs in `compiler.desired` now, and perhaps some that was different only in between
 */
export async function applyInSlices(
  compiler: Compiler,
  model: Model,
  delta: ModelDelta | undefined,
): Promise<DesiredDelta> {
  // The first call takes all that there is: nothing.
  if (delta === undefined) compiler.apply(emptyLike(model), new DeltaBuilder());
  const named = delta ?? model;
  const names = namesOf(named);
  if (ORDER.reduce((count, kind) => count + named[kind].size, 0) <= FIRST)
    return compiler.apply(model, take(names, Infinity).delta);
  const sum = {
    endpoints: new Set<never>(),
    sets: new Set<never>(),
    policies: new Set<never>(),
    addresses: new BigSet<never>(),
    prefixes: new Set<never>(),
    narrowed: new Set<never>(),
  } satisfies DesiredDelta;
  let size = FIRST;
  for (;;) {
    const began = performance.now();
    const { delta: step, taken } = take(names, size);
    if (taken === 0) return sum;
    const changed = compiler.apply(model, step);
    for (const [field, ids] of Object.entries(changed))
      for (const id of ids as ReadonlySet<never>) sum[field as keyof DesiredDelta].add(id);
    const took = performance.now() - began;
    size = Math.max(1, Math.round(size * Math.min(2, Math.max(0.25, STEP / Math.max(took, 0.1)))));
    await turn();
  }
}

/** One by one: a list of the names of a big cloud would itself hold everything up. */
function* namesOf(named: Model | ModelDelta): Generator<readonly [Sliced, string]> {
  for (const kind of ORDER) for (const id of named[kind].keys()) yield [kind, id];
}

/** The next `count` of them, or as many as there are. */
function take(
  names: Iterator<readonly [Sliced, string]>,
  count: number,
): { readonly delta: ModelDelta; readonly taken: number } {
  const delta = new DeltaBuilder();
  let taken = 0;
  while (taken < count) {
    const next = names.next();
    if (next.done === true) break;
    const [kind, id] = next.value;
    (delta[kind] as Set<string>).add(id);
    taken++;
  }
  return { delta, taken };
}

function emptyLike({ hostname }: Model): Model {
  return {
    hostname,
    endpoints: new Map(),
    locals: new Map(),
    policies: new Map(),
    profiles: new Map(),
    tiers: new Map(),
    networkSets: new Map(),
    subnets: new Map(),
    migrations: new Map(),
  };
}
