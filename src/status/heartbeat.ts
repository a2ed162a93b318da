/** `status`, which ends by itself when this host's agent does, and `last_reported_status`, which stays. */
import type { Clock } from "../agent/parts.js";
import { asError } from "../agent/round.js";
import { Waits } from "./backoff.js";
import { hostValue, lastReportedKey, statusKey } from "./keys.js";
import type { StatusStore } from "./store.js";

export interface HeartbeatOptions {
  readonly region: string;
  readonly hostname: string;
  /** Seconds until `status` ends when nobody renews it, and between two renewals. */
  readonly ttl: number;
  readonly interval: number;
  /** Whether the agent lives and has policy in force: else nothing is said, and the key ends. */
  readonly alive: () => boolean;
  /** The first renewal after one or more that failed. */
  readonly onRecovered: () => void;
}

export class Heartbeat {
  readonly #started: number;
  readonly #waits: Waits;
  #first = true;
  #closed = false;
  #beating = false;
  #cancel: (() => void) | undefined;
  #trouble: Error | undefined;

  constructor(
    private readonly store: StatusStore,
    private readonly options: HeartbeatOptions,
    private readonly clock: Clock,
  ) {
    this.#started = clock.now();
    this.#waits = new Waits(500, options.interval * 1000);
  }

  get trouble(): Error | undefined {
    return this.#trouble;
  }

  /** Begins, as soon as `alive` says so; may be called again and again. */
  start(): void {
    if (this.#cancel === undefined && !this.#beating && !this.#closed && this.options.alive()) void this.#beat();
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  async #beat(): Promise<void> {
    this.#beating = true;
    let wait = this.options.interval * 1000;
    try {
      if (this.options.alive()) await this.#write();
      const failed = this.#trouble !== undefined;
      this.#trouble = undefined;
      this.#waits.succeeded();
      if (failed) this.options.onRecovered();
    } catch (error) {
      this.#trouble = asError(error);
      wait = this.#waits.failed();
    }
    this.#beating = false;
    if (!this.#closed) this.#cancel = this.clock.after(wait, () => void this.#beat());
  }

  /** A new lease each time, as Felix does it: the former ends within its TTL, with nothing on it. */
  async #write(): Promise<void> {
    const { region, hostname, ttl } = this.options;
    const uptime = (this.clock.now() - this.#started) / 1000;
    const value = hostValue(this.clock.date(), uptime, this.#first);
    const lease = await this.store.lease(ttl);
    await this.store.write([
      { key: statusKey(region, hostname), value, lease },
      { key: lastReportedKey(region, hostname), value },
    ]);
    this.#first = false;
  }
}
