/** Totals for metrics, read from the maps without holding up the event loop. */
import type { BpfMap } from "#libbpf";
import { decode, LITTLE_ENDIAN } from "../../abi/codec.js";
import { Limits, Reason } from "../../abi/layout.gen.js";
import type { MapName } from "./plan.js";
import { explainReason } from "./reasons.js";

export interface Counters {
  readonly flows: { readonly used: number; readonly limit: number };
  /** Packets by reason. */
  readonly drops: Readonly<Record<string, number>>;
}

/** Milliseconds for which an answer is given again, and after which the event loop gets its turn. */
const KEEP = 5_000;
const SLICE = 5;

export class CounterReader {
  /** Numbers below it have been in use: a counter of one that was freed must not vanish from the sum. */
  #limit = 1;
  #last: { readonly at: number; readonly counters: Promise<Counters> } | undefined;

  constructor(private readonly maps: ReadonlyMap<MapName, BpfMap>) {}

  read(): Promise<Counters> {
    const now = performance.now();
    if (this.#last === undefined || now - this.#last.at > KEEP) {
      const counters = this.#read();
      this.#last = { at: now, counters };
      counters.catch(() => (this.#last = undefined));
    }
    return this.#last.counters;
  }

  async #read(): Promise<Counters> {
    const control = this.#value("control", 0);
    const pool = this.#value("pool", 0);
    this.#limit = Math.max(this.#limit, control === undefined ? 1 : decode("control", control).endpoint_limit);
    return {
      flows: {
        used: pool === undefined ? 0 : Number(decode("pool", pool).used),
        limit: this.maps.get("flow")?.info.maxEntries ?? 0,
      },
      drops: await this.#drops(),
    };
  }

  async #drops(): Promise<Record<string, number>> {
    const sums = Array.from({ length: Reason.REASONS }, () => 0n);
    let until = performance.now() + SLICE;
    for (let number = 0; number < this.#limit; number++) {
      for (let reason = 1; reason < Reason.REASONS; reason++) {
        const value = this.#value("drop", number * Limits.MAX_REASONS + reason);
        if (value !== undefined)
          sums[reason] = (sums[reason] ?? 0n) + (LITTLE_ENDIAN ? value.readBigUInt64LE() : value.readBigUInt64BE());
      }
      if (performance.now() < until) continue;
      await new Promise((resolve) => setImmediate(resolve));
      until = performance.now() + SLICE;
    }
    return Object.fromEntries(
      sums.flatMap((sum, reason) => (reason === 0 ? [] : [[explainReason(reason).name, Number(sum)]])),
    );
  }

  #value(map: MapName, index: number): Buffer | undefined {
    const key = Buffer.alloc(4);
    if (LITTLE_ENDIAN) key.writeUInt32LE(index);
    else key.writeUInt32BE(index);
    return this.maps.get(map)?.get(key);
  }
}
