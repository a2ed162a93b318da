import { execFileSync } from "node:child_process";
import { mkdtemp, mkdir, rename, rm, symlink, truncate, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { DatastoreEvent, KeyChange } from "../../../src/datastore/types.js";
import { YamlDirectory } from "../../../src/datastore/yaml-directory.js";
import { keyOf } from "../../../src/model/keys.js";
import type { Problem } from "../../../src/problems.js";

const tier = (name: string, order = 1): string => `kind: Tier\nmetadata: {name: ${name}}\nspec: {order: ${order}}\n`;
const key = (name: string): string => keyOf("Tier", name);

let directory: string;
let datastore: YamlDirectory | undefined;
let events: DatastoreEvent[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tb-yaml-"));
  events = [];
});
afterEach(async () => {
  await datastore?.stop();
  datastore = undefined;
  await rm(directory, { recursive: true, force: true });
});

const file = (name: string): string => join(directory, name);
const start = async (path = directory): Promise<void> => {
  datastore = new YamlDirectory({ path, hostname: "h", quietMs: 30 });
  await datastore.start((event) => events.push(event));
};
const until = (check: () => void, timeout = 8000): Promise<void> => vi.waitFor(check, { timeout, interval: 10 });
const inSync = (): Promise<void> => until(() => expect(events.map(({ type }) => type)).toContain("in-sync"));

/** What somebody who follows the events has now. */
function state(): Record<string, number | undefined> {
  const held = new Map<string, KeyChange>();
  for (const event of events) {
    if (event.type === "snapshot-begin") held.clear();
    if (event.type === "changes")
      for (const change of event.changes) {
        if (change.op === "put") held.set(change.key, change);
        else held.delete(change.key);
      }
  }
  return Object.fromEntries(
    [...held]
      .filter(([name]) => name.includes("/tiers/"))
      .map(([name, change]) => {
        const raw = change.op === "put" && "object" in change.value ? change.value.object : undefined;
        return [name.slice(name.lastIndexOf("/") + 1), (raw as { spec?: { order?: number } } | undefined)?.spec?.order];
      }),
  );
}
function problems(): readonly Problem[] {
  const last = events.findLast((event) => event.type === "problems");
  return last?.type === "problems" ? last.problems : [];
}
const codes = (): string[] => problems().map(({ code }) => code);

describe("from start to change", () => {
  test("one snapshot, then only what differs", async () => {
    await writeFile(file("a.yaml"), tier("a"));
    await writeFile(file("b.yml"), `${tier("b")}---\n${tier("c")}`);
    await writeFile(file("notes.txt"), "not YAML: [");
    await writeFile(file(".hidden.yaml"), "[");
    await start();
    await inSync();
    expect(events.map(({ type }) => type)).toEqual(["snapshot-begin", "changes", "in-sync"]);
    expect(state()).toEqual({ a: 1, b: 1, c: 1 });
    events.length = 0;
    await writeFile(file("b.yml"), `${tier("b", 2)}---\n${tier("d")}`);
    await until(() => expect(events.map(({ type }) => type)).toEqual(["changes"]));
    expect(events[0]).toMatchObject({
      changes: [
        { op: "put", key: key("b"), origin: `${file("b.yml")}:1` },
        { op: "put", key: key("d"), origin: `${file("b.yml")}:5` },
        { op: "delete", key: key("c") },
      ],
    });
  });

  test("a directory has no cluster: it is ready, unless it says otherwise", async () => {
    await writeFile(file("a.yaml"), tier("a"));
    await start();
    await inSync();
    const cluster = keyOf("ClusterInformation", "default");
    const first = events.find((event) => event.type === "changes");
    expect(first).toMatchObject({
      changes: [{ key: key("a") }, { key: cluster, value: { object: { spec: { datastoreReady: true } } } }],
    });
    events.length = 0;
    await writeFile(
      file("c.yaml"),
      "kind: ClusterInformation\nmetadata: {name: default}\nspec: {datastoreReady: false}\n",
    );
    await until(() =>
      expect(events).toMatchObject([
        { changes: [{ op: "put", key: cluster, value: { object: { spec: { datastoreReady: false } } } }] },
      ]),
    );
  });

  test("an editor that writes beside and renames, and a burst of writes", async () => {
    await writeFile(file("a.yaml"), tier("a"));
    await start();
    await inSync();
    await writeFile(file("a.yaml~"), tier("a", 2));
    await rename(file("a.yaml~"), file("a.yaml"));
    await until(() => expect(state()).toEqual({ a: 2 }));
    events.length = 0;
    for (let i = 10; i <= 30; i++) await writeFile(file("a.yaml"), tier("a", i));
    await until(() => expect(state()).toEqual({ a: 30 }));
    expect(events.length).toBeLessThan(10);
  });

  test("a file that goes takes its resources along", async () => {
    await writeFile(file("a.yaml"), tier("a"));
    await writeFile(file("b.yaml"), tier("b"));
    await start();
    await inSync();
    await unlink(file("b.yaml"));
    await until(() => expect(state()).toEqual({ a: 1 }));
  });

  test("nothing happens after stop", async () => {
    await writeFile(file("a.yaml"), tier("a"));
    await start();
    await inSync();
    await datastore?.stop();
    events.length = 0;
    await writeFile(file("a.yaml"), tier("a", 2));
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(events).toEqual([]);
  });
});

describe("what cannot be read keeps what it held", () => {
  beforeEach(async () => {
    await writeFile(file("a.yaml"), tier("a"));
    await writeFile(file("b.yaml"), tier("b"));
    await start();
    await inSync();
  });

  test("a syntax error, named with line and column, until it is mended", async () => {
    await writeFile(file("b.yaml"), "kind: Tier\nmetadata: [\n");
    await writeFile(file("a.yaml"), tier("a", 2));
    await until(() => expect([codes(), state()]).toEqual([["BAD_YAML"], { a: 2, b: 1 }]));
    expect(problems()[0]?.where).toMatch(/b\.yaml:\d+:\d+$/);
    await writeFile(file("b.yaml"), tier("b", 3));
    await until(() => expect([codes(), state()]).toEqual([[], { a: 2, b: 3 }]));
  });

  test("a document of no known kind keeps the whole file", async () => {
    await writeFile(file("b.yaml"), `${tier("c")}---\nkind: Teir\nmetadata: {name: b}\n`);
    await until(() => expect([codes(), state()]).toEqual([["UNKNOWN_KIND"], { a: 1, b: 1 }]));
  });

  test("an emptied file, a file of 100 MB, a directory, a pipe, a circular link and text that is not UTF-8", async () => {
    await writeFile(file("b.yaml"), "\n");
    await until(() => expect([codes(), state()]).toEqual([["EMPTY_FILE"], { a: 1, b: 1 }]));
    await truncate(file("b.yaml"), 100 * 1024 * 1024);
    await until(() => expect([codes(), state()]).toEqual([["TOO_LARGE"], { a: 1, b: 1 }]));
    await unlink(file("b.yaml"));
    await mkdir(file("b.yaml"));
    await until(() => expect(codes()).toEqual(["NOT_A_FILE"]));
    await rm(file("b.yaml"), { recursive: true });
    execFileSync("mkfifo", [file("b.yaml")]);
    await until(() => expect(codes()).toEqual(["NOT_A_FILE"]));
    await rm(file("b.yaml"));
    await symlink("b.yaml", file("b.yaml"));
    await until(() =>
      expect([codes(), problems()[0]?.what]).toEqual([["UNREADABLE"], expect.stringContaining("ELOOP")]),
    );
    await rm(file("b.yaml"));
    await writeFile(file("b.yaml"), Buffer.from([0x6b, 0xff, 0xfe]));
    await until(() =>
      expect([codes(), problems()[0]?.what]).toEqual([["UNREADABLE"], expect.stringContaining("utf-8")]),
    );
    await writeFile(file("b.yaml"), tier("b", 4));
    await until(() => expect([codes(), state()]).toEqual([[], { a: 1, b: 4 }]));
  });

  test("a directory that empties, vanishes and comes back", async () => {
    await unlink(file("a.yaml"));
    await rename(file("b.yaml"), file("b.off"));
    await until(() => expect(codes()).toEqual(["EMPTY_DIRECTORY"]));
    await rename(directory, `${directory}.away`);
    await until(() => expect(codes()).toEqual(["NO_DIRECTORY"]));
    expect(state()).toEqual({ a: 1, b: 1 });
    await mkdir(directory);
    await writeFile(file("c.yaml"), tier("c"));
    await until(() => expect([codes(), state()]).toEqual([[], { c: 1 }]));
    await writeFile(file("c.yaml"), tier("c", 2));
    await until(() => expect(state()).toEqual({ c: 2 }));
    await rm(`${directory}.away`, { recursive: true });
  });

  test("the same key twice: the first file by name wins, and stays it", async () => {
    await writeFile(file("0.yaml"), tier("b", 9));
    await until(() => expect([codes(), state()]).toEqual([["DUPLICATE"], { a: 1, b: 9 }]));
    expect(problems()[0]).toMatchObject({ where: `${file("b.yaml")}:1` });
    await writeFile(file("b.yaml"), tier("b", 5));
    await until(() => expect(events.at(-1)?.type).toBe("problems"), 500).catch(() => undefined);
    expect(state()).toEqual({ a: 1, b: 9 });
    await unlink(file("0.yaml"));
    await until(() => expect([codes(), state()]).toEqual([[], { a: 1, b: 5 }]));
  });

  test("a target of a link is followed without a word from inotify", async () => {
    const target = `${directory}.target`;
    await writeFile(target, tier("l"));
    await symlink(target, file("l.yaml"));
    await until(() => expect(state()).toEqual({ a: 1, b: 1, l: 1 }));
    await writeFile(target, tier("l", 2));
    await until(() => expect(state()).toEqual({ a: 1, b: 1, l: 2 }));
    await rm(target);
  });
});

describe("a start that does not find all", () => {
  test("is not in sync until every file was read once: one of them may hold a Deny", async () => {
    await writeFile(file("a.yaml"), tier("a"));
    await writeFile(file("b.yaml"), "[");
    await start();
    await until(() => expect(codes()).toEqual(["BAD_YAML", "NOT_IN_SYNC"]));
    expect([state(), events.map(({ type }) => type)]).toEqual([{ a: 1 }, ["problems", "snapshot-begin", "changes"]]);
    await writeFile(file("b.yaml"), tier("b"));
    await inSync();
    expect([codes(), state(), events.at(-1)]).toEqual([[], { a: 1, b: 1 }, { type: "in-sync" }]);
  });

  test("an empty or missing directory says nothing but that", async () => {
    await start(file("sub"));
    await until(() => expect(codes()).toEqual(["NO_DIRECTORY"]));
    await mkdir(file("sub"));
    await until(() => expect(codes()).toEqual(["EMPTY_DIRECTORY"]));
    expect(events.every(({ type }) => type === "problems")).toBe(true);
    await writeFile(file("sub/a.yaml"), tier("a"));
    await inSync();
    expect(codes()).toEqual([]);
  });

  test("a file where the directory should be can never work", async () => {
    await writeFile(file("a.yaml"), tier("a"));
    await expect(start(file("a.yaml"))).rejects.toMatchObject({ code: "NOT_A_DIRECTORY" });
  });
});
