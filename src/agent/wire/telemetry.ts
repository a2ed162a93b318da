/** Health and metrics over HTTP, from what the agent knows of itself. */
import { ABI_VERSION } from "../../abi/constants.js";
import type { AgentHealth } from "../types.js";
import type { Config } from "../../config/schema.js";
import type { Counters } from "../../dataplane/bpf/counters.js";
import type { Problem } from "../../problems.js";
import { liveness, readiness, type Verdict } from "../../telemetry/health.js";
import { HttpServer, jsonAnswer, type Answer, type Routes } from "../../telemetry/http.js";
import { Metrics, type Measured } from "../../telemetry/metrics.js";

export interface TelemetryParts {
  /** Undefined: it has not started yet. */
  readonly health: () => AgentHealth | undefined;
  readonly counters: () => Promise<Counters>;
  readonly statusPending: () => number;
}

const STARTING: Verdict = { ok: false, reasons: ["the agent has not started yet"] };

export class Telemetry {
  readonly metrics: Metrics;
  readonly #servers: readonly HttpServer[];

  constructor(
    config: Pick<Config, "healthAddress" | "metricsAddress" | "metricsPorts">,
    about: { readonly version: string; readonly dataplane: string },
    private readonly parts: TelemetryParts,
  ) {
    this.metrics = new Metrics({ ...about, abi: ABI_VERSION }, () => this.#measure(), config.metricsPorts);
    const say = (judge: (health: AgentHealth) => Verdict) => (): Answer => {
      const now = parts.health();
      const verdict = now === undefined ? STARTING : judge(now);
      return jsonAnswer(verdict.ok ? 200 : 503, verdict);
    };
    const health: Routes = { "/liveness": say(liveness), "/readiness": say(readiness) };
    const metrics: Routes = {
      "/metrics": async () => ({ status: 200, ...(await this.metrics.text()) }),
    };
    const { healthAddress, metricsAddress } = config;
    const together = healthAddress === metricsAddress;
    this.#servers = [
      ...(healthAddress === "off"
        ? []
        : [new HttpServer(healthAddress, together ? { ...health, ...metrics } : health)]),
      ...(metricsAddress === "off" || together ? [] : [new HttpServer(metricsAddress, metrics)]),
    ];
  }

  problems(): readonly Problem[] {
    return this.#servers.flatMap((server) => server.problems());
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.close()));
  }

  async #measure(): Promise<Measured> {
    const health = this.parts.health();
    if (health === undefined) throw new Error("the agent has not started yet");
    const { state, current, dataFrom, enforced, wanted, problems, guard, busy } = health;
    return {
      endpoints: { wanted, enforced },
      problems,
      guard,
      passSeconds: busy / 1000,
      datastore: {
        connected: state === "in-sync",
        current,
        dataFrom: dataFrom === undefined ? undefined : new Date(dataFrom),
      },
      statusPending: this.parts.statusPending(),
      ...(await this.parts.counters()),
    };
  }
}
