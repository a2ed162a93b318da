/**
 * Writes a file for people and the CLI when a moment without a pass has come, and at the latest after `most`: a thousand taps make a
 * thousand passes, and what is written for people must not stand in the way of the next change.
 */
export class QuietWriter {
  #due: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** When what is due was put first. */
  #since = 0;
  #held = false;
  #failed = false;

  /** `onError` hears of the first of several failures in a row. @param quiet,most milliseconds */
  constructor(
    readonly onError: (error: unknown) => void,
    readonly quiet = 50,
    readonly most = 1_000,
  ) {}

  /** `write` says what is so when it is called, which may be later than the next put(), which then takes its place. */
  put(write: () => void): void {
    const now = performance.now();
    if (this.#due === undefined) this.#since = now;
    this.#due = write;
    this.#held = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), Math.max(0, Math.min(this.quiet, this.#since + this.most - now)));
    this.#timer.unref();
  }

  /** Until the next put() nothing is written: what would be told is changing. */
  hold(): void {
    clearTimeout(this.#timer);
    this.#held = true;
  }

  /** Writes what is due at once, unless it is held. */
  flush(): void {
    clearTimeout(this.#timer);
    const write = this.#held ? undefined : this.#due;
    if (write === undefined) return;
    this.#due = undefined;
    try {
      write();
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.onError(error);
      this.#failed = true;
    }
  }
}
