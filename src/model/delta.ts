/** What changed in the model, gathered until somebody takes it. */
import type { EndpointId, ModelDelta, PolicyId } from "./types.js";

export class DeltaBuilder implements ModelDelta {
  readonly endpoints = new Set<EndpointId>();
  readonly policies = new Set<PolicyId>();
  readonly profiles = new Set<string>();
  readonly tiers = new Set<string>();
  readonly networkSets = new Set<string>();
  readonly subnets = new Set<string>();
  readonly migrations = new Set<string>();
  settings = false;

  add(other: ModelDelta): void {
    for (const field of [
      "endpoints",
      "policies",
      "profiles",
      "tiers",
      "networkSets",
      "subnets",
      "migrations",
    ] as const) {
      const mine = this[field] as Set<string>;
      for (const id of other[field]) mine.add(id);
    }
    this.settings ||= other.settings;
  }
}

/** Whether a delta says nothing. */
export function isEmptyDelta(delta: ModelDelta): boolean {
  const { endpoints, policies, profiles, tiers, networkSets, subnets, migrations } = delta;
  return (
    !delta.settings &&
    [endpoints, policies, profiles, tiers, networkSets, subnets, migrations].every((set) => set.size === 0)
  );
}
