/**
 * Brings the queue into etcd: full transactions one after the other, a lone change at once. After a failure nobody knows what was
 * written, so what is there is read before more is written.
 */
import type { Clock } from "../agent/parts.js";
import { asError } from "../agent/round.js";
import { Waits } from "./backoff.js";
import type { StatusQueue } from "./queue.js";
import { MOST_OPERATIONS, type StatusStore } from "./store.js";

/** Between two transactions of which the first was not full: a tap that flaps makes no more than 20 a second. */
const PAUSE = 50;
/** How often what is there is read although nothing failed: somebody may have restored a backup. */
const RECHECK = 180_000;

export class StatusWriter {
  readonly #waits = new Waits(500, 30_000);
  #running = false;
  #closed = false;
  /** What is there has been read since the last failure. */
  #read = false;
  #cancel: (() => void) | undefined;
  #cancelRecheck: (() => void) | undefined;
  #trouble: Error | undefined;
  #transactions = 0;
  #idle: (() => void)[] = [];

  constructor(
    private readonly store: StatusStore,
    private readonly queue: StatusQueue,
    private readonly prefix: string,
    private readonly clock: Clock,
  ) {}

  /** Why the last attempt failed; undefined: it did not. */
  get trouble(): Error | undefined {
    return this.#trouble;
  }
  get transactions(): number {
    return this.#transactions;
  }

  /** There may be something to write. Returns at once. */
  kick(): void {
    if (this.#running || this.#closed || this.#cancel !== undefined) return;
    this.#running = true;
    void this.#run();
  }

  /** What is there may be something else than what was written. */
  recheck(): void {
    this.#read = false;
    this.kick();
  }

  /** Resolves when nothing is being written; after a failure the rest still waits for its time. */
  async settled(): Promise<void> {
    if (this.#running) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
    this.#cancelRecheck?.();
  }

  async #run(): Promise<void> {
    let wait: number | undefined;
    try {
      wait = await this.#once();
      this.#waits.succeeded();
      this.#trouble = undefined;
    } catch (error) {
      this.#trouble = asError(error);
      this.#read = false;
      wait = this.#waits.failed();
    }
    this.#running = false;
    if (wait === 0) return this.kick();
    if (wait !== undefined && !this.#closed)
      this.#cancel = this.clock.after(wait, () => {
        this.#cancel = undefined;
        this.kick();
      });
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Reads if need be, then writes one transaction. How long until the next; undefined: nothing is left. */
  async #once(): Promise<number | undefined> {
    if (!this.#read) {
      this.#read = true;
      this.queue.found(await this.store.read(this.prefix));
      this.#armRecheck();
    }
    const batch = this.queue.next(MOST_OPERATIONS);
    if (batch.length === 0 || this.#closed) return undefined;
    await this.store.write(batch);
    this.queue.done(batch);
    this.#transactions++;
    return batch.length === MOST_OPERATIONS ? 0 : PAUSE;
  }

  #armRecheck(): void {
    this.#cancelRecheck?.();
    this.#cancelRecheck = this.clock.after(RECHECK, () => this.recheck());
  }
}
