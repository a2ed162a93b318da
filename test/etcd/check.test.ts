/** What torbie check takes from a real etcd, and when it must not. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { wantedNow } from "../../src/check/wanted.js";
import { behind } from "../../src/compile/desired-text.js";
import { loadConfig, type LoadedConfig } from "../../src/config/load.js";
import { IdentityFile } from "../../src/datastore/etcd-identity.js";
import { cluster, endpoint, group, Writer } from "../support/etcd-contents.js";
import { TestEtcd } from "../support/etcd.js";

const HOST = "host1";
let etcd: TestEtcd;
let writer: Writer;
let stateDir: string;

const settings = (): LoadedConfig =>
  loadConfig({
    flags: new Map([
      ["datastore", "etcd"],
      ["etcd-endpoints", etcd.url],
      ["hostname", HOST],
      ["state-dir", stateDir],
    ]),
    environment: {},
  });

beforeAll(async () => {
  stateDir = mkdtempSync(join(tmpdir(), "tb-check-"));
  etcd = await TestEtcd.start();
  writer = new Writer(etcd.url);
});
afterAll(async () => {
  writer?.close();
  await etcd?.remove();
  rmSync(stateDir, { recursive: true, force: true });
});

const why = async (known?: string): Promise<string | undefined> => {
  const wanted = await wantedNow(settings(), known);
  return wanted.readable ? undefined : wanted.why;
};

test("an empty etcd, one that is not ready, and another cluster's hold", async () => {
  expect(await why()).toMatch(/ClusterInformation default: this etcd holds no ClusterInformation/);
  await writer.put(cluster({ datastoreReady: false }));
  expect(await why()).toMatch(/datastoreReady is not true/);
});

test("what it says is compiled as an agent would, and nothing is written", async () => {
  await writer.put(cluster(), group("web"), endpoint(1, HOST));
  const first = await wantedNow(settings(), undefined);
  if (!first.readable) throw new Error(first.why);
  expect(first.desired.endpoints.size).toBe(1);
  expect(first.problems).toEqual([]);
  expect(await new IdentityFile(stateDir).read()).toBeUndefined();
  await writer.put(endpoint(2, HOST));
  const second = await wantedNow(settings(), undefined);
  if (!second.readable) throw new Error(second.why);
  expect(behind(first.desired, second.desired).filter(({ kind }) => kind === "endpoint")).toMatchObject([
    { what: "not known to the agent" },
  ]);
});

test("another cluster than the one whose policy is in force, and a dead etcd, hold", async () => {
  await new IdentityFile(stateDir).write({
    guid: "another",
    clusterId: "1",
    revision: 1n,
    at: "2026-01-01T00:00:00.000Z",
  });
  expect(await why()).toMatch(/this etcd is of cluster/);
  await etcd.kill();
  expect(await why()).toMatch(/connect|refused|unavailable/i);
});
