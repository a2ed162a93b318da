/** The real agent on real taps, without guests behind them: starts, follows edits, is killed, adopted, stopped, cleaned up. */
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AgentProcess } from "../../src/demo/world/agent.js";
import { Namespace } from "../../src/demo/world/namespace.js";
import { pins as pinsBelow } from "../support/pins.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const TAPS = ["tapweb1", "tapweb2", "tapdb1", "tapdb2"] as const;
const FOREIGN = "table ip not_torbie";

let host: Namespace;
let agent: AgentProcess;
let policyDir: string;

interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** torbie in the host's namespace, whatever its exit status. */
function torbie(words: readonly string[], prefix: readonly string[] = []): Promise<Ran> {
  const argv = host.argv([...prefix, process.execPath, join(ROOT, "bin/torbie"), ...words]);
  return new Promise((resolve) => {
    execFile(argv[0] ?? "", argv.slice(1), { timeout: 30_000 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : typeof error.code === "number" ? error.code : -1, stdout, stderr });
    });
  });
}
const places = (): string[] => ["--pin-dir", agent.workspace.pinDir, "--run-dir", agent.workspace.runDir];
const shown = async (words: readonly string[]): Promise<Record<string, unknown>> =>
  JSON.parse((await torbie([...words, "--json", ...places()])).stdout) as Record<string, unknown>;

const pins = (): Record<string, number> => pinsBelow(agent.workspace.pinDir);

/** Program ids on the hooks of every tap. */
async function hooks(): Promise<string> {
  const all = await Promise.all(
    TAPS.flatMap((tap) => ["ingress", "egress"].map((side) => host.run(["tc", "filter", "show", "dev", tap, side]))),
  );
  return all.map((text) => /id (\d+)/.exec(text)?.[1] ?? "none").join(" ");
}

function edit(file: string, change: (text: string) => string): void {
  const path = join(policyDir, file);
  writeFileSync(`${path}.new`, change(readFileSync(path, "utf8")));
  renameSync(`${path}.new`, path);
}

beforeAll(async () => {
  policyDir = mkdtempSync(join(tmpdir(), "tb-agent-"));
  cpSync(join(ROOT, "examples"), policyDir, { recursive: true });
  host = await Namespace.create("agent");
  await host.ip(
    ...TAPS.flatMap((tap) => [`tuntap add dev ${tap} mode tap`, `link set ${tap} up`]),
    "route add 198.51.100.0/24 dev lo proto static",
  );
  await host.run(["nft", "add", "table", "ip", "not_torbie"]);
  agent = await AgentProcess.create(host, { policyDir });
});

afterAll(async () => {
  await agent?.remove();
  await host?.remove();
  rmSync(policyDir, { recursive: true, force: true });
});

describe("what it needs", () => {
  test("nobody but root: said with a status of its own, nothing is made", async () => {
    const ran = await torbie(["agent", ...places()], ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    expect(ran).toMatchObject({ status: 4, stdout: "", stderr: expect.stringContaining("run as root") as string });
    expect(existsSync(agent.workspace.runDir)).toBe(false);
  });

  test("a pin directory outside of a BPF file system: what is missing and what to do", async () => {
    const ran = await torbie([
      "agent",
      "--dataplane",
      "bpf",
      "--pin-dir",
      join(policyDir, "pins"),
      "--run-dir",
      join(policyDir, "run"),
      "--policy-dir",
      policyDir,
    ]);
    expect(ran.status).toBe(5);
    expect(ran.stderr).toMatch(/not in a BPF file system.*mount -t bpf/);
    rmSync(join(policyDir, "run"), { recursive: true });
  });

  test("settings of etcd that contradict each other: nothing is loaded", async () => {
    const etcd = ["--datastore", "etcd", "--etcd-endpoints", "http://127.0.0.1:1", "--etcd-ca", "/nowhere"];
    const ran = await torbie(["agent", ...places(), ...etcd]);
    expect(ran).toMatchObject({ status: 2, stderr: expect.stringContaining("--etcd-ca") as string });
    expect(existsSync(agent.workspace.pinDir)).toBe(false);
  });

  test("a start that fails ends with a message and a status, and leaves nobody running", async () => {
    const file = join(policyDir, "README.file");
    writeFileSync(file, "not a directory\n");
    const noDirectory = await torbie(["agent", ...places(), "--policy-dir", file]);
    expect(noDirectory).toMatchObject({ status: 2, stderr: expect.stringContaining(file) as string });
    const noRunDir = await torbie([
      "agent",
      "--pin-dir",
      agent.workspace.pinDir,
      "--run-dir",
      join(file, "run"),
      "--policy-dir",
      policyDir,
    ]);
    expect(noRunDir.status).toBe(2);
    expect(noRunDir.stderr).toMatch(/run-dir ".*README.file.run" cannot be used \(ENOTDIR.*name a directory/);
    rmSync(file);
    // What the first one attached goes again: the tests below begin with nothing.
    expect((await torbie(["cleanup", "--open", ...places()])).status).toBe(0);
  });

  test("no pinned state yet: reading commands say so", async () => {
    for (const words of [
      ["endpoint", "list"],
      ["endpoint", "show", "web1"],
      ["policy", "show", "web1"],
    ])
      expect(await torbie([...words, ...places()])).toMatchObject({
        status: 3,
        stdout: "",
        stderr: expect.stringContaining("nothing is pinned") as string,
      });
    expect(await torbie(["status", ...places()])).toMatchObject({
      status: 3,
      stdout: expect.stringContaining("has not run here") as string,
    });
  });
});

describe("its life", () => {
  test("it enforces every guest of the directory, guarded, and says so", async () => {
    const event = await agent.startEnforcing(4);
    expect(event.failures).toEqual([]);
    expect(
      event.changes
        .filter(({ kind }) => kind === "endpoint")
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["db1", "db2", "web1", "web2"]);
    expect(await shown(["status"])).toMatchObject({
      running: true,
      pid: agent.pid,
      pinned: { endpoints: 4, flows: 0 },
      agent: {
        guard: "on",
        problems: [],
        datastore: { state: "in-sync" },
        interfaces: { taps: TAPS.map(() => expect.anything() as unknown) },
      },
    });
    expect(await hooks()).not.toContain("none");
    expect((await torbie(["guard", "show"])).stdout).toMatch(/^guard: on\n.*tapweb1/s);
  });

  test("endpoint show and policy show tell what the kernel has", async () => {
    expect(await shown(["endpoint", "show", "tapdb1"])).toMatchObject({
      workload: "db1",
      state: "enforced",
      mac: "fa:16:3e:00:00:21",
      sources: [{ prefix: "10.65.0.21/32" }, { prefix: "2001:db8:65::21/128" }],
      portSecurity: true,
      dropsByReason: [],
    });
    expect(await shown(["policy", "show", "db1"])).toMatchObject({
      policies: [{ id: "np:openstack/db", origin: expect.stringMatching(/groups\.yaml:\d+$/) as string }],
      ingress: [
        { end: "deny", rules: [{ action: "allow", protocols: [6], ports: [{ first: 5432, last: 5432 }], hits: 0 }] },
        {},
      ],
    });
  });

  test("top looks again and again, and gives the terminal back when it is interrupted", async () => {
    const once = await torbie(["top", "--once", "--interval", "1", "--json", ...places()]);
    expect(JSON.parse(once.stdout)).toMatchObject({ flows: 0, limit: 262144, ports: TAPS.map(() => ({ flows: 0 })) });
    // script(1) makes a terminal; Ctrl-C is what its line discipline makes of it.
    const words = [process.execPath, join(ROOT, "bin/torbie"), "top", "--interval", "1", ...places()].join(" ");
    const shown = await host.run([
      "sh",
      "-c",
      `(sleep 6; printf '\\003'; sleep 3) | TERM=xterm script -qec 'stty rows 10 cols 60; exec ${words}' /dev/null`,
    ]);
    expect(shown).toContain("\u001b[?1049h\u001b[?25l");
    expect(shown).toMatch(/tapweb1 +0 +0/);
    expect(shown.replace(/\^C/, "").trimEnd().endsWith("\u001b[?25h\u001b[?1049l")).toBe(true);
  }, 60_000);

  test("an edit is in force milliseconds after it was read, as a handful of writes, with its origin", async () => {
    const applied = agent.applied(
      ({ changes }) => changes.some(({ kind }) => kind === "policy"),
      "the edit was in force",
    );
    edit("groups.yaml", (text) => text.replace("ports: [80]", "ports: [80, 443]"));
    const event = await applied;
    expect(event).toMatchObject({
      full: false,
      failures: [],
      changes: [
        { kind: "policy", id: "np:openstack/web", origin: expect.stringMatching(/groups\.yaml:\d+$/) as string },
      ],
    });
    expect(event.totalWrites).toBeGreaterThan(0);
    expect(event.totalWrites).toBeLessThan(20);
    const { ingress } = (await shown(["policy", "show", "web1"])) as { ingress: { rules: { ports: unknown }[] }[] };
    expect(ingress[0]?.rules.map(({ ports }) => ports)).toContainEqual([
      { first: 80, last: 80 },
      { first: 443, last: 443 },
    ]);
  });

  test("a tap that goes and comes back is enforced again", async () => {
    const gone = agent.applied(({ enforced }) => enforced === 3, "the tap was gone");
    await host.ip("link del tapweb2");
    await gone;
    expect(await shown(["endpoint", "show", "web2"])).toMatchObject({ state: "absent", interface: null });
    const back = agent.applied(({ enforced }) => enforced === 4, "the tap was back");
    await host.ip("tuntap add dev tapweb2 mode tap", "link set tapweb2 up");
    await back;
    expect(await hooks()).not.toContain("none");
  });

  test("a tap of nobody is attached, and passes nothing", async () => {
    const applied = agent.applied(({ changes }) => changes.some(({ id }) => id === "tapnobody"), "the tap was seen");
    await host.ip("tuntap add dev tapnobody mode tap", "link set tapnobody up");
    expect(await applied).toMatchObject({ enforced: 4, writes: { attach: 2 } });
    expect((await torbie(["guard", "show"])).stdout).not.toContain("tapnobody");
    const seen = agent.applied(
      ({ changes }) => changes.some(({ id, change }) => id === "tapnobody" && change === "gone"),
      "the tap was gone",
    );
    await host.ip("link del tapnobody");
    await seen;
  });

  test("a second agent is refused, and the first is named", async () => {
    const { status, stderr } = await torbie(["agent", ...places(), "--policy-dir", policyDir]);
    expect([status, stderr]).toEqual([1, expect.stringContaining(`pid ${agent.pid ?? 0}`)]);
    const elsewhere = await torbie([
      "agent",
      "--pin-dir",
      agent.workspace.pinDir,
      "--run-dir",
      join(policyDir, "run"),
      "--policy-dir",
      policyDir,
    ]);
    expect(elsewhere).toMatchObject({ status: 1, stderr: expect.stringContaining("another agent") as string });
    rmSync(join(policyDir, "run"), { recursive: true });
  });

  test("killed with -9 it leaves everything in force; the next one adopts it without one write", async () => {
    const before = { pins: pins(), hooks: await hooks() };
    await agent.kill();
    expect(await torbie(["status", ...places()])).toMatchObject({
      status: 3,
      stdout: expect.stringMatching(
        /not running: gone without a word.*4 endpoints enforced, also without the agent/s,
      ) as string,
    });
    expect(await shown(["endpoint", "show", "web1"])).toMatchObject({ state: "enforced" });
    const event = await agent.startEnforcing(4);
    expect(event).toMatchObject({ full: true, writes: {}, totalWrites: 0, failures: [] });
    expect(await shown(["status"])).toMatchObject({
      agent: { totalWrites: 0, dataplane: { why: expect.stringContaining("adopted") as string } },
    });
    expect({ pins: pins(), hooks: await hooks() }).toEqual(before);
  });

  test("what changed while nobody ran is found by the next one, as a difference", async () => {
    await agent.kill();
    edit("groups.yaml", (text) => text.replace("ports: [80, 443]", "ports: [80]"));
    const event = await agent.startEnforcing(4);
    expect(event.totalWrites).toBeGreaterThan(0);
    expect(event.totalWrites).toBeLessThan(20);
    expect(Object.keys(event.writes)).not.toContain("attach");
  });

  test("SIGHUP does nothing, SIGTERM stops it and leaves everything in force", async () => {
    const before = pins();
    process.kill(agent.pid ?? 0, "SIGHUP");
    expect(await shown(["status"])).toMatchObject({ running: true });
    await agent.stop();
    expect(pins()).toEqual(before);
    expect(await hooks()).not.toContain("none");
    expect(await torbie(["status", ...places()])).toMatchObject({
      status: 3,
      stdout: expect.stringContaining("not running: stopped at") as string,
    });
  });
});

describe("cleanup", () => {
  const foreign = async (): Promise<string> =>
    `${await host.run(["nft", "list", "tables"])} ${await host.run(["ip", "route"])}`;

  test("it refuses while the agent runs, and while taps are up", async () => {
    await agent.startEnforcing(4);
    expect(await torbie(["cleanup", "--open", ...places()])).toMatchObject({
      status: 6,
      stderr: expect.stringContaining(`pid ${agent.pid ?? 0}`) as string,
    });
    await agent.stop();
    expect(await torbie(["cleanup", ...places()])).toMatchObject({
      status: 6,
      stderr: expect.stringMatching(/4 guests' interfaces are up.*--open/) as string,
    });
    expect(await hooks()).not.toContain("none");
  });

  test("with --open everything of ours goes, nothing of anyone else's, and a second time there is nothing", async () => {
    const { removed } = (await shown(["cleanup", "--open"])) as { removed: { what: string; count: number }[] };
    expect(removed).toContainEqual({ what: "programs on interfaces", count: 8 });
    expect(existsSync(agent.workspace.pinDir)).toBe(false);
    expect(await hooks()).toBe("none none none none none none none none");
    const left = await foreign();
    expect(left).toContain(FOREIGN);
    expect(left).toContain("198.51.100.0/24 dev lo proto static");
    expect(left).not.toMatch(/torbie_guard|proto 116/);
    expect(await torbie(["cleanup", "--open", ...places()])).toMatchObject({
      status: 0,
      stdout: "There was nothing to remove.\n",
    });
  });
});
