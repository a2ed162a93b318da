/** What the agent's loop is composed of. src/agent/wire.ts makes the real ones; tests make fakes. */
import type { DesiredDelta, DesiredState, Move } from "../compile/desired.js";
import type { Backend, Interfaces } from "../dataplane/backend.js";
import type { Datastore, DatastoreEvent } from "../datastore/types.js";
import type { HookChange } from "../links/types.js";
import type { EndpointId, Model, ModelDelta } from "../model/types.js";
import type { Problem } from "../problems.js";
import type { Candidate } from "../status/judge.js";

/** Turns key changes into the model; pure. */
export interface ModelPart {
  readonly model: Model;
  /** Takes one event of the datastore; what changed in the model by it. */
  handle(event: DatastoreEvent): ModelDelta;
  /** Of the values, and those that the datastore told of itself. */
  problems(): readonly Problem[];
}

export interface Compiled {
  readonly desired: DesiredState;
  readonly delta?: DesiredDelta;
}

/** Turns the model into what this host must enforce; pure. */
export interface CompilerPart {
  /**
   * `delta` absent: everything may have changed. The result's delta is absent when there is nothing to compare with. `desired` may be
   * the same object as before, changed in place; what is in its maps is replaced, never changed. `moves`: the delta names whoever is
   * there otherwise than before.
   */
  compile(
    model: Model,
    delta: ModelDelta | undefined,
    moves: ReadonlyMap<EndpointId, Move>,
  ): Compiled | Promise<Compiled>;
  problems(): readonly Problem[];
}

export interface BackendPart extends Backend {
  /** Attaches taps that nothing is known of yet, so that they pass nothing; leaves all else as it is pinned. */
  block?(interfaces: Interfaces): Promise<ReportPart>;
  /** Called when the guard knows what is enforced: what enforced before and is another dataplane goes. */
  settle?(): Promise<ReportPart>;
  /** Those that the kernel has, whole, on the tap that they have now; asked of the kernel. */
  readBack?(candidates: readonly Candidate[]): Promise<ReadonlySet<EndpointId>>;
  /** Reads what the next apply() without a delta looks at; others may be called meanwhile. Does not fail. */
  readAhead?(): Promise<void>;
  problems?(): readonly Problem[];
  /**
   * Somebody changed an interface's tc filters (undefined: any interface's may have been): the next pass looks there. False: it was our own
   * writing, or concerns nothing of ours.
   */
  hookChanged?(change: HookChange | undefined): boolean;
}

/** What a step of links or guard did. */
export interface ReportPart {
  readonly writes: number;
  readonly failures: readonly { readonly where: string; readonly error: Error }[];
}

/** Interfaces, sysctls, neighbours and routes. */
export interface LinksPart {
  /** Reads what is there, then calls back after every change. */
  start(onChange: () => void, onHook?: (change: HookChange | undefined) => void): Promise<void>;
  interfaces(): Interfaces;
  /** Reads everything again (resync). */
  refresh(): Promise<void>;
  /** Removes routes and neighbours that `desired` does not want; before the maps lose them. */
  withdraw(desired: DesiredState): Promise<ReportPart>;
  /** Sysctls and neighbours, then routes, for the endpoints that are enforced. */
  program(desired: DesiredState, enforced: ReadonlySet<EndpointId>): Promise<ReportPart>;
  /** Names of interfaces by which anything has ever come; for live migration. */
  speakers?(): ReadonlySet<string>;
  problems(): readonly Problem[];
  stop(): Promise<void>;
}

/** What judges the taps that are let pass. Closed rules stand whole, and drop by themselves what comes from any tap that they don't know. */
export type Judge = "programs" | "rules" | "closed rules";

export interface GuardPart {
  /** off: the configuration wants no guard; only what lets judged packets through the host's own firewall is ensured. */
  readonly wanted: boolean;
  /** Puts the standing rule in place or finds it there; how much it had to write. */
  ensure(): Promise<number>;
  /**
   * Lets these taps, by ifindex, pass: their programs and maps are in place. All others are behind the guard from now on. `uplinks`: those whose
   * program is in place.
   */
  claim(taps: ReadonlyMap<number, string>, uplinks: ReadonlyMap<number, string>): Promise<number>;
  problems(): readonly Problem[];
}

/** Services of the host that guests reach (S7). */
export interface ServicesPart {
  /** `delta` absent: read back what stands. @returns how much had to be written */
  ensure(desired: DesiredState, delta?: DesiredDelta): Promise<number>;
  problems(): readonly Problem[];
}

/** Monotonic milliseconds and timers. */
export interface Clock {
  now(): number;
  /** Wall clock, for people. */
  date(): Date;
  /** Returns what cancels it. */
  after(milliseconds: number, run: () => void): () => void;
}

export const realClock: Clock = {
  now: () => performance.now(),
  date: () => new Date(),
  after: (milliseconds, run) => {
    const timer = setTimeout(run, milliseconds);
    return () => clearTimeout(timer);
  },
};

export interface AgentLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface AgentParts {
  readonly datastore: Datastore;
  readonly model: ModelPart;
  readonly compiler: CompilerPart;
  readonly backend: BackendPart;
  readonly links: LinksPart;
  readonly guard: GuardPart;
  readonly services?: ServicesPart;
  readonly clock: Clock;
  readonly log: AgentLog;
}
