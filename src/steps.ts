/** Where the time of a pass goes: one step after another, each with what took longest in it. */

export interface Step {
  /** "plan", "write map", "attach", … */
  readonly step: string;
  /** Of all of it. */
  readonly milliseconds: number;
  /** The map, port, table or program that took longest in it, and how long. */
  readonly longest?: { readonly at: string; readonly milliseconds: number };
}

export class Steps {
  readonly #total = new Map<string, { milliseconds: number; at: string | undefined; most: number }>();
  #now: { readonly step: string; readonly at: string | undefined; readonly began: number } | undefined;

  /** @param clock monotonic milliseconds */
  constructor(private readonly clock: () => number) {}

  /** From now on it is this: what was before has ended. */
  begin(step: string, at?: string): void {
    this.end();
    this.#now = { step, at, began: this.clock() };
  }

  end(): void {
    const now = this.#now;
    if (now === undefined) return;
    const milliseconds = this.clock() - now.began;
    const total = this.#total.get(now.step) ?? { milliseconds: 0, at: undefined, most: 0 };
    total.milliseconds += milliseconds;
    if (now.at !== undefined && milliseconds >= total.most) [total.at, total.most] = [now.at, milliseconds];
    this.#total.set(now.step, total);
    this.#now = undefined;
  }

  /** What is being done, and since when: "write map policy"; undefined: nothing is. */
  get current(): { readonly what: string; readonly milliseconds: number } | undefined {
    if (this.#now === undefined) return undefined;
    const { step, at, began } = this.#now;
    return { what: at === undefined ? step : `${step} ${at}`, milliseconds: this.clock() - began };
  }

  /** Those of at least so many milliseconds that have ended, the longest first. */
  list(least = 0): Step[] {
    return [...this.#total]
      .filter(([, { milliseconds }]) => milliseconds >= least)
      .map(([step, { milliseconds, at, most }]) => ({
        step,
        milliseconds: rounded(milliseconds),
        ...(at === undefined ? {} : { longest: { at, milliseconds: rounded(most) } }),
      }))
      .sort((a, b) => b.milliseconds - a.milliseconds);
  }
}

const rounded = (milliseconds: number): number => Math.round(milliseconds * 100) / 100;

/** "write map (810 ms, 790 of them policy)". */
export function stepText({ step, milliseconds, longest }: Step): string {
  const of = longest === undefined ? "" : `, ${Math.round(longest.milliseconds)} of them ${longest.at}`;
  return `${step} (${Math.round(milliseconds)} ms${of})`;
}
