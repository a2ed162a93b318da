/**
 * The one loop: updates only mark dirty; it waits for in-sync, compiles, applies in a written order (src/agent/round.ts), and reads the
 * kernel back from time to time. When a pass runs is decided in src/agent/loop.ts.
 */
import { collectProblems } from "./agent/collect.js";
import { Compilation } from "./agent/compilation.js";
import { Gate } from "./agent/gate.js";
import { History } from "./agent/history.js";
import { Loop, type Backoff } from "./agent/loop.js";
import type { AgentParts } from "./agent/parts.js";
import { ProblemList } from "./agent/problems.js";
import { asError, runRound, SERVICES, type RoundResult } from "./agent/round.js";
import { endpointsStatus, interfacesStatus, policiesStatus } from "./agent/status-of.js";
import type { AgentStatus, ApplyEvent } from "./agent/status.js";
import type { AgentHealth, AgentOptions } from "./agent/types.js";
import type { DesiredState } from "./compile/desired.js";
import type { DatastoreEvent } from "./datastore/types.js";
import type { EndpointId } from "./model/types.js";
import { Steps } from "./steps.js";

const BACKOFF: Backoff = { first: 100, most: 30_000 };

export class Agent {
  readonly #parts: AgentParts;
  readonly #options: AgentOptions;
  readonly #gate: Gate;
  readonly #loop: Loop;
  readonly #problems = new ProblemList();
  readonly #history: History;
  readonly #started: string;
  #stopped: string | undefined;
  #stopping = false;
  #cancelResync: (() => void) | undefined;
  readonly #compilation: Compilation;
  /** A resync or a repetition is due; it may have been asked for while a pass runs. */
  #wantFull = false;

  #enforced: ReadonlySet<EndpointId> = new Set();
  #failures: RoundResult["failures"] = [];
  #guard: AgentStatus["guard"];
  /** It stood a moment ago, when this start looked: the passes that wait for a policy, and the first with one, need not look again. */
  #guardSeen = false;
  #inForce = false;
  #current = false;
  #dataFrom: string | undefined;

  constructor(parts: AgentParts, options: AgentOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#history = new History(parts);
    this.#gate = new Gate(options.clusterGuid, options.clusterJudged);
    this.#dataFrom = options.dataFrom;
    this.#started = parts.clock.date().toISOString();
    this.#guard = parts.guard.wanted ? "failed" : "off";
    this.#loop = new Loop(
      parts.clock,
      options.backoff ?? BACKOFF,
      (since) => this.#pass(since),
      () => (this.#wantFull = true),
    );
    this.#compilation = new Compilation(parts, this.#gate, () => this.#loop.mark());
  }

  /** Called after every pass that wrote, failed or had a change to tell. Returns what takes the listener away again. */
  onApply(listener: (event: ApplyEvent) => void): () => void {
    return this.#history.onApply(listener);
  }

  /**
   * Guards, finds the interfaces, blocks unknown taps, then follows the datastore. Resolves when it follows; the first policy may
   * still be on its way.
   * @throws ConfigError when the datastore can never work, DataplaneError when links cannot be read
   */
  async start(): Promise<void> {
    const { links, datastore, guard, backend } = this.#parts;
    // Before links: a tap that appears while we look must already be behind the guard. The first pass reports a failure.
    await guard.ensure().then(
      () => {
        this.#guardSeen = true;
        if (guard.wanted) this.#guard = "on";
      },
      () => undefined,
    );
    await links.start(
      () => this.#loop.mark(),
      (change) => {
        if (backend.hookChanged?.(change) === true) this.#loop.mark();
      },
    );
    this.#armResync();
    this.#loop.mark();
    await this.#loop.idle();
    if (!this.#stopping) await datastore.start((event) => this.#follow(event));
  }

  /** Lets go, also of a start that failed or goes on; what is enforced stays enforced. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#cancelResync?.();
    this.#compilation.stop();
    await this.#parts.datastore.stop();
    await this.#loop.stop();
    await this.#parts.links.stop();
    this.#stopped = this.#parts.clock.date().toISOString();
    this.#options.onStatus?.(() => this.status());
    await this.#parts.backend.close();
  }

  /** Resolves when no pass runs or is due now. */
  async idle(): Promise<void> {
    await this.#loop.idle();
  }

  /** Reads the kernel back and puts right what differs; what that wrote and what failed. */
  async resync(): Promise<Pick<ApplyEvent, "writes" | "totalWrites" | "failures">> {
    const writes: Record<string, number> = {};
    const unfollow = this.onApply((event) => {
      for (const [map, count] of Object.entries(event.writes)) writes[map] = (writes[map] ?? 0) + count;
    });
    this.#wantFull = true;
    this.#guardSeen = false;
    this.#loop.mark();
    await this.#loop.idle();
    unfollow();
    return {
      writes,
      totalWrites: Object.values(writes).reduce((sum, count) => sum + count, 0),
      failures: this.#failures.map(({ where, error }) => ({ where, what: error.message })),
    };
  }

  /** What is to be in force; undefined: nothing has been compiled yet. */
  get desired(): DesiredState | undefined {
    return this.#compilation.desired;
  }

  health(): AgentHealth {
    const held = this.#gate.closed(this.#parts.model.model.cluster);
    const taps = this.#parts.links.interfaces().taps;
    const dataFrom = this.#current ? this.#parts.clock.date().toISOString() : this.#dataFrom;
    return {
      busy: this.#loop.busy,
      state: this.#gate.state,
      ...(typeof held === "object" ? { held: held.what } : {}),
      inForce: this.#inForce,
      ...(dataFrom === undefined ? {} : { dataFrom }),
      failing: this.#failures
        .filter(({ where }) => !taps.has(where))
        .map(({ where, error }) => `${where}: ${error.message}`),
      current: this.#current,
      wanted: this.desired?.endpoints.size ?? 0,
      enforced: this.#enforced.size,
      problems: this.#problems.present.length,
      guard: this.#guard,
    };
  }

  /** Whether what is in force is what the datastore says at this moment; from when it no longer is, its age is remembered. */
  #setCurrent(current: boolean): void {
    if (this.#current && !current) this.#dataFrom = this.#parts.clock.date().toISOString();
    this.#current = current;
  }

  status(): AgentStatus {
    const { datastore, links, clock, model } = this.#parts;
    const interfaces = links.interfaces();
    const held = this.#gate.closed(model.model.cluster);
    const { guid } = this.#gate;
    const { dataFrom } = this.health();
    return {
      format: 1,
      version: this.#options.version,
      pid: process.pid,
      started: this.#started,
      updated: clock.date().toISOString(),
      ...(this.#stopped === undefined ? {} : { stopped: this.#stopped }),
      hostname: this.#options.hostname,
      pinDir: this.#options.pinDir,
      dataplane: this.#options.dataplane,
      guard: this.#guard,
      datastore: {
        description: datastore.description,
        state: this.#gate.state,
        ...(typeof held === "object" ? { held: held.what } : {}),
      },
      ...(guid === undefined ? {} : { cluster: guid }),
      ...(dataFrom === undefined ? {} : { dataFrom }),
      ...this.#history.status,
      problems: this.#problems.present,
      interfaces: interfacesStatus(interfaces),
      endpoints: endpointsStatus(this.desired, interfaces, this.#enforced),
      policies: policiesStatus(this.desired, model.model),
    };
  }

  #follow(event: DatastoreEvent): void {
    this.#gate.follow(event);
    if (this.#gate.state === "lost") this.#setCurrent(false);
    const delta = this.#parts.model.handle(event);
    this.#compilation.heard(delta);
    this.#history.heard(delta);
    // A pass for every part of a snapshot would find the gate shut each time.
    if (event.type !== "changes" || this.#gate.closed(this.#parts.model.model.cluster) !== "too early")
      this.#loop.mark();
  }

  /** One pass; true when all of it went well. */
  async #pass(since: number): Promise<boolean> {
    const { clock, log } = this.#parts;
    const began = clock.now();
    const steps = new Steps(() => clock.now());
    const watched = this.#history.began(steps, began);
    steps.begin("compile");
    const uncompiled = await this.#compilation.compile();
    const { desired } = this;
    // Should the pass throw, the next one reads back in full.
    const known = this.#compilation.take();
    const delta = this.#wantFull ? undefined : known;
    let result: RoundResult | undefined;
    this.#wantFull = false;
    try {
      const wish = {
        ...(desired ? { desired } : {}),
        ...(delta ? { delta } : {}),
        guard: !this.#guardSeen && (delta === undefined || this.#guard === "failed"),
      };
      result = await runRound(this.#parts, wish, steps);
      this.#compilation.written();
      this.#failures = result.failures;
    } catch (error) {
      const thrown = asError(error);
      this.#failures = [{ where: "dataplane", error: thrown }];
      log.error({ err: thrown, step: steps.current?.what }, "a pass failed; it will be repeated in full");
    }
    watched();
    steps.end();
    if (uncompiled) this.#failures = [...this.#failures, { where: "compiler", error: uncompiled }];
    if (result?.enforced) this.#enforced = result.enforced;
    if (result?.guard && this.#parts.guard.wanted) this.#guard = result.guard;
    if (result?.interfaces !== undefined) this.#guardSeen = false;
    if (result?.interfaces === undefined || uncompiled) this.#setCurrent(false);
    if (desired !== undefined && result?.interfaces !== undefined) {
      const { interfaces } = result;
      const well = this.#failures.every(({ where }) => where === SERVICES || interfaces.taps.has(where));
      this.#inForce ||= well;
      this.#setCurrent(well && this.#gate.closed(this.#parts.model.model.cluster) === undefined);
      const { felix } = this.#parts.model.model;
      this.#options.onPass?.({ desired, interfaces, enforced: this.#enforced, felix });
    }
    this.#reportProblems();
    this.#history.passed({
      writes: result?.writes ?? {},
      failures: this.#failures,
      full: delta === undefined,
      began,
      since,
      steps,
      enforced: this.#enforced.size,
      answered: this.#gate.closed(this.#parts.model.model.cluster) === undefined,
    });
    this.#options.onStatus?.(() => this.status());
    return this.#failures.length === 0;
  }

  #reportProblems(): void {
    const { log } = this.#parts;
    const { appeared, gone } = this.#problems.replace(
      collectProblems(this.#parts, this.#gate, this.#failures, this.#options.problems?.()),
    );
    for (const problem of appeared) log.warn({ problem }, "problem");
    for (const problem of gone) log.info({ problem }, "no longer a problem");
  }

  #armResync(): void {
    const { clock, backend } = this.#parts;
    const look = (): void => {
      if (this.#stopping) return;
      this.#armResync();
      this.#wantFull = true;
      this.#guardSeen = false;
      this.#loop.mark();
    };
    // What takes long to read is read before the pass that needs it, so that no change waits for it.
    this.#cancelResync = clock.after(this.#options.resyncMilliseconds, () => {
      if (backend.readAhead === undefined) look();
      else void backend.readAhead().finally(look);
    });
  }
}
