/** Doubling waits between attempts, never longer than the last. Pure. */
export class Waits {
  #failures = 0;

  constructor(
    private readonly first: number,
    private readonly most: number,
  ) {}

  /** Milliseconds until the next attempt, after one more that failed. */
  failed(): number {
    return Math.min(this.most, this.first * 2 ** Math.min(this.#failures++, 20));
  }

  succeeded(): void {
    this.#failures = 0;
  }
}
