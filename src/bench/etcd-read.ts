/**
 * What it costs to take a big cloud out of a real etcd: seconds to in-sync, seconds to compiled, resident memory, and the longest that the
 * event loop stood still. Only datastore, model and compiler; `make bench` measures whole agents.
 *
 *   node dist/bench/etcd-read.js [ENDPOINTS [URL]]      with a URL: of an etcd that was filled before
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { Etcd3 } from "etcd3";
import { CompilerAdapter, ModelAdapter } from "../agent/wire/pure.js";
import { EtcdDatastore } from "../datastore/etcd.js";
import { endpointName, keyOf } from "../model/keys.js";

const URL_HERE = "http://127.0.0.1:23795";
const PEER = "http://127.0.0.1:23805";
const GROUPS = 1_000;
const HOSTS = 1_000;

const uuid = (n: number, kind: number): string =>
  `${n.toString(16).padStart(8, "0")}-${String(kind).padStart(4, "0")}-4000-8000-${n.toString(16).padStart(12, "0")}`;
const selector = (group: number): string => `has(sg.projectcalico.org/openstack-${uuid(group % GROUPS, 3)})`;

/** As the incumbent's driver writes it, with all its labels: about 1,400 bytes. */
function endpoint(n: number): readonly [string, object] {
  const [node, device, port] = [`compute-${n % HOSTS}`, uuid(n, 1), uuid(n, 2)];
  const parts = { node, orchestrator: "openstack", workload: device, endpoint: port };
  const name = endpointName(parts);
  const labels = Object.fromEntries(
    [n % GROUPS, (n * 7 + 1) % GROUPS].flatMap((group) => [
      [`sg.projectcalico.org/openstack-${uuid(group, 3)}`, `group-${group}`],
      [`sg-name.projectcalico.org/openstack-group-${group}`, uuid(group, 3)],
    ]),
  );
  const project = {
    "projectcalico.org/namespace": "openstack",
    "projectcalico.org/orchestrator": "openstack",
    "projectcalico.org/openstack-project-id": uuid(n % 100, 7).replaceAll("-", ""),
    "projectcalico.org/openstack-project-name": `project-${n % 100}`,
    "projectcalico.org/openstack-project-parent-id": "default",
    "projectcalico.org/openstack-network-name": `net-${n % 50}`,
  };
  const value = {
    kind: "WorkloadEndpoint",
    apiVersion: "projectcalico.org/v3",
    metadata: {
      name,
      namespace: "openstack",
      creationTimestamp: "2026-11-21T19:38:00Z",
      uid: uuid(n, 4),
      annotations: { "openstack.projectcalico.org/network-id": uuid(n % 50, 5) },
      labels: { ...labels, ...project },
    },
    spec: {
      ...parts,
      interfaceName: `tap${port.slice(0, 11)}`,
      mac: `fa:16:3e:${[16, 8, 0].map((shift) => ((n >> shift) & 255).toString(16).padStart(2, "0")).join(":")}`,
      ipv4Gateway: "10.0.0.1",
      ipv6Gateway: "fd00::1",
      ipNetworks: [
        `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}/32`,
        `fd00::${(n >> 16).toString(16)}:${(n & 65535).toString(16)}/128`,
      ],
      allowedIps: [],
    },
  };
  return [keyOf("WorkloadEndpoint", name, "openstack"), value];
}

function group(n: number): readonly [string, object] {
  const name = `ossg.default.${uuid(n, 3)}`;
  const ingress = Array.from({ length: 10 }, (_, i) => ({
    action: "Allow",
    ipVersion: 4,
    protocol: "TCP",
    destination: { ports: [80 + i] },
    source: i % 3 ? { selector: selector(n + i) } : { nets: [`10.${n % 256}.${i}.0/24`] },
  }));
  const egress = [4, 6].map((ipVersion) => ({ action: "Allow", ipVersion }));
  const metadata = { name, namespace: "openstack", uid: uuid(n, 6) };
  const value = {
    kind: "NetworkPolicy",
    apiVersion: "projectcalico.org/v3",
    metadata,
    spec: { ingress, egress, selector: selector(n) },
  };
  return [keyOf("NetworkPolicy", name, "openstack"), value];
}

async function fill(url: string, endpoints: number): Promise<void> {
  const client = new Etcd3({ hosts: url });
  const spec = { clusterGUID: "bench", clusterType: "openstack", datastoreReady: true };
  const all = [
    [
      keyOf("ClusterInformation", "default"),
      { kind: "ClusterInformation", metadata: { name: "default" }, spec },
    ] as const,
    ...Array.from({ length: GROUPS }, (_, n) => group(n)),
    ...Array.from({ length: endpoints }, (_, n) => endpoint(n)),
  ];
  for (let at = 0; at < all.length; at += 128)
    await client.kv.txn({
      compare: [],
      success: all
        .slice(at, at + 128)
        .map(([key, value]) => ({ request_put: { key: Buffer.from(key), value: Buffer.from(JSON.stringify(value)) } })),
      failure: [],
    });
  client.close();
}

/** The last line of what is printed. */
export interface ReadFigures {
  /** Milliseconds that the event loop stood still at most. */
  readonly stoodStill: number;
  /** Seconds. */
  readonly readAndCompiled: number;
}

/** In a process of its own, so that its memory is only this. */
async function measure(url: string): Promise<void> {
  const stateDir = mkdtempSync(join(tmpdir(), "tb-bench-state-"));
  const model = new ModelAdapter("compute-7");
  const compiler = new CompilerAdapter();
  const settings = { endpoints: [url], region: "no-region", namespace: "openstack" };
  const datastore = new EtcdDatastore({ settings, stateDir });
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const rss = (): string => `${Math.round(process.memoryUsage.rss() / 2 ** 20)} MB`;
  const before = rss();
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 20);
  delay.enable();
  const began = performance.now();
  const seconds = (): string => `${((performance.now() - began) / 1000).toFixed(2)} s`;
  let stoodStill = 0;
  const longest = (): string => {
    const worst = `${(delay.max / 1e6).toFixed(0)} ms (p99.9 ${(delay.percentile(99.9) / 1e6).toFixed(0)} ms)`;
    stoodStill = Math.max(stoodStill, delay.max / 1e6);
    delay.reset();
    return worst;
  };
  await new Promise<void>((resolve) => {
    void datastore.start((event) => {
      model.handle(event);
      if (event.type === "lost" || event.type === "held") console.log(JSON.stringify(event));
      if (event.type === "in-sync") resolve();
    });
  });
  console.log(`in sync: ${seconds()}, ${rss()} resident (${before} before), loop stood still ${longest()}`);
  const { desired } = await compiler.compile(model.model, undefined, new Map());
  const readAndCompiled = (performance.now() - began) / 1000;
  console.log(`compiled: ${seconds()}, ${rss()} resident, loop stood still ${longest()}`);
  console.log(
    `${model.model.endpoints.size} endpoints, ${desired.addresses.size} addresses, ${desired.endpoints.size} here`,
  );
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  const { user, system } = process.cpuUsage();
  console.log(
    `3 s later: ${rss()} resident, at most ${Math.round(most / 2 ** 20)} MB; CPU ${((user + system) / 1e6).toFixed(2)} s`,
  );
  clearInterval(watch);
  console.log(JSON.stringify({ stoodStill, readAndCompiled } satisfies ReadFigures));
  await datastore.stop();
  rmSync(stateDir, { recursive: true, force: true });
}

/** Its log is read on: it ends when it cannot write there. */
async function serving(log: Readable): Promise<void> {
  let said = "";
  await new Promise<void>((resolve, reject) => {
    log.on("data", (text: Buffer) => {
      said = `${said}${text.toString()}`.slice(-10_000);
      if (/serving (insecure )?client (traffic|requests)/.test(said)) resolve();
    });
    log.on("end", () => reject(new Error(`etcd has ended: ${said}`)));
  });
}

async function main(endpoints: number, url: string | undefined): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "tb-bench-etcd-"));
  const urls = [
    `--listen-client-urls=${URL_HERE}`,
    `--advertise-client-urls=${URL_HERE}`,
    `--listen-peer-urls=${PEER}`,
  ];
  const peers = [`--initial-advertise-peer-urls=${PEER}`, `--initial-cluster=default=${PEER}`];
  const etcd =
    url === undefined
      ? spawn("etcd", [`--data-dir=${directory}`, ...urls, ...peers, "--logger=zap"], {
          stdio: ["ignore", "ignore", "pipe"],
        })
      : undefined;
  try {
    if (etcd !== undefined) await serving(etcd.stderr);
    if (etcd !== undefined) await fill(URL_HERE, endpoints);
    const self = fileURLToPath(import.meta.url);
    const { stdout } = await promisify(execFile)(process.execPath, [self, "--measure", url ?? URL_HERE]);
    process.stdout.write(stdout);
  } finally {
    if (etcd !== undefined && etcd.exitCode === null) {
      etcd.kill();
      await once(etcd, "exit");
    }
    rmSync(directory, { recursive: true, force: true });
  }
}

const [first, second] = process.argv.slice(2);
if (first === "--measure") await measure(second ?? URL_HERE);
else await main(Number(first ?? 100_000), second);
