/**
 * When a pass runs: at once when something was marked and none runs; never two at once; what is marked during one is answered by the
 * next; after a failure again later, with doubling waits, and earlier when something is marked.
 */
import type { Clock } from "./parts.js";

export interface Backoff {
  /** Milliseconds before the first repetition, doubling up to the last. */
  readonly first: number;
  readonly most: number;
}

export class Loop {
  readonly #clock: Clock;
  readonly #pass: (since: number) => Promise<boolean>;
  readonly #onRetry: () => void;
  readonly #backoff: Backoff;
  #running: Promise<void> | undefined;
  #stopped = false;
  #pending = false;
  /** When the first mark came that no pass has answered yet. */
  #since: number | undefined;
  #cancelRetry: (() => void) | undefined;
  #failuresInARow = 0;
  #began: number | undefined;

  /** `pass` says whether all went well and must not throw; `onRetry` is called before the mark that a failure causes. */
  constructor(clock: Clock, backoff: Backoff, pass: (since: number) => Promise<boolean>, onRetry: () => void) {
    this.#clock = clock;
    this.#backoff = backoff;
    this.#pass = pass;
    this.#onRetry = onRetry;
  }

  mark(): void {
    if (this.#stopped) return;
    this.#since ??= this.#clock.now();
    this.#pending = true;
    this.#running ??= this.#run();
  }

  /** How long the present pass has been running, in milliseconds; 0: none runs. */
  get busy(): number {
    return this.#began === undefined ? 0 : this.#clock.now() - this.#began;
  }

  /** Resolves when no pass runs or is due now; a repetition may be waiting for its time. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  /** No pass begins any more; resolves when the present one has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelRetry?.();
    await this.idle();
  }

  async #run(): Promise<void> {
    // One turn of the microtask queue: events that were handed on together are answered together.
    await Promise.resolve();
    try {
      while (this.#pending && !this.#stopped) await this.#once();
    } finally {
      this.#running = undefined;
    }
  }

  async #once(): Promise<void> {
    this.#pending = false;
    this.#cancelRetry?.();
    const since = this.#since ?? this.#clock.now();
    this.#since = undefined;
    this.#began = this.#clock.now();
    const well = await this.#pass(since);
    this.#began = undefined;
    if (well) {
      this.#failuresInARow = 0;
    } else if (!this.#stopped) {
      const wait = Math.min(this.#backoff.most, this.#backoff.first * 2 ** Math.min(this.#failuresInARow++, 20));
      this.#cancelRetry = this.#clock.after(wait, () => {
        this.#onRetry();
        this.mark();
      });
    }
  }
}
