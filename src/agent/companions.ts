/** Who is told about the agent while it runs: Neutron through etcd, systemd, whoever asks over HTTP, and `torbie check`. None of them is waited for. */
import type { Agent } from "../agent.js";
import type { FinishedPass } from "./types.js";
import type { LoadedConfig } from "../config/load.js";
import type { Problem } from "../problems.js";
import { liveness, readiness } from "../telemetry/health.js";
import type { StatusReporter } from "../status/reporter.js";
import { ControlServer } from "./control.js";
import { createNotifier, type Notifier } from "./notify.js";
import { realClock, type AgentLog } from "./parts.js";
import type { HostBackend } from "./wire/iptables.js";
import { openReporter } from "./wire/reporter.js";
import { Telemetry } from "./wire/telemetry.js";

export interface CompanionParts {
  readonly version: string;
  readonly backend: HostBackend;
  /** What a former agent enforced is enforced: from the start, whatever comes. */
  readonly adopted: boolean;
  readonly log: AgentLog;
}

export class Companions {
  readonly #reporter: StatusReporter | undefined;
  readonly #telemetry: Telemetry;
  readonly #notifier: Notifier;
  readonly #runDir: string;
  #control: ControlServer | undefined;
  #agent: Agent | undefined;

  /** @throws ConfigError when the settings of etcd contradict each other */
  constructor(
    loaded: LoadedConfig,
    private readonly parts: CompanionParts,
  ) {
    const { version, backend, log } = parts;
    this.#runDir = loaded.config.runDir;
    const health = (): ReturnType<Agent["health"]> | undefined => this.#agent?.health();
    const lives = (): boolean => {
      const now = health();
      return now !== undefined && liveness(now).ok;
    };
    this.#reporter = openReporter(loaded, {
      clock: realClock,
      log,
      readBack: (candidates) => backend.readBack(candidates),
      alive: () => lives() && health()?.inForce === true,
    });
    this.#telemetry = new Telemetry(
      loaded.config,
      { version, dataplane: backend.name },
      {
        health,
        counters: () => backend.counters(),
        statusPending: () => this.#reporter?.pending ?? 0,
      },
    );
    this.#notifier = createNotifier(process.env, lives, (err) => log.warn({ err }, "systemd cannot be told"));
  }

  /** Its loop is about to start. */
  follow(agent: Agent): void {
    this.#agent = agent;
    this.#control = new ControlServer(
      this.#runDir,
      {
        head: () => {
          const { state, held, dataFrom } = agent.health();
          return {
            version: this.parts.version,
            state,
            ...(held === undefined ? {} : { held }),
            ...(dataFrom === undefined ? {} : { dataFrom }),
          };
        },
        desired: () => agent.desired,
        resync: () => agent.resync(),
      },
      (err) => this.parts.log.warn({ err }, "torbie check cannot ask this agent"),
    );
    agent.onApply((event) => this.#telemetry.metrics.applied(event));
  }

  /** It has found the interfaces, and begins to follow the datastore. */
  started(): void {
    if (this.parts.adopted) this.#notifier.ready();
    this.tell();
  }

  onPass(pass: FinishedPass): void {
    this.#reporter?.onPass(pass, pass.felix?.endpointReporting);
  }

  /** Something may be otherwise than before. */
  tell(): void {
    const health = this.#agent?.health();
    if (health === undefined) return;
    this.#notifier.status(readiness(health).reasons.join("; "));
    if (health.inForce) this.#notifier.ready();
  }

  *problems(): Iterable<Problem> {
    yield* this.#reporter?.problems() ?? [];
    yield* this.#telemetry.problems();
  }

  stopping(): void {
    this.#notifier.stopping();
    this.#reporter?.close();
  }

  async close(): Promise<void> {
    this.#notifier.close();
    this.#reporter?.close();
    await this.#control?.close();
    await this.#telemetry.close();
  }
}
