/**
 * One side of a comparison, in a network namespace of its own: sets up what it is told and measures on demand. One JSON
 * value a line: {"measure": name, "packets": n} in, {"nanoseconds": x} or {"error": text} out.
 */
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { BpfMap } from "#libbpf";
import { Compiler } from "../compile/compiler.js";
import type { Tap } from "../dataplane/backend.js";
import { BpfBackend } from "../dataplane/bpf/backend.js";
import type { KeyPut } from "../datastore/types.js";
import { Workspace } from "../demo/world/workspace.js";
import { ModelStore } from "../model/store.js";
import type { Mac } from "../model/types.js";
import { cloud, dotted, FIRST_MEMBER, FIRST_RULE_PORT, HOSTNAME, OPEN_PORT } from "./cloud.js";
import { Injector, type Interface } from "./inject.js";
import { iptables, type IPTABLES_RULES } from "./worker-iptables.js";
import { resetFlows } from "./reset-flows.js";

export type Role = "bpf" | "forward" | "iptables" | keyof typeof IPTABLES_RULES;
export const LARGE = { rules: 1000, members: 100_000 } as const;
export const SMALL = { rules: 2, members: 10 } as const;

type Measurement = (packets: number) => number;
const GUEST_MAC = "fa:16:3e:00:00:01";
const FROM = 0x0a410001;
const TO = 0x0a410002;

function ip(...args: string[]): string {
  return execFileSync("ip", args, { encoding: "utf8" });
}

interface Link extends Interface {
  readonly name: string;
  readonly mtu: number;
}

function linkOf(name: string): Link {
  const [link] = JSON.parse(ip("-j", "link", "show", "dev", name)) as {
    ifindex: number;
    address: string;
    mtu: number;
  }[];
  if (link === undefined) throw new Error(`no interface ${name}`);
  return { name, ifindex: link.ifindex, mac: link.address, mtu: link.mtu };
}

/** Frames that the kernel handed to a tap, whether its reader wanted them or not. */
function handed(name: string): number {
  const [link] = JSON.parse(ip("-s", "-j", "link", "show", "dev", name)) as {
    stats64: { tx: { packets: number; dropped: number } };
  }[];
  return (link?.stats64.tx.packets ?? 0) + (link?.stats64.tx.dropped ?? 0);
}

/** Taps in the order named, held open until this process ends. */
async function makeTaps(names: readonly string[]): Promise<ReadonlyMap<string, Link>> {
  const holder = spawn("build/taps", names, { stdio: ["pipe", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    holder.stdout.once("data", () => resolve());
    holder.once("exit", (code) => reject(new Error(`build/taps ended with status ${String(code)}`)));
  });
  process.once("exit", () => holder.kill());
  return new Map(names.map((name) => [name, linkOf(name)]));
}

const steady = { flows: 1, firstSource: FROM, destination: TO, firstPort: OPEN_PORT };

/** Measures only when what was sent also arrives: a dropped packet is cheap. */
function arriving(to: string, measure: Measurement): Measurement {
  return (packets) => {
    const before = handed(to);
    const result = measure(packets);
    const arrived = handed(to) - before;
    if (arrived < packets * 0.99) throw new Error(`only ${arrived} of ${packets} packets reached ${to}`);
    return result;
  };
}

async function world(
  pinDir: string,
  size: { rules: number; members: number },
  taps: readonly Link[],
  uplink: Link,
): Promise<BpfBackend> {
  const guests = taps.map(({ name }, i) => ({
    name: `g${i}`,
    tap: name,
    mac: `fa:16:3e:00:00:0${i + 1}`,
    address: dotted(FROM + i),
  }));
  const store = new ModelStore(HOSTNAME);
  store.apply({ type: "snapshot-begin" });
  let batch: KeyPut[] = [];
  for (const put of cloud(guests, size.rules, size.members)) {
    batch.push(put);
    if (batch.length === 1000) store.apply({ type: "changes", changes: batch.splice(0) });
  }
  store.apply({ type: "changes", changes: (batch = batch.splice(0)) });
  store.apply({ type: "in-sync" });
  const compiler = new Compiler();
  compiler.apply(store.model, store.takeDelta());
  const backend = await BpfBackend.open({ pinDir, attach: "clsact" });
  const known = taps.map(({ name, ifindex, mac, mtu }): [string, Tap] => [
    name,
    { name, ifindex, mac: mac as Mac, mtu, up: true },
  ]);
  const { failures } = await backend.apply(compiler.desired, {
    taps: new Map(known),
    uplinks: [{ name: uplink.name, ifindex: uplink.ifindex }],
  });
  const [failure] = failures;
  if (failure !== undefined) throw new Error(`${failure.where}: ${failure.error.message}`);
  return backend;
}

async function bpf(): Promise<Record<string, Measurement>> {
  const names = ["floor0", "lim0", "lim1", "ins0", "ins1", "tapa0", "tapa1", "upa", "tapb0", "tapb1", "upb"];
  const links = await makeTaps(names);
  const link = (name: string): Link => links.get(name) ?? linkOf(name);
  execFileSync("sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
  const injector = await Injector.load("build/bench.bpf.o");
  injector.attach("inject_floor", link("floor0"));
  injector.attach("limit", link("lim0"), link("lim1"));
  injector.attach("insert_limit", link("ins0"), link("ins1"));
  const { pinDir: pins } = await Workspace.create(); // goes with this process
  const small = await world(`${pins}-small`, SMALL, [link("tapa0"), link("tapa1")], link("upa"));
  const large = await world(`${pins}-large`, LARGE, [link("tapb0"), link("tapb1")], link("upb"));
  const fresh =
    (maps: ReadonlyMap<string, BpfMap>, measure: Measurement): Measurement =>
    (packets) => {
      resetFlows(maps);
      return measure(packets);
    };
  const established = (flows: number): Measurement =>
    arriving("tapa1", (packets) => {
      const plan = { ...steady, flows };
      injector.run(link("tapa0"), GUEST_MAC, plan, Math.max(1000, flows * 2));
      return injector.run(link("tapa0"), GUEST_MAC, plan, packets);
    });
  const first = (
    backend: BpfBackend,
    tap: string,
    plan: Partial<typeof steady> & { sources?: number; ports?: number },
    to: string,
  ): Measurement =>
    fresh(
      backend.objects.maps,
      arriving(to, (packets) => injector.run(link(tap), GUEST_MAC, { ...steady, flows: packets, ...plan }, packets)),
    );
  const member = { destination: TO, firstSource: FIRST_MEMBER, firstPort: FIRST_RULE_PORT };
  return {
    floor: (packets) => injector.run(link("floor0"), GUEST_MAC, steady, packets),
    limit: arriving("lim1", (packets) => injector.run(link("lim0"), GUEST_MAC, steady, packets)),
    insert_limit: (packets) => {
      injector.forget();
      return arriving("ins1", (n) => injector.run(link("ins0"), GUEST_MAC, { ...steady, flows: n }, n))(packets);
    },
    established_1: established(1),
    established_1000: established(1000),
    first: first(small, "tapa0", {}, "tapa1"),
    first_large: first(large, "tapb0", {}, "tapb1"),
    first_members: first(small, "upa", { ...member, sources: SMALL.members, ports: SMALL.rules - 1 }, "tapa1"),
    first_members_large: first(large, "upb", { ...member, sources: LARGE.members, ports: LARGE.rules - 1 }, "tapb1"),
  };
}

/** The kernel's own forwarding, with two hand-written rules and conntrack or without. */
async function forwarding(rules: boolean): Promise<Record<string, Measurement>> {
  const links = await makeTaps(["tap0", "tap1"]);
  const [from] = [...links.values()];
  if (from === undefined) throw new Error("no taps");
  execFileSync("sysctl", [
    "-qw",
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.tap0.rp_filter=0",
  ]);
  for (const [i, name] of ["tap0", "tap1"].entries()) {
    ip("route", "add", `${dotted(FROM + i)}/32`, "dev", name);
    ip("neigh", "add", dotted(FROM + i), "lladdr", `fa:16:3e:00:00:0${i + 1}`, "dev", name, "nud", "permanent");
  }
  const injector = await Injector.load("build/bench.bpf.o");
  if (rules) {
    const iptables = (...args: string[]): unknown => execFileSync("iptables", ["-w", ...args]);
    iptables("-P", "FORWARD", "DROP");
    iptables("-A", "FORWARD", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT");
    iptables("-A", "FORWARD", "-p", "udp", "--dport", String(OPEN_PORT), "-j", "ACCEPT");
    const back = links.get("tap1") ?? linkOf("tap1");
    injector.run(from, GUEST_MAC, steady, 64);
    // The answer makes the connection an established one.
    injector.run(
      back,
      "fa:16:3e:00:00:02",
      { flows: 1, firstSourcePort: OPEN_PORT, firstSource: TO, destination: FROM, firstPort: 1024 },
      64,
    );
  }
  return {
    [rules ? "iptables_2" : "forwarding"]: arriving("tap1", (packets) =>
      injector.run(from, GUEST_MAC, steady, packets),
    ),
  };
}

export async function work(role: Role): Promise<void> {
  const measurements =
    role === "bpf"
      ? await bpf()
      : role === "ipt_small" || role === "ipt_large"
        ? await iptables(role, await makeTaps(["tap0", "tap1", "up0"]), arriving)
        : await forwarding(role === "iptables");
  process.stdout.write(`${JSON.stringify({ ready: Object.keys(measurements) })}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    const { measure, packets } = JSON.parse(line) as { measure: string; packets: number };
    let answer: object;
    try {
      const run = measurements[measure];
      if (run === undefined) throw new Error(`no measurement ${measure}`);
      answer = { nanoseconds: run(packets) };
    } catch (error) {
      answer = { error: error instanceof Error ? error.message : String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit(0);
}
