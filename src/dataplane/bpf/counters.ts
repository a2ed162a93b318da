/** Totals for metrics, read from the maps without holding up the event loop. */
import type { BpfMap } from "#libbpf";
import { decode, LITTLE_ENDIAN } from "../../abi/codec.js";
import { Limits, NameKind, Reason } from "../../abi/layout.gen.js";
import { fromBytes, record } from "../../abi/records.js";
import type { MapName } from "./plan.js";
import { explainReason } from "./reasons.js";

export interface Counters {
  readonly flows: { readonly used: number; readonly limit: number };
  /** Packets by reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** By map, or set: what can be full. */
  readonly maps: Readonly<Record<string, MapUse>>;
  /** By port: flows that it has, ever had, was refused; packets dropped. */
  readonly ports: readonly PortCounters[];
}

export interface MapUse {
  readonly entries: number;
  readonly size: number;
  /** Bytes of kernel memory. */
  readonly memory: number;
}

export interface PortCounters {
  /** The endpoint's id. */
  readonly id: string;
  readonly flows: number;
  /** Null: the dataplane does not count them. */
  readonly opened: number | null;
  readonly refused: number | null;
  readonly dropped: number;
}

/** Milliseconds for which an answer is given again, and after which the event loop gets its turn. */
const KEEP = 5_000;
const SLICE = 5;

/** Milliseconds for which what maps hold is told again: to count the entries of a big one takes tens of milliseconds. */
const KEEP_MAPS = 30_000;
/** Hash maps and tries, whose size is a limit to what the agent may write. */
const FILLED: ReadonlySet<string> = new Set(["hash", "lpm_trie"]);

export class CounterReader {
  #maps: { readonly at: number; readonly use: Readonly<Record<string, MapUse>> } | undefined;
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
    const flows = {
      used: pool === undefined ? 0 : Number(decode("pool", pool).used),
      limit: this.maps.get("flow")?.info.maxEntries ?? 0,
    };
    const dropped = new Map<number, number>();
    const drops = await this.#drops(dropped);
    return { flows, drops, maps: await this.#use(flows.used), ports: await this.#ports(dropped) };
  }

  async #use(flows: number): Promise<Readonly<Record<string, MapUse>>> {
    const now = performance.now();
    if (this.#maps !== undefined && now - this.#maps.at < KEEP_MAPS) return this.#maps.use;
    const use: Record<string, MapUse> = {};
    for (const [name, map] of this.maps) {
      const { typeName, maxEntries } = map.info;
      if (!FILLED.has(typeName)) continue;
      const entries = name === "flow" ? flows : map.dump().count;
      use[name] = { entries, size: maxEntries, memory: Number(map.memory()) };
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#maps = { at: now, use };
    return use;
  }

  async #ports(dropped: ReadonlyMap<number, number>): Promise<readonly PortCounters[]> {
    const ports: PortCounters[] = [];
    let until = performance.now() + SLICE;
    for (let number = 1; number < this.#limit; number++) {
      const name = this.#name(number);
      const value = name === undefined ? undefined : this.#value("account", number);
      if (name !== undefined && value !== undefined) {
        const { count: flows, opened, refused } = decode("account", value);
        ports.push({ id: name, flows, opened, refused, dropped: dropped.get(number) ?? 0 });
      }
      if (performance.now() < until) continue;
      await new Promise((resolve) => setImmediate(resolve));
      until = performance.now() + SLICE;
    }
    return ports;
  }

  #name(number: number): string | undefined {
    const key = fromBytes(record("name_key", { kind: NameKind.NAME_ENDPOINT, number }));
    const value = this.maps.get("name")?.get(key);
    if (value === undefined) return undefined;
    const { text, length } = decode("name", value);
    return Buffer.from(text).subarray(0, length).toString("utf8");
  }

  /** @param byPort gets the sums of each endpoint; ARP and ND that needs no answer aside */
  async #drops(byPort: Map<number, number>): Promise<Record<string, number>> {
    const sums = Array.from({ length: Reason.REASONS }, () => 0n);
    let until = performance.now() + SLICE;
    for (let number = 0; number < this.#limit; number++) {
      for (let reason = 1; reason < Reason.REASONS; reason++) {
        const value = this.#value("drop", number * Limits.MAX_REASONS + reason);
        if (value === undefined) continue;
        const packets = LITTLE_ENDIAN ? value.readBigUInt64LE() : value.readBigUInt64BE();
        sums[reason] = (sums[reason] ?? 0n) + packets;
        if (packets > 0n && reason !== Reason.ARP_ABSORBED && reason !== Reason.ND_ABSORBED)
          byPort.set(number, (byPort.get(number) ?? 0) + Number(packets));
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
