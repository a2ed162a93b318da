/**
 * From a build of another layout to this one, and back, with no moment of open policy (D5) and without losing established flows (D6). The
 * former programs enforce what they know until all of this is done:
 *
 *   1. our own maps are filled from the datastore, beside theirs         (the backend, before; not before it is in sync)
 *   2. their flows are copied, and then those that changed meanwhile
 *   3. our programs replace theirs on every hook, in place
 *   4. flows that changed since 2 are copied
 *   5. their pins go
 *
 * All of it may be repeated from the start after a crash at any point: as long as their pins are there, it has not been finished.
 */
import { existsSync, mkdirSync, renameSync, unlinkSync } from "node:fs";
import { BpfLink, type BpfMap, type BpfProgram, type Direction } from "#libbpf";
import { decode, encode } from "../../abi/codec.js";
import { describeLayout, StructReader } from "../../abi/description.js";
import { LocalFlag, NameKind } from "../../abi/layout.gen.js";
import { FlowAdopter, type AdoptedCounts } from "./adopt-flows.js";
import { removePins } from "./cleanup.js";
import { linkPath, linksDir } from "./pins.js";
import type { MapName } from "./plan.js";
import { endpointNumbers, Predecessor } from "./predecessor.js";

export interface TakeoverReport extends AdoptedCounts {
  /** Their pin directories. */
  readonly from: readonly string[];
  /** Flows of ends that are not here any more, or in a state that this build does not know: judged anew. */
  readonly leftOut: number;
  /** Whose flows could not be read at all, and why: they are judged anew. */
  readonly unreadable: readonly { readonly pinDir: string; readonly why: string }[];
  /** From the first hook that changed until the last flow was copied. */
  readonly swapMilliseconds: number;
}

/** Milliseconds after which the event loop gets its turn, while nobody waits for the end. */
const SLICE = 10;

export class Takeover {
  readonly unreadable: { readonly pinDir: string; readonly why: string }[] = [];
  readonly #predecessors: Predecessor[] = [];
  /** By predecessor: key → fingerprint of what has been copied. */
  readonly #copied = new Map<Predecessor, Map<string, number>>();
  /** By predecessor: their endpoints' numbers → ours. */
  readonly #numbersOf = new Map<Predecessor, ReadonlyMap<number, number>>();
  #adopter: FlowAdopter | undefined;
  #leftOut = 0;

  /** @param adoptObject file with the program that inserts flows */
  constructor(
    readonly from: readonly string[],
    private readonly maps: ReadonlyMap<MapName, BpfMap>,
    private readonly adoptObject: string,
  ) {
    for (const pinDir of from) {
      try {
        const predecessor = Predecessor.open(pinDir);
        this.#predecessors.push(predecessor);
        this.#copied.set(predecessor, new Map());
      } catch (error) {
        this.unreadable.push({ pinDir, why: error instanceof Error ? error.message : String(error) });
      }
    }
  }

  /**
   * Which endpoint has each shared address follows the last to announce it, which only the programs know: takes that over. Returns how
   * many entries are other than the engine wrote them; it has to look at them again.
   */
  followShared(): number {
    const local = this.maps.get("local");
    let changed = 0;
    for (const predecessor of this.#predecessors) {
      const numberOf = this.#numbers(predecessor);
      for (const [address, theirs] of predecessor.shared()) {
        const key = Buffer.from(address, "latin1");
        const number = numberOf.get(theirs);
        const value = local?.get(key);
        if (number === undefined || value === undefined) continue;
        const ours = decode("local", value);
        if (!(ours.flags & LocalFlag.LOCAL_SHARED) || ours.endpoint === number) continue;
        local?.set(key, encode("local", { ...ours, endpoint: number }), "replace");
        changed++;
      }
    }
    return changed;
  }

  /** A new attempt: endpoints may have other numbers, and their flows have to be looked at again. */
  begin(): void {
    this.#numbersOf.clear();
    for (const copied of this.#copied.values()) copied.clear();
    this.#leftOut = 0;
  }

  /** Copies what has not been copied yet or has changed since. `patient`: the event loop gets its turn in between. */
  async copyFlows(patient: boolean): Promise<void> {
    if (this.#predecessors.length === 0) return;
    const adopter = (this.#adopter ??= await FlowAdopter.open(this.adoptObject, this.maps));
    for (const predecessor of this.#predecessors) {
      const { flows } = predecessor;
      const copied = this.#copied.get(predecessor) ?? new Map<string, number>();
      const numberOf = this.#numbers(predecessor);
      const { count, keys, values } = predecessor.dump("flow");
      let until = performance.now() + SLICE;
      for (let i = 0; i < count; i++) {
        const [keyAt, valueAt] = [i * flows.keySize, i * flows.valueSize];
        const key = keys.toString("latin1", keyAt, keyAt + flows.keySize);
        const fingerprint = flows.fingerprint(values, valueAt);
        if (copied.get(key) === fingerprint) continue;
        const record = flows.convert(keys, keyAt, values, valueAt, numberOf);
        if (record !== undefined) adopter.put(record);
        else if (!copied.has(key)) this.#leftOut++;
        copied.set(key, fingerprint);
        if (!patient || performance.now() < until) continue;
        await new Promise((resolve) => setImmediate(resolve));
        until = performance.now() + SLICE;
      }
      adopter.flush();
    }
  }

  /** Whether any of them has links of tcx. */
  get hasLinks(): boolean {
    return this.from.some((from) => existsSync(linksDir(from)));
  }

  /** tcx: their link becomes ours, and runs our program from one packet to the next. */
  inheritLink(pinDir: string, ifindex: number, direction: Direction, program: BpfProgram): void {
    for (const from of this.from) {
      const theirs = linkPath(from, ifindex, direction);
      if (!existsSync(theirs)) continue;
      const link = BpfLink.open(theirs);
      try {
        if (link.info.ifindex === ifindex) link.update(program);
      } finally {
        link.close();
      }
      const ours = linkPath(pinDir, ifindex, direction);
      mkdirSync(linksDir(pinDir), { recursive: true, mode: 0o700 });
      if (existsSync(ours)) unlinkSync(theirs);
      else renameSync(theirs, ours);
    }
  }

  /** Every hook is ours: nothing needs theirs any more. */
  finish(swapMilliseconds: number): TakeoverReport {
    const counts = this.#adopter?.counts ?? { adopted: 0, merged: 0, expired: 0, refused: 0 };
    this.close();
    for (const pinDir of this.from) removePins(pinDir);
    return { from: this.from, ...counts, leftOut: this.#leftOut, unreadable: this.unreadable, swapMilliseconds };
  }

  close(): void {
    this.#adopter?.close();
    for (const predecessor of this.#predecessors.splice(0)) predecessor.close();
  }

  /** Their endpoints' numbers → ours, by the endpoints' ids. */
  #numbers(predecessor: Predecessor): ReadonlyMap<number, number> {
    const known = this.#numbersOf.get(predecessor);
    if (known !== undefined) return known;
    const layout = describeLayout();
    const dump = this.maps.get("name")?.dump() ?? { count: 0, keys: Buffer.alloc(0), values: Buffer.alloc(0) };
    const ours = endpointNumbers(
      new StructReader(layout, "name_key"),
      new StructReader(layout, "name"),
      NameKind.NAME_ENDPOINT,
      dump,
    );
    const pairs = [...predecessor.endpoints()].flatMap(([digest, theirs]): [number, number][] => {
      const number = ours.get(digest);
      return number === undefined ? [] : [[theirs, number]];
    });
    const numbers = new Map(pairs);
    this.#numbersOf.set(predecessor, numbers);
    return numbers;
  }
}
