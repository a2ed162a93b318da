/** Adding up what changed in the model between two compiles, and telling people about it. Pure. */
import type { DesiredDelta } from "../compile/desired.js";
import type { Model, ModelDelta } from "../model/types.js";

type SetKey = Exclude<keyof ModelDelta, "settings">;
const SET_KEYS: readonly SetKey[] = [
  "endpoints",
  "policies",
  "profiles",
  "tiers",
  "networkSets",
  "subnets",
  "migrations",
];

export const NO_CHANGE: ModelDelta = Object.freeze({
  endpoints: new Set<never>(),
  policies: new Set<never>(),
  profiles: new Set<never>(),
  tiers: new Set<never>(),
  networkSets: new Set<never>(),
  subnets: new Set<never>(),
  migrations: new Set<never>(),
  settings: false,
});

export const NO_DESIRED_CHANGE: DesiredDelta = Object.freeze({
  endpoints: new Set<never>(),
  sets: new Set<never>(),
  policies: new Set<never>(),
  addresses: new Set<never>(),
  prefixes: new Set<never>(),
  narrowed: new Set<never>(),
});

export const isEmpty = (delta: ModelDelta): boolean =>
  !delta.settings && SET_KEYS.every((key) => delta[key].size === 0);

export function mergeDeltas(a: ModelDelta, b: ModelDelta): ModelDelta {
  if (isEmpty(a)) return b;
  if (isEmpty(b)) return a;
  const union = <T>(x: ReadonlySet<T>, y: ReadonlySet<T>): ReadonlySet<T> =>
    y.size === 0 ? x : x.size === 0 ? y : new Set([...x, ...y]);
  return {
    endpoints: union(a.endpoints, b.endpoints),
    policies: union(a.policies, b.policies),
    profiles: union(a.profiles, b.profiles),
    tiers: union(a.tiers, b.tiers),
    networkSets: union(a.networkSets, b.networkSets),
    subnets: union(a.subnets, b.subnets),
    migrations: union(a.migrations, b.migrations),
    settings: a.settings || b.settings,
  };
}

/** One thing that is different now, for logs, events and the demo. */
export interface Change {
  readonly kind:
    "endpoint" | "policy" | "profile" | "tier" | "network set" | "subnet" | "migration" | "settings" | "interface";
  readonly id: string;
  readonly change: "set" | "gone";
  /** Where a person finds it, when the model knows. */
  readonly origin?: string;
  /** What people call it, when that differs from the id. */
  readonly name?: string;
}

const KINDS: readonly [SetKey, Change["kind"]][] = [
  ["policies", "policy"],
  ["endpoints", "endpoint"],
  ["profiles", "profile"],
  ["tiers", "tier"],
  ["networkSets", "network set"],
  ["subnets", "subnet"],
  ["migrations", "migration"],
];

/** At most `limit` changes in a stable order, and how many there were. */
export function describeDelta(
  delta: ModelDelta,
  model: Model,
  limit = 50,
): { readonly changes: readonly Change[]; readonly total: number } {
  const changes: Change[] = [];
  let total = 0;
  for (const [key, kind] of KINDS) {
    const objects = model[key] as ReadonlyMap<
      string,
      { readonly origin?: string; readonly name?: string; readonly workload?: string }
    >;
    for (const id of delta[key]) {
      total++;
      if (changes.length >= limit) continue;
      const object = objects.get(id);
      const name = object?.name ?? object?.workload;
      changes.push({
        kind,
        id,
        change: object === undefined ? "gone" : "set",
        ...(object?.origin === undefined ? {} : { origin: object.origin }),
        ...(name === undefined || name === id ? {} : { name }),
      });
    }
  }
  if (delta.settings) {
    total++;
    changes.push({ kind: "settings", id: "settings", change: "set" });
  }
  return { changes, total };
}
