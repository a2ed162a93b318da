/** Values that nobody should write, as a real etcd hands them on: each costs itself, and nothing else. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { keyOf } from "../../src/model/keys.js";
import { cluster, endpoint, group, Writer, type Pair } from "../support/etcd-contents.js";
import { Follower, removeStateDirs, settingsFor } from "../support/etcd-follower.js";
import { TestEtcd } from "../support/etcd.js";

let etcd: TestEtcd;
let writer: Writer;
let follower: Follower | undefined;

beforeAll(async () => {
  etcd = await TestEtcd.start({ args: ["--max-request-bytes=4000000"] });
  writer = new Writer(etcd.url);
});
afterEach(async () => {
  await follower?.stop();
  follower = undefined;
  await writer.client.delete().all();
});
afterAll(async () => {
  writer.close();
  await etcd.remove();
  removeStateDirs();
});

async function start(...pairs: readonly Pair[]): Promise<Follower> {
  await writer.put(cluster(), endpoint(1, "host1"), ...pairs);
  follower = await Follower.start(settingsFor(etcd.url));
  await follower.inSync();
  return follower;
}
const web = group("web");
const mine = endpoint(7, "host1");
/** The same policy with its rules given as text. */
const withIngress = (rules: string): Pair => ({
  key: web.key,
  value: web.value.replace(/"ingress":\[.*?\],"egress"/, `"ingress":${rules},"egress"`),
});
const large = `[${Array.from({ length: 17_500 }, (_, n) => `{"action":"Allow","ipVersion":4,"protocol":"TCP","destination":{"ports":[${1 + (n % 65_000)}]},"source":{"nets":["10.${(n >> 8) & 255}.${n & 255}.0/24"]}}`).join()}]`;

describe.each<[string, Pair, { readonly code?: string; readonly size?: number }]>([
  ["is not JSON", { ...web, value: "{" }, { code: "NOT_JSON" }],
  ["is empty", { ...web, value: "" }, { code: "NOT_JSON" }],
  ["is a list", { ...web, value: "[]" }, { code: "NOT_AN_OBJECT" }],
  ["lacks its spec", { ...web, value: '{"kind":"NetworkPolicy"}' }, { code: "NO_SPEC" }],
  ["nests 10,000 deep", withIngress("[".repeat(10_000) + "]".repeat(10_000)), {}],
  ["nests 10,000 deep, and is cut off there", { ...web, value: '{"spec":'.repeat(10_000) }, { code: "NOT_JSON" }],
  ["has a name that differs from its key", { ...web, value: group("other").value }, { code: "KEY_MISMATCH" }],
  ["has the key of another host", { ...mine, value: endpoint(7, "host2").value }, { code: "KEY_MISMATCH" }],
  ["is no endpoint's name", { ...mine, key: `${keyOf("WorkloadEndpoint", "a-b", "openstack")}` }, { code: "BAD_KEY" }],
  ["has a hostile prototype", { ...web, value: '{"__proto__":{"spec":{}},"constructor":1}' }, { code: "NO_SPEC" }],
])("a value that %s", (_, bad, { code }) => {
  test("at the start: it is told, and costs nothing else", async () => {
    const { store } = await start(bad, endpoint(2));
    const problems = store.problems().filter(({ where }) => where.startsWith(bad.key));
    expect(problems.length).toBeGreaterThan(0);
    if (code !== undefined) expect(problems.map((problem) => problem.code)).toContain(code);
    expect(store.problems().length).toBe(problems.length);
    expect(store.model.locals.get("openstack/host1-openstack-vm--1-port--1" as never)?.blocked).toBeUndefined();
    expect(store.model.endpoints.has("openstack/host2-openstack-vm--2-port--2" as never)).toBe(true);
    for (const rule of store.model.policies.get("np:openstack/ossg.default.web" as never)?.ingress ?? [])
      expect(rule.inexpressible).toBeDefined();
  });

  test("in the place of a good one: the good one stays in force", async () => {
    const good = bad.key === web.key ? web : mine;
    if (bad.key !== good.key) return;
    const one = await start(web, mine);
    const before = structuredClone([...one.store.model.policies, ...one.store.model.locals]);
    await writer.put(bad);
    await one.until("the problem", () => one.store.problems().length > 0);
    if (code !== undefined) {
      expect(structuredClone([...one.store.model.policies, ...one.store.model.locals])).toEqual(before);
      expect(one.store.problems()[0]?.consequence).toBe("the last good version stays in force");
    }
    await writer.put(good);
    await one.until("no problem", () => one.store.problems().length === 0);
  });
});

test("a policy of 2 MB is read, and followed", async () => {
  const pair = withIngress(large);
  expect(pair.value.length).toBeGreaterThan(1_900_000);
  const one = await start(pair);
  expect(one.store.model.policies.get("np:openstack/ossg.default.web" as never)?.ingress).toHaveLength(17_500);
  await writer.put(withIngress(large.replace('"ports":[1]', '"ports":[2]')));
  await one.until(
    "the change",
    () =>
      one.store.model.policies.get("np:openstack/ossg.default.web" as never)?.ingress[0]?.destination.ports[0]
        ?.first === 2,
  );
});

test("hostile names are on one line, and are nobody's keys", async () => {
  const names = ["a\nb", "a\0b", "$(reboot)", "__proto__", "‮", "x".repeat(5_000)];
  const one = await start(
    ...names.flatMap((name) => [
      { key: keyOf("NetworkPolicy", name, "openstack"), value: "{" },
      { key: keyOf("WorkloadEndpoint", name, "openstack"), value: "{" },
      { key: keyOf("Profile", name), value: "{" },
    ]),
  );
  expect(one.store.problems().length).toBe(names.length * 3);
  for (const { where, what } of one.store.problems()) expect(where + what).not.toMatch(/[\n\0‮]/);
});

test("100 corrupt values in 10,000 cost those 100", async () => {
  const pairs = Array.from({ length: 10_000 }, (_, n) => endpoint(n + 100, n % 50 === 0 ? "host1" : "host2"));
  const spoiled = pairs.map((pair, n) => (n % 100 === 7 ? { ...pair, value: pair.value.slice(0, n % 300) } : pair));
  const { store } = await start(...spoiled);
  expect(store.problems()).toHaveLength(100);
  expect(store.model.endpoints.size).toBe(10_000 + 1 - 100);
  expect(store.model.locals.size).toBe(200 + 1);
  expect([...store.model.locals.values()].filter(({ blocked }) => blocked !== undefined)).toEqual([]);
});
