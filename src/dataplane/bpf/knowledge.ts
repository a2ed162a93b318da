/** What the engine knows of the kernel. */
import type { PolicySetKey } from "../../compile/desired.js";
import type { EndpointId, Prefix } from "../../model/types.js";
import type { ClassTable } from "./images-classes.js";
import type { PolicyImage } from "./images-policy.js";
import type { EndpointState, Shadows } from "./plan-endpoints.js";
import type { Registry } from "./registry.js";
import type { Images, SetState } from "./sets.js";

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

export function countRules(users: Map<number, number>, image: PolicyImage | undefined, by: number): void {
  for (const number of image?.rules ?? []) users.set(number, (users.get(number) ?? 0) + by);
}
