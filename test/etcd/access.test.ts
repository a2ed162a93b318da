/** Who may read: users and passwords, certificates. What is wrong is said so that a person can put it right. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { EtcdSettings } from "../../src/config/etcd.js";
import { ConfigError } from "../../src/errors.js";
import { Authority, type Signed } from "../support/certificates.js";
import { cluster, endpoint } from "../support/etcd-contents.js";
import { Follower, removeStateDirs, settingsFor } from "../support/etcd-follower.js";
import { TestEtcd } from "../support/etcd.js";

let directory: string;
let etcd: TestEtcd;
let follower: Follower | undefined;

async function start(settings: Partial<EtcdSettings>, timing = {}): Promise<Follower> {
  return (follower = await Follower.start({ ...settingsFor(etcd.url), ...settings }, { timing }));
}
async function refusal(settings: Partial<EtcdSettings>): Promise<string> {
  const one = await start(settings);
  await one.until("a loss", () => one.lostReason !== undefined);
  expect(one.keys).toEqual([]);
  return one.lostReason ?? "";
}
async function passwordFile(text: string): Promise<string> {
  const path = join(directory, `password-${Math.random()}`);
  await writeFile(path, text, { mode: 0o600 });
  return path;
}
beforeAll(async () => (directory = await mkdtemp(join(tmpdir(), "tb-access-"))));
afterEach(async () => {
  await follower?.stop();
  follower = undefined;
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
  removeStateDirs();
});

describe("users", () => {
  beforeAll(async () => {
    etcd = await TestEtcd.start({ args: ["--auth-token-ttl=1"] });
    for (const { key, value } of [cluster(), endpoint(1)]) await etcd.ctl("put", key, value);
    for (const name of ["torbie", "stranger"]) {
      await etcd.ctl("user", "add", `${name}:se"cret $(x)`);
      await etcd.ctl("role", "add", name);
      await etcd.ctl("user", "grant-role", name, name);
    }
    await etcd.ctl("role", "grant-permission", "torbie", "--prefix=true", "read", "/calico/");
    await etcd.ctl("role", "grant-permission", "stranger", "--prefix=true", "read", "/calico/resources/");
    await etcd.ctl("user", "add", "root:root");
    await etcd.ctl("user", "grant-role", "root", "root");
    await etcd.ctl("auth", "enable");
  });
  afterAll(() => etcd.remove());
  const login = async (username: string, password: string) => ({
    login: { username, passwordFile: await passwordFile(password) },
  });

  test("the right password, a line end behind it; the login token ends and is renewed, and changes go on", async () => {
    // Seldom heartbeats do not keep the token alive, which lasts a second.
    const one = await start(await login("torbie", 'se"cret $(x)\n'), { heartbeat: 1_600, alarms: 100_000 });
    await one.inSync();
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    await etcd.ctl("--user=root:root", "put", endpoint(2).key, endpoint(2).value);
    await one.until("the endpoint", () => one.keys.includes(endpoint(2).key));
    await etcd.kill();
    await one.until("a loss", () => one.lostReason !== undefined);
    one.forget();
    await etcd.up();
    await one.inSync();
    await etcd.ctl("--user=root:root", "del", endpoint(2).key);
    await one.until("the deletion", () => one.keys.includes(endpoint(2).key));
    expect(one.types.filter((type) => type !== "lost")).toEqual(["in-sync"]);
  });

  test("a wrong password, and one that is put right in its file", async () => {
    const settings = await login("torbie", "wrong");
    expect(await refusal(settings)).toMatch(/refuses the user torbie or the password: see etcd-username/);
    await writeFile(settings.login.passwordFile, 'se"cret $(x)');
    await follower?.inSync();
  });

  test("no user where one is wanted", async () => {
    expect(await refusal({})).toMatch(/wants a user: set etcd-username and etcd-password-file/);
  });

  test("a user who may not read all of it", async () => {
    expect(await refusal(await login("stranger", 'se"cret $(x)'))).toMatch(
      /does not let the user stranger read: grant the role read on the prefix \/calico\//,
    );
  });

  test.each([
    ["is missing", undefined, /etcd-password-file: ".*" cannot be read: ENOENT/],
    ["is empty", "\n", /etcd-password-file: ".*" is empty/],
  ])("the password's file %s", async (_, text, message) => {
    const file = text === undefined ? join(directory, "none") : await passwordFile(text);
    const starting = start({ login: { username: "torbie", passwordFile: file } });
    await expect(starting).rejects.toThrow(ConfigError);
    await expect(starting).rejects.toThrow(message);
  });
});

test("a user where there are none", async () => {
  etcd = await TestEtcd.start();
  try {
    expect(await refusal({ login: { username: "torbie", passwordFile: await passwordFile("x") } })).toMatch(
      /has no users .*leave out etcd-username/,
    );
    await follower?.stop();
  } finally {
    await etcd.remove();
  }
});

describe("certificates", () => {
  let ours: Authority;
  let theirs: Authority;
  let client: Signed;

  beforeAll(async () => {
    ours = await Authority.make(directory, "ours");
    theirs = await Authority.make(directory, "theirs");
    client = await ours.sign("client");
    const server = await ours.sign("server");
    etcd = await TestEtcd.start({ tls: { ca: ours.cert, ...server } });
    for (const { key, value } of [cluster(), endpoint(1)]) await etcd.ctl("put", key, value);
  });
  afterAll(() => etcd.remove());

  test("of the same authority on both sides", async () => {
    const one = await start({ tls: { ca: ours.cert, ...client } });
    await one.inSync();
    expect(one.store.model.endpoints.size).toBe(1);
  });

  test("etcd's is signed by somebody else", async () => {
    const reason = await refusal({ tls: { ca: theirs.cert, ...client } });
    expect(reason).toMatch(/TLS connection to https:.* failed: see etcd-ca, etcd-cert and etcd-key \(.*certificate/);
  });

  test.each([
    ["is signed by somebody else", () => theirs.sign("intruder")],
    ["has expired", () => ours.sign("late", -1)],
    ["is missing", () => Promise.resolve(undefined)],
  ])("ours %s", async (_, make) => {
    const mine = await make();
    expect(await refusal({ tls: { ca: ours.cert, ...mine } })).toMatch(/127\.0\.0\.1:\d+/);
    expect(follower?.lostReason).toMatch(/TLS connection|ECONNRESET|socket|disconnect/i);
  });

  test("one that is replaced in place is used at the next attempt", async () => {
    const path = join(directory, "mine.pem");
    await writeFile(path, "no certificate");
    const one = await start({ tls: { ca: ours.cert, cert: path, key: client.key } });
    await one.until("a loss", () => one.lostReason !== undefined);
    const { readFile } = await import("node:fs/promises");
    await writeFile(path, await readFile(client.cert));
    await one.inSync();
  });

  test("plain HTTP to an etcd that wants TLS", async () => {
    const one = await start({ endpoints: [etcd.url.replace("https", "http")] });
    await one.until("a loss", () => one.lostReason !== undefined);
    expect(one.keys).toEqual([]);
  });
});
