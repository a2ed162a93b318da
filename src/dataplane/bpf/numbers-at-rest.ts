/** Numbers for what programs may still be reading: one that is given back rests before another gets it. Pure, but for the clock it is given. */

/** Milliseconds; programs run for microseconds, and a virtual CPU may be held up. */
export const REST = 10_000;

export class NumbersAtRest {
  readonly #ready: number[] = [];
  #resting: { readonly number: number; readonly until: number }[] = [];
  #next: number;

  /** Numbers from `first` to `end` - 1; `now` in milliseconds, never going back. */
  constructor(
    private readonly first: number,
    private readonly end: number,
    private readonly now: () => number,
  ) {
    this.#next = first;
  }

  /** Undefined: none is left now. */
  take(): number | undefined {
    const now = this.now();
    const rested = this.#resting.findIndex(({ until }) => until > now);
    for (const { number } of this.#resting.splice(0, rested < 0 ? this.#resting.length : rested))
      this.#ready.push(number);
    return this.#ready.pop() ?? (this.#next < this.end ? this.#next++ : undefined);
  }

  giveBack(number: number): void {
    this.#resting.push({ number, until: this.now() + REST });
  }

  /** From now on those in `used` are taken, and all others that were seen or given out before rest. */
  rebuild(used: ReadonlySet<number>, seen: Iterable<number> = []): void {
    for (const number of [...used, ...seen]) if (number < this.end) this.#next = Math.max(this.#next, number + 1);
    this.#ready.length = 0;
    this.#resting = [];
    for (let number = this.first; number < this.#next; number++) if (!used.has(number)) this.giveBack(number);
  }
}
