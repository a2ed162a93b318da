/**
 * Live migration, as the host of the target sees it: what is announced and when. While a guest still runs elsewhere nothing leads here;
 * from its first frame on its routes are preferred to those of the host that it left, until routing has settled. Pure.
 *
 *   (no role) --named as target--> held --its guest speaks--> live --migration gone--> settling --time--> (no role)
 *                                  held --migration gone: it is complete, and the first frame was missed--> settling
 *
 * An endpoint that is gone, or that is a source, has no role.
 */
import type { Move } from "../compile/desired.js";
import type { EndpointId, Model } from "../model/types.js";

/** How long routes stay preferred after a migration, in milliseconds: LiveMigrationRouteConvergenceTime of the incumbent. */
export const SETTLE = 30_000;

type Phase = { readonly is: "held" | "live" } | { readonly is: "settling"; readonly until: number };

export class Migrations {
  readonly #phases = new Map<EndpointId, Phase>();
  /** Interfaces of those that are held. */
  readonly #listened = new Map<EndpointId, string>();

  constructor(private readonly settle = SETTLE) {}

  /**
   * Follows the model. @returns endpoints whose move is another now
   * @param spoke whether anything has come from the guest at this interface
   */
  update(
    { locals, migrations }: Pick<Model, "locals" | "migrations">,
    spoke: (interfaceName: string) => boolean,
    now: number,
  ): EndpointId[] {
    if (migrations.size + this.#phases.size === 0) return [];
    const before = this.moves;
    const targets = new Set([...migrations.values()].map(({ target }) => target));
    const sources = new Set([...migrations.values()].map(({ source }) => source));
    this.#listened.clear();
    for (const id of new Set([...this.#phases.keys(), ...targets])) {
      const local = locals.get(id);
      const next =
        local === undefined || (sources.has(id) && !targets.has(id))
          ? undefined
          : this.#next(this.#phases.get(id), targets.has(id), () => spoke(local.interfaceName), now);
      if (next === undefined) this.#phases.delete(id);
      else this.#phases.set(id, next);
      if (next?.is === "held" && local !== undefined) this.#listened.set(id, local.interfaceName);
    }
    const after = this.moves;
    return [...new Set([...before.keys(), ...after.keys()])].filter((id) => before.get(id) !== after.get(id));
  }

  #next(was: Phase | undefined, target: boolean, spoke: () => boolean, now: number): Phase | undefined {
    if (target) return was?.is === "live" || spoke() ? { is: "live" } : { is: "held" };
    if (was === undefined) return undefined;
    if (was.is !== "settling") return { is: "settling", until: now + this.settle };
    return was.until > now ? was : undefined;
  }

  get moves(): ReadonlyMap<EndpointId, Move> {
    return new Map([...this.#phases].map(([id, { is }]) => [id, is === "held" ? "held" : "elevated"]));
  }

  /** Whether update() has something to do although the model is as it was. */
  isDue(spoke: (interfaceName: string) => boolean, now: number): boolean {
    return (
      [...this.#listened.values()].some(spoke) ||
      [...this.#phases.values()].some((phase) => phase.is === "settling" && phase.until <= now)
    );
  }

  /** Milliseconds after which isDue() is to be asked; undefined: nothing is awaited. */
  wait(poll: number, now: number): number | undefined {
    const waits = [...this.#phases.values()].flatMap((phase) =>
      phase.is === "held" ? [poll] : phase.is === "settling" ? [Math.max(0, phase.until - now)] : [],
    );
    return waits.length === 0 ? undefined : Math.min(...waits);
  }
}
