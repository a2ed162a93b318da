/**
 * TCP between two guests behind real taps, carried by build/pump with segmentation offload: connections, requests on one
 * connection, bulk. Much of it is the pump and the guests' own stacks, the same for every side.
 */
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { stop } from "../demo/world/command.js";
import { Guest, tapMac } from "../demo/world/guest.js";
import { Namespace } from "../demo/world/namespace.js";
import { PATIENCE } from "../demo/world/patience.js";
import { helper } from "../demo/world/pump.js";
import { Workspace } from "../demo/world/workspace.js";
import { dotted, FROM, OPEN_PORT, TO } from "./cloud.js";
import { enforceBpf, enforceByHand, enforceIptables, enforceNft, GUEST_MACS } from "./enforce.js";
import { median, rate, ratio, type Figure, type Samples } from "./figures.js";
import { linkOf } from "./links.js";
import { BASE } from "./plan.js";
import { reason } from "./reason.js";
import { onProcessor } from "./spent.js";

const SIDES = ["bpf", "two_rules", "thousand_rules", "iptables_path", "nftables"] as const;
export type Side = (typeof SIDES)[number];
const TAPS = ["tap0", "tap1"];
const TCP = { protocol: 6 } as const;

/** The part that runs in the host's namespace: whose rules hold there, until its input ends. */
export async function enforceSide(side: Side): Promise<void> {
  const taps = TAPS.map(linkOf);
  const judged = { taps, size: BASE, options: TCP };
  if (side === "bpf") await enforceBpf((await Workspace.create()).pinDir, judged, linkOf("lo"));
  else if (side === "two_rules") enforceByHand(taps, "tcp");
  else if (side === "thousand_rules") enforceByHand(taps, "tcp", 998);
  else if (side === "iptables_path") await enforceIptables(judged);
  else enforceNft(judged);
  console.log("ready");
  for await (const _ of createInterface({ input: process.stdin }));
  process.exit(0);
}

/** Of one connection, request or MiB: nanoseconds that it took, and that client, server and pumps were on a processor. */
interface Cost {
  readonly took: number;
  readonly cpu: number;
}

interface Host {
  readonly side: Side;
  run(what: "connect" | "ask" | "bulk", count: number): Promise<Cost>;
  close(): Promise<void>;
}

async function ready(child: ChildProcess, what: string): Promise<void> {
  const { stdout } = child;
  if (stdout === null) throw new Error("no pipe");
  await new Promise<void>((resolve, reject) => {
    stdout.once("data", () => resolve());
    child.once("exit", (code) => reject(new Error(`${what} ended with status ${String(code)}`)));
  });
}

async function startHost(main: string, side: Side): Promise<Host> {
  const closing: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const one of closing.reverse()) await one();
  };
  try {
    const host = await Namespace.create(`bench-${side}`);
    closing.push(() => host.remove());
    const guests: Guest[] = [];
    for (const [i, tap] of TAPS.entries()) {
      const mac = GUEST_MACS[i] ?? "";
      const guest = await Guest.create(host, {
        name: `bench-${side}-${i}`,
        tap,
        mac,
        addresses: [`${dotted(FROM + i)}/24`],
        gateways: [],
      });
      closing.push(() => guest.remove());
      guests.push(guest);
      // Who answers ARP is not what is compared.
      await guest.namespace.ip(`neigh add ${dotted(TO - i)} lladdr ${tapMac(mac)} dev eth0 nud permanent`);
      await guest.namespace.sysctl({ "net.ipv4.tcp_tw_reuse": 1, "net.ipv4.ip_local_port_range": "2000 65000" });
    }
    const judge = host.spawn([process.execPath, main, "--side", JSON.stringify(side)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    closing.push(() => stop(judge));
    await ready(judge, side);
    const [client, server] = guests;
    if (client === undefined || server === undefined) throw new Error("no guests");
    const serving = server.namespace.spawn([helper("requests"), "serve", String(OPEN_PORT)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    closing.push(() => stop(serving));
    await ready(serving, "requests serve");
    const busy = [serving.pid, client.pumpPid, server.pumpPid].filter((pid) => pid !== undefined);
    const used = (): number => busy.reduce((sum, pid) => sum + onProcessor(pid), 0);
    const run = async (what: string, count: number): Promise<Cost> => {
      const before = used();
      const argv = [helper("requests"), what, server.v4, String(OPEN_PORT), String(count)];
      const [took = NaN, own = NaN] = (await client.run(argv, { timeout: 60_000 * PATIENCE })).split(" ").map(Number);
      return { took, cpu: own + (used() - before) / count };
    };
    return { side, run, close };
  } catch (error) {
    await close();
    throw error;
  }
}

export interface Connections {
  /** Nanoseconds for a connection, a request, a MiB, by "<side>_<what>", and on processors by "<side>_<what>_cpu". */
  readonly samples: Samples;
  readonly failed: ReadonlyMap<string, string>;
}

const COUNTS = { connect: 2_000, ask: 2_000, bulk: 64 } as const;

export async function measureConnections(main: string, rounds: number, quick: boolean): Promise<Connections> {
  const samples: Record<string, number[]> = {};
  const failed = new Map<string, string>();
  const hosts: Host[] = [];
  const fail = (side: Side, error: unknown): unknown => failed.set(side, reason(error));
  try {
    for (const side of SIDES)
      await startHost(main, side).then(
        (host) => hosts.push(host),
        (error: unknown) => fail(side, error),
      );
    for (let round = -1; round < rounds; round++)
      for (const host of hosts)
        for (const what of ["connect", "ask", "bulk"] as const) {
          if (failed.has(host.side)) continue;
          try {
            const { took, cpu } = await host.run(what, quick ? COUNTS[what] / 2 : COUNTS[what]);
            if (round < 0) continue;
            (samples[`${host.side}_${what}`] ??= []).push(took);
            (samples[`${host.side}_${what}_cpu`] ??= []).push(cpu);
          } catch (error) {
            fail(host.side, error);
          }
        }
  } finally {
    for (const host of hosts) await host.close();
  }
  for (const side of failed.keys())
    for (const name of Object.keys(samples)) if (name.startsWith(`${side}_`)) Reflect.deleteProperty(samples, name);
  return { samples, failed };
}

export function connectionFigures({ samples, failed }: Connections): Figure[] {
  const excused = (figure: Figure, theirs: Side): Figure => {
    const why = failed.get("bpf") ?? failed.get(theirs);
    return why === undefined ? figure : { ...figure, value: null, why };
  };
  const of = (name: string, what: string, theirs: Side): Figure =>
    excused(rate(samples, name, `bpf_${what}`, `${theirs}_${what}`), theirs);
  /** Less is better, other than of rates. */
  const cpu = (name: string, what: string, theirs: Side): Figure =>
    excused(ratio(samples, name, `bpf_${what}_cpu`, `${theirs}_${what}_cpu`, ""), theirs);
  const microseconds = (name: string, what: string): Figure => {
    const [unit, vs] = ["us", "CPU time of client, server and who carries the taps' frames"];
    const values = samples[`bpf_${what}_cpu`];
    const why = failed.get("bpf") ?? "nothing was measured";
    if (values === undefined) return { name, value: null, unit, vs, why };
    return { name, value: Math.round(median(values) / 100) / 10, unit, vs };
  };
  return [
    of("conn_rate_vs_iptables", "connect", "two_rules"),
    of("conn_rate_vs_iptables_1000_rules", "connect", "thousand_rules"),
    of("conn_rate_vs_iptables_path", "connect", "iptables_path"),
    of("conn_rate_vs_nftables_policy", "connect", "nftables"),
    of("request_rate_vs_iptables", "ask", "two_rules"),
    of("bulk_rate_vs_iptables", "bulk", "two_rules"),
    cpu("cpu_per_connection_vs_iptables", "connect", "two_rules"),
    cpu("cpu_per_connection_vs_iptables_1000_rules", "connect", "thousand_rules"),
    cpu("cpu_per_connection_vs_nftables_policy", "connect", "nftables"),
    cpu("cpu_per_request_vs_iptables", "ask", "two_rules"),
    cpu("cpu_per_bulk_mib_vs_iptables", "bulk", "two_rules"),
    microseconds("cpu_per_connection_us", "connect"),
    microseconds("cpu_per_request_us", "ask"),
    microseconds("cpu_per_bulk_mib_us", "bulk"),
  ];
}
