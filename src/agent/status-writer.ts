/**
 * Writes the status file when a moment without a pass has come, and at the latest after `most`: a thousand taps make a thousand passes, and
 * what is written for people must not stand in the way of the next change.
 */
import { writeStatus, type AgentStatus } from "./status.js";

export class StatusWriter {
  #due: (() => AgentStatus) | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** When what is due was put first. */
  #since = 0;
  #failed = false;

  /** `onError` hears of the first of several failures in a row. @param quiet,most milliseconds */
  constructor(
    readonly runDir: string,
    readonly onError: (error: unknown) => void,
    readonly quiet = 50,
    readonly most = 1_000,
  ) {}

  put(status: () => AgentStatus): void {
    const now = performance.now();
    if (this.#due === undefined) this.#since = now;
    this.#due = status;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), Math.max(0, Math.min(this.quiet, this.#since + this.most - now)));
    this.#timer.unref();
  }

  /** Writes what is due at once. */
  flush(): void {
    clearTimeout(this.#timer);
    const status = this.#due;
    this.#due = undefined;
    if (!status) return;
    try {
      writeStatus(this.runDir, status());
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.onError(error);
      this.#failed = true;
    }
  }
}
