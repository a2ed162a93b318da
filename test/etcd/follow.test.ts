/** An etcd that works: what is read of it, and how it is followed. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { endpointId } from "../../src/model/keys.js";
import { cluster, endpoint, group, Writer } from "../support/etcd-contents.js";
import { Follower, removeStateDirs, settingsFor } from "../support/etcd-follower.js";
import { TestEtcd } from "../support/etcd.js";

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
const start = async (): Promise<Follower> => (follower = await Follower.start(settingsFor(etcd.url)));

describe("a snapshot", () => {
  test("comes in key order, with the revision of each key as its origin, and is followed", async () => {
    await writer.put(cluster(), group("web"), endpoint(2), endpoint(1, "host1"));
    const revision = await writer.revision();
    const { events, keys, store, types } = await start().then(async (one) => (await one.inSync(), one));
    expect(types).toEqual(["snapshot-begin", "in-sync"]);
    expect(keys).toEqual([...keys].sort());
    expect(keys).toHaveLength(4);
    const put = events.flatMap((event) => (event.type === "changes" ? event.changes : []))[0];
    expect(put).toMatchObject({ op: "put", origin: `etcd revision ${revision}` });
    expect([store.model.endpoints.size, store.model.locals.size, store.model.policies.size]).toEqual([2, 1, 1]);

    follower?.forget();
    const { key } = endpoint(2);
    await writer.put(endpoint(3));
    await writer.put(group("web", 80));
    await writer.delete(key);
    await follower?.until("the deletion", () => follower?.keys.includes(key) === true);
    expect(follower?.keys).toEqual([endpoint(3).key, group("web").key, key]);
    expect(store.model.policies.get("np:openstack/ossg.default.web" as never)?.ingress[0]?.destination.ports).toEqual([
      { first: 80, last: 80 },
    ]);
    expect([...store.model.endpoints.keys()].sort()).toEqual(
      [endpoint(1, "host1"), endpoint(3)].map(({ key }) => endpointId("openstack", key.split("/").at(-1) ?? "")).sort(),
    );
  });

  test("of many pages is whole, and each key comes once", async () => {
    await writer.put(cluster(), ...Array.from({ length: 3_000 }, (_, n) => endpoint(n)));
    const { keys } = await start().then(async (one) => (await one.inSync(), one));
    expect(keys).toHaveLength(3_001);
    expect(new Set(keys).size).toBe(3_001);
    expect(keys).toEqual([...keys].sort());
  });

  test("is told to lack kinds that nobody reads, one problem a kind", async () => {
    const kind = "/calico/resources/v3/projectcalico.org/adminpolicies/";
    await writer.put(cluster(), ...["a", "b"].map((name) => ({ key: kind + name, value: "{}" })));
    await writer.put({ key: "/calico/resources/v3/projectcalico.org/ippools/p", value: "{}" });
    await writer.put({ key: "/calico/resources/v3/example.org/things/ns/t", value: "{}" });
    await start();
    await follower?.until("a problem", () => (follower?.problems.length ?? 0) > 0);
    expect(follower?.problems.map(({ where, code }) => [where, code])).toEqual([
      ["/calico/resources/v3/example.org/things/", "NOT_SUPPORTED"],
      [kind, "NOT_SUPPORTED"],
    ]);
  });

  test("of a region reads that region's subnets", async () => {
    const subnet = (region: string) => ({
      key: `/calico/dhcp/v2/${region}/subnet/${region}`,
      value: '{"network_id": "n", "cidr": "10.0.0.0/24", "gateway_ip": null, "host_routes": []}',
    });
    await writer.put(cluster(), subnet("no-region"), subnet("region-north"));
    follower = await Follower.start({ ...settingsFor(etcd.url), region: "region-north" });
    await follower.inSync();
    expect([...follower.store.model.subnets.keys()]).toEqual(["region-north"]);
  });
});

describe("following", () => {
  test("thousands of changes at once become few batches, in order, and nothing is lost", async () => {
    await writer.put(cluster());
    const one = await start();
    await one.inSync();
    one.forget();
    const pairs = Array.from({ length: 4_000 }, (_, n) => endpoint(n));
    await writer.put(...pairs);
    await one.until("all", () => one.keys.length >= pairs.length);
    expect(one.keys).toEqual(pairs.map(({ key }) => key));
    const batches = one.events.filter(({ type }) => type === "changes").length;
    expect(batches).toBeLessThan(pairs.length / 10);
  });

  test("silence of the data is no loss: heartbeats go on", async () => {
    await writer.put(cluster());
    follower = await Follower.start(settingsFor(etcd.url), { timing: { heartbeat: 30 } });
    await follower.inSync();
    // More than the three ticks that a silent etcd would have.
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(follower.types).toEqual(["snapshot-begin", "in-sync"]);
    await writer.put(endpoint(1));
    await follower.until("the endpoint", () => follower?.keys.includes(endpoint(1).key) === true);
  });

  test("a stop ends it at once, and nothing comes after it", async () => {
    await writer.put(cluster());
    const one = await start();
    await one.inSync();
    await one.stop();
    one.forget();
    await writer.put(endpoint(1));
    expect(one.events).toEqual([]);
    expect(one.datastore.state).toBe("stopped");
  });
});
