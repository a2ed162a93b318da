/** An etcd that is down, slow, emptied, restored, compacted or full: nothing that was handed on is taken back by it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { IdentityFile } from "../../src/datastore/etcd-identity.js";
import { cluster, endpoint, group, Writer } from "../support/etcd-contents.js";
import { Follower, newStateDir, removeStateDirs, settingsFor } from "../support/etcd-follower.js";
import { TestEtcd, type EtcdOptions } from "../support/etcd.js";

let etcd: TestEtcd | undefined;
const closers: (() => Promise<void> | void)[] = [];

async function prepare(options?: EtcdOptions): Promise<TestEtcd> {
  etcd = await TestEtcd.prepare(options);
  closers.unshift(etcd.remove.bind(etcd));
  return etcd;
}
async function serve(options?: EtcdOptions): Promise<TestEtcd> {
  const one = await prepare(options);
  await one.up();
  return one;
}
/** On a client of its own: one that has seen its etcd die backs off for long. */
async function write(run: (writer: Writer) => Promise<unknown>): Promise<void> {
  const writer = new Writer(etcd?.url ?? "");
  try {
    await run(writer);
  } finally {
    writer.close();
  }
}
async function follow(
  endpoints: readonly string[] = [etcd?.url ?? ""],
  options: Parameters<typeof Follower.start>[1] = {},
): Promise<Follower> {
  const follower = await Follower.start(settingsFor(...endpoints), options);
  closers.unshift(() => follower.stop());
  return follower;
}
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
afterAll(() => removeStateDirs());

describe("a connection", () => {
  test("etcd is down at the start: that is said, and it is followed once it is there", async () => {
    const { port } = await prepare();
    const follower = await follow();
    await follower.until("a loss", () => follower.lostReason !== undefined);
    expect(follower.lostReason).toMatch(new RegExp(`127\\.0\\.0\\.1:${port}.*ECONNREFUSED`));
    await etcd?.up();
    await write((writer) => writer.put(cluster(), endpoint(1)));
    await follower.inSync();
    expect(follower.store.model.endpoints.size).toBe(1);
  });

  test("killed and restarted: what was missed comes, without a new snapshot", async () => {
    await serve();
    await write((writer) => writer.put(cluster(), endpoint(1), endpoint(2)));
    const follower = await follow();
    await follower.inSync();
    follower.forget();
    await etcd?.kill();
    await follower.until("a loss", () => follower.lostReason !== undefined);
    expect(follower.store.model.endpoints.size).toBe(2);
    await etcd?.up();
    await write((writer) => writer.put(endpoint(3)).then(() => writer.delete(endpoint(1).key)));
    await follower.until("the deletion", () => follower.keys.includes(endpoint(1).key));
    expect(follower.types.filter((type) => type !== "lost")).toEqual(["in-sync"]);
    expect(follower.keys).toEqual([endpoint(3).key, endpoint(1).key]);
    expect(follower.store.model.endpoints.size).toBe(2);
  });

  test("black-holed: silence is a loss, a stop does not wait for it, and its end is the end of it", async () => {
    await serve();
    await write((writer) => writer.put(cluster(), endpoint(1)));
    const follower = await follow();
    const other = await follow();
    await follower.inSync();
    await other.inSync();
    etcd?.suspend();
    try {
      await follower.until("a loss", () => follower.lostReason !== undefined);
      expect(follower.lostReason).toMatch(/has not answered for|did not answer in time/);
      const began = performance.now();
      await other.stop();
      expect(performance.now() - began).toBeLessThan(1_500);
    } finally {
      etcd?.resume();
    }
    await follower.inSync();
    expect(follower.store.model.endpoints.size).toBe(1);
  });

  test("silent from the very first call", async () => {
    await serve();
    await write((writer) => writer.put(cluster()));
    etcd?.suspend();
    const follower = await follow(undefined, { timing: { call: 300 } });
    await follower.until("a loss", () => follower.lostReason !== undefined);
    expect(follower.lostReason).toMatch(/did not answer in time/);
    etcd?.resume();
    await follower.inSync();
  });

  test("of several members the next one serves when one fails", async () => {
    const dead = await prepare();
    await serve();
    await write((writer) => writer.put(cluster(), endpoint(1)));
    const follower = await follow([dead.url, etcd?.url ?? ""]);
    await follower.inSync();
    expect(follower.types).toEqual(["lost", "snapshot-begin", "in-sync"]);
  });
});

describe("compaction", () => {
  test("of what was missed leads to a new snapshot, which forgets what is gone", async () => {
    await serve();
    await write((writer) => writer.put(cluster(), endpoint(1)));
    const stateDir = newStateDir();
    const follower = await follow(undefined, { stateDir });
    await follower.inSync();
    // The follower must not come back before the compaction.
    etcd?.suspend();
    await follower.until("a loss", () => follower.lostReason !== undefined);
    follower.forget();
    await etcd?.kill();
    const away = await etcd?.aside();
    await write(async (writer) => {
      await writer.delete(endpoint(1).key);
      await writer.put(endpoint(2));
      await writer.client.kv.compact({ revision: await writer.revision(), physical: true });
    });
    await away?.end();
    await etcd?.up();
    await follower.until("a snapshot", () => follower.types.includes("in-sync"));
    await follower.inSync();
    expect(follower.types.filter((type) => type !== "lost")).toEqual(["snapshot-begin", "in-sync"]);
    expect([...follower.store.model.endpoints.keys()]).toEqual(["openstack/host2-openstack-vm--2-port--2"]);
  });
});

describe("another cluster", () => {
  test("restarted empty: nothing changes; refilled it is an older state until a person accepts it", async () => {
    await serve();
    await write((writer) => writer.put(cluster(), endpoint(1), group("web")));
    for (let n = 2; n < 8; n++) await write((writer) => writer.put(endpoint(n)));
    const stateDir = newStateDir();
    const follower = await follow(undefined, { stateDir });
    await follower.inSync();
    const before = follower.store.model.endpoints.size;
    await etcd?.kill();
    await etcd?.wipe();
    await etcd?.up();
    await follower.until("to be held", () => follower.held !== undefined);
    expect(follower.held).toMatchObject({ code: "CLUSTER_UNKNOWN" });
    expect(follower.store.model.endpoints.size).toBe(before);

    await write((writer) => writer.put(cluster(), endpoint(9)));
    await follower.until("the backup", () => follower.held?.code === "RESTORED_BACKUP");
    expect(follower.held?.consequence).toContain("torbie datastore accept");
    // Revisions that grow past what was applied prove nothing any more.
    for (let n = 0; n < 12; n++) await write((writer) => writer.put(endpoint(10)));
    await follower.until("some looks", () => true);
    expect(follower.held?.code).toBe("RESTORED_BACKUP");
    expect(follower.store.model.endpoints.size).toBe(before);

    const file = new IdentityFile(stateDir);
    const known = await file.read();
    expect(known?.restored).toMatch(/older state/);
    await file.write({ guid: "guid-1", clusterId: known?.clusterId ?? "", revision: 1n, at: "now" });
    await follower.inSync();
    expect(follower.store.model.endpoints.size).toBe(2);
  });

  test("restored from an older backup, also while the agent was not there", async () => {
    const one = await serve();
    await write((writer) => writer.put(cluster(), endpoint(1)));
    const backup = join(one.directory, "backup");
    await one.ctl("snapshot", "save", backup);
    await write((writer) => writer.put(endpoint(2)));
    const stateDir = newStateDir();
    const first = await follow(undefined, { stateDir });
    await first.inSync();
    await first.stop();
    await one.kill();
    await one.restore(backup);
    await one.up();
    const second = await follow(undefined, { stateDir });
    await second.until("to be held", () => second.held !== undefined);
    expect(second.held).toMatchObject({ code: "RESTORED_BACKUP" });
    expect(second.types).toEqual(["held"]);
    expect(second.keys).toEqual([]);
    await second.stop();
    // The next agent knows it too, whatever the revision is by then.
    for (let n = 0; n < 5; n++) await write((writer) => writer.put(endpoint(3)));
    const third = await follow(undefined, { stateDir });
    await third.until("to be held", () => third.held?.code === "RESTORED_BACKUP");
  });

  test("of another GUID: nothing of it gets in, at the start or while it is followed", async () => {
    await serve();
    await write((writer) => writer.put(cluster(), endpoint(1)));
    const stateDir = newStateDir();
    const follower = await follow(undefined, { stateDir });
    await follower.inSync();
    await write((writer) => writer.put(endpoint(2), cluster({ clusterGUID: "guid-2" }), endpoint(3)));
    await follower.until("to be held", () => follower.held !== undefined);
    expect(follower.held).toMatchObject({ code: "OTHER_CLUSTER", what: expect.stringContaining('"guid-2"') as string });
    const later = await follow(undefined, { stateDir });
    await later.until("to be held", () => later.held?.code === "OTHER_CLUSTER");
    expect(later.keys).toEqual([]);
    await write((writer) => writer.put(cluster()));
    await follower.inSync();
    await later.inSync();
    expect(later.store.model.endpoints.size).toBe(3);
  });

  test("not ready, and ready again: with all that changed meanwhile", async () => {
    await serve();
    await write((writer) => writer.put(cluster({ datastoreReady: false }), endpoint(1)));
    const follower = await follow();
    await follower.until("to be held", () => follower.held?.code === "DATASTORE_NOT_READY");
    await write((writer) => writer.put(cluster()));
    await follower.inSync();
    await write((writer) => writer.put({ ...cluster(), value: "garbage" }));
    await follower.until("to be held", () => follower.held?.code === "DATASTORE_NOT_READY");
    expect(follower.held?.what).toContain("not JSON");
    await write((writer) => writer.delete(cluster().key));
    await follower.until("to be held", () => follower.held?.code === "CLUSTER_UNKNOWN");
    await write((writer) => writer.delete(endpoint(1).key).then(() => writer.put(endpoint(2), cluster())));
    await follower.inSync();
    expect([...follower.store.model.endpoints.keys()]).toEqual(["openstack/host2-openstack-vm--2-port--2"]);
  });
});

describe("the machine's own faults", () => {
  test("etcd is full: reads and watches go on, and the alarm is told", async () => {
    await serve({ args: ["--quota-backend-bytes=1000000"] });
    await write((writer) => writer.put(cluster(), endpoint(1)));
    const follower = await follow(undefined, { timing: { alarms: 50 } });
    await follower.inSync();
    const fill = write(async (writer) => {
      for (let n = 0; n < 60; n++) await writer.put({ key: `/fill/${n}`, value: "x".repeat(100_000) });
    });
    await expect(fill).rejects.toThrow(/database space exceeded/);
    await follower.until("the alarm", () => follower.problems.some(({ code }) => code === "ETCD_FULL"));
    expect(follower.datastore.state).toBe("following");
    // Deletes are still allowed.
    await write((writer) => writer.delete(endpoint(1).key));
    await follower.until("the deletion", () => follower.store.model.endpoints.size === 0);
    const later = await follow();
    await later.inSync();
  });

  test("the state directory cannot be written: that is told, and all is followed", async () => {
    await serve();
    await write((writer) => writer.put(cluster(), endpoint(1)));
    const stateDir = newStateDir();
    // As root there is no directory that cannot be written; but this name is taken.
    mkdirSync(`${new IdentityFile(stateDir).path}.${process.pid}`);
    const follower = await follow(undefined, { stateDir });
    await follower.until("the problem", () => follower.problems.some(({ code }) => code === "STATE_NOT_WRITTEN"));
    await follower.inSync();
    expect(follower.store.model.endpoints.size).toBe(1);
  });

  test("the identity file is no such file: nothing is applied until it is gone", async () => {
    await serve();
    await write((writer) => writer.put(cluster(), endpoint(1)));
    const stateDir = newStateDir();
    const { path } = new IdentityFile(stateDir);
    writeFileSync(path, '{"format":1,"clusterId":');
    const follower = await follow(undefined, { stateDir });
    await follower.until("to be held", () => follower.held?.code === "IDENTITY_UNREADABLE");
    expect(follower.held?.where).toBe(path);
    expect(follower.keys).toEqual([]);
    await new IdentityFile(stateDir).write({ clusterId: "1", revision: 0n, at: "now" });
    await follower.inSync();
    await follower.stop();
    expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject({ format: 1, guid: "guid-1" });
  });
});
