/** Where log lines go: written before the call returns, and never a reason for the agent to end or to wait for long. */
import { writeSync } from "node:fs";

/** Milliseconds that a full pipe is waited for; a line that finds no room then is lost. */
const PATIENCE = 20;
const waiting = new Int32Array(new SharedArrayBuffer(4));

export class LogSink {
  readonly #write: (bytes: Uint8Array) => number;
  #lost = 0;
  #why = "";
  /** Part of a line is in the file: what comes next begins a line of its own. */
  #broken = false;

  /** @param descriptor of a file, pipe or terminal. `write`: as fs.writeSync */
  constructor(descriptor: number, write: (bytes: Uint8Array) => number = (bytes) => writeSync(descriptor, bytes)) {
    this.#write = write;
  }

  /** How many lines were lost that no line has told of yet. */
  get lost(): number {
    return this.#lost;
  }

  /** @param line with its end; `notice` makes the line that tells how many were lost, and why, once there is room again */
  write(line: string, notice: (lost: number, why: string) => string): void {
    try {
      if (this.#broken) this.#put("\n");
      this.#broken = false;
      if (this.#lost > 0) this.#put(notice(this.#lost, this.#why));
      this.#lost = 0;
      this.#put(line);
    } catch (error) {
      // A full disk, a reader that is gone or stuck: what is enforced matters more than its log.
      this.#lost++;
      this.#why = (error as NodeJS.ErrnoException).code ?? "error";
    }
  }

  #put(text: string): void {
    const bytes = Buffer.from(text);
    let at = 0;
    for (let waited = 0; at < bytes.length;) {
      try {
        at += this.#write(bytes.subarray(at));
        this.#broken = at < bytes.length;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN" || waited++ >= PATIENCE) throw error;
        Atomics.wait(waiting, 0, 0, 1);
      }
    }
  }
}
