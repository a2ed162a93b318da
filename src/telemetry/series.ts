/** Metrics that have a series for each map, or for each port: the latter only so many, since a cloud has more than Prometheus likes. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { Counters } from "../dataplane/bpf/counters.js";

type Now = () => Pick<Counters, "maps" | "ports"> | undefined;

export function mapMetrics(registry: Registry, now: Now): void {
  const gauge = (name: string, help: string, read: (use: Counters["maps"][string]) => number): void => {
    const made: Gauge<"map"> = new Gauge({
      name,
      help,
      labelNames: ["map"],
      registers: [registry],
      collect: () => {
        made.reset();
        for (const [map, use] of Object.entries(now()?.maps ?? {})) made.set({ map }, read(use));
      },
    });
  };
  gauge(
    "torbie_map_entries",
    "Entries in use of each map that can be full (of the 20 fullest sets with iptables).",
    (use) => use.entries,
  );
  gauge("torbie_map_size", "Entries that the map can hold.", (use) => use.size);
  gauge("torbie_map_memory_bytes", "Kernel memory of the map.", (use) => use.memory);
}

/** Those with most flows and drops first, by id where they are equal. Pure. */
export function chosenPorts(ports: Counters["ports"], most: number): Counters["ports"] {
  return [...ports].sort((a, b) => b.flows - a.flows || b.dropped - a.dropped || (a.id < b.id ? -1 : 1)).slice(0, most);
}

/** @param most for how many ports */
export function portMetrics(registry: Registry, now: Now, most: number): void {
  const registers = [registry];
  const labelNames = ["endpoint"] as const;
  const chosen = (): Counters["ports"] => chosenPorts(now()?.ports ?? [], most);
  const flows: Gauge<"endpoint"> = new Gauge({
    name: "torbie_port_flows",
    help: "Flows on the account of the port that opened them.",
    labelNames,
    registers,
    collect: () => {
      flows.reset();
      for (const { id, flows: count } of chosen()) flows.set({ endpoint: id }, count);
    },
  });
  const counter = (name: string, help: string, read: (port: Counters["ports"][number]) => number | null): void => {
    const made: Counter<"endpoint"> = new Counter({
      name,
      help,
      labelNames,
      registers,
      collect: () => {
        made.reset();
        for (const port of chosen()) {
          const count = read(port);
          if (count !== null) made.inc({ endpoint: port.id }, count);
        }
      },
    });
  };
  counter(
    "torbie_port_flows_opened_total",
    "Flows that the port has opened since it got its number.",
    (port) => port.opened,
  );
  counter("torbie_port_flows_refused_total", "New flows for which the port had no room left.", (port) => port.refused);
  counter(
    "torbie_port_dropped_packets_total",
    "Packets from and to the port that were dropped, all reasons.",
    (port) => port.dropped,
  );
  const left: Gauge = new Gauge({
    name: "torbie_ports_without_series",
    help: "Ports that have no series of their own, since metrics-ports allows no more.",
    registers,
    collect: () => left.set(Math.max(0, (now()?.ports.length ?? 0) - most)),
  });
}
