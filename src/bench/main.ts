/** `make bench`: what a packet costs, as ratios to the limits and to the peers, all in one run (DESIGN, "How speed is judged"). */
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ended, stop } from "../demo/world/command.js";
import { Namespace } from "../demo/world/namespace.js";
import type { ReadFigures } from "./etcd-read.js";
import { milliseconds, median, ratio, spread, type Figure } from "./figures.js";
import { measureLatency, type Latencies, type Scenario } from "./latency.js";
import { measureScale, type Scale, type Size } from "./scale.js";
import { work, type Role } from "./worker.js";

const ROLES: Readonly<Record<Role, readonly string[]>> = {
  bpf: [
    "floor",
    "limit",
    "insert_limit",
    "established_1",
    "established_1000",
    "first",
    "first_large",
    "first_members",
    "first_members_large",
  ],
  forward: ["forwarding"],
  iptables: ["iptables_2"],
  ipt_small: ["ipt_established", "ipt_guarded", "ipt_first_10"],
  ipt_large: ["ipt_first_1000"],
};
const quick = process.env["QUICK"] === "1";
const ROUNDS = quick ? 5 : 15;
/** First packets fill the flow table, half of which one port may own. */
const PACKETS = (name: string): number => (/first|insert/.test(name) ? 50_000 : quick ? 100_000 : 200_000);

interface Worker {
  readonly child: ChildProcess;
  readonly namespace: Namespace;
  ask(measure: string): Promise<number>;
}

async function startWorker(role: Role): Promise<Worker> {
  const namespace = await Namespace.create(`bench-${role}`);
  const child = namespace.spawn([process.execPath, fileURLToPath(import.meta.url), "--worker", role], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error("no pipes to the worker");
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<{ nanoseconds?: number; error?: string }> => {
    const line = await lines.next();
    if (line.done === true) throw new Error(`the worker ${role} has ended`);
    return JSON.parse(line.value) as { nanoseconds?: number; error?: string };
  };
  await next();
  return {
    child,
    namespace,
    async ask(measure) {
      stdin.write(`${JSON.stringify({ measure, packets: PACKETS(measure) })}\n`);
      const { nanoseconds, error } = await next();
      if (nanoseconds === undefined) throw new Error(error);
      return nanoseconds;
    },
  };
}

function figuresOf(samples: Record<string, number[]>): Figure[] {
  return [
    ratio(samples, "established_net_vs_limit", "established_1", "limit"),
    ratio(samples, "established_1000_flows_net_vs_limit", "established_1000", "limit"),
    ratio(samples, "established_net_vs_forwarding", "established_1", "forwarding"),
    ratio(samples, "established_net_vs_iptables", "established_1", "iptables_2"),
    ratio(samples, "first_packet_net_vs_insert_limit", "first", "insert_limit"),
    ratio(samples, "first_packet_1000_rules_vs_2", "first_large", "first"),
    ratio(samples, "iptables_path_established_net_vs_two_rules", "ipt_established", "iptables_2"),
    ratio(samples, "iptables_path_with_guard_net_vs_two_rules", "ipt_guarded", "iptables_2"),
    ratio(samples, "iptables_path_first_packet_1000_rules_vs_10", "ipt_first_1000", "ipt_first_10"),
    ratio(samples, "first_packet_1000_rules_100k_members_vs_2_and_10", "first_members_large", "first_members"),
  ];
}

const CHANGES = quick ? 60 : 300;
const SCENARIOS: readonly { readonly suffix: string; readonly scenario: Scenario }[] = [
  { suffix: "", scenario: { ports: 2, rules: 10, changes: CHANGES } },
  { suffix: "_200_ports", scenario: { ports: 200, rules: 10, changes: CHANGES } },
  { suffix: "_1000_rules", scenario: { ports: 2, rules: 1000, changes: CHANGES } },
  { suffix: "_iptables", scenario: { ports: 2, rules: 10, changes: CHANGES, dataplane: "iptables" } },
  { suffix: "_iptables_200_ports", scenario: { ports: 200, rules: 10, changes: CHANGES, dataplane: "iptables" } },
  { suffix: "_iptables_1000_rules", scenario: { ports: 2, rules: 1000, changes: CHANGES, dataplane: "iptables" } },
];

/** Runs one of the modes below in a namespace of its own; what it printed, or why it failed. */
async function apart<T>(mode: string, what: object): Promise<{ readonly found?: T; readonly why?: string }> {
  const namespace = await Namespace.create("bench");
  try {
    const argv = [process.execPath, fileURLToPath(import.meta.url), mode, JSON.stringify(what)];
    return { found: JSON.parse(await namespace.run(argv, { timeout: 400_000 })) as T };
  } catch (error) {
    return { why: error instanceof Error ? error.message : String(error) };
  } finally {
    await namespace.remove();
  }
}

/** Acknowledgement of the etcd write → first packet that sees it. */
async function latencies(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const { suffix, scenario } of SCENARIOS) {
    const { found, why } = await apart<Latencies>("--latency", scenario);
    figures.push(milliseconds(`apply_p99_ms${suffix}`, 0.99, found?.apply, why));
    figures.push(milliseconds(`apply_p50_ms${suffix}`, 0.5, found?.apply, why));
    figures.push(milliseconds(`revoke_p99_ms${suffix}`, 0.99, found?.revoke, why));
  }
  return figures;
}

/** A process that only reads and compiles, and watches its event loop. */
async function reading(endpoints: number): Promise<{ readonly found?: ReadFigures; readonly why?: string }> {
  const namespace = await Namespace.create("bench");
  try {
    const script = fileURLToPath(new URL("etcd-read.js", import.meta.url));
    const text = await namespace.run([process.execPath, script, String(endpoints)], { timeout: 400_000 });
    return { found: JSON.parse(text.trim().split("\n").at(-1) ?? "") as ReadFigures };
  } catch (error) {
    return { why: error instanceof Error ? error.message : String(error) };
  } finally {
    await namespace.remove();
  }
}

async function scales(): Promise<Figure[]> {
  const figure = (name: string, value: number | undefined, unit: string, vs: string, why?: string): Figure =>
    value === undefined
      ? { name, value: null, unit, vs, why: why ?? "not measured" }
      : { name, value: Math.round(value * 10) / 10, unit, vs };
  const many = await apart<Scale>("--scale", { taps: 1000, members: 0 });
  const late = await apart<Scale>("--scale", { taps: 1000, members: 0, late: true });
  const big = await apart<Scale>("--scale", { taps: 2, members: quick ? 10_000 : 100_000 });
  const read = await reading(quick ? 10_000 : 100_000);
  const cloud = quick ? "10,000 remote endpoints in etcd" : "100,000 remote endpoints in etcd";
  return [
    figure("taps_1000_start_s", many.found?.seconds, "s", "cold start of the agent, 1,000 taps", many.why),
    figure("taps_1000_status_s", many.found?.statusSeconds, "s", "from then until etcd has their status", many.why),
    figure("taps_1000_late_s", late.found?.seconds, "s", "1,000 taps appear under a running agent", late.why),
    figure(quick ? "sync_10k_s" : "sync_100k_s", big.found?.seconds, "s", cloud, big.why),
    figure("loop_stood_still_ms", read.found?.stoodStill, "ms", `reading and compiling ${cloud}`, read.why),
    figure("agent_rss_mb", big.found?.residentMegabytes, "MB", cloud, big.why),
    figure("maps_mb", big.found?.mapsMegabytes, "MB", cloud, big.why),
  ];
}

async function main(): Promise<void> {
  const workers = new Map<Role, Worker>();
  const samples: Record<string, number[]> = {};
  const failed = new Map<string, string>();
  try {
    for (const role of Object.keys(ROLES) as Role[]) workers.set(role, await startWorker(role));
    for (let round = -1; round < ROUNDS; round++) {
      for (const [role, names] of Object.entries(ROLES) as [Role, readonly string[]][]) {
        for (const name of names) {
          if (failed.has(name)) continue;
          try {
            const nanoseconds = await workers.get(role)?.ask(name);
            if (round >= 0 && nanoseconds !== undefined) (samples[name] ??= []).push(nanoseconds); // round -1 warms up
          } catch (error) {
            failed.set(name, error instanceof Error ? error.message : String(error));
          }
        }
      }
    }
  } finally {
    for (const { child, namespace } of workers.values()) {
      // It ends with its input, and takes its pins along.
      child.stdin?.end();
      await Promise.race([ended(child), sleep(5_000)]);
      await stop(child);
      await namespace.remove();
    }
  }
  const floor = median(samples["floor"] ?? []);
  const net = (name: string): string => String(Math.round(median(samples[name] ?? []) - floor)).padStart(8);
  console.log(
    `64-byte UDP between real taps, ${ROUNDS} interleaved rounds, medians; net of the floor (${Math.round(floor)} ns a packet)\n`,
  );
  console.log("measured                     net ns   spread");
  for (const [name, values] of Object.entries(samples))
    console.log(`${name.padEnd(25)} ${net(name)}   ${(spread(values) * 100).toFixed(0).padStart(4)} %`);
  for (const [name, why] of failed) console.log(`${name.padEnd(25)}   failed: ${why}`);
  console.log("");
  for (const figure of figuresOf(samples)) console.log(JSON.stringify(figure));
  for (const figure of await latencies()) console.log(JSON.stringify(figure));
  for (const figure of await scales()) console.log(JSON.stringify(figure));
}

const [mode, what = ""] = process.argv.slice(2);
if (mode === "--worker") await work(what as Role);
else if (mode === "--latency") console.log(JSON.stringify(await measureLatency(JSON.parse(what) as Scenario)));
else if (mode === "--scale") console.log(JSON.stringify(await measureScale(JSON.parse(what) as Size)));
else await main();
