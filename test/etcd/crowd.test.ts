/** An etcd that others use as well: a million keys of theirs. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { cluster, endpoint, Writer } from "../support/etcd-contents.js";
import { Follower, removeStateDirs, settingsFor } from "../support/etcd-follower.js";
import { TestEtcd } from "../support/etcd.js";

const OTHERS = 1_000_000;
const OPERATIONS = 5_000;
/** Before, between and behind what is read. */
const PLACES = [
  "/aaa/",
  "/registry/pods/",
  "/calico/felix/v2/no-region/host/h/workload/openstack/",
  "/calico/resources/v3/projectcalico.org/blockaffinities/",
  "/zzz/",
];

let etcd: TestEtcd;
let writer: Writer;

beforeAll(async () => {
  etcd = await TestEtcd.start({
    args: [
      "--unsafe-no-fsync",
      `--max-txn-ops=${OPERATIONS}`,
      "--max-request-bytes=8388608",
      "--snapshot-count=10000000",
    ],
  });
  writer = new Writer(etcd.url, OPERATIONS);
  for (let at = 0; at < OTHERS; at += OPERATIONS) {
    const others = Array.from({ length: OPERATIONS }, (_, n) => ({
      key: `${PLACES[n % PLACES.length] ?? ""}${at + n}`,
      value: "x".repeat(50),
    }));
    await writer.put(...others);
  }
  await writer.put(cluster(), endpoint(1));
}, 300_000);
afterAll(async () => {
  writer?.close();
  await etcd?.remove();
  removeStateDirs();
});

test("a million keys of others are neither read nor followed", async () => {
  const count = await writer.client.kv.range({ key: Buffer.from([0]), range_end: Buffer.from([0]), count_only: true });
  expect(Number(count.count)).toBe(OTHERS + 2);
  const follower = await Follower.start(settingsFor(etcd.url));
  try {
    await follower.inSync();
    expect(follower.keys).toHaveLength(2);
    await writer.put(...PLACES.map((place) => ({ key: `${place}later`, value: "{}" })), endpoint(2));
    await follower.until("the endpoint", () => follower.keys.includes(endpoint(2).key));
    expect(follower.keys).toHaveLength(3);
    expect(follower.store.model.endpoints.size).toBe(2);
  } finally {
    await follower.stop();
  }
});
