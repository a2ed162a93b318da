/** src/dataplane/guard.ts as the agent's loop sees it. */
import type { Config } from "../../config/schema.js";
import {
  ensureAccepted,
  ensureGuard,
  guardStatus,
  setClaimed,
  type GuardOptions,
  type JudgedBy,
} from "../../dataplane/guard.js";
import { run } from "../../dataplane/run.js";
import { DEFAULT_TAP_RULE } from "../../links/ours.js";
import type { Problem } from "../../problems.js";
import type { GuardPart, Judge } from "../parts.js";

export function guardOptions(config: Config): GuardOptions {
  return { taps: { prefixes: config.interfacePrefix, excluded: config.interfaceExclude }, markShift: config.markShift };
}

const judgedAs = (judge: Judge): JudgedBy => (judge === "programs" ? "programs" : "rules");

function areSame(a: ReadonlyMap<number, string>, b: ReadonlyMap<number, string>): boolean {
  if (a.size !== b.size) return false;
  for (const [ifindex, name] of a) if (b.get(ifindex) !== name) return false;
  return true;
}

export class GuardAdapter implements GuardPart {
  readonly wanted: boolean;
  readonly #options: GuardOptions;
  /** Undefined: whatever a former agent claimed. */
  #claimed: ReadonlyMap<number, string> | undefined;
  #uplinks: ReadonlyMap<number, string> = new Map();
  #claimedBy: Judge | undefined;
  #problems: readonly Problem[] = [];
  /** Judged packets pass FORWARD and INPUT: looked after by this process. */
  #accepted = false;

  /** @param judge taps that are claimed already are left as they are until then */
  constructor(
    config: Config,
    private readonly judge: () => Judge = () => "programs",
  ) {
    this.wanted = config.guard;
    this.#options = guardOptions(config);
  }

  problems(): readonly Problem[] {
    return this.#problems;
  }

  async ensure(): Promise<number> {
    const judgedBy = judgedAs(this.judge());
    // Rules leave no mark that FORWARD could go by, and stand first there themselves.
    const forward = judgedBy === "programs";
    if (!this.wanted) {
      if (!forward) return 0;
      const report = await ensureAccepted(run, {
        markShift: this.#options.markShift ?? 0,
        taps: this.#options.taps ?? DEFAULT_TAP_RULE,
      });
      this.#problems = report.problems;
      return report.changed.length;
    }
    // Until the first claim says that our rules stand, it is awake.
    const claimed = this.#claimed
      ? { claimed: this.#claimed, uplinks: this.#uplinks, judgedBy, asleep: this.judge() === "closed rules" }
      : { asleep: false };
    const report = await ensureGuard({ ...this.#options, forward, ...claimed });
    this.#problems = report.problems;
    this.#accepted = forward;
    return report.changed.length;
  }

  /** Whether a former agent's claims are these. A claim is by ifindex: one of an interface that is gone shows as a bare number. */
  async #asBefore(
    taps: ReadonlyMap<number, string>,
    uplinks: ReadonlyMap<number, string>,
    judge: Judge,
  ): Promise<boolean> {
    const now = await guardStatus(this.#options);
    const rules = judgedAs(judge) === "rules";
    const wanted = {
      claimed: taps.values(),
      ruled: rules ? taps.values() : [],
      uplinks: rules ? [] : uplinks.values(),
    };
    const text = (names: Iterable<string>): string => [...names].sort().join("\n");
    return (
      now.standing &&
      now.means === "nft" &&
      now.asleep === (judge === "closed rules" && taps.size > 0) &&
      (["claimed", "ruled", "uplinks"] as const).every((set) => text(now[set]) === text(wanted[set]))
    );
  }

  async claim(taps: ReadonlyMap<number, string>, uplinks: ReadonlyMap<number, string>): Promise<number> {
    const judge = this.judge();
    const judgedBy = judgedAs(judge);
    const same =
      this.#claimed === undefined
        ? await this.#asBefore(taps, uplinks, judge)
        : this.#claimedBy === judge && areSame(this.#claimed, taps) && areSame(this.#uplinks, uplinks);
    this.#claimed = undefined; // should it throw, the next pass writes again
    const forward = judgedBy === "programs";
    const wish = { ...this.#options, uplinks, judgedBy, forward, asleep: judge === "closed rules" };
    // Rules enforced until now, and programs do from here on.
    if (forward && !this.#accepted) await ensureGuard({ ...wish, claimed: taps });
    else if (!same) await setClaimed(taps, wish);
    this.#accepted = forward;
    this.#claimed = taps;
    this.#claimedBy = judge;
    this.#uplinks = uplinks;
    return same ? 0 : 1;
  }
}
