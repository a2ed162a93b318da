/** What holds for the host as a whole: its settings, and the interfaces to which programs may redirect. Pure. */
import type { Served } from "../../model/services.js";
import { parse, record, u32, type Bytes } from "../../abi/records.js";
import type { DesiredState } from "../../compile/desired.js";
import type { Interfaces } from "../backend.js";
import type { Knowledge } from "./knowledge.js";
import { controlValue } from "./images-control.js";
import type { Shadows } from "./plan-endpoints.js";
import type { Plan } from "./plan.js";

export interface EngineSettings {
  readonly flowLimit: number;
  readonly hz: number;
  readonly timeouts: Readonly<Partial<Record<string, number>>>;
  readonly hostToGuest: boolean;
  readonly served?: Served;
}

export function planUplinks(plan: Plan, shadows: Shadows, interfaces: Interfaces): void {
  const wanted = new Map(interfaces.uplinks.map(({ ifindex }) => [u32(ifindex), u32(1)] as const));
  for (const key of shadows.uplink.keys()) if (!wanted.has(key)) plan.delete("tapsDown", "uplink", key);
  for (const [key, value] of wanted) if (shadows.uplink.get(key) !== value) plan.set("tapsUp", "uplink", key, value);
}

/** The one entry of `control`, as it must be once all else is written. */
export function controlOf(
  settings: EngineSettings,
  next: Pick<Knowledge, "endpoints" | "shadows">,
  desired: DesiredState,
  generation: number,
): Bytes {
  return controlValue({
    generation,
    endpoints: [...next.endpoints.values()].map(({ number }) => number),
    endpointLimit: parse("control", next.shadows.control.get(u32(0)) ?? record("control", {})).endpoint_limit,
    ...settings,
    localPrefixes: [...desired.endpoints.values()].some(({ owned }) =>
      owned.some(({ prefix }) => !prefix.endsWith("/32") && !prefix.endsWith("/128")),
    ),
    prefixes: desired.prefixes.size > 0,
    floating: [...desired.endpoints.values()].some(({ floating }) => floating !== undefined),
  });
}
