import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { ApplyEvent } from "../../../src/agent/status.js";
import { Metrics, type Measured } from "../../../src/telemetry/metrics.js";
import { chosenPorts } from "../../../src/telemetry/series.js";

const RULES = fileURLToPath(new URL("../../../packaging/prometheus", import.meta.url));
const NOW: Measured = {
  endpoints: { wanted: 3, enforced: 2 },
  problems: 1,
  datastore: { connected: true, current: true, dataFrom: undefined },
  statusPending: 0,
  guard: "on",
  passSeconds: 0,
  flows: { used: 5, limit: 10 },
  drops: { POLICY_INGRESS: 7 },
  maps: { policy: { entries: 4, size: 8, memory: 4096 } },
  ports: [
    { id: "idle", flows: 0, opened: 0, refused: 0, dropped: 0 },
    { id: 'ev"il\n', flows: 9, opened: 12, refused: 1, dropped: 3 },
    { id: "busy", flows: 9, opened: 10, refused: 0, dropped: 40 },
  ],
};
const PASS: ApplyEvent = {
  at: "2026-01-01T00:00:00.000Z",
  full: true,
  changes: [],
  totalChanges: 0,
  writes: {},
  totalWrites: 0,
  milliseconds: 3,
  sinceEvent: 4,
  steps: [],
  failures: [],
  enforced: 2,
};
const about = { version: "0", abi: 1, dataplane: "bpf" };
const text = async (ports: number, now: Partial<Measured> = {}): Promise<string> =>
  (await new Metrics(about, () => Promise.resolve({ ...NOW, ...now }), ports).text()).body;

describe("metrics", () => {
  it("say how full each map is, whether the guard is on, and how long a pass takes", async () => {
    const body = await text(0, { passSeconds: 2.5 });
    for (const line of [
      'torbie_map_entries{map="policy"} 4',
      'torbie_map_size{map="policy"} 8',
      'torbie_map_memory_bytes{map="policy"} 4096',
      "torbie_guard_on 1",
      "torbie_pass_running_seconds 2.5",
      'torbie_dropped_packets_total{reason="POLICY_INGRESS"} 7',
    ])
      expect(body.split("\n")).toContain(line);
    expect(body).not.toContain("torbie_port_");
    expect(await text(0, { guard: "off" })).toContain("torbie_guard_on Nan");
    expect(await text(0, { guard: "failed" })).toContain("torbie_guard_on 0");
  });

  it("have series of ports only where asked, of the busiest, and say how many they leave out", async () => {
    const body = await text(2);
    expect(body).toContain('torbie_port_dropped_packets_total{endpoint="busy"} 40');
    expect(body).toContain('torbie_port_flows_refused_total{endpoint="ev\\"il\\n"} 1');
    expect(body).not.toContain('endpoint="idle"');
    expect(body).toContain("torbie_ports_without_series 1");
    expect(chosenPorts(NOW.ports, 1).map(({ id }) => id)).toEqual(["busy"]);
    const uncounted = NOW.ports.map((port) => ({ ...port, opened: null, refused: null }));
    expect(await text(2, { ports: uncounted })).not.toMatch(/^torbie_port_flows_opened_total\{/m);
  });

  it("count what somebody else had changed: writes of full passes that answer nothing, but for the first", async () => {
    const metrics = new Metrics(about, () => Promise.resolve(NOW));
    const repaired = async (): Promise<number> =>
      Number(/^torbie_repaired_writes_total (\d+)$/m.exec((await metrics.text()).body)?.[1]);
    metrics.applied({ ...PASS, totalWrites: 90 });
    expect(await repaired()).toBe(0);
    metrics.applied({ ...PASS, totalWrites: 2 });
    metrics.applied({ ...PASS, totalWrites: 5, totalChanges: 1 });
    metrics.applied({ ...PASS, totalWrites: 7, full: false });
    expect(await repaired()).toBe(2);
  });
});

describe("alert rules", () => {
  interface Rules {
    readonly groups: readonly { readonly rules: readonly { readonly alert: string; readonly expr: string }[] }[];
  }
  const rules = (parse(readFileSync(`${RULES}/torbie.rules.yaml`, "utf8")) as Rules).groups.flatMap(
    (group) => group.rules,
  );

  it("speak of metrics that there are", async () => {
    const body = await text(10);
    const known = new Set([...body.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    for (const { expr } of rules)
      for (const [name] of expr.matchAll(/torbie_[a-z_]+/g)) expect(known).toContain(name.replace(/_bucket$/, ""));
  });

  it("are taken by promtool, and each one is tried", () => {
    const promtool = (...words: string[]): string =>
      execFileSync("promtool", words, { cwd: RULES, encoding: "utf8", stdio: "pipe" });
    expect(promtool("check", "rules", "torbie.rules.yaml")).toContain(`${rules.length} rules found`);
    expect(promtool("test", "rules", "torbie.rules.test.yaml")).toContain("SUCCESS");
    const { tests } = parse(readFileSync(`${RULES}/torbie.rules.test.yaml`, "utf8")) as { tests: { name: string }[] };
    expect(tests.map(({ name }) => name).sort()).toEqual(rules.map(({ alert }) => alert).sort());
  });
});
