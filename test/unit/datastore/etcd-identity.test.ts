/** Which etcd may be applied, and what is remembered of it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Backoff } from "../../../src/datastore/backoff.js";
import { clusterOf, IdentityFile, judge, type Found, type Identity } from "../../../src/datastore/etcd-identity.js";
import { EtcdMemory } from "../../../src/datastore/etcd-memory.js";
import type { Problem } from "../../../src/problems.js";

const known: Identity = { guid: "a", clusterId: "1", revision: 100n, at: "2026-01-01T00:00:00.000Z" };
const found = (more: Partial<Found> = {}): Found => ({
  clusterId: "1",
  revision: 100n,
  cluster: { guid: "a", ready: true },
  ...more,
});

describe("judging", () => {
  test.each<[string, Identity | undefined, Partial<Found>, string | undefined]>([
    ["the first that is ready", undefined, {}, undefined],
    ["the same", known, {}, undefined],
    ["a newer state of it", known, { revision: 101n }, undefined],
    ["the same cluster in another etcd, at least as new", known, { clusterId: "2" }, undefined],
    ["one that is empty, as the first", undefined, { cluster: undefined }, "CLUSTER_UNKNOWN"],
    ["one that was emptied", known, { cluster: undefined, revision: 1n }, "CLUSTER_UNKNOWN"],
    ["one that is not ready", undefined, { cluster: { guid: "a", ready: false } }, "DATASTORE_NOT_READY"],
    ["another cluster", known, { cluster: { guid: "b", ready: true } }, "OTHER_CLUSTER"],
    ["one that lost its GUID", known, { cluster: { ready: true } }, "OTHER_CLUSTER"],
    ["an older state", known, { revision: 99n }, "RESTORED_BACKUP"],
    ["an older state in another etcd", known, { clusterId: "2", revision: 99n }, "RESTORED_BACKUP"],
    ["one that was older once", { ...known, restored: "it was" }, { revision: 500n }, "RESTORED_BACKUP"],
    [
      "revisions beyond what a double holds",
      { ...known, revision: 2n ** 62n },
      { revision: 2n ** 62n - 1n },
      "RESTORED_BACKUP",
    ],
  ])("%s", (_, before, now, code) => {
    expect(judge(before, found(now))?.code).toBe(code);
  });

  test.each([
    ["{", /not JSON/],
    ['{"spec":{"datastoreReady":"yes"}}', /datastoreReady is "yes"/],
  ])("a ClusterInformation of %s is not ready, and it is said why", (text, why) => {
    const read = clusterOf(text);
    expect(judge(undefined, { ...found(), ...read })).toMatchObject({
      code: "DATASTORE_NOT_READY",
      what: expect.stringMatching(why) as string,
    });
  });
});

describe("remembering", () => {
  let directory: string;
  beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), "tb-identity-"))));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));
  const memoryOf = async (said: Problem[] = []): Promise<EtcdMemory> => {
    const memory = new EtcdMemory(
      new IdentityFile(directory),
      (problems) => void said.splice(0, said.length, ...problems),
    );
    await memory.open();
    return memory;
  };

  test("what was written is read back, by another one too", async () => {
    const file = new IdentityFile(directory);
    expect(await file.read()).toBeUndefined();
    await file.write({ ...known, revision: 2n ** 62n });
    expect(await file.read()).toEqual({ ...known, revision: 2n ** 62n });
    expect(await new IdentityFile(directory).read()).toEqual({ ...known, revision: 2n ** 62n });
  });

  test.each([
    ["{", /JSON/],
    ["null", /not a file that Torbie wrote/],
    ['{"format":1,"clusterId":"1","at":"x","revision":"-1"}', /no revision/],
    ['{"format":1,"clusterId":"1","at":"x","revision":"1","guid":7}', /not a file that Torbie wrote/],
  ])("a file of %s holds everything until it is gone", async (text, why) => {
    writeFileSync(join(directory, "datastore.json"), text);
    const memory = await memoryOf();
    expect(await memory.judge(found())).toMatchObject({
      code: "IDENTITY_UNREADABLE",
      what: expect.stringMatching(why) as string,
    });
    rmSync(join(directory, "datastore.json"));
    expect(await memory.judge(found())).toBeUndefined();
    await memory.close();
  });

  test("a newer revision that was heard of is known to the next agent", async () => {
    const first = await memoryOf();
    await first.applied(found());
    first.heard(150n);
    first.heard(120n);
    await first.close();
    const second = await memoryOf();
    expect((await second.judge(found({ revision: 149n })))?.code).toBe("RESTORED_BACKUP");
    // From now on a higher one is no proof.
    expect((await second.judge(found({ revision: 500n })))?.code).toBe("RESTORED_BACKUP");
    await second.close();
    const third = await memoryOf();
    expect((await third.judge(found({ revision: 500n })))?.code).toBe("RESTORED_BACKUP");
    await new IdentityFile(directory).write({ ...known, revision: 149n });
    expect(await third.judge(found({ revision: 149n }))).toBeUndefined();
    await third.close();
  });

  test("a file that cannot be written is a problem, and what it should hold is known nevertheless", async () => {
    const said: Problem[] = [];
    const memory = await memoryOf(said);
    rmSync(directory, { recursive: true, force: true });
    writeFileSync(directory, "");
    await memory.applied(found());
    expect(said).toMatchObject([{ code: "STATE_NOT_WRITTEN" }]);
    rmSync(directory);
    expect((await memory.judge(found({ revision: 1n })))?.code).toBe("RESTORED_BACKUP");
    expect(said).toEqual([]);
    expect(JSON.parse(readFileSync(join(directory, "datastore.json"), "utf8"))).toMatchObject({ revision: "100" });
    await memory.close();
  });
});

test("waits double up to the last, are spread over their second half, and begin anew", () => {
  const waits = new Backoff(100, 1_000, () => 0);
  expect([1, 2, 3, 4, 5, 6].map(() => waits.next())).toEqual([50, 100, 200, 400, 500, 500]);
  waits.reset();
  expect(waits.next()).toBe(50);
  const late = new Backoff(100, 1_000, () => 0.999);
  expect(late.next()).toBeLessThan(100);
  expect(late.next()).toBeGreaterThan(150);
});
