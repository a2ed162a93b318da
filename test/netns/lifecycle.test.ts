/** The agent as systemd runs it: with the unit's capabilities and no others, telling it how it is; and its answers over HTTP. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AgentProcess } from "../../src/demo/world/agent.js";
import { onLines, stop } from "../../src/demo/world/command.js";
import { isAlive, Namespace } from "../../src/demo/world/namespace.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const UNIT = readFileSync(join(ROOT, "packaging/torbie.service"), "utf8");
const CAPABILITIES = (/^CapabilityBoundingSet=(.+)$/m.exec(UNIT)?.[1] ?? "")
  .split(" ")
  .map((name) => name.replace(/^CAP_/, "").toLowerCase());
/** The one that is left is for the iptables dataplane. */
const FOR_PROGRAMS = CAPABILITIES.filter((name) => name !== "net_raw");
const TAPS = ["tapweb1", "tapweb2", "tapdb1", "tapdb2"];

let directory: string;
let host: Namespace;
let systemd: ChildProcess;
const messages: string[] = [];
const socket = (): string => join(directory, "notify");
const policyDir = (): string => join(directory, "policy");

/** What systemd would do before it runs the agent. */
const confined = (capabilities: readonly string[]): string[] => [
  "setpriv",
  `--bounding-set=-all,${capabilities.map((name) => `+${name}`).join(",")}`,
  "--inh-caps=-all",
  "--no-new-privs",
  "--",
  "env",
  `NOTIFY_SOCKET=${socket()}`,
  "WATCHDOG_USEC=400000",
];

async function get(path: string): Promise<{ readonly status: number; readonly body: string }> {
  const text = await host.run([
    "curl",
    "--silent",
    "--max-time",
    "5",
    "--write-out",
    "\n%{http_code}",
    `http://127.0.0.1:9199${path}`,
  ]);
  const at = text.lastIndexOf("\n");
  return { status: Number(text.slice(at + 1)), body: text.slice(0, at) };
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tb-life-"));
  cpSync(join(ROOT, "examples"), policyDir(), { recursive: true });
  host = await Namespace.create("life");
  await host.ip(...TAPS.flatMap((tap) => [`tuntap add dev ${tap} mode tap`, `link set ${tap} up`]));
  systemd = spawn("python3", [join(ROOT, "test/support/notify.py"), socket()], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise<void>((resolve) => {
    if (systemd.stdout) onLines(systemd.stdout, (line) => (line === "bound" ? resolve() : messages.push(line)));
  });
});
afterAll(async () => {
  await stop(systemd);
  await host.remove();
  rmSync(directory, { recursive: true, force: true });
});

describe("the unit", () => {
  test("is one that systemd understands without complaint", () => {
    // Programs that are not installed here would be complained about.
    for (const name of ["torbie.service", "torbie-guard.service"]) {
      const text = readFileSync(join(ROOT, "packaging", name), "utf8");
      writeFileSync(join(directory, name), text.replaceAll(/^(Exec\w+)=\/usr\/bin\/torbie.*$/gm, "$1=/bin/true"));
    }
    const complaints = execFileSync("systemd-analyze", ["verify", "--man=no", join(directory, "torbie.service")], {
      encoding: "utf8",
      stdio: "pipe",
    });
    expect(complaints).toBe("");
  });
});

describe("with the unit's capabilities", () => {
  let agent: AgentProcess;
  beforeAll(async () => {
    agent = await AgentProcess.create(host, { policyDir: policyDir(), prefix: confined(CAPABILITIES) });
    messages.splice(0);
    const event = await agent.startEnforcing(4);
    expect(event.failures).toEqual([]);
  });
  afterAll(() => agent.remove());

  test("it has these and no others", () => {
    const [effective] =
      /^CapEff:\t(\w+)$/m.exec(readFileSync(`/proc/${agent.pid ?? 0}/status`, "utf8"))?.slice(1) ?? [];
    const names = execFileSync("capsh", [`--decode=${effective ?? ""}`], { encoding: "utf8" })
      .trim()
      .split("=")[1];
    expect(names?.split(",").sort()).toEqual(CAPABILITIES.map((name) => `cap_${name}`).sort());
  });

  test("it enforces, guards, and reads back without a problem", async () => {
    const status = JSON.parse(await agent.torbie(["status", "--json"])) as {
      agent: { problems: unknown; guard: string };
    };
    expect(status.agent).toMatchObject({ problems: [], guard: "on" });
  });

  test("it tells systemd that it is ready, how it is, and again and again that its loop goes on", async () => {
    await expect
      .poll(() => messages.filter((line) => line.endsWith(" WATCHDOG=1")).length, { timeout: 5_000 })
      .toBeGreaterThan(2);
    const said = messages.map((line) => line.slice(line.indexOf(" ") + 1)).filter((line) => line !== "WATCHDOG=1");
    expect(said.filter((line) => line === "READY=1")).toHaveLength(1);
    expect(said).toContain("STATUS=in sync, 4 endpoints enforced");
    expect(new Set(messages.map((line) => line.split(" ")[0]))).toEqual(new Set([String(agent.pid)]));
  });

  test("liveness and readiness say yes, and of when the policy is", async () => {
    expect((await get("/liveness")).status).toBe(200);
    const { status, body } = await get("/readiness");
    expect(status).toBe(200);
    expect(JSON.parse(body)).toMatchObject({ ok: true, dataFrom: expect.stringMatching(/^20\d\d-/) as string });
  });

  test("metrics are Prometheus' text, each with its help", async () => {
    const { body } = await get("/metrics");
    const samples = new Map(
      body.split("\n").flatMap((line) => {
        const [, name, value] = /^([a-z0-9_]+(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
        return name === undefined ? [] : [[name, Number(value)]];
      }),
    );
    expect(Object.fromEntries(samples)).toMatchObject({
      torbie_endpoints_enforced: 4,
      torbie_endpoints_wanted: 4,
      torbie_problems: 0,
      torbie_datastore_connected: 1,
      torbie_datastore_current: 1,
      torbie_datastore_age_seconds: 0,
      torbie_flows: 0,
      torbie_flow_limit: 262144,
      torbie_guard_on: 1,
      torbie_repaired_writes_total: 0,
      'torbie_map_entries{map="tap"}': 4,
      'torbie_map_size{map="flow"}': 262144,
      'torbie_writes_total{map="endpoint"}': 4,
      'torbie_dropped_packets_total{reason="POLICY_INGRESS"}': 0,
    });
    expect(samples.get("torbie_apply_seconds_count")).toBeGreaterThan(0);
    expect(samples.get("process_resident_memory_bytes")).toBeGreaterThan(1e7);
    expect([...samples.keys()].some((name) => name.startsWith("nodejs_eventloop_lag_p99_seconds"))).toBe(true);
    for (const [, name] of body.matchAll(/^# TYPE (\S+)/gm))
      expect(body).toMatch(new RegExp(`^# HELP ${name ?? ""} \\S`, "m"));
  });

  test("what is not there, and what nobody may do", async () => {
    expect((await get("/")).status).toBe(404);
    expect((await get("/constructor")).status).toBe(404);
    const answer = await host.run([
      "curl",
      "--silent",
      "--output",
      "/dev/null",
      "--write-out",
      "%{http_code}",
      "--request",
      "POST",
      "http://127.0.0.1:9199/liveness",
    ]);
    expect(answer).toBe("405");
  });

  test("adopted: ready at once, although the datastore is away", async () => {
    await agent.kill();
    renameSync(policyDir(), `${policyDir()}.away`);
    messages.splice(0);
    agent.start();
    await expect.poll(() => messages.some((line) => line.endsWith(" READY=1")), { timeout: 10_000 }).toBe(true);
    const { status, body } = await get("/readiness");
    expect(status).toBe(503);
    expect(body).toMatch(/what is enforced is of 20\d\d-/);
    renameSync(`${policyDir()}.away`, policyDir());
    await expect.poll(async () => (await get("/readiness")).status, { timeout: 10_000 }).toBe(200);
  });

  test("SIGTERM: it says so, and the port is free", async () => {
    messages.splice(0);
    await agent.stop();
    await expect.poll(() => messages.filter((line) => line.endsWith(" STOPPING=1")).length).toBe(1);
    await expect(get("/liveness")).rejects.toThrow();
  });
});

describe("with one capability less", () => {
  test.each(FOR_PROGRAMS)("without CAP_%s it does not start, and says what it needs", async (left) => {
    const agent = await AgentProcess.create(host, {
      policyDir: policyDir(),
      prefix: confined(CAPABILITIES.filter((name) => name !== left)),
      // By itself it would choose iptables.
      flags: ["--dataplane", "bpf"],
    });
    try {
      agent.start();
      const pid = agent.pid ?? 0;
      await expect.poll(() => isAlive(pid), { timeout: 15_000 }).toBe(false);
      expect(agent.lastLines).toContain("it needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN");
      expect(messages.filter((line) => line.startsWith(`${pid} `))).toEqual([]);
    } finally {
      await agent.remove();
    }
  });
});

describe("the iptables dataplane", () => {
  const started = async (capabilities: readonly string[], prove: (agent: AgentProcess) => Promise<void>) => {
    const flags = ["--dataplane", "iptables"];
    const agent = await AgentProcess.create(host, { policyDir: policyDir(), prefix: confined(capabilities), flags });
    try {
      await prove(agent);
    } finally {
      await agent.remove();
    }
  };

  test("without CAP_net_raw it writes nothing, and says what it needs", async () => {
    await started(FOR_PROGRAMS, async (agent) => {
      agent.start();
      await expect
        .poll(() => JSON.stringify(agent.status()?.problems ?? []), { timeout: 15_000 })
        .toContain("CAP_NET_RAW");
      const status = JSON.parse(await agent.torbie(["status", "--json"])) as { pinned: { endpoints: number } | null };
      expect(status.pinned).toBeNull();
    });
  });

  test("has all that it needs", async () => {
    await started(CAPABILITIES, async (agent) => {
      const event = await agent.startEnforcing(4);
      expect(event.failures).toEqual([]);
    });
  });
});
