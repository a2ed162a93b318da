/**
 * Programs that wait for their input, one of each command: a change then costs neither the fork of a big process nor the loading of theirs.
 * They touch nothing before they are told what to do, and end when their input does, as it does with this process.
 */
import { give, run, start, type Runner, type Started } from "./run.js";

/** Milliseconds after a use when the next is started: it must not stand in the way of the change after. */
const LATER = 20;

export class Standby {
  readonly #commands: ReadonlySet<string>;
  readonly #waiting = new Map<string, Started>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #closed = false;

  /** @param commands program and arguments, of those that read all they do from their input */
  constructor(commands: readonly (readonly [string, ...(readonly string[])])[]) {
    this.#commands = new Set(commands.map((command) => command.join(" ")));
  }

  /** As run(). */
  readonly run: Runner = async (program, args, input) => {
    const command = [program, ...args].join(" ");
    if (!this.#commands.has(command) || input === undefined) return run(program, args, input);
    clearTimeout(this.#timers.get(command));
    const waiting = this.#waiting.get(command);
    this.#waiting.delete(command);
    try {
      return await (waiting === undefined ? run(program, args, input) : give(waiting, input));
    } finally {
      this.#prepare(command, program, args);
    }
  };

  /** Lets those that wait end; what is asked afterwards is run all the same. */
  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    for (const { child } of this.#waiting.values()) child.stdin?.end();
    this.#waiting.clear();
  }

  #prepare(command: string, program: string, args: readonly string[]): void {
    if (this.#closed || this.#waiting.has(command)) return;
    clearTimeout(this.#timers.get(command));
    const timer = setTimeout(() => {
      if (this.#closed || this.#waiting.has(command)) return;
      const started = start(program, args);
      this.#waiting.set(command, started);
      // One that has ended by itself, or could not be started, waits for nothing.
      void started.result.then(() => {
        if (this.#waiting.get(command) === started) this.#waiting.delete(command);
      });
    }, LATER);
    timer.unref();
    this.#timers.set(command, timer);
  }
}
