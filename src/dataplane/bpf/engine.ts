/**
 * Makes the maps say what is desired: reads them back or remembers them, plans, writes. Knows nothing of interfaces' hooks; works on any Maps.
 */
import { parse, record, u32, type Bytes } from "../../abi/records.js";
import type { DesiredDelta, DesiredState, PolicyKey, PolicySetKey } from "../../compile/desired.js";
import type { EndpointId } from "../../model/types.js";
import type { Steps } from "../../steps.js";
import type { Interfaces } from "../backend.js";
import { controlBefore } from "./images-control.js";
import type { Knowledge } from "./knowledge.js";
import type { Maps } from "./maps.js";
import { planDelta } from "./plan-delta.js";
import { assignTaps, SHADOWED, type ShadowName } from "./plan-endpoints.js";
import { planEverything } from "./plan-full.js";
import { controlOf, planUplinks, type EngineSettings } from "./plan-host.js";
import { planNames } from "./plan-names.js";
import { PHASES, Plan, type MapName, type PhaseName } from "./plan.js";
import { holders } from "./sets.js";

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
        : planDelta(plan, this.maps, known, {
            desired,
            interfaces,
            delta,
            sameInterfaces: interfaces === last?.interfaces,
            holders: () => (this.#holders ??= holders(desired.sets)),
          });
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

/** A tap's entry is the last thing written of an endpoint: where it is, everything is. */
function writtenEndpoints(known: Knowledge, desired: DesiredState, interfaces: Interfaces): Set<EndpointId> {
  const written = new Set<EndpointId>();
  for (const [id, tap] of assignTaps(desired, interfaces)) {
    const number = known.endpoints.get(id)?.number;
    if (number !== undefined && known.shadows.tap.get(u32(tap.ifindex)) === u32(number)) written.add(id);
  }
  return written;
}
