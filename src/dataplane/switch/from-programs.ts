/**
 * From the programs to rules with the kernel's conntrack, with no moment of open policy (D5) and without cutting established flows (D6):
 *
 *   1. the rules stand, while the programs enforce               (the backend, before)
 *   2. what the flow table tracks is created in the kernel's conntrack, and then what changed meanwhile
 *   3. the programs come off: at the taps' egress first, where they would take what the rules judged for forged
 *   4. what began since 2 is created
 *   5. the pins go
 *
 * Before 5 all of it may be repeated from the start.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { BpfMap } from "#libbpf";
import { StructReader } from "../../abi/description.js";
import type { DesiredState } from "../../compile/desired.js";
import { detach } from "../bpf/attach.js";
import { removePins } from "../bpf/cleanup.js";
import { findHz, jiffiesOfTimerList } from "../bpf/hz.js";
import { mapsDir } from "../bpf/pins.js";
import { Predecessor } from "../bpf/predecessor.js";
import type { Conntrack } from "../conntrack/conntrack.js";
import type { ConntrackEntry } from "../conntrack/entry.js";
import { DesiredJudge, openingOf } from "../conntrack/judge.js";
import { entryOfFlow } from "./flow.js";
import { FlowReader, remainingSeconds } from "./flow-record.js";

export interface SwitchReport {
  /** Pin directories. */
  readonly from: readonly string[];
  /** Connections that are tracked by the kernel now and were not before. */
  readonly created: number;
  /** Flows that are not allowed any more, are of nobody here, or can't be said to the kernel: their next packet is a first one. */
  readonly leftOut: number;
  readonly failed: readonly string[];
  /** Whose flows could not be read at all, and why. */
  readonly unreadable: readonly { readonly pinDir: string; readonly why: string }[];
  /** From the first hook that was given up until the last flow was created. */
  readonly swapMilliseconds: number;
}

export interface ProgramsOptions {
  /** Pin directories of whichever versions are there. */
  readonly pinDirs: readonly string[];
  readonly conntrack: Pick<Conntrack, "createAll" | "deleteAll">;
  /** Bits of the connection mark (see RevokeOptions). */
  readonly stateless?: { readonly opener: number; readonly other: number };
}

/** Milliseconds after which the event loop gets its turn. */
const SLICE = 10;
/** Entries that are created at a time. */
const BATCH = 1024;

export class FormerPrograms {
  readonly name = "bpf";
  readonly #options: ProgramsOptions;
  readonly #sources: { readonly predecessor: Predecessor; readonly reader: FlowReader }[] = [];
  readonly #unreadable: { pinDir: string; why: string }[] = [];
  /** Key → what has been created for it. */
  readonly #created = new Map<string, { readonly print: string; readonly entry: ConntrackEntry }>();
  readonly #failed = new Set<string>();
  #count = 0;
  #leftOut = 0;
  #hz = 0;

  constructor(options: ProgramsOptions) {
    this.#options = options;
    for (const pinDir of options.pinDirs) {
      try {
        const predecessor = Predecessor.open(pinDir);
        this.#sources.push({ predecessor, reader: new FlowReader(predecessor.layout) });
      } catch (error) {
        this.#unreadable.push({ pinDir, why: error instanceof Error ? error.message : String(error) });
      }
    }
  }

  /**
   * Creates what is not there yet, or has changed since it was.
   * @param desired what is allowed; undefined: nobody knows, and all go on
   * @throws NetlinkError when the kernel's conntrack can't be written at all
   */
  async copyFlows(desired: DesiredState | undefined): Promise<void> {
    this.#hz ||= (await findHz()).hz;
    const judge = desired && new DesiredJudge(desired);
    this.#leftOut = 0;
    for (const { predecessor, reader } of this.#sources) await this.#copy(predecessor, reader, judge);
  }

  /** Takes the programs off these interfaces; how many hooks that were. */
  detach(ifindexes: readonly number[]): number {
    let hooks = 0;
    for (const direction of ["egress", "ingress"] as const)
      for (const ifindex of ifindexes)
        for (const pinDir of this.#options.pinDirs) if (detach(pinDir, ifindex, direction, true)) hooks++;
    return hooks;
  }

  /** Nothing needs the programs any more. */
  finish(swapMilliseconds: number): SwitchReport {
    this.close();
    for (const pinDir of this.#options.pinDirs) removePins(pinDir);
    return {
      from: this.#options.pinDirs,
      created: this.#count,
      leftOut: this.#leftOut,
      failed: [...this.#failed],
      unreadable: this.#unreadable,
      swapMilliseconds,
    };
  }

  close(): void {
    for (const { predecessor } of this.#sources.splice(0)) predecessor.close();
  }

  async #copy(predecessor: Predecessor, reader: FlowReader, judge: DesiredJudge | undefined): Promise<void> {
    const { count, keys, values } = predecessor.dump("flow");
    const { keySize, valueSize } = predecessor.flows;
    const timeouts = readTimeouts(predecessor);
    const records = (i: number) => reader.read(keys, i * keySize, values, i * valueSize);
    const now = jiffiesNow() ?? latest(count, (i) => records(i)?.seen);
    let until = performance.now() + SLICE;
    const batch: ConntrackEntry[] = [];
    const outdated: ConntrackEntry[] = [];
    const flush = async (): Promise<void> => {
      // Its state has changed since it was created: the kernel takes a new one only in its place.
      await this.#options.conntrack.deleteAll(outdated.splice(0));
      const { done, failed } = await this.#options.conntrack.createAll(batch.splice(0));
      this.#count += done;
      for (const { error } of failed) this.#failed.add(error.message);
    };
    for (let i = 0; i < count; i++) {
      const record = records(i);
      if (record === undefined) continue;
      const { flow, seen } = record;
      const print = `${flow.phase} ${flow.answered} ${flow.fin.opener} ${flow.fin.other}`;
      const key = keys.toString("latin1", i * keySize, (i + 1) * keySize);
      const former = this.#created.get(key);
      if (former?.print === print) continue;
      const remaining = remainingSeconds(seen, now, timeouts(flow.phase), this.#hz);
      const entry = remaining > 0 ? this.#entry({ ...flow, remaining }, judge) : undefined;
      if (entry === undefined) {
        if (remaining > 0) this.#leftOut++;
        continue;
      }
      if (former !== undefined) outdated.push(former.entry);
      batch.push(entry);
      this.#created.set(key, { print, entry });
      if (batch.length >= BATCH) await flush();
      if (performance.now() < until) continue;
      await new Promise((resolve) => setImmediate(resolve));
      until = performance.now() + SLICE;
    }
    await flush();
  }

  /** Undefined: it would not be allowed, or can't be said. */
  #entry(flow: Parameters<typeof entryOfFlow>[0], judge: DesiredJudge | undefined): ConntrackEntry | undefined {
    const entry = entryOfFlow(flow, 0);
    if (entry === undefined || flow.byHost || judge === undefined) return entry;
    const verdict = judge.judge(openingOf(entry));
    if (verdict === undefined || !verdict.allowed) return undefined;
    const { opener = 0, other = 0 } = this.#options.stateless ?? {};
    const mark = ((verdict.openerStateless ? opener : 0) | (verdict.otherStateless ? other : 0)) >>> 0;
    return { ...entry, mark };
  }
}

/** Jiffies by name of the state, as the table's own control says. */
function readTimeouts({ pinDir, layout }: Predecessor): (phase: string) => number {
  const path = join(mapsDir(pinDir), "control");
  if (!existsSync(path)) return () => 0;
  const map = BpfMap.open(path);
  try {
    const reader = new StructReader(layout, "control");
    const { values } = map.dump();
    return (phase) => reader.number(values, 0, "timeout", layout.enums["FlowState"]?.[phase] ?? 0) ?? 0;
  } finally {
    map.close();
  }
}

/** Low 32 bits; undefined where the kernel shows no /proc/timer_list. */
function jiffiesNow(): number | undefined {
  try {
    const found = jiffiesOfTimerList(readFileSync("/proc/timer_list", "latin1"));
    return found === undefined ? undefined : Number(BigInt.asUintN(32, found.jiffies));
  } catch {
    return undefined;
  }
}

/** The last time that any flow was seen: no earlier than which it is now. */
function latest(count: number, seen: (i: number) => number | undefined): number {
  let best: number | undefined;
  for (let i = 0; i < count; i++) {
    const one = seen(i);
    if (one !== undefined && (best === undefined || ((one - best) | 0) > 0)) best = one;
  }
  return best ?? 0;
}
