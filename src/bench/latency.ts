/**
 * How long after etcd acknowledged a write the first packet sees it: a real etcd, a real agent beside, and packets by
 * BPF_PROG_TEST_RUN on the pinned programs, sent one after the other until the verdict changes.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Etcd3 } from "etcd3";
import { BpfProgram } from "#libbpf";
import { ABI_VERSION } from "../abi/constants.js";
import { programPath } from "../dataplane/bpf/pins.js";
import { HOSTNAME } from "./cloud.js";

export interface Scenario {
  readonly ports: number;
  readonly rules: number;
  readonly changes: number;
}

/** Milliseconds from the acknowledgement of the write to the first packet that is judged by it. */
export interface Latencies {
  readonly apply: readonly number[];
  readonly revoke: readonly number[];
}

const PREFIX = "/calico/resources/v3/projectcalico.org";
const ETCD = "http://127.0.0.1:23790";
const TC_ACT_REDIRECT = 7;
const FIRST_PORT = 20_000;
const hex = (n: number): string => n.toString(16).padStart(2, "0");
const label = (group: string): string => `sg.projectcalico.org/openstack-${group}`;
const address = (i: number): string => `10.65.${i >> 8}.${(i & 255) + 1}`;
const guestMac = (i: number): string => `fa:16:3e:00:${hex(i >> 8)}:${hex(i & 255)}`;

function endpoint(i: number): [string, object] {
  const name = [HOSTNAME, "openstack", `vm${i}`, `port${i}`].map((part) => part.replaceAll("-", "--")).join("-");
  const labels = {
    [label("shared")]: "shared",
    [label(`own${i}`)]: `own${i}`,
    "projectcalico.org/namespace": "openstack",
    "projectcalico.org/orchestrator": "openstack",
  };
  const spec = {
    orchestrator: "openstack",
    workload: `vm${i}`,
    node: HOSTNAME,
    endpoint: `port${i}`,
    interfaceName: `tapl${i}`,
    mac: guestMac(i),
    ipNetworks: [`${address(i)}/32`],
    allowedIps: [],
  };
  return [
    `${PREFIX}/workloadendpoints/openstack/${name}`,
    {
      kind: "WorkloadEndpoint",
      apiVersion: "projectcalico.org/v3",
      metadata: { name, namespace: "openstack", labels },
      spec,
    },
  ];
}

const allowPort = (port: number): object => ({
  action: "Allow",
  ipVersion: 4,
  protocol: 6,
  destination: { ports: [port] },
});

function group(name: string, ports: readonly number[]): [string, object] {
  const full = `ossg.default.${name}`;
  const spec = {
    ingress: ports.map(allowPort),
    egress: [{ action: "Allow", ipVersion: 4 }],
    selector: `has(${label(name)})`,
  };
  return [
    `${PREFIX}/networkpolicies/openstack/${full}`,
    {
      kind: "NetworkPolicy",
      apiVersion: "projectcalico.org/v3",
      metadata: { name: full, namespace: "openstack" },
      spec,
    },
  ];
}

/** A TCP segment from guest `from` to guest `to`, as it comes out of the first one's tap. */
function segment(
  from: number,
  to: number,
  hostMac: string,
  ports: { source: number; destination: number },
  flags: number,
): Buffer {
  const bytes = Buffer.alloc(54);
  Buffer.from(hostMac.replaceAll(":", ""), "hex").copy(bytes, 0);
  Buffer.from(guestMac(from).replaceAll(":", ""), "hex").copy(bytes, 6);
  bytes.writeUInt16BE(0x0800, 12);
  bytes[14] = 0x45;
  bytes.writeUInt16BE(40, 16);
  bytes[22] = 64;
  bytes[23] = 6;
  for (const [offset, text] of [
    [26, address(from)],
    [30, address(to)],
  ] as const)
    text.split(".").forEach((part, i) => (bytes[offset + i] = Number(part)));
  bytes.writeUInt16BE(ports.source, 34);
  bytes.writeUInt16BE(ports.destination, 36);
  bytes[46] = 0x50;
  bytes[47] = flags;
  return bytes;
}

class Lab {
  readonly directory = mkdtempSync(join(tmpdir(), "tb-bench-"));
  readonly pinDir = `/sys/fs/bpf/tb-bench-${process.pid}-latency`;
  private readonly children: ChildProcess[] = [];

  start(file: string, args: readonly string[], ready?: (output: string) => boolean): Promise<void> {
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.children.push(child);
    let tail = "";
    child.stderr.on("data", (text: Buffer) => (tail = (tail + text.toString()).slice(-2000)));
    return new Promise((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`${file} ended with status ${String(code)}: ${tail}`)));
      if (ready === undefined) resolve();
      child.stdout.on("data", (text: Buffer) => ready?.(text.toString()) && resolve());
    });
  }

  async agent(): Promise<void> {
    const flags = [
      "--datastore",
      "etcd",
      "--etcd-endpoints",
      ETCD,
      "--hostname",
      HOSTNAME,
      "--pin-dir",
      this.pinDir,
      "--uplinks",
      "lo",
    ];
    const directories = [
      "--run-dir",
      join(this.directory, "run"),
      "--state-dir",
      join(this.directory, "state"),
      "--log-level",
      "warn",
    ];
    await this.start("bin/torbie", ["agent", ...flags, ...directories]);
  }

  enforced(): number {
    const file = join(this.directory, "run", "status.json");
    if (!existsSync(file)) return 0;
    return (JSON.parse(readFileSync(file, "utf8")) as { endpoints?: { enforced?: number } }).endpoints?.enforced ?? 0;
  }

  async close(): Promise<void> {
    for (const child of this.children.reverse()) {
      if (child.exitCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.removeAllListeners("exit");
      child.once("exit", () => undefined);
      child.kill("SIGTERM");
      await Promise.race([new Promise((resolve) => child.once("close", resolve)), ended, sleep(5000)]);
      child.kill("SIGKILL");
    }
    rmSync(this.pinDir, { recursive: true, force: true });
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Runs in the network namespace of its process. */
export async function measureLatency({ ports, rules, changes }: Scenario): Promise<Latencies> {
  const lab = new Lab();
  const client = new Etcd3({ hosts: ETCD });
  try {
    const data = join(lab.directory, "etcd");
    const peer = "http://127.0.0.1:23800";
    await lab.start("etcd", [
      "--data-dir",
      data,
      "--listen-client-urls",
      ETCD,
      "--advertise-client-urls",
      ETCD,
      "--listen-peer-urls",
      peer,
      "--initial-advertise-peer-urls",
      peer,
      "--initial-cluster",
      `default=${peer}`,
      "--log-level",
      "error",
    ]);
    for (let i = 0; ; i++) {
      try {
        await client.maintenance.status();
        break;
      } catch (error) {
        if (i > 100) throw error;
        await sleep(100);
      }
    }
    const taps = Array.from({ length: ports }, (_, i) => `tapl${i}`);
    await lab.start("build/taps", taps, (text) => text.includes("ready"));
    const base = Array.from({ length: rules }, (_, i) => FIRST_PORT + i);
    const put = (entries: readonly [string, object]): Promise<unknown> =>
      client.put(entries[0]).value(JSON.stringify(entries[1])).exec();
    await put([
      `${PREFIX}/clusterinformations/default`,
      {
        kind: "ClusterInformation",
        apiVersion: "projectcalico.org/v3",
        metadata: { name: "default" },
        spec: { clusterGUID: "bench", clusterType: "openstack", datastoreReady: true },
      },
    ]);
    await put(group("shared", base));
    for (let i = 0; i < ports; i++) {
      await put(group(`own${i}`, [10_000 + i]));
      await put(endpoint(i));
    }
    await lab.agent();
    for (let i = 0; lab.enforced() < ports; i++) {
      if (i > 600) throw new Error(`only ${lab.enforced()} of ${ports} ports are enforced after a minute`);
      await sleep(100);
    }
    return await run(lab, base, changes, put);
  } finally {
    client.close();
    await lab.close();
  }
}

async function run(
  lab: Lab,
  base: readonly number[],
  changes: number,
  put: (entry: [string, object]) => Promise<unknown>,
): Promise<Latencies> {
  const links = JSON.parse(execFileSync("ip", ["-j", "link", "show"], { encoding: "utf8" })) as {
    ifname: string;
    ifindex: number;
    address: string;
  }[];
  const link = (name: string): { ifindex: number; address: string } =>
    links.find(({ ifname }) => ifname === name) ?? { ifindex: 0, address: "" };
  const program = BpfProgram.open(programPath(join(lab.pinDir, `v${ABI_VERSION}`), "tap_ingress"));
  const passes = (from: number, to: number, source: number, destination: number, flags: number): boolean => {
    const tap = link(`tapl${from}`);
    const context = Buffer.alloc(192);
    context.writeUInt32LE(tap.ifindex, 40);
    return (
      program.testRun({ data: segment(from, to, tap.address, { source, destination }, flags), context }).returnValue ===
      TC_ACT_REDIRECT
    );
  };
  const until = async (wanted: boolean, packet: () => boolean): Promise<number> => {
    const started = performance.now();
    for (let i = 0; packet() !== wanted; i++) {
      const waited = performance.now() - started;
      if (waited > 10_000) throw new Error(`no packet was judged by the change for ${Math.round(waited)} ms`);
      if (i % 200 === 199) await sleep(0);
    }
    return performance.now() - started;
  };
  const apply: number[] = [];
  const revoke: number[] = [];
  for (let i = 0; i < changes; i++) {
    const port = 40_000 + i;
    const source = 1024 + i;
    await put(group("shared", [...base, port]));
    apply.push(await until(true, () => passes(0, 1, source, port, 2)));
    passes(1, 0, port, source, 0x12); // answered: from now on it is an established flow
    await put(group("shared", base));
    revoke.push(await until(false, () => passes(0, 1, source, port, 0x10)));
  }
  program.close();
  return { apply, revoke };
}
