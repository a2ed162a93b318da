/** Writes the status file soon after it changed, but not more often than `interval`: a thousand taps make a thousand passes. */
import { writeStatus, type AgentStatus } from "./status.js";

export class StatusWriter {
  #due: (() => AgentStatus) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failed = false;

  /** `onError` hears of the first of several failures in a row. */
  constructor(
    readonly runDir: string,
    readonly onError: (error: unknown) => void,
    readonly interval = 200,
  ) {}

  put(status: () => AgentStatus): void {
    this.#due = status;
    if (this.#timer) return;
    this.flush();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#due) this.put(this.#due);
    }, this.interval);
    this.#timer.unref();
  }

  /** Writes what is due at once. */
  flush(): void {
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
