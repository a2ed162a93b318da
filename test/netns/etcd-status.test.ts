/** The real agent on real taps with a real etcd: what Neutron's driver would read, and what holds while etcd is away. */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AgentProcess } from "../../src/demo/world/agent.js";
import { onLines, stop } from "../../src/demo/world/command.js";
import { Namespace } from "../../src/demo/world/namespace.js";
import { helper } from "../../src/demo/world/pump.js";
import { TestEtcd } from "../support/etcd.js";
import { endpoint, group, type EndpointSpec, type Resource } from "../support/resources.js";

const HOST = "compute-01";
const NAMES = ["one", "two", "three"];
const RESOURCES = "/calico/resources/v3/projectcalico.org";

let host: Namespace;
let etcd: TestEtcd;
let agent: AgentProcess;
let taps: ChildProcess;

const spec = (name: string, more: Partial<EndpointSpec> = {}): EndpointSpec => ({
  name,
  node: HOST,
  mac: `fa:16:3e:00:00:0${NAMES.indexOf(name) + 1}`,
  addresses: [`10.65.0.${NAMES.indexOf(name) + 11}`],
  groups: ["web"],
  ...more,
});
const meta = (name: string): object => ({
  name,
  uid: "11111111-2222-4333-8444-555555555555",
  creationTimestamp: "2026-11-22T00:00:00Z",
});
const put = async ({ key, object }: Resource): Promise<void> =>
  void (await etcd.ctl("put", key, JSON.stringify(object)));
const cluster = (guid: string, kind: string, name: string, more: object): Resource => ({
  key: `${RESOURCES}/${name}/default`,
  object: { kind, apiVersion: "projectcalico.org/v3", metadata: meta("default"), spec: { clusterGUID: guid, ...more } },
});
const keyOf = (name: string): string =>
  `/calico/felix/v2/region-north/host/${HOST}/workload/openstack/openstack%2fvm-${name}/endpoint/${name}`;

/** Name of the port → its status text. */
async function reported(): Promise<Record<string, string>> {
  const text = await etcd.ctl("get", "--prefix", `/calico/felix/v2/region-north/host/${HOST}/workload/`);
  const lines = text.trimEnd().split("\n");
  const entries = lines.flatMap((line, i) =>
    i % 2 === 0 && line !== "" ? [[line.split("/").at(-1) ?? "", lines[i + 1] ?? ""] as const] : [],
  );
  return Object.fromEntries(entries);
}
const says = (status: string): string => `{"status":"${status}"}`;
const readiness = async (): Promise<{ ok: boolean; reasons: string[]; dataFrom?: string }> =>
  JSON.parse(await host.run(["curl", "--silent", "--max-time", "5", "http://127.0.0.1:9199/readiness"])) as Awaited<
    ReturnType<typeof readiness>
  >;

/** Taps with somebody behind them, so that they are up. */
async function plug(names: readonly string[]): Promise<ChildProcess> {
  const child = host.spawn([helper("taps"), ...names.map((name) => `tap${name}`)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await new Promise<void>((resolve) => child.stdout && onLines(child.stdout, (line) => line === "ready" && resolve()));
  return child;
}

/** @param prefix what runs it */
function newAgent(prefix: readonly string[] = []): Promise<AgentProcess> {
  const source = ["--datastore", "etcd", "--etcd-endpoints", etcd.url, "--region", "north"];
  return AgentProcess.create(host, {
    hostname: HOST,
    prefix,
    flags: [...source, "--status-interval", "1s", "--status-ttl", "5s"],
  });
}

beforeAll(async () => {
  host = await Namespace.create("status");
  etcd = await TestEtcd.start({ within: host.argv([]) });
  await put(
    cluster("b1b0a8f0-0000-4000-8000-000000000001", "ClusterInformation", "clusterinformations", {
      datastoreReady: true,
    }),
  );
  await put(
    cluster("", "FelixConfiguration", "felixconfigurations", {
      endpointReportingEnabled: true,
      interfacePrefix: "tap",
    }),
  );
  await put(
    group("web", {
      ingress: [{ action: "Allow", protocol: "TCP", destination: { ports: [80] } }],
      egress: [{ action: "Allow" }],
    }),
  );
  for (const name of NAMES) await put(endpoint(spec(name)));
  await etcd.ctl("put", keyOf("forgotten"), says("up"));
  taps = await plug(["one", "two"]);
  agent = await newAgent();
});
afterAll(async () => {
  await agent?.remove();
  if (taps) await stop(taps);
  await etcd?.remove();
  await host?.remove();
});

describe("status in etcd", () => {
  test("up for what is enforced, down for what has no tap; what is left of former ports goes", async () => {
    await agent.startEnforcing(2);
    await expect.poll(reported, { timeout: 5_000 }).toEqual({ one: says("up"), two: says("up"), three: says("down") });
    const { ok } = await readiness();
    expect(ok).toBe(true);
  });

  test("the host's own, again and again, text for text as Felix has it", async () => {
    const key = `/calico/felix/v2/region-north/host/${HOST}/status`;
    const read = (): Promise<string> => etcd.ctl("get", "--print-value-only", key);
    await expect
      .poll(read)
      .toMatch(/^\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ","uptime":\d+(\.\d+)?,"first_update":false\}\n$/);
    expect(
      await etcd.ctl("get", "--print-value-only", `/calico/felix/v2/region-north/host/${HOST}/last_reported_status`),
    ).toContain("uptime");
  });

  test("a guest that is rebuilt: a watcher sees its port go down and come up", async () => {
    const seen: string[] = [];
    const { header } = JSON.parse(await etcd.ctl("get", "nothing", "-w", "json")) as { header: { revision: number } };
    const since = `--rev=${header.revision + 1}`;
    const watcher = host.spawn(["etcdctl", `--endpoints=${etcd.url}`, "watch", since, keyOf("two")], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, ETCDCTL_API: "3" },
    });
    if (watcher.stdout) onLines(watcher.stdout, (line) => line.startsWith("{") && seen.push(line));
    try {
      await host.ip("link set taptwo down");
      await expect.poll(reported).toMatchObject({ two: says("down") });
      await host.ip("link set taptwo up");
      await expect.poll(reported).toMatchObject({ two: says("up") });
      await expect.poll(() => seen, { timeout: 5_000 }).toEqual([says("down"), says("up")]);
    } finally {
      await stop(watcher);
    }
  });

  test("admin down is down, back is up; a port that is deleted takes its key along", async () => {
    await put(endpoint(spec("one", { adminUp: false })));
    await expect.poll(reported).toMatchObject({ one: says("down") });
    await put(endpoint(spec("one")));
    await expect.poll(reported).toMatchObject({ one: says("up") });
    await etcd.ctl("del", endpoint(spec("three")).key);
    await expect.poll(reported).toEqual({ one: says("up"), two: says("up") });
  });

  test("one whose description cannot be understood is an error, and only that one", async () => {
    const bad = endpoint(spec("three"));
    await etcd.ctl(
      "put",
      bad.key,
      JSON.stringify({ ...bad.object, spec: { ...(bad.object["spec"] as object), ipNetworks: ["not an address"] } }),
    );
    const more = await plug(["three"]);
    try {
      await expect
        .poll(reported, { timeout: 10_000 })
        .toEqual({ one: says("up"), two: says("up"), three: says("error") });
    } finally {
      await stop(more);
    }
    await etcd.ctl("del", bad.key);
    await expect.poll(reported).toEqual({ one: says("up"), two: says("up") });
  });
});

describe("etcd away", () => {
  test("not ready, and of when what is enforced is; a restarted agent adopts it and says the same; then all is well again", async () => {
    await etcd.kill();
    await expect.poll(async () => (await readiness()).ok, { timeout: 30_000 }).toBe(false);
    const lost = await readiness();
    expect(lost.reasons.join()).toMatch(/^the datastore is lost: .*what is enforced is of 20\d\d-/);
    await agent.kill();
    agent.start();
    await expect.poll(async () => (await readiness().catch(() => undefined))?.ok, { timeout: 20_000 }).toBe(false);
    await expect
      .poll(async () => (await readiness()).reasons.join(), { timeout: 20_000 })
      .toMatch(/what is enforced is of 20\d\d-/);
    const again = await readiness();
    // The status file is written after a pass: it may be a little older than what the former agent knew last.
    expect(Date.parse(again.dataFrom ?? "")).toBeLessThanOrEqual(Date.parse(lost.dataFrom ?? ""));
    expect(Date.now() - Date.parse(again.dataFrom ?? "")).toBeLessThan(120_000);
    await expect.poll(() => agent.status()?.interfaces.taps.length, { timeout: 10_000 }).toBe(2);
    await etcd.up();
    await expect.poll(async () => (await readiness()).ok, { timeout: 60_000 }).toBe(true);
    await expect.poll(reported, { timeout: 10_000 }).toEqual({ one: says("up"), two: says("up") });
  }, 150_000);
});

describe("a clock that jumps", () => {
  /** libfaketime reads the offset from a file, again and again; the monotonic clock goes on as it does when a host's clock is set. */
  const offsets = mkdtempSync(join(tmpdir(), "tb-clock-"));
  const offset = join(offsets, "offset");
  const library = "/usr/lib/*/faketime/libfaketimeMT.so.1";
  const hostStatus = async (): Promise<{ time: string; uptime: number }> =>
    JSON.parse(
      await etcd.ctl("get", "--print-value-only", `/calico/felix/v2/region-north/host/${HOST}/status`),
    ) as Awaited<ReturnType<typeof hostStatus>>;
  const yearTold = async (): Promise<string> => (await hostStatus()).time.slice(0, 4);

  beforeAll(async () => {
    await agent.remove();
    writeFileSync(offset, "+0");
    const environment = [`FAKETIME_TIMESTAMP_FILE=${offset}`, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    agent = await newAgent([
      "sh",
      "-c",
      `for library in ${library}; do export LD_PRELOAD="$library"; done; exec env "$@"`,
      "sh",
      ...environment,
    ]);
    await agent.startEnforcing(2);
  });
  afterAll(() => rmSync(offsets, { recursive: true }));

  test.each([
    ["ten years ahead", "+3650d", 10],
    ["twenty years back", "-3650d", -10],
    ["right again", "+0", 0],
  ])("%s: it goes on enforcing, following and telling", async (_, days, years) => {
    const { pid } = agent;
    writeFileSync(offset, days);
    await expect.poll(yearTold, { timeout: 10_000 }).toBe(String(new Date().getUTCFullYear() + years));
    await put(endpoint(spec("one", { adminUp: false })));
    await expect.poll(reported, { timeout: 5_000 }).toMatchObject({ one: says("down"), two: says("up") });
    await put(endpoint(spec("one")));
    await expect.poll(reported, { timeout: 5_000 }).toMatchObject({ one: says("up"), two: says("up") });
    expect((await readiness()).ok).toBe(true);
    // How long it has been running is no matter of the clock on the wall.
    const first = (await hostStatus()).uptime;
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThan(600);
    await expect.poll(async () => (await hostStatus()).uptime, { timeout: 5_000 }).toBeGreaterThan(first);
    expect(agent.pid).toBe(pid);
  });
});
