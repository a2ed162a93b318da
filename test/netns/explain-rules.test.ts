/** `explain` where iptables enforces: by what stands in the kernel, in either back end's spelling. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseRule } from "../../src/dataplane/iptables/rule-match.js";
import { readStanding } from "../../src/dataplane/iptables/standing.js";
import type { RunResult } from "../../src/dataplane/run.js";
import { Namespace } from "../../src/demo/world/namespace.js";
import { Cloud } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { GOLDEN, textOf } from "../support/iptables-worlds.js";
import { group, inGroup } from "../support/resources.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const OUT = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];
const RULES = [
  group("client", { egress: OUT }),
  group("server", {
    ingress: [
      { action: "Allow", protocol: "TCP", source: { selector: inGroup("client") }, destination: { ports: [5000] } },
    ],
    egress: OUT,
  }),
];
const [CLIENT, SERVER] = ["tapclient", "tapserver"];

describe("on a host that iptables enforces", { timeout: 60_000 }, () => {
  let cloud: Cloud;
  beforeAll(async () => {
    cloud = await Cloud.create(
      [
        { spec: guestSpec("client", 11), groups: ["client"] },
        { spec: guestSpec("server", 21, 18), groups: ["server"] },
      ],
      RULES,
      ["--dataplane", "iptables", "--resync", "1h"],
    );
  }, 60_000);
  afterAll(() => cloud?.close());

  const explain = (...words: string[]): Promise<{ status: number; stdout: string; stderr: string }> => {
    const { pinDir, runDir } = cloud.agent.workspace;
    const here = words.includes("--no-datastore") ? [] : ["--policy-dir", cloud.policyDir, "--hostname", "compute1"];
    const argv = cloud.world.host.argv([
      process.execPath,
      join(ROOT, "bin/torbie"),
      ...["explain", ...words, ...here, "--pin-dir", pinDir, "--run-dir", runDir],
    ]);
    return new Promise((resolve) =>
      execFile(argv[0] ?? "", argv.slice(1), { timeout: 30_000 }, (error, stdout, stderr) =>
        resolve({ status: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
      ),
    );
  };
  const explained = async (...words: string[]): Promise<Record<string, unknown>> => {
    const { stdout, stderr } = await explain(...words, "--json");
    if (stdout === "") throw new Error(stderr);
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  const iptables = (...words: string[]): Promise<string> => cloud.world.host.run(["iptables", ...words]);

  test.each([
    [["--from", CLIENT, "--to", SERVER, "--port", "5000"], "deliver", undefined],
    [["--from", CLIENT, "--to", SERVER, "--port", "5000", "-6"], "deliver", undefined],
    [["--from", CLIENT, "--to", SERVER, "--port", "5001"], "drop", "POLICY_INGRESS"],
    [["--from", SERVER, "--to", CLIENT, "--proto", "icmp", "-6"], "drop", "POLICY_INGRESS"],
    [["--from", CLIENT, "--to", "198.51.100.9", "--proto", "udp", "--port", "53"], "forward", undefined],
    [["--from", "198.51.100.9", "--to", SERVER, "--port", "5000"], "drop", "POLICY_INGRESS"],
    [["--from", CLIENT, "--source-address", "192.0.2.77", "--to", SERVER, "--port", "5000"], "drop", "SPOOFED_ADDRESS"],
    [
      ["--from", CLIENT, "--source-address", "2001:db8:77::1", "--to", SERVER, "--port", "5000"],
      "drop",
      "SPOOFED_ADDRESS",
    ],
    [["--from", "host", "--to", SERVER, "--port", "22"], "deliver", undefined],
    [["--from", CLIENT, "--to", SERVER, "--proto", "gre"], "drop", "POLICY_INGRESS"],
  ] as const)("%j", async (words, what, reason) => {
    expect(await explained(...words)).toMatchObject({
      verdict: { what, ...(reason === undefined ? {} : { reason }) },
      datastore: { verdict: { what } },
      agrees: true,
    });
  });

  test("says that it was read back, and shows the rules with the policies that they are", async () => {
    const { status, stdout } = await explain("--from", CLIENT, "--to", SERVER, "--port", "5000");
    expect(status).toBe(0);
    expect(stdout).toContain("read back and walked: no packet was run");
    expect(stdout).toMatch(/filter TRB-Pi-\S+ \(np:\S*server\S* ingress\): .*-g TRB-allow/);
    expect(await explained("--from", CLIENT, "--to", SERVER, "--port", "5000", "--no-datastore")).toMatchObject({
      verdict: { what: "deliver" },
      datastore: null,
      agrees: null,
    });
  });

  test("goes by what stands in the kernel, and shouts when the datastore says otherwise; real packets are with it", async () => {
    await cloud.agent.stop();
    const { probe } = cloud.guest("client");
    const words = ["--from", CLIENT, "--to", SERVER, "--port", "5001"];
    const { v4 } = cloud.guest("server");
    try {
      expect((await probe.tcp(v4, 5001, 300)).result).toBe("timeout");
      await iptables("-I", `TRB-to-${SERVER}`, "1", "-j", "MARK", "--set-xmark", "0x8000/0x8000");
      await iptables("-I", `TRB-to-${SERVER}`, "2", "-j", "RETURN");
      const { status, stdout } = await explain(...words);
      expect(status).toBe(7);
      expect(stdout).toMatch(/^DISAGREEMENT: the kernel does not do what the datastore says/);
      expect(stdout).toContain("no agent runs");
      expect((await probe.tcp(v4, 5001, 1_500)).result).toBe("refused");
      await iptables("-D", `TRB-to-${SERVER}`, "2");
      await iptables(
        "-R",
        `TRB-to-${SERVER}`,
        "1",
        "-m",
        "statistic",
        "--mode",
        "random",
        "--probability",
        "0.5",
        "-j",
        "DROP",
      );
      const foreign = await explain(...words);
      expect(foreign).toMatchObject({ status: 1, stdout: "" });
      expect(foreign.stderr).toMatch(/TRB-to-tapserver.*does not write.*statistic/s);
      await iptables("-D", `TRB-to-${SERVER}`, "1");
      await iptables("-I", "FORWARD", "1", "-p", "icmp", "-j", "ACCEPT");
      const before = await explain(...words);
      expect(before.status).toBe(0);
      expect(before.stdout).toContain("FORWARD asks a rule of others before ours");
      await iptables("-F", "FORWARD");
      const unhooked = await explain(...words);
      expect(unhooked.status).toBe(7);
      expect(unhooked.stdout).toContain("our jump is missing in FORWARD");
    } finally {
      await cloud.agent.startEnforcing(2);
    }
    expect(await explained(...words)).toMatchObject({ verdict: { what: "drop" }, agrees: true });
  });
});

describe.each(["nft", "legacy"])("what the %s back end prints of what we write", (mode) => {
  let host: Namespace;
  beforeAll(async () => {
    host = await Namespace.create(`walk${mode}`);
  });
  afterAll(() => host?.remove());

  test("is understood, rule by rule, in every golden world", async () => {
    const tool = (name: string): string => name.replace(/^(ip6?tables)/, `$1-${mode}`);
    const run = async (argv: string[], input = ""): Promise<RunResult> =>
      host.run(argv, { input }).then(
        (stdout) => ({ status: 0, stdout, stderr: "" }),
        (error: unknown) => ({ status: 1, stdout: "", stderr: String(error) }),
      );
    const done = async (argv: string[], input: string): Promise<void> =>
      expect(await run(argv, input)).toMatchObject({ status: 0, stderr: "" });
    for (const name of Object.keys(GOLDEN)) {
      for (const { name: file, text } of textOf(name)) {
        const [, family = "", table] = /-(ip6?tables)-(filter|raw)$/.exec(file) ?? [];
        if (file.endsWith("ipset")) await done(["ipset", "-exist", "restore"], text);
        if (table !== undefined) await done([tool(`${family}-restore`), "--noflush"], text);
      }
      for (const family of [4, 6] as const) {
        const { tables } = await readStanding((program, args) => run([tool(program), ...args]), family);
        const all = Object.values(tables).flatMap((table) => [...table].filter(([chain]) => chain.startsWith("TRB-")));
        expect(all.length).toBeGreaterThan(20);
        for (const [chain, rules] of all)
          for (const rule of rules) expect(parseRule(rule), `${chain}: ${rule}`).toBeDefined();
      }
    }
  }, 60_000);
});
