/** What a real Neutron wrote, step by step, followed live: after each step the model is that of a fresh look. */
import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { CompilerAdapter } from "../../src/agent/wire/pure.js";
import type { ModelStore } from "../../src/model/store.js";
import { cluster, Writer, type Pair } from "../support/etcd-contents.js";
import { Follower, removeStateDirs, settingsFor } from "../support/etcd-follower.js";
import { TestEtcd } from "../support/etcd.js";
import { recordedSteps, textOf } from "../support/recorded.js";

const fixture = (name: string): string =>
  readFileSync(new URL(`../fixtures/recorded/${name}`, import.meta.url), "utf8");
const CLUSTER = cluster().key;

let etcd: TestEtcd;
let writer: Writer;
let follower: Follower | undefined;

beforeAll(async () => {
  etcd = await TestEtcd.start();
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

/**
 * Everything in the model that may be compared: origins name revisions, label sets are numbered as they come, and of a value that
 * cannot be read only the one who saw a good version before has something.
 */
function plain(store: ModelStore, unreadable: readonly string[]): unknown {
  return JSON.parse(
    JSON.stringify(store.model, (key, value: unknown) => {
      if (key === "origin" || (key === "id" && typeof value === "number")) return undefined;
      if (value instanceof Map)
        return [...(value as Map<string, unknown>)]
          .filter(([id]) => !unreadable.some((where) => where.endsWith(`/${id}`)))
          .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      return value === Infinity ? "Infinity" : value;
    }),
  );
}
const unreadableIn = (store: ModelStore): string[] => {
  const spoilt = store.problems().filter(({ consequence }) => consequence.includes("last good version"));
  return [...new Set(spoilt.map(({ where }) => where.split(" ")[0] ?? ""))];
};

/** A model that takes in what etcd holds now, all at once. */
async function fresh(hostname: string): Promise<ModelStore> {
  const one = await Follower.start(settingsFor(etcd.url), { hostname });
  try {
    await one.inSync();
    return one.store;
  } finally {
    await one.stop();
  }
}

describe.each(["full", "dns"])("%s", (name) => {
  test.each(["host1", "host2", "host-3.example"])("its snapshot, as seen from %s", async (hostname) => {
    await writer.put(...(JSON.parse(fixture(`${name}.snapshot.json`)) as Pair[]));
    follower = await Follower.start(settingsFor(etcd.url), { hostname });
    await follower.inSync();
    const { model } = follower.store;
    expect(model.locals.size).toBeGreaterThan(0);
    const { desired } = await new CompilerAdapter().compile(model, undefined);
    expect(desired.endpoints.size).toBe(model.locals.size);
    // The incumbent leaves an endpoint behind when a port gets another device.
    const blocked = [...desired.endpoints.values()].flatMap((endpoint) => endpoint.blocked ?? []);
    expect(blocked.filter((why) => !why.includes("its interface belongs to"))).toEqual([]);
  });

  test("its steps, one by one", async () => {
    const steps = recordedSteps(name);
    expect(steps.length).toBeGreaterThan(70);
    const hostname = "host1";
    const compiler = new CompilerAdapter();
    let compared = 0;
    let unread = 0;
    for (const { title, etcd: changes } of steps) {
      for (const change of changes) {
        if (change.op.startsWith("PUT")) await writer.put({ key: change.key, value: textOf(change) });
        else await writer.delete(change.key);
      }
      if (follower === undefined) {
        if (!changes.some(({ key }) => key === CLUSTER)) continue;
        follower = await Follower.start(settingsFor(etcd.url), { hostname });
        await follower.inSync();
        await compiler.compile(follower.store.model, undefined);
        follower.store.takeDelta();
      }
      // What comes after it in etcd comes after it here.
      const mark = { key: "/calico/dhcp/v2/no-region/subnet/mark", value: JSON.stringify({ step: title }) };
      const { key: policyMark, value } = {
        key: "/calico/resources/v3/projectcalico.org/tiers/mark",
        value: JSON.stringify({ spec: { order: compared } }),
      };
      const one = follower;
      one.forget();
      await writer.put(mark, { key: policyMark, value });
      await one.until(`both marks of: ${title}`, () => one.keys.includes(mark.key) && one.keys.includes(policyMark));
      await compiler.compile(one.store.model, one.store.takeDelta());
      const again = await fresh(hostname);
      const unreadable = unreadableIn(one.store);
      expect(plain(one.store, unreadable), title).toEqual(plain(again, unreadable));
      unread = Math.max(unread, unreadable.length);
      const { desired } = await new CompilerAdapter().compile(again.model, undefined);
      expect([...desired.endpoints.keys()].sort(), title).toEqual([...one.store.model.locals.keys()].sort());
      compared++;
    }
    expect(compared).toBeGreaterThan(70);
    // Someone spoilt values by hand in one of them.
    expect(unread).toBeLessThan(2);
  }, 180_000);
});
