/** What the commands for operators print of real maps, taps and flows: explain, map, flow, route and counter. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BpfMap } from "#libbpf";
import { MAPS } from "../../src/abi/layout.gen.js";
import { pinsIn } from "../../src/agent/wire/pins.js";
import { MAP_NAMES, mapPath } from "../../src/dataplane/bpf/pins.js";
import { Cloud } from "../support/cloud.js";
import { Conversation } from "../support/conversation.js";
import { guestSpec } from "../support/guests.js";
import { group, inGroup } from "../support/resources.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const OUT = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];
const client = group("client", { egress: OUT });
const server = (port: number) =>
  group("server", {
    ingress: [
      { action: "Allow", protocol: "TCP", source: { selector: inGroup("client") }, destination: { ports: [port] } },
    ],
    egress: OUT,
  });

interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

let cloud: Cloud;

/** torbie in the host's namespace, whatever its exit status. */
function torbie(...words: readonly string[]): Promise<Ran> {
  const { pinDir, runDir } = cloud.agent.workspace;
  const argv = cloud.world.host.argv([
    process.execPath,
    join(ROOT, "bin/torbie"),
    ...words,
    ...["--pin-dir", pinDir, "--run-dir", runDir],
  ]);
  return new Promise((resolve) => {
    execFile(argv[0] ?? "", argv.slice(1), { timeout: 30_000, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : typeof error.code === "number" ? error.code : -1, stdout, stderr });
    });
  });
}
const parsed = async (...words: readonly string[]): Promise<Record<string, unknown>> =>
  JSON.parse((await torbie(...words, "--json")).stdout) as Record<string, unknown>;
const lines = async (...words: readonly string[]): Promise<Record<string, unknown>[]> =>
  (await torbie(...words, "--json")).stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const datastore = (): string[] => ["--policy-dir", cloud.policyDir, "--hostname", "compute1"];
const explain = (...words: readonly string[]): Promise<Ran> => torbie("explain", ...words, ...datastore());
const explained = (...words: readonly string[]): Promise<Record<string, unknown>> =>
  parsed("explain", ...words, ...datastore());
const [CLIENT, SERVER] = ["tapclient", "tapserver"];

/** Every map that can be read, as bytes. */
function everything(): Record<string, string> {
  const dumps: Record<string, string> = {};
  for (const name of MAP_NAMES.filter((one) => !["event", "drop_event", "flow_free"].includes(one))) {
    const map = BpfMap.open(mapPath(pinsIn(cloud.agent.workspace.pinDir), name));
    const { keys, values } = map.dump();
    dumps[name] = createHash("sha256").update(keys).update(values).digest("hex");
    map.close();
  }
  return dumps;
}

beforeAll(async () => {
  cloud = await Cloud.create(
    [
      { spec: guestSpec("client", 11), groups: ["client"] },
      { spec: guestSpec("server", 21, 18), groups: ["server"] },
    ],
    [client, server(5000)],
  );
}, 60_000);
afterAll(() => cloud?.close());

describe("explain", () => {
  test("says what the rules say at both ends, and the datastore agrees", async () => {
    expect(await explained("--from", CLIENT, "--to", SERVER, "--port", "5000")).toMatchObject({
      verdict: { what: "deliver", endpoint: expect.stringContaining("server") as string },
      datastore: { verdict: { what: "deliver" } },
      agrees: true,
    });
    const { status, stdout } = await explain("--from", CLIENT, "--to", SERVER, "--port", "5001");
    expect(status).toBe(0);
    expect(stdout).toContain("no rule admits it");
    expect(stdout).toContain(`missing: a rule for ingress, IPv4, tcp to port 5001, from ${cloud.guest("client").v4}`);
    expect(stdout).toContain("POLICY_INGRESS: agrees");
    expect(await explained("--from", CLIENT, "--to", SERVER, "--proto", "icmp", "-6")).toMatchObject({
      question: { family: 6, protocol: 58 },
      verdict: { what: "drop", reason: "POLICY_INGRESS" },
      agrees: true,
    });
  });

  test("knows flows, forged sources, this host and everything outside", async () => {
    const conversation = await Conversation.open(cloud.guest("client"), cloud.guest("server"), 4, 5000);
    expect(await conversation.answers()).toBe(true);
    const [flow] = await lines("flow", "list", "--protocol", "tcp", "--state", "established");
    const from = (flow?.["from"] as { port: number }).port;
    // The server's half: only the flow lets it through.
    const back = ["--from", SERVER, "--to", CLIENT, "--port", String(from), "--source-port", "5000"];
    expect((await explain(...back, "--tcp-flags", "ack")).stdout).toContain("it belongs to a flow that is known");
    expect(await explained(...back, "--tcp-flags", "ack")).toMatchObject({
      verdict: { what: "deliver" },
      agrees: true,
    });
    expect(await explained(...back)).toMatchObject({ verdict: { what: "drop" }, agrees: true });
    await conversation.close();
    const forged = ["--from", CLIENT, "--source-address", "192.0.2.77", "--to", SERVER, "--port", "5000"];
    expect(await explained(...forged)).toMatchObject({ verdict: { reason: "SPOOFED_ADDRESS" }, agrees: true });
    expect(await explained("--from", "host", "--to", SERVER, "--port", "22")).toMatchObject({
      verdict: { what: "deliver" },
      agrees: true,
    });
    expect(await explained("--from", "198.51.100.7", "--to", SERVER, "--port", "5000")).toMatchObject({
      verdict: { what: "drop", reason: "POLICY_INGRESS" },
      agrees: true,
    });
  });

  test("changes no map, and needs no agent; that the datastore has moved on is shouted", async () => {
    await cloud.agent.stop();
    try {
      const before = everything();
      for (const words of [
        ["--from", CLIENT, "--to", SERVER, "--port", "5000"],
        ["--from", CLIENT, "--to", SERVER, "--port", "5001"],
        ["--from", SERVER, "--to", CLIENT, "--proto", "udp", "--port", "53", "-6"],
        ["--from", "198.51.100.7", "--to", SERVER, "--port", "5000"],
        ["--from", "host", "--to", CLIENT, "--proto", "icmp"],
      ])
        expect((await explain(...words)).status, words.join(" ")).toBe(0);
      expect(everything()).toEqual(before);
      const path = join(cloud.policyDir, "policies.yaml");
      const text = readFileSync(path, "utf8");
      writeFileSync(`${path}.new`, text.replaceAll("5000", "5002"));
      renameSync(`${path}.new`, path);
      const { status, stdout } = await explain("--from", CLIENT, "--to", SERVER, "--port", "5000");
      expect(status).toBe(7);
      expect(stdout).toMatch(/^DISAGREEMENT/);
      expect(stdout).toContain("no agent runs");
      writeFileSync(`${path}.new`, text);
      renameSync(`${path}.new`, path);
    } finally {
      await cloud.agent.startEnforcing(2);
    }
  }, 120_000);

  test.each([
    [["--from", CLIENT, "--to", "nobody", "--port", "1"], 3, "no port"],
    [["--from", "198.51.100.7", "--to", "198.51.100.8", "--port", "1"], 3, "neither end"],
    [["--from", CLIENT, "--to", SERVER], 2, "--proto is missing"],
    [["--from", CLIENT, "--to", SERVER, "--proto", "tpc"], 2, "no protocol is called"],
    [["--from", CLIENT, "--to", SERVER, "--port", "70000"], 2, "from 0 to 65535"],
    [["--from", CLIENT, "--to", SERVER, "--proto", "icmp", "--port", "1"], 2, "makes no sense with icmp"],
    [["--from", CLIENT, "--to", "2001:db8::1", "--source-address", "10.0.0.1", "--port", "1"], 2, "IPv6"],
    [["--from", CLIENT, "--to", SERVER, "--port", "1", "--tcp-flags", "sin"], 2, "none of fin"],
  ])("refuses %j", async (words, status, message) => {
    const ran = await explain(...words);
    expect(ran).toMatchObject({ status, stdout: "" });
    expect(ran.stderr).toContain(message);
  });

  test("without a datastore it says that nothing was compared", async () => {
    const { status, stdout } = await torbie(
      "explain",
      "--from",
      CLIENT,
      "--to",
      SERVER,
      "--port",
      "5000",
      "--policy-dir",
      "/nowhere",
    );
    expect(status).toBe(0);
    expect(stdout).toContain("the datastore was not compared");
  });
});

describe("at three in the morning", () => {
  const shell = (pipeline: string): Promise<string> => {
    const { pinDir, runDir } = cloud.agent.workspace;
    const flags = `--pin-dir ${pinDir} --run-dir ${runDir}`;
    const script = `torbie() { ${process.execPath} ${join(ROOT, "bin/torbie")} "$@" ${flags}; }; ${pipeline}; echo "\${PIPESTATUS[0]}"`;
    return cloud.world.host.run(["bash", "-c", `{ ${script}; } 2>&1`]);
  };

  test.each([
    ["torbie endpoint list | true"],
    ["torbie map dump policy --json | head -1"],
    ["torbie top --interval 1 | head -1"],
    ["torbie flow list | true"],
  ])("who has read enough is no fault: %s", async (pipeline) => {
    const said = await shell(pipeline);
    expect(said.trimEnd().split("\n").at(-1)).toBe("0");
    expect(said).not.toMatch(/EPIPE|terminate|Abort/);
  });

  test("a watch whose reader is gone ends and lets go of its lease", async () => {
    const { probe } = cloud.guest("client");
    const [said] = await Promise.all([
      shell("torbie drop watch --json --seconds 20 | head -1"),
      (async () => {
        for (let i = 0; i < 12; i++) await probe.tcp(cloud.guest("server").v4, 4999, 300);
      })(),
    ]);
    const lines = said.trimEnd().split("\n");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ what: "drop", reason: "POLICY_INGRESS" });
    expect(lines.at(-1)).toBe("0");
    expect((await torbie("drop", "watch", "--seconds", "1")).status).toBe(0);
  });

  test("what a build of another layout left is not taken for nothing", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tb-layout-"));
    mkdirSync(join(directory, "v0/maps"), { recursive: true });
    try {
      const argv = [process.execPath, join(ROOT, "bin/torbie"), "endpoint", "list", "--pin-dir", directory];
      const said = await cloud.world.host.run([
        "bash",
        "-c",
        '"$@" 2>&1; echo $?',
        "bash",
        ...argv,
        "--run-dir",
        `${directory}-run`,
      ]);
      expect(said).toMatch(/v0.* is of a build with another layout.*go on enforcing.*\n3\n$/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("maps, flows, routes and counters of a running host", () => {
  test("map list names every map, and what is in them is decoded", async () => {
    const { maps } = (await parsed("map", "list")) as { maps: { map: string; entries: number | null }[] };
    expect(maps.map(({ map }) => map).sort()).toEqual(Object.keys(MAPS).sort());
    expect(maps.find(({ map }) => map === "tap")?.entries).toBe(2);
    const taps = await lines("map", "dump", "tap");
    expect(taps.map(({ key }) => (key as { interface: string }).interface.split(" ")[0]).sort()).toEqual([
      CLIENT,
      SERVER,
    ]);
    expect(JSON.stringify(await lines("map", "dump", "policy"))).toContain("np:openstack/");
    expect((await torbie("map", "dump", "event")).status).toBe(6);
    expect((await torbie("map", "show", "flow")).stdout).toContain("262144");
  });

  test("flow list, show and flush see a real connection, which goes on", async () => {
    const conversation = await Conversation.open(cloud.guest("client"), cloud.guest("server"), 4, 5000);
    expect(await conversation.answers()).toBe(true);
    const flows = await lines(
      "flow",
      "list",
      "--port",
      CLIENT,
      "--protocol",
      "tcp",
      "--address",
      cloud.guest("server").v4,
    );
    expect(flows).toContainEqual(
      expect.objectContaining({
        protocol: "tcp",
        from: expect.objectContaining({ name: CLIENT }) as object,
        to: expect.objectContaining({ port: 5000, name: SERVER }) as object,
        rule: expect.stringContaining("np:openstack/") as string,
      }),
    );
    const { ports } = (await parsed("flow", "show")) as { ports: { port: string; count: number }[] };
    expect(ports.find(({ port }) => port === CLIENT)?.count).toBeGreaterThan(0);
    expect((await torbie("flow", "flush", "--port", CLIENT, "--dry-run")).stdout).toMatch(
      /^\d+ flows? would be forgotten/,
    );
    expect((await torbie("flow", "flush", "--port", CLIENT)).stdout).toMatch(/^\d+ flows? forgotten/);
    expect(await conversation.answers(10_000)).toBe(true);
    await conversation.close();
  });

  test("flow flush gives the port's share back at once", async () => {
    const { probe } = cloud.guest("client");
    for (let i = 0; i < 20; i++) await probe.tcp(cloud.guest("server").v4, 5000);
    const owned = async (): Promise<number> =>
      ((await parsed("flow", "show")) as { ports: { port: string; count: number }[] }).ports.find(
        ({ port }) => port === CLIENT,
      )?.count ?? 0;
    expect(await owned()).toBeGreaterThanOrEqual(20);
    const { status, stderr } = await torbie("flow", "flush", "--port", CLIENT);
    expect([status, stderr]).toEqual([0, ""]);
    expect(await owned()).toBe(0);
  });

  test("route list: what the kernel and the programs know is the same", async () => {
    const { routes } = (await parsed("route", "list")) as { routes: { prefix: string; port: string; known: string }[] };
    expect(routes).toContainEqual(
      expect.objectContaining({ prefix: `${cloud.guest("client").v4}/32`, port: CLIENT, known: "both" }),
    );
  });

  test("counter list counts what was dropped, and which rule decided", async () => {
    const { drops: before } = (await parsed("counter", "list", "--port", SERVER)) as {
      drops: { reason: string; packets: number }[];
    };
    await cloud.guest("client").probe.tcp(cloud.guest("server").v4, 4999, 300);
    const { drops, rules } = (await parsed("counter", "list", "--port", SERVER)) as {
      drops: { port: string; reason: string; packets: number }[];
      rules: { rule: string; hits: number }[];
    };
    const count = (list: typeof before): number => list.find(({ reason }) => reason === "POLICY_INGRESS")?.packets ?? 0;
    expect(count(drops)).toBeGreaterThan(count(before));
    expect(rules[0]?.rule).toContain("np:openstack/");
    expect((await torbie("counter", "list", "--port", "nobody")).status).toBe(3);
  });
});
