/** Tells Neutron's driver, through etcd, that this host's agent lives and how each of its ports is. Enforcement never waits for it. */
import type { AgentLog, Clock } from "../agent/parts.js";
import { asError } from "../agent/round.js";
import type { EndpointId } from "../model/types.js";
import type { Problem } from "../problems.js";
import { Heartbeat } from "./heartbeat.js";
import { Judgement, type Candidate, type Change, type Pass } from "./judge.js";
import { endpointKey, endpointsPrefix, endpointValue } from "./keys.js";
import { StatusQueue } from "./queue.js";
import { type StatusStore } from "./store.js";
import { StatusWriter } from "./writer.js";

export interface ReporterOptions {
  readonly hostname: string;
  /** "" is none. */
  readonly region: string;
  /** Seconds. */
  readonly ttl: number;
  readonly interval: number;
  /** Whether endpoints are reported: "auto" is what FelixConfiguration says, which is no where it says nothing. */
  readonly endpoints: "auto" | "on" | "off";
}

export interface ReporterParts {
  readonly store: StatusStore;
  readonly clock: Clock;
  readonly log: AgentLog;
  /** Asks the kernel for these: those that it has, whole, on the interfaces that they have now. */
  readonly readBack: (candidates: readonly Candidate[]) => Promise<ReadonlySet<EndpointId>>;
  readonly alive: () => boolean;
}

const CONSEQUENCE =
  "Neutron does not hear of this host's state; enforcement goes on, and it is tried again, first soon, then every 30 s";

/** Milliseconds until the kernel is asked again for what it did not have. */
const ASK_AGAIN = 1_000;

export class StatusReporter {
  readonly #judgement = new Judgement();
  readonly #queue = new StatusQueue();
  readonly #writer: StatusWriter;
  readonly #heartbeat: Heartbeat;
  #reading: Promise<void> = Promise.resolve();
  #unreadable: Error | undefined;
  #closed = false;
  readonly #again = new Set<() => void>();

  constructor(
    private readonly parts: ReporterParts,
    private readonly options: ReporterOptions,
  ) {
    const { store, clock, alive } = parts;
    const { region, hostname, ttl, interval } = options;
    this.#writer = new StatusWriter(store, this.#queue, endpointsPrefix(region, hostname), clock);
    this.#heartbeat = new Heartbeat(
      store,
      { region, hostname, ttl, interval, alive, onRecovered: () => this.#writer.recheck() },
      clock,
    );
  }

  /** Transactions of endpoints' states so far. */
  get transactions(): number {
    return this.#writer.transactions;
  }
  get pending(): number {
    return this.#queue.size;
  }

  /**
   * After a pass of the agent that had policy. Returns at once. `felix`: what FelixConfiguration says of reporting endpoints. While it says no,
   * keys that are there stay as they are: to remove them would tell Neutron that the ports are broken.
   */
  onPass(pass: Pass, felix: boolean | undefined): void {
    this.#heartbeat.start();
    const { endpoints } = this.options;
    if (endpoints === "off" || (endpoints === "auto" && felix !== true)) return;
    const { changes, candidates } = this.#judgement.pass(pass);
    this.#tell(changes);
    this.#queue.complete();
    if (candidates.length > 0) this.#ask(candidates);
    this.#writer.kick();
  }

  problems(): readonly Problem[] {
    const at = (where: string, code: string, { message }: Error): Problem => ({
      where,
      code,
      what: message,
      consequence: CONSEQUENCE,
    });
    const { trouble } = this.#heartbeat;
    return [
      ...(trouble ? [at("status of this host in etcd", "STATUS_NOT_WRITTEN", trouble)] : []),
      ...(this.#writer.trouble ? [at("status of endpoints in etcd", "STATUS_NOT_WRITTEN", this.#writer.trouble)] : []),
      ...(this.#unreadable ? [at("status of endpoints", "STATUS_NOT_READ_BACK", this.#unreadable)] : []),
    ];
  }

  /** Resolves when what is known has been written, or could not be. */
  async settled(): Promise<void> {
    await this.#reading;
    await this.#writer.settled();
  }

  /** What has not been written yet is not written any more; `status` ends with its lease. */
  close(): void {
    this.#closed = true;
    for (const cancel of this.#again) cancel();
    this.#heartbeat.close();
    this.#writer.close();
  }

  async #readBack(asked: readonly Candidate[]): Promise<void> {
    const candidates = asked.filter((candidate) => this.#judgement.awaits(candidate));
    if (candidates.length === 0 || this.#closed) return;
    try {
      const holds = await this.parts.readBack(candidates);
      for (const candidate of candidates)
        this.#tell(this.#judgement.readBack(candidate, holds.has(candidate.endpoint.id)));
      this.#unreadable = undefined;
    } catch (error) {
      // What was closed under us is nobody's fault.
      if (this.#closed) return;
      this.#unreadable = asError(error);
      this.parts.log.warn({ err: this.#unreadable }, "the kernel could not be read back for the endpoints' status");
    }
    this.#writer.kick();
    const open = candidates.filter((candidate) => this.#judgement.awaits(candidate));
    if (open.length === 0 || this.#closed) return;
    const cancel = this.parts.clock.after(ASK_AGAIN, () => {
      this.#again.delete(cancel);
      this.#ask(open);
    });
    this.#again.add(cancel);
  }

  #ask(candidates: readonly Candidate[]): void {
    this.#reading = this.#reading.then(() => this.#readBack(candidates));
  }

  #tell(changes: readonly Change[]): void {
    const { region, hostname } = this.options;
    for (const { endpoint, state } of changes)
      this.#queue.put(
        endpointKey(region, hostname, endpoint.workload),
        state === undefined ? undefined : endpointValue(state),
      );
  }
}
