/** What Prometheus sees of the agent. Names follow its conventions: base units, `_total` for what only grows. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ApplyEvent } from "../agent/status.js";
import type { Counters } from "../dataplane/bpf/counters.js";
import { mapMetrics, portMetrics } from "./series.js";

/** Read at every scrape. */
export interface Measured {
  readonly endpoints: { readonly wanted: number; readonly enforced: number };
  readonly problems: number;
  readonly datastore: { readonly connected: boolean; readonly current: boolean; readonly dataFrom: Date | undefined };
  /** Keys of endpoints' status that wait to be written to etcd. */
  readonly statusPending: number;
  /** The standing rule: off where the configuration wants none. */
  readonly guard: "on" | "off" | "failed";
  /** How long the present pass has been running; 0: none does. */
  readonly passSeconds: number;
  readonly flows: Counters["flows"];
  /** Packets by reason, since the maps were made. */
  readonly drops: Counters["drops"];
  readonly maps: Counters["maps"];
  readonly ports: Counters["ports"];
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export class Metrics {
  readonly #registry = new Registry();
  readonly #passes: Counter<"result">;
  readonly #writes: Counter<"map">;
  readonly #apply: Histogram;
  readonly #change: Histogram;
  readonly #repaired: Counter;
  /** A first pass writes what nobody had changed. */
  #first = true;

  /**
   * @param measure what holds now; when it throws, the scrape fails and says why
   * @param ports for how many ports there are series of their own
   */
  constructor(
    about: { readonly version: string; readonly abi: number; readonly dataplane: string },
    private readonly measure: () => Promise<Measured>,
    ports = 0,
  ) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    new Gauge({
      name: "torbie_build_info",
      help: "Always 1; its labels say what runs.",
      labelNames: ["version", "abi", "dataplane", "node"],
      registers,
    }).set({ version: about.version, abi: String(about.abi), dataplane: about.dataplane, node: process.version }, 1);
    this.#passes = new Counter({
      name: "torbie_passes_total",
      help: "Passes of the agent's loop that wrote, failed or had a change to tell.",
      labelNames: ["result"],
      registers,
    });
    this.#writes = new Counter({
      name: "torbie_writes_total",
      help: "Writes to the kernel by map; routes, neighbours and sysctls together as links.",
      labelNames: ["map"],
      registers,
    });
    this.#apply = new Histogram({
      name: "torbie_apply_seconds",
      help: "How long a pass took: compiling, writing, attaching.",
      buckets: SECONDS,
      registers,
    });
    this.#change = new Histogram({
      name: "torbie_change_seconds",
      help: "From the first event that a pass answers to its end: how long a change waits to be in force.",
      buckets: SECONDS,
      registers,
    });
    this.#repaired = new Counter({
      name: "torbie_repaired_writes_total",
      help: "Writes of full passes that had no change to answer: what somebody else had changed in the kernel, and was put back.",
      registers,
    });
    this.#gauges();
    mapMetrics(this.#registry, () => this.#now);
    if (ports > 0) portMetrics(this.#registry, () => this.#now, ports);
  }

  /** A pass has ended. */
  applied({ failures, writes, milliseconds, sinceEvent, full, totalChanges, totalWrites }: ApplyEvent): void {
    if (full && totalChanges === 0 && !this.#first && failures.length === 0) this.#repaired.inc(totalWrites);
    if (failures.length === 0) this.#first = false;
    this.#passes.inc({ result: failures.length === 0 ? "ok" : "failed" });
    for (const [map, count] of Object.entries(writes)) this.#writes.inc({ map }, count);
    this.#apply.observe(milliseconds / 1000);
    this.#change.observe(sinceEvent / 1000);
  }

  /** The text format, and its content type. */
  async text(): Promise<{ readonly type: string; readonly body: string }> {
    this.#now = await this.measure();
    return { type: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  #now: Measured | undefined;

  #gauges(): void {
    const registers = [this.#registry];
    const gauge = (name: string, help: string, read: (now: Measured) => number): void => {
      const made: Gauge = new Gauge({
        name,
        help,
        registers,
        collect: () => {
          if (this.#now !== undefined) made.set(read(this.#now));
        },
      });
    };
    gauge("torbie_endpoints_wanted", "Endpoints that the datastore puts on this host.", (now) => now.endpoints.wanted);
    gauge(
      "torbie_endpoints_enforced",
      "Endpoints whose tap is attached and whose whole state is written.",
      (now) => now.endpoints.enforced,
    );
    gauge("torbie_problems", "Present problems; torbie status names them.", (now) => now.problems);
    gauge("torbie_datastore_connected", "1: the datastore is in sync and followed.", (now) =>
      Number(now.datastore.connected),
    );
    gauge("torbie_datastore_current", "1: what is in force is what the datastore says now.", (now) =>
      Number(now.datastore.current),
    );
    gauge(
      "torbie_datastore_age_seconds",
      "How old what is in force is: 0 while current, else since the datastore was lost or a pass failed. NaN: nobody knows.",
      ({ datastore: { current, dataFrom } }) =>
        current ? 0 : dataFrom === undefined ? NaN : Math.max(0, (Date.now() - dataFrom.getTime()) / 1000),
    );
    gauge(
      "torbie_guard_on",
      "1: the standing rule drops what passes a guest's interface unjudged; 0: it is not there. NaN: off by configuration.",
      ({ guard }) => (guard === "off" ? NaN : Number(guard === "on")),
    );
    gauge(
      "torbie_pass_running_seconds",
      "How long the present pass of the agent's loop has been running; 0: none does.",
      (now) => now.passSeconds,
    );
    gauge("torbie_status_pending", "Endpoints whose status waits to be written to etcd.", (now) => now.statusPending);
    gauge("torbie_flows", "Entries of the flow table in use.", (now) => now.flows.used);
    gauge("torbie_flow_limit", "Entries that the flow table can hold.", (now) => now.flows.limit);
    const drops = new Counter({
      name: "torbie_dropped_packets_total",
      help: "Packets dropped, by reason, since the maps were made.",
      labelNames: ["reason"],
      registers,
      collect: () => {
        drops.reset();
        for (const [reason, count] of Object.entries(this.#now?.drops ?? {})) drops.inc({ reason }, count);
      },
    });
  }
}
