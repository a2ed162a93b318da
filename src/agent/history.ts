/** What the passes did, as it is told: in the log, to those who listen, and in the status. */
import { DeltaBuilder } from "../model/delta.js";
import type { ModelDelta } from "../model/types.js";
import { stepText, type Steps } from "../steps.js";
import { describeDelta, NO_CHANGE, type Change } from "./delta.js";
import type { AgentParts } from "./parts.js";
import type { RoundResult } from "./round.js";
import type { ApplyEvent } from "./status.js";

export interface Pass {
  readonly writes: RoundResult["writes"];
  readonly failures: RoundResult["failures"];
  /** Everything was read back. */
  readonly full: boolean;
  /** Milliseconds of the clock: when it began, and when the first mark came that it answers. */
  readonly began: number;
  readonly since: number;
  readonly steps: Steps;
  /** How many endpoints. */
  readonly enforced: number;
  /** What the datastore said before it began was to be put in force by it. */
  readonly answered: boolean;
}

/** Changes that an event names; the others are counted. */
const MOST_CHANGES = 50;
/** Milliseconds: a pass of so long says where it was slow, and one that goes on for so long where it is. */
const SLOW = 1_000;
const STUCK = 10_000;
const MOST_STEPS = 8;

export class History {
  readonly #parts: Pick<AgentParts, "clock" | "log" | "model" | "links">;
  readonly #listeners = new Set<(event: ApplyEvent) => void>();
  /** What to tell people, which is not "everything" because a compile failed: what the present pass answers, and what came since it began. */
  #answering = new DeltaBuilder();
  #changed = new DeltaBuilder();
  #interfaceNames: ReadonlySet<string> = new Set();
  #last: ApplyEvent | undefined;
  #applies = 0;
  #totalWrites = 0;

  constructor(parts: Pick<AgentParts, "clock" | "log" | "model" | "links">) {
    this.#parts = parts;
  }

  /** As the status has it. */
  get status(): { readonly applies: number; readonly totalWrites: number; readonly lastApply?: ApplyEvent } {
    return {
      applies: this.#applies,
      totalWrites: this.#totalWrites,
      ...(this.#last ? { lastApply: this.#last } : {}),
    };
  }

  /** Called after every pass that wrote, failed or had a change to tell. Returns what takes the listener away again. */
  onApply(listener: (event: ApplyEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The datastore said this. */
  heard(delta: ModelDelta): void {
    this.#changed.add(delta);
  }

  /** A pass begins, and answers what was heard until now. While it goes on for long it is told in which step it is. Returns what ends that. */
  began(steps: Steps, began: number): () => void {
    this.#answering.add(this.#changed);
    this.#changed = new DeltaBuilder();
    const { clock, log } = this.#parts;
    let cancel: () => void;
    const arm = (): void => {
      cancel = clock.after(STUCK, () => {
        const { what = "", milliseconds = 0 } = steps.current ?? {};
        const seconds = (of: number): number => Math.round(of / 1000);
        log.warn(
          { step: what, stepSeconds: seconds(milliseconds), passSeconds: seconds(clock.now() - began) },
          "a pass goes on for long: what is enforced stays as it was until this step has ended",
        );
        arm();
      });
    };
    arm();
    return () => cancel();
  }

  passed({ writes, failures, full, began, since, steps, enforced, answered }: Pass): void {
    const { clock, log, model } = this.#parts;
    const told = answered ? this.#answering : NO_CHANGE;
    if (answered) this.#answering = new DeltaBuilder();
    const described = describeDelta(told, model.model, MOST_CHANGES);
    const interfaces = this.#interfaceChanges();
    const now = clock.now();
    const event: ApplyEvent = {
      at: clock.date().toISOString(),
      full,
      changes: [...interfaces, ...described.changes].slice(0, MOST_CHANGES),
      totalChanges: interfaces.length + described.total,
      writes,
      totalWrites: Object.values(writes).reduce((sum, count) => sum + count, 0),
      milliseconds: Math.round((now - began) * 100) / 100,
      sinceEvent: Math.round((now - since) * 100) / 100,
      steps: steps.list(1).slice(0, MOST_STEPS),
      failures: failures.map(({ where, error }) => ({ where, what: error.message })),
      enforced,
    };
    if (event.milliseconds >= SLOW) {
      const where = event.steps.slice(0, 3).map(stepText).join(", ");
      log.warn(
        { milliseconds: event.milliseconds, steps: event.steps },
        `a pass was slow: ${Math.round(event.milliseconds)} ms, of them ${where}`,
      );
    }
    this.#applies++;
    this.#totalWrites += event.totalWrites;
    this.#last = event;
    const quiet = event.totalChanges === 0 && event.totalWrites === 0 && event.failures.length === 0;
    if (quiet) return log.debug({ apply: event }, "nothing to do");
    log.info({ apply: event }, "applied");
    for (const listener of this.#listeners) listener(event);
  }

  #interfaceChanges(): readonly Change[] {
    const before = this.#interfaceNames;
    const names = new Set(this.#parts.links.interfaces().taps.keys());
    this.#interfaceNames = names;
    const change = (id: string, what: Change["change"]): Change => ({ kind: "interface", id, change: what });
    return [
      ...[...names].filter((name) => !before.has(name)).map((name) => change(name, "set")),
      ...[...before].filter((name) => !names.has(name)).map((name) => change(name, "gone")),
    ];
  }
}
