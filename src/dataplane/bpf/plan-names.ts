/** Plans the `name` map, and zeroes the counters of numbers that are given out again. */
import { Limits, NameKind } from "../../abi/layout.gen.js";
import { parse, record, u32, type Bytes } from "../../abi/records.js";
import type { Maps } from "./maps.js";
import type { MapName, Plan } from "./plan.js";
import type { Registry } from "./registry.js";

/** From so many new names on. */
const MANY = 64;
const ZERO = "\0".repeat(8) as Bytes;

export function planNames(plan: Plan, registry: Registry, maps: Maps): void {
  const additions = registry.takeAdditions();
  // Thousands at start: read at once what is not zero.
  const known = new Map<MapName, Map<Bytes, Bytes>>();
  const counter = (map: MapName, index: number): Bytes | undefined => {
    if (additions.length < MANY) return maps.get(map, u32(index));
    let counters = known.get(map);
    if (counters === undefined) known.set(map, (counters = maps.dump(map)));
    return counters.get(u32(index));
  };
  const reset = (map: MapName, index: number): void => {
    const was = counter(map, index);
    if (was !== undefined && was !== ZERO) plan.set("names", map, u32(index), ZERO);
  };
  for (const { key, value } of additions) {
    const { kind, number } = parse("name_key", key);
    if (kind === NameKind.NAME_RULE) reset("rule_hit", number);
    if (kind === NameKind.NAME_ENDPOINT)
      for (let reason = 0; reason < Limits.MAX_REASONS; reason++) reset("drop", number * Limits.MAX_REASONS + reason);
    plan.set("names", "name", key, value);
  }
  // Released and asked for again within one plan (a rule that moved to another policy): the later name stays.
  const kept = new Set(
    plan.batches("names").flatMap(({ map, entries }) => (map === "name" ? entries.map(([key]) => key) : [])),
  );
  for (const key of registry.takeRemovals()) if (!kept.has(key)) plan.delete("namesGone", "name", key);
}

export const nameKey = (kind: number, number: number): Bytes => record("name_key", { kind, number });
