/** Figures as they come: a line each, and every name that was promised, whatever went wrong. */
import type { Figure } from "./figures.js";
import { reason } from "./reason.js";

/** What `make bench` prints always, and .ci/run looks for. */
export const PROMISED = [
  "established_net_vs_limit",
  "established_net_vs_iptables",
  "first_packet_net_vs_insert_limit",
  "first_packet_rules_10k_vs_10",
  "first_packet_members_1m_vs_10",
  "conn_rate_vs_iptables",
  "apply_p99_ms",
  "apply_p99_ms_200_ports",
  "apply_p99_ms_1000_rules",
  "revoke_p99_ms",
  "taps_1000_start_s",
  "sync_100k_s",
  "restart_lost_packets",
  "agent_rss_mb",
  "maps_mb",
] as const;

/** Reasons of a `value: null` that are no fault of the harness. */
const EXCUSED = /^(rounds differ too much|left out|kernel )/;

export class Results {
  readonly figures: Figure[] = [];
  /** Why a phase ended before its end, by its name. */
  readonly failures = new Map<string, string>();

  private readonly leftOut = new Map<string, string>();

  constructor(private readonly print: (line: string) => void) {}

  add(figures: readonly Figure[]): void {
    for (const figure of figures) {
      this.figures.push(figure);
      this.print(JSON.stringify(figure));
    }
  }

  /** Runs a part, whose failure is no reason to leave out the next. */
  async phase(name: string, part: () => Promise<readonly Figure[]>): Promise<void> {
    try {
      this.add(await part());
    } catch (error) {
      this.failures.set(name, reason(error));
    }
  }

  /** Of a part that is not measured: the promised names, and the reason for what else of it is missing. */
  leaveOut(phase: string, why: string, names: readonly string[]): void {
    this.leftOut.set(phase, why);
    this.add(names.map((name) => ({ name, value: null, unit: "", vs: "", why })));
  }

  /** Adds what is missing of the promised, as null; gives those that could not be measured though they should. */
  close(): Figure[] {
    const known = new Set(this.figures.map(({ name }) => name));
    const reasons = [...this.failures].map(([phase, why]) => `${phase}: ${why}`).join("; ");
    const why = reasons === "" ? ([...this.leftOut.values()][0] ?? "not measured") : `not measured (${reasons})`;
    this.add(PROMISED.filter((name) => !known.has(name)).map((name) => ({ name, value: null, unit: "", vs: "", why })));
    const promised = new Set<string>(PROMISED);
    return this.figures.filter(
      ({ name, value, why: given }) => promised.has(name) && value === null && !EXCUSED.test(given ?? ""),
    );
  }
}

/** Promised figures that are not among these lines as {"name", "value", "unit", "vs"}, with `why` where the value is null. */
export function missing(lines: readonly string[]): string[] {
  const found = new Set<string>();
  for (const line of lines) {
    if (!line.startsWith("{")) continue;
    let figure: Partial<Figure>;
    try {
      figure = JSON.parse(line) as Partial<Figure>;
    } catch {
      continue; // something else that begins so
    }
    const { name, value, unit, vs, why } = figure;
    const valued = typeof value === "number" || (value === null && typeof why === "string");
    if (typeof name === "string" && typeof unit === "string" && typeof vs === "string" && valued) found.add(name);
  }
  return PROMISED.filter((name) => !found.has(name));
}
