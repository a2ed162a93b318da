/** src/dataplane/guard.ts as the agent's loop sees it. */
import type { Config } from "../../config/schema.js";
import { ensureForward } from "../../dataplane/forward-accept.js";
import { ensureGuard, guardStatus, setClaimed, type GuardOptions } from "../../dataplane/guard.js";
import { run } from "../../dataplane/run.js";
import type { Problem } from "../../problems.js";
import type { GuardPart } from "../parts.js";

export function guardOptions(config: Config): GuardOptions {
  return { taps: { prefixes: config.interfacePrefix, excluded: config.interfaceExclude }, markShift: config.markShift };
}

const textOf = (taps: ReadonlyMap<number, string>): string =>
  [...taps]
    .map(([ifindex, name]) => `${ifindex} ${name}`)
    .sort()
    .join("\n");

export class GuardAdapter implements GuardPart {
  readonly wanted: boolean;
  readonly #options: GuardOptions;
  /** Undefined: whatever a former agent claimed. */
  #claimed: ReadonlyMap<number, string> | undefined;
  #problems: readonly Problem[] = [];

  constructor(config: Config) {
    this.wanted = config.guard;
    this.#options = guardOptions(config);
  }

  problems(): readonly Problem[] {
    return this.#problems;
  }

  async ensure(): Promise<number> {
    if (!this.wanted) {
      const report = await ensureForward(run, this.#options.markShift ?? 0);
      this.#problems = report.problems;
      return report.changed.length;
    }
    const report = await ensureGuard({ ...this.#options, ...(this.#claimed ? { claimed: this.#claimed } : {}) });
    this.#problems = report.problems;
    return report.changed.length;
  }

  /** Whether a former agent's claims are these. A claim is by ifindex: one of an interface that is gone shows as a bare number. */
  async #asBefore(taps: ReadonlyMap<number, string>): Promise<boolean> {
    const { standing, means, claimed } = await guardStatus(this.#options);
    return standing && means === "nft" && [...claimed].sort().join("\n") === [...taps.values()].sort().join("\n");
  }

  async claim(taps: ReadonlyMap<number, string>): Promise<number> {
    const same = this.#claimed === undefined ? await this.#asBefore(taps) : textOf(this.#claimed) === textOf(taps);
    this.#claimed = undefined; // should it throw, the next pass writes again
    if (!same) await setClaimed(taps, this.#options);
    this.#claimed = taps;
    return same ? 0 : 1;
  }
}
