/** What a packet costs: everybody measures in turn, round by round, so that what disturbs the machine disturbs all. */
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { ended, stop } from "../demo/world/command.js";
import { Namespace } from "../demo/world/namespace.js";
import { PATIENCE } from "../demo/world/patience.js";
import { exponentOf, median, ratio, type Curve, type Figure, type Samples } from "./figures.js";
import { curve, firstOf, GROWS, measurements, BASE, OLD_LARGE, OLD_SMALL, type Role } from "./plan.js";
import { reason } from "./reason.js";
import { byHandOf, floorOf, limitOf, steadies, steadyOf, suffixOf } from "./steady.js";

export interface PacketCosts {
  readonly rounds: number;
  /** Nanoseconds a packet, the floor included, a round each. */
  readonly samples: Samples;
  /** Why a measurement was given up, by its name. */
  readonly failed: ReadonlyMap<string, string>;
}

interface Worker {
  readonly child: ChildProcess;
  readonly namespace: Namespace;
  /** Nanoseconds a packet. */
  ask(measure: string, packets: number): Promise<number>;
}

interface Answer {
  readonly nanoseconds?: number;
  readonly error?: string;
}

async function startWorker(main: string, role: Role, quick: boolean): Promise<Worker> {
  const namespace = await Namespace.create(`bench-${role}`);
  const child = namespace.spawn([process.execPath, main, "--worker", JSON.stringify({ role, quick })], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error("no pipes to the worker");
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<Answer> => {
    const line = await lines.next();
    if (line.done === true) throw new Error(`the worker ${role} has ended`);
    return JSON.parse(line.value) as Answer;
  };
  const { error: why } = await next();
  return {
    child,
    namespace,
    async ask(measure, packets) {
      if (why !== undefined) throw new Error(why);
      stdin.write(`${JSON.stringify({ measure, packets })}\n`);
      const { nanoseconds, error } = await next();
      if (nanoseconds === undefined) throw new Error(error);
      return nanoseconds;
    },
  };
}

export interface Effort {
  readonly quick: boolean;
  readonly rounds: number;
  /** Milliseconds after which no further round begins. */
  readonly patience: number;
}

/** @param main the script that becomes a worker with --worker */
export async function measurePackets(main: string, { quick, rounds, patience }: Effort): Promise<PacketCosts> {
  const plan = measurements(quick);
  /** First packets fill the flow table, half of which one port may own. Where all takes longer there are fewer. */
  const packets = (name: string): number => {
    const isFirst = name.includes("first") || name.includes("insert");
    return Math.round((isFirst ? (quick ? 20_000 : 50_000) : quick ? 100_000 : 200_000) / PATIENCE);
  };
  const workers = new Map<Role, Worker>();
  const samples: Record<string, number[]> = {};
  const failed = new Map<string, string>();
  const began = performance.now();
  let round = -1; // warms up
  try {
    for (const role of plan.keys()) workers.set(role, await startWorker(main, role, quick));
    for (; round < rounds; round++) {
      if (round >= 3 && performance.now() - began > patience) break;
      for (const [role, names] of plan)
        for (const name of names) {
          if (failed.has(name)) continue;
          try {
            const nanoseconds = await workers.get(role)?.ask(name, packets(name));
            if (round >= 0 && nanoseconds !== undefined) (samples[name] ??= []).push(nanoseconds);
          } catch (error) {
            failed.set(name, reason(error));
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
  // Without every round it can't be compared round by round.
  for (const name of failed.keys()) Reflect.deleteProperty(samples, name);
  return { rounds: Math.max(0, round), samples, failed };
}

export function curvesOf({ samples }: PacketCosts, quick: boolean): Curve[] {
  const floor = median(samples["floor"] ?? []);
  return (["bpf", "iptables_nft", "iptables_legacy", "nftables"] as const).flatMap((judge) =>
    GROWS.flatMap((grows) => {
      const points = curve(judge, grows, quick)
        .filter(({ name }) => samples[name] !== undefined)
        .map(({ x, name }) => ({ x, y: median(samples[name] ?? []) - floor }));
      return points.length < 2
        ? []
        : [
            {
              name: `${judge}_first_packet_${grows}`,
              what: "First packet, net of the floor",
              unit: "ns",
              judge,
              grows,
              points,
            },
          ];
    }),
  );
}

/** How many first packets one core judges in a second, at the ends of each curve. */
function newFlows(curves: readonly Curve[]): Figure[] {
  return curves.flatMap(({ judge, grows, points }) =>
    [points[0], points.at(-1)].flatMap((point): Figure[] => {
      if (point === undefined || point.y <= 0) return [];
      const [name, vs] = [`${judge}_new_flows_per_s_${point.x}_${grows}`, "one core, net of the floor"];
      return [{ name, value: Math.round(1e9 / point.y / 1000) * 1000, unit: "1/s", vs }];
    }),
  );
}

export function packetFigures(costs: PacketCosts, quick: boolean): Figure[] {
  const { samples, failed } = costs;
  const curves = curvesOf(costs, quick);
  const of = (name: string, ours: string, theirs: string, floor?: string): Figure => {
    const figure = ratio(samples, name, ours, theirs, floor);
    const why = failed.get(ours) ?? failed.get(theirs) ?? failed.get(floor ?? "floor");
    return why === undefined ? figure : { ...figure, value: null, why };
  };
  const inFull = (name: string, ours: string, theirs: string, floor?: string): Figure =>
    quick
      ? { name, value: null, unit: "ratio", vs: theirs, why: "left out of a QUICK run" }
      : of(name, ours, theirs, floor);
  const [base, big] = [
    firstOf("bpf", BASE),
    { rules: { ...BASE, rules: 10_000 }, members: { ...BASE, members: 1_000_000 } },
  ];
  const [ruled, peopled] = [firstOf("bpf", big.rules), firstOf("bpf", big.members)];
  const thousand = { ...BASE, rules: 1_000 };
  return [
    of("established_net_vs_limit", "established_1", "limit"),
    of("established_1000_flows_net_vs_limit", "established_1000", "limit"),
    inFull("established_50000_flows_net_vs_limit", "established_50000", "limit"),
    inFull("established_100000_flows_net_vs_limit", "established_100000", "limit"),
    of("established_stateless_net_vs_limit", "established_stateless", "limit"),
    ...steadies(quick).map((steady) =>
      of(`established${suffixOf(steady)}_net_vs_limit`, steadyOf(steady), limitOf(steady), floorOf(steady)),
    ),
    ...(quick ? [] : steadies(quick)).map((steady) =>
      of(`established${suffixOf(steady)}_net_vs_iptables`, steadyOf(steady), byHandOf(steady), floorOf(steady)),
    ),
    of("established_net_vs_forwarding", "established_1", "forwarding"),
    of("established_net_vs_iptables", "established_1", "two_rules"),
    of("established_net_vs_nftables_policy", "established_1", "nftables_established"),
    of("first_packet_net_vs_insert_limit", "first", "insert_limit"),
    of("first_packet_net_vs_nftables_policy", base, firstOf("nftables", BASE)),
    of("first_packet_rules_10k_vs_10", ruled, base),
    of("first_packet_members_1m_vs_10", peopled, base),
    inFull("first_packet_1000_rules_vs_2", "first_1000_rules", "first_2_rules"),
    inFull("first_packet_1000_rules_100k_members_vs_2_and_10", firstOf("bpf", OLD_LARGE), firstOf("bpf", OLD_SMALL)),
    of("iptables_path_established_net_vs_two_rules", "iptables_nft_established", "two_rules"),
    of("iptables_path_legacy_established_net_vs_two_rules", "iptables_legacy_established", "two_rules"),
    of("iptables_path_first_packet_1000_rules_vs_10", firstOf("iptables_nft", thousand), firstOf("iptables_nft", BASE)),
    ...newFlows(curves),
    ...curves.map(exponentOf),
  ];
}
