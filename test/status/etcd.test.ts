/** Status as a real etcd holds it: leases, batches, what a watcher sees, and what happens when etcd is gone for a while. */
import { Etcd3 } from "etcd3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { realClock, type AgentLog } from "../../src/agent/parts.js";
import type { DesiredEndpoint, DesiredState } from "../../src/compile/desired.js";
import type { EndpointId, LocalWorkload } from "../../src/model/types.js";
import type { Candidate, Pass } from "../../src/status/judge.js";
import { endpointKey, endpointsPrefix, lastReportedKey, statusKey } from "../../src/status/keys.js";
import { StatusReporter, type ReporterOptions } from "../../src/status/reporter.js";
import { EtcdStatusStore } from "../../src/status/store.js";
import { EtcdSession } from "../../src/datastore/etcd-session.js";
import { TestEtcd } from "../support/etcd.js";
import { tap } from "../unit/agent/fakes.js";

const silent: AgentLog = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
const HOST = "compute-01";
const PREFIX = endpointsPrefix("", HOST);

let etcd: TestEtcd;
let client: Etcd3;
let store: EtcdStatusStore;
let reporter: StatusReporter;

const workload = (id: string): LocalWorkload =>
  ({
    orchestrator: "openstack",
    namespace: "openstack",
    workload: `vm-${id}`,
    endpoint: `port-${id}`,
  }) as LocalWorkload;
const keyOf = (id: string): string => endpointKey("", HOST, workload(id));

/** Everybody's tap is up and everybody is enforced, but for those named. */
function pass(ids: readonly string[], { without = [] as readonly string[], shift = 0 } = {}): Pass {
  const endpoints = ids.map(
    (id) =>
      ({ id: id as EndpointId, interfaceName: `tap${id}`, adminUp: true, workload: workload(id) }) as DesiredEndpoint,
  );
  const taps = ids
    .filter((id) => !without.includes(id))
    .map((id, i) => [`tap${id}`, tap(`tap${id}`, 10 + i + shift)] as const);
  return {
    desired: { endpoints: new Map(endpoints.map((it) => [it.id, it])) } as unknown as DesiredState,
    interfaces: { taps: new Map(taps), uplinks: [] },
    enforced: new Set(ids as EndpointId[]),
  };
}

const all = (candidates: readonly Candidate[]): Promise<ReadonlySet<EndpointId>> =>
  Promise.resolve(new Set(candidates.map(({ endpoint }) => endpoint.id)));

function report(options: Partial<ReporterOptions> = {}, readBack = all): StatusReporter {
  reporter = new StatusReporter(
    { store, clock: realClock, log: silent, readBack, alive: () => true },
    { hostname: HOST, region: "", ttl: 90, interval: 30, endpoints: "auto", ...options },
  );
  return reporter;
}

beforeAll(async () => {
  etcd = await TestEtcd.start();
  client = new Etcd3({ hosts: etcd.url });
  store = new EtcdStatusStore(() => EtcdSession.open(etcd.url, {}));
});
afterAll(async () => {
  store.close();
  client.close();
  await etcd.remove();
});
beforeEach(() => client.delete().all());
afterEach(async () => {
  reporter.close();
  await reporter.settled();
});

describe("this host", () => {
  it("is told at once, with a lease, and first_update only the first time", async () => {
    report({ interval: 1, ttl: 5 }).onPass(pass([]), true);
    await expect
      .poll(() => client.get(statusKey("", HOST)).string())
      .toMatch(/^\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ","uptime":[\d.]+,"first_update":true\}$/);
    await expect
      .poll(() => client.get(statusKey("", HOST)).string(), { timeout: 5_000 })
      .toMatch(/"first_update":false\}$/);
    const { kvs } = await client.get(statusKey("", HOST)).exec();
    const { grantedTTL } = await client.leaseClient.leaseTimeToLive({ ID: kvs[0]?.lease ?? "0" });
    expect(Number(grantedTTL)).toBe(5);
    expect((await client.get(lastReportedKey("", HOST)).exec()).kvs[0]?.lease).toBe("0");
  });

  it("ends by itself when nobody renews it; what it last said stays", async () => {
    report({ interval: 1, ttl: 2 }).onPass(pass([]), true);
    await expect.poll(() => client.get(statusKey("", HOST)).string()).not.toBeNull();
    reporter.close();
    await expect.poll(() => client.get(statusKey("", HOST)).string(), { timeout: 15_000, interval: 200 }).toBeNull();
    expect(await client.get(lastReportedKey("", HOST)).string()).toMatch(/"uptime"/);
  });

  it("says nothing while the agent is not alive", async () => {
    let alive = false;
    reporter = new StatusReporter(
      { store, clock: realClock, log: silent, readBack: all, alive: () => alive },
      { hostname: HOST, region: "", ttl: 90, interval: 1, endpoints: "auto" },
    );
    reporter.onPass(pass(["a"]), true);
    await reporter.settled();
    expect(await client.get(statusKey("", HOST)).string()).toBeNull();
    alive = true;
    reporter.onPass(pass(["a"]), true);
    await expect.poll(() => client.get(statusKey("", HOST)).string()).not.toBeNull();
  });
});

describe("endpoints", () => {
  it("1,000 of them are written in 8 transactions", async () => {
    const ids = Array.from({ length: 1000 }, (_, i) => String(i));
    report().onPass(pass(ids), true);
    await expect.poll(() => client.getAll().prefix(PREFIX).count()).toBe(1000);
    await expect.poll(() => reporter.transactions).toBe(8);
    expect(await client.get(keyOf("17")).string()).toBe('{"status":"up"}');
  });

  it("a guest rebuilt between two passes: a watcher sees down, then up", async () => {
    report().onPass(pass(["a"]), true);
    await expect.poll(() => client.get(keyOf("a")).string()).toBe('{"status":"up"}');
    const seen: string[] = [];
    const watcher = await client.watch().prefix(PREFIX).create();
    watcher.on("put", ({ value }) => seen.push(value.toString()));
    reporter.onPass(pass(["a"], { shift: 100 }), true);
    await expect.poll(() => seen).toEqual(['{"status":"down"}', '{"status":"up"}']);
    await watcher.cancel();
  });

  it("one that goes takes its key along; left-over keys go at the start; other hosts' stay", async () => {
    const other = endpointKey("", "compute-02", workload("z"));
    await client.put(keyOf("old")).value('{"status":"up"}');
    await client.put(other).value('{"status":"up"}');
    report().onPass(pass(["a", "b"]), true);
    await expect.poll(() => client.getAll().prefix(PREFIX).keys()).toEqual([keyOf("a"), keyOf("b")]);
    reporter.onPass(pass(["b"]), true);
    await expect.poll(() => client.getAll().prefix(PREFIX).keys()).toEqual([keyOf("b")]);
    expect(await client.get(other).string()).toBe('{"status":"up"}');
  });

  it("are not touched unless FelixConfiguration, or our own setting, asks for it", async () => {
    await client.put(keyOf("old")).value('{"status":"up"}');
    for (const felix of [undefined, false]) {
      report().onPass(pass(["a"]), felix);
      await reporter.settled();
      reporter.close();
    }
    expect(await client.getAll().prefix(PREFIX).keys()).toEqual([keyOf("old")]);
    report({ endpoints: "on" }).onPass(pass(["a"]), false);
    await expect.poll(() => client.getAll().prefix(PREFIX).keys()).toEqual([keyOf("a")]);
  });

  it("what the kernel does not have is not up", async () => {
    report({}, () => Promise.resolve(new Set())).onPass(pass(["a"]), true);
    await reporter.settled();
    expect(await client.get(keyOf("a")).string()).toBeNull();
    await expect.poll(() => client.get(keyOf("a")).string(), { timeout: 5_000 }).toBe('{"status":"error"}');
  });
});

describe("etcd gone", () => {
  it("for a while: said as a problem, never waited for, caught up afterwards, also from an empty one", async () => {
    report().onPass(pass(["a", "b"]), true);
    await expect.poll(() => client.getAll().prefix(PREFIX).count()).toBe(2);
    await etcd.kill();
    for (let i = 0; i < 50; i++)
      reporter.onPass(pass(["a", "b", "c"], { without: i % 2 ? ["a"] : [], shift: i }), true);
    await expect
      .poll(() => reporter.problems().map(({ code }) => code), { timeout: 20_000 })
      .toContain("STATUS_NOT_WRITTEN");
    expect(reporter.pending).toBeLessThanOrEqual(3);
    await etcd.wipe();
    await etcd.up();
    const states = async (): Promise<unknown> => client.getAll().prefix(PREFIX).strings();
    await expect
      .poll(states, { timeout: 40_000, interval: 200 })
      .toEqual({ [keyOf("a")]: '{"status":"down"}', [keyOf("b")]: '{"status":"up"}', [keyOf("c")]: '{"status":"up"}' });
    await expect.poll(() => reporter.problems(), { timeout: 40_000 }).toEqual([]);
  });
});
