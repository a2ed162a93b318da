/** Fakes of the agent's collaborators: they record the order of effects and do as the test says. */
import type { AgentParts, Clock, ReportPart } from "../../../src/agent/parts.js";
import type { DesiredDelta, DesiredState, Move } from "../../../src/compile/desired.js";
import type { ApplyReport, Interfaces, Tap } from "../../../src/dataplane/backend.js";
import type { DatastoreEvent } from "../../../src/datastore/types.js";
import type {
  ClusterInfo,
  EndpointId,
  LiveMigration,
  Mac,
  Model,
  ModelDelta,
  Policy,
  PolicyId,
} from "../../../src/model/types.js";
import { NO_CHANGE, NO_DESIRED_CHANGE } from "../../../src/agent/delta.js";

export class FakeClock implements Clock {
  time = 0;
  #timers = new Set<{ at: number; run: () => void }>();
  now(): number {
    return this.time;
  }
  date(): Date {
    return new Date(Date.UTC(2026, 0, 1) + this.time);
  }
  after(milliseconds: number, run: () => void): () => void {
    const timer = { at: this.time + milliseconds, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }
  /** Runs what is due within `milliseconds`, in order of time. */
  advance(milliseconds: number): void {
    const end = this.time + milliseconds;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.time = due.at;
      due.run();
    }
    this.time = end;
  }
  get waits(): number[] {
    return [...this.#timers].map(({ at }) => at - this.time).sort((a, b) => a - b);
  }
}

export const tap = (name: string, ifindex: number): Tap => ({
  name,
  ifindex,
  mac: "02:00:00:00:00:01" as Mac,
  mtu: 1500,
  up: true,
});
export const policyDelta = (...ids: string[]): ModelDelta => ({ ...NO_CHANGE, policies: new Set(ids as PolicyId[]) });
const policy = (id: string): Policy => ({ id, name: `name of ${id}`, origin: "groups.yaml:14" }) as unknown as Policy;

/** A gate that the test opens: what waits for it goes on then. */
export function barrier(): { readonly wait: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const wait = new Promise<void>((resolve) => (open = resolve));
  return { wait, open };
}

const none: ReportPart = { writes: 0, failures: [] };

export class World {
  readonly clock = new FakeClock();
  /** Effects in order: "guard", "refresh", "withdraw", "apply full", "apply delta", "program", "block" … */
  readonly effects: string[] = [];
  readonly logs: { level: string; message: string; fields: object }[] = [];
  readonly taps = new Map<string, Tap>();
  readonly applied: { desired: DesiredState; delta: DesiredDelta | undefined; interfaces: Interfaces }[] = [];
  cluster: ClusterInfo | undefined;
  policies = new Map<PolicyId, Policy>();
  migrations = new Map<string, LiveMigration>();
  /** Interfaces by which something has come. */
  readonly speakers = new Set<string>();
  /** What the compiler was last told of live migrations. */
  moves: ReadonlyMap<EndpointId, Move> = new Map();
  /** Thrown by the next calls, one each. */
  readonly applyErrors: Error[] = [];
  readonly compileErrors: Error[] = [];
  failures: ApplyReport["failures"] = [];
  guardError: Error | undefined;
  servicesError: Error | undefined;
  holdApply: Promise<void> | undefined;
  writes: Record<string, number> = {};
  emit: (event: DatastoreEvent) => void = () => {
    throw new Error("not started");
  };
  linksChanged: () => void = () => undefined;
  /** What the next "changes" event means to the model. */
  nextDelta: ModelDelta = NO_CHANGE;
  claimed: ReadonlyMap<number, string> = new Map();
  /** What the compiler says is wanted, and the backend that it is enforced: endpoint -> interface. */
  endpoints = new Map<string, string>();
  concurrent = 0;
  mostConcurrent = 0;

  parts(): AgentParts {
    const log = (level: string) => (fields: object, message: string) => void this.logs.push({ level, message, fields });
    const record = (effect: string, result: ReportPart = none): Promise<ReportPart> => {
      this.effects.push(effect);
      return Promise.resolve(result);
    };
    const interfaces = (): Interfaces => ({ taps: new Map(this.taps), uplinks: [] });
    const model = (): Model =>
      ({
        policies: this.policies,
        endpoints: new Map(),
        locals: new Map([...this.endpoints].map(([id, interfaceName]) => [id, { id, interfaceName }])),
        migrations: this.migrations,
        ...(this.cluster ? { cluster: this.cluster } : {}),
      }) as unknown as Model;
    return {
      clock: this.clock,
      log: { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") },
      datastore: {
        description: "directory /fake",
        start: (onEvent) => {
          this.emit = onEvent;
          this.effects.push("datastore start");
          return Promise.resolve();
        },
        stop: () => {
          this.effects.push("datastore stop");
          return Promise.resolve();
        },
      },
      model: {
        get model() {
          return model();
        },
        handle: (event) => {
          if (event.type !== "changes") return NO_CHANGE;
          for (const id of this.nextDelta.policies) this.policies.set(id, policy(id));
          return this.nextDelta;
        },
        problems: () => [],
      },
      compiler: {
        compile: (_model, delta, moves) => {
          this.moves = moves;
          this.effects.push(delta ? `compile ${[...delta.policies].join(",")}` : "compile all");
          const error = this.compileErrors.shift();
          if (error) throw error;
          const endpoints = [...this.endpoints].map(
            ([id, interfaceName]) =>
              [
                id,
                { id, interfaceName, workload: { workload: "w", endpoint: "e", notEnforced: [] }, adminUp: true },
              ] as const,
          );
          const desired = { endpoints: new Map(endpoints), policies: new Map() } as unknown as DesiredState;
          return delta ? { desired, delta: NO_DESIRED_CHANGE } : { desired };
        },
        problems: () => [],
      },
      services: {
        ensure: () => (this.servicesError === undefined ? Promise.resolve(0) : Promise.reject(this.servicesError)),
        problems: () => [],
      },
      backend: {
        name: "bpf",
        block: () => record("block"),
        apply: async (desired, seen, delta) => {
          this.concurrent++;
          this.mostConcurrent = Math.max(this.mostConcurrent, this.concurrent);
          this.effects.push(delta ? "apply delta" : "apply full");
          this.applied.push({ desired, delta, interfaces: seen });
          await this.holdApply;
          this.concurrent--;
          const error = this.applyErrors.shift();
          if (error) throw error;
          const totalWrites = Object.values(this.writes).reduce((sum, count) => sum + count, 0);
          return {
            writes: this.writes,
            totalWrites,
            milliseconds: 1,
            failures: this.failures,
            enforced: new Set(this.endpoints.keys()) as Set<EndpointId>,
          };
        },
        close: () => {
          this.effects.push("backend close");
          return Promise.resolve();
        },
      },
      links: {
        speakers: () => this.speakers,
        start: (onChange) => {
          this.effects.push("links start");
          this.linksChanged = onChange;
          return Promise.resolve();
        },
        interfaces,
        refresh: () => record("refresh").then(() => undefined),
        withdraw: () => record("withdraw"),
        program: () => record("program"),
        problems: () => [],
        stop: () => record("links stop").then(() => undefined),
      },
      guard: {
        wanted: true,
        ensure: () => {
          this.effects.push("guard");
          return this.guardError ? Promise.reject(this.guardError) : Promise.resolve(0);
        },
        claim: (taps) => {
          this.effects.push("claim");
          this.claimed = taps;
          return Promise.resolve(0);
        },
        problems: () => [],
      },
    };
  }

  /** Effects since the last call. */
  take(): string[] {
    return this.effects.splice(0);
  }
  /** A snapshot with this policy, to its end. */
  snapshot(...ids: string[]): void {
    this.emit({ type: "snapshot-begin" });
    this.nextDelta = policyDelta(...ids);
    this.emit({ type: "changes", changes: [] });
    this.emit({ type: "in-sync" });
  }
  change(...ids: string[]): void {
    this.nextDelta = policyDelta(...ids);
    this.emit({ type: "changes", changes: [] });
  }
}
