/** torbie datastore dump, load, diff and accept, between a real etcd and real directories. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { datastoreAccess } from "../../src/cli/datastore-access.js";
import { YamlDirectory } from "../../src/datastore/yaml-directory.js";
import { ModelStore } from "../../src/model/store.js";
import { cluster, endpoint, group, Writer, type Pair } from "../support/etcd-contents.js";
import { Follower, removeStateDirs, settingsFor } from "../support/etcd-follower.js";
import { freePorts, TestEtcd } from "../support/etcd.js";
import { cli, type Ran } from "../unit/cli/fake.js";

let etcd: TestEtcd;
let writer: Writer;
let directory: string;

const torbie = (...words: string[]): Promise<Ran> =>
  cli(["datastore", ...words, "--etcd-endpoints", etcd.url], {
    datastore: (loaded) => Promise.resolve().then(() => datastoreAccess(loaded)),
  });
const at = (name: string): string => join(directory, name);
const recorded = (name: string): Pair[] =>
  JSON.parse(readFileSync(new URL(`../fixtures/recorded/${name}.snapshot.json`, import.meta.url), "utf8")) as Pair[];
const ours = ({ key }: Pair): boolean => /^\/calico\/(resources\/v3|dhcp\/v2)\//.test(key);

async function contents(): Promise<Map<string, string>> {
  const { kvs } = await writer.client.kv.range({ key: Buffer.from("/"), range_end: Buffer.from("0") });
  return new Map(kvs.map(({ key, value }) => [key.toString(), value.toString()]));
}
async function fromDirectory(path: string, hostname: string): Promise<ModelStore> {
  const store = new ModelStore(hostname);
  const yaml = new YamlDirectory({ path, hostname, quietMs: 1 });
  await new Promise<void>((resolve, reject) => {
    const problems = (): void => reject(new Error(JSON.stringify(store.problems())));
    const timer = setTimeout(problems, 10_000);
    void yaml.start((event) => {
      store.apply(event);
      if (event.type === "in-sync") resolve(clearTimeout(timer));
    });
  });
  await yaml.stop();
  return store;
}

beforeAll(async () => {
  etcd = await TestEtcd.start();
  writer = new Writer(etcd.url);
});
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), "tb-transfer-"))));
afterEach(async () => {
  rmSync(directory, { recursive: true, force: true });
  await writer.client.delete().all();
});
afterAll(async () => {
  writer.close();
  await etcd.remove();
  removeStateDirs();
});

describe.each(["full", "dns"])("what a real Neutron wrote (%s)", (name) => {
  test("goes to YAML and comes back the same", async () => {
    await writer.put(...recorded(name));
    const before = await contents();
    expect(await torbie("dump", "--out", at("d"))).toMatchObject({ exit: 0, err: "" });
    expect(await torbie("diff", at("d"))).toMatchObject({ exit: 0, out: "They say the same.\n" });
    await writer.client.delete().all();
    const loaded = await torbie("load", at("d"));
    expect(loaded).toMatchObject({ exit: 0, err: "" });
    expect(loaded.out).toMatch(/clusterinformations\/default \(.*\n.*keys written\.\n$/);
    // Subnets are compared as text by the driver's resync: not a space may differ.
    const after = await contents();
    expect([...after.keys()]).toEqual([...before.keys()].filter((key) => ours({ key, value: "" })));
    for (const [key, value] of after) {
      if (key.includes("/subnet/")) expect(value).toBe(before.get(key));
      expect(JSON.parse(value)).toEqual(JSON.parse(before.get(key) ?? ""));
    }
    expect(await torbie("load", at("d"), "--prune")).toMatchObject({ exit: 0, out: "Nothing to write.\n" });
  });

  test("means the same as a directory", async () => {
    await writer.put(...recorded(name));
    await torbie("dump", "--out", at("d"));
    const yaml = await fromDirectory(at("d"), "host1");
    const follower = await Follower.start(settingsFor(etcd.url));
    await follower.inSync();
    await follower.stop();
    for (const field of ["endpoints", "policies", "profiles", "tiers", "networkSets", "subnets", "migrations"] as const)
      expect([...yaml.model[field].keys()].sort()).toEqual([...follower.store.model[field].keys()].sort());
    expect(yaml.model.cluster).toEqual(follower.store.model.cluster);
    const prefixes = (store: ModelStore): unknown =>
      [...store.model.endpoints.values()].map(({ id, prefixes }) => [id, prefixes]).sort();
    expect(prefixes(yaml)).toEqual(prefixes(follower.store));
  });
});

describe("dump", () => {
  test("to the standard output is one YAML stream", async () => {
    await writer.put(cluster(), endpoint(1), endpoint(2), group("web"));
    const { out, exit } = await torbie("dump");
    expect(exit).toBe(0);
    writeFileSync(at("all.yaml"), out);
    expect(await torbie("diff", directory)).toMatchObject({ exit: 0 });
  });

  test("names what YAML cannot say the same, and leaves it out", async () => {
    const other = { ...group("web"), value: group("other").value };
    const deep = { ...group("deep"), value: `{"spec":${"[".repeat(3_000)}${"]".repeat(3_000)}}` };
    await writer.put(cluster(), other, { ...endpoint(1), value: "{" }, deep, group("good"));
    const { exit, out, err } = await torbie("dump", "--out", at("d"));
    expect(exit).toBe(1);
    expect(out).toMatch(/^2 keys in 2 files .*; 3 left out\n$/);
    expect(err.trim().split("\n")).toHaveLength(3);
    expect(err).toMatch(/ossg\.default\.web: what it says of itself belongs to another key/);
    expect(err).toMatch(/port--1: its value is not JSON/);
    expect(err).toMatch(/ossg\.default\.deep: /);
  });

  test("keeps odd text as it is", async () => {
    const odd = [
      "yes",
      "1e3",
      "0x10",
      "~",
      "null",
      " a ",
      "a: b",
      "- x",
      "#c",
      "line\nline",
      "tab\t",
      "é☃",
      "'\"",
      "%a",
      "@b",
      "",
    ];
    const pair = group("odd");
    const value = JSON.parse(pair.value) as { metadata: Record<string, unknown> };
    value.metadata["annotations"] = Object.fromEntries(odd.map((text, n) => [`k${n} ${text}`, text]));
    await writer.put(cluster(), { ...pair, value: JSON.stringify(value) });
    await torbie("dump", "--out", at("d"));
    expect(await torbie("diff", at("d"))).toMatchObject({ exit: 0 });
  });

  test("never mixes with what is there", async () => {
    await writer.put(cluster());
    writeFileSync(at("mine.yml"), "");
    const { exit, err } = await torbie("dump", "--out", directory);
    expect(exit).toBe(6);
    expect(err).toContain("mine.yml");
    expect(readdirSync(directory)).toEqual(["mine.yml"]);
  });

  test("of many endpoints is many files that can be read", async () => {
    await writer.put(cluster(), ...Array.from({ length: 3_000 }, (_, n) => endpoint(n)));
    expect(await torbie("dump", "--out", at("d"))).toMatchObject({ exit: 0 });
    expect(readdirSync(at("d")).filter((name) => name.startsWith("workloadendpoints-")).length).toBeGreaterThan(1);
    expect(await torbie("diff", at("d"))).toMatchObject({ exit: 0 });
  });
});

describe("diff and load", () => {
  const groups = (port: number): string =>
    `kind: NetworkPolicy\nmetadata: {name: web}\nspec:\n  selector: all()\n  ingress:\n  - {action: Allow, protocol: TCP, destination: {ports: [${port}]}}\n`;

  test("every difference is named; a load takes them away, but deletes nothing unasked", async () => {
    await writer.put(cluster(), endpoint(1), group("old"));
    writeFileSync(at("groups.yaml"), groups(80));
    const first = await torbie("diff", directory);
    expect(first.exit).toBe(1);
    expect(
      first.out
        .trim()
        .split("\n")
        .map((line) => line.split(": ")[0]),
    ).toEqual(["only in etcd", "only in etcd", "only in the directory", "only in etcd"]);
    const before = await contents();
    const dry = await torbie("load", directory, "--dry-run", "--prune");
    expect(dry).toMatchObject({ exit: 0 });
    expect(dry.out).toMatch(/would create .*web \(.*groups\.yaml:1\)/);
    expect(dry.out).toMatch(/would delete .*ossg\.default\.old/);
    expect(await contents()).toEqual(before);

    expect((await torbie("load", directory)).out).toMatch(
      /1 keys written; 3 only in etcd stay \(--prune deletes them\)/,
    );
    const web = "/calico/resources/v3/projectcalico.org/networkpolicies/openstack/web";
    const written = JSON.parse((await contents()).get(web) ?? "") as { metadata: Record<string, string> };
    expect(written.metadata).toMatchObject({ name: "web", namespace: "openstack" });
    expect(written.metadata["uid"]).toMatch(/^[0-9a-f-]{36}$/);
    expect(written.metadata["creationTimestamp"]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);

    writeFileSync(at("groups.yaml"), groups(443));
    const second = await torbie("diff", directory, "--json");
    expect(second.exit).toBe(1);
    const { differences } = JSON.parse(second.out) as { differences: { key: string; paths?: string[] }[] };
    expect(differences.find(({ key }) => key === web)?.paths).toEqual(["spec.ingress[0].destination.ports[0]"]);
    const pruned = await torbie("load", directory, "--prune");
    expect(pruned).toMatchObject({ exit: 0 });
    // Endpoints go before the groups that they are in.
    expect(pruned.out.indexOf("workloadendpoints")).toBeLessThan(pruned.out.indexOf("ossg.default.old"));
    const after = await contents();
    expect([...after.keys()].sort()).toEqual([cluster().key, web].sort());
    const again = JSON.parse(after.get(web) ?? "") as { metadata: Record<string, string> };
    expect(again.metadata["uid"]).toBe(written.metadata["uid"]);
  });

  test("a key that somebody else changes in between is left to them", async () => {
    await writer.put(cluster(), group("web"));
    const access = (loaded: Parameters<typeof datastoreAccess>[0]) => {
      const real = datastoreAccess(loaded);
      return Promise.resolve({
        ...real,
        write: async (writes: Parameters<typeof real.write>[0]) => {
          await writer.put(group("web", 99), group("new", 99));
          return real.write(writes);
        },
      });
    };
    await torbie("dump", "--out", at("d"));
    const [file = ""] = readdirSync(at("d")).filter((name) => name.startsWith("networkpolicies"));
    const text = readFileSync(at(`d/${file}`), "utf8");
    writeFileSync(
      at(`d/${file}`),
      `${text.replace("- 22", "- 23")}---\n${text.replaceAll("default.web", "default.new")}`,
    );
    const ran = await cli(["datastore", "load", at("d"), "--etcd-endpoints", etcd.url], { datastore: access });
    expect(ran.exit).toBe(1);
    expect(ran.err.trim().split("\n")).toHaveLength(2);
    expect(ran.err).toContain("somebody else changed it meanwhile");
    const now = await contents();
    expect(now.get(group("web").key)).toBe(group("web", 99).value);
    expect(now.get(group("new").key)).toBe(group("new", 99).value);
  });

  test.each([
    ["a file that is no YAML", "a: [", 2, /bad\.yaml:\d+:\d+: /],
    ["two of a kind", `${groups(1)}---\n${groups(2)}`, 2, /is defined at .*bad\.yaml:1 already/],
  ])("%s is refused as a whole", async (_, text, exit, message) => {
    await writer.put(cluster());
    writeFileSync(at("bad.yaml"), text);
    const ran = await torbie("load", directory, "--prune");
    expect(ran.exit).toBe(exit);
    expect(ran.err).toMatch(message);
    expect((await contents()).size).toBe(1);
  });

  test("no such directory, no etcd: exit statuses of their own", async () => {
    expect((await torbie("diff", at("none"))).exit).toBe(3);
    const [port] = await freePorts(1);
    const away = ["datastore", "diff", directory, "--etcd-endpoints", `http://127.0.0.1:${port}`];
    const datastore = (loaded: Parameters<typeof datastoreAccess>[0]) => Promise.resolve(datastoreAccess(loaded));
    expect(await cli(away, { datastore })).toMatchObject({
      exit: 3,
      err: expect.stringContaining("ECONNREFUSED") as string,
    });
    expect(await cli(away.slice(0, 3), { datastore })).toMatchObject({ exit: 2 });
  });
});

describe("accept", () => {
  test("lets an agent that is held go on with what is there now", async () => {
    const stateDir = at("state");
    await writer.put(cluster(), endpoint(1));
    const follower = await Follower.start(settingsFor(etcd.url), { stateDir });
    try {
      await follower.inSync();
      await writer.put(cluster({ clusterGUID: "guid-2" }), endpoint(2));
      await follower.until("to be held", () => follower.held?.code === "OTHER_CLUSTER");
      const ran = await torbie("accept", "--state-dir", stateDir);
      expect(ran).toMatchObject({ exit: 0 });
      expect(ran.out).toMatch(
        /accepted: cluster "guid-2" at revision \d+ \(before: cluster "guid-1" at revision \d+\)/,
      );
      await follower.inSync();
      expect(follower.store.model.endpoints.size).toBe(2);
    } finally {
      await follower.stop();
    }
  });

  test("there is nothing to accept in an empty etcd", async () => {
    const ran = await torbie("accept", "--state-dir", at("state"));
    expect(ran).toMatchObject({ exit: 6, err: expect.stringContaining("nothing to accept") as string });
    expect(readdirSync(directory)).toEqual([]);
  });
});
