/** `torbie doctor` in a namespace where everything is wrong: each is named with what to do about it, and nothing is changed. */
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Doctored } from "../../src/doctor/run.js";
import type { Finding } from "../../src/doctor/finding.js";
import { AgentProcess } from "../../src/demo/world/agent.js";
import { Namespace } from "../../src/demo/world/namespace.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
let host: Namespace;
let agent: AgentProcess;
let policyDir: string;

interface Ran extends Doctored {
  readonly status: number;
  readonly healthy: boolean;
}

function doctor(...words: readonly string[]): Promise<Ran> {
  const { pinDir, runDir } = agent.workspace;
  const argv = host.argv([
    process.execPath,
    join(ROOT, "bin/torbie"),
    "doctor",
    "--json",
    "--pin-dir",
    pinDir,
    "--run-dir",
    runDir,
    ...words,
  ]);
  return new Promise((resolve, reject) => {
    execFile(argv[0] ?? "", argv.slice(1), { timeout: 60_000 }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      if (stdout === "") reject(new Error(`doctor printed nothing (${status}): ${stderr}`));
      else resolve({ ...(JSON.parse(stdout) as Omit<Ran, "status">), status });
    });
  });
}
const about = (ran: Doctored, what: string): Finding | undefined => ran.findings.find((one) => one.what === what);

/** All that doctor could have changed. */
const everything = async (): Promise<string> =>
  [
    await host.run(["nft", "list", "ruleset"]),
    await host.run(["iptables-save"]),
    await host.run(["ip", "-d", "link"]),
    await host.run(["ip", "route", "show", "table", "all"]),
    await host.run(["tc", "qdisc"]),
    await host.run(["sysctl", "-a", "-r", "^net\\.ipv[46]\\.conf"]),
  ]
    .join("\n")
    .replaceAll(/packets \d+ bytes \d+|\[\d+:\d+\]|^#.*$|(?:expires|age|valid_lft) \S+/gm, "");

beforeAll(async () => {
  policyDir = mkdtempSync(join(tmpdir(), "tb-doctor-"));
  cpSync(join(ROOT, "examples"), policyDir, { recursive: true });
  host = await Namespace.create("doctor");
  await host.ip(
    "link add tapweb1 type veth peer name p1",
    "link set tapweb1 up",
    "link set p1 up",
    "link add tapweb2 type veth peer name p2",
    "link add br0 type bridge",
    "link set tapweb2 master br0",
  );
  agent = await AgentProcess.create(host, { policyDir, flags: ["--resync", "1h"] });
}, 60_000);
afterAll(async () => {
  await agent?.remove();
  await host?.remove();
  rmSync(policyDir, { recursive: true, force: true });
});

test("a host without an agent: what would be taken, what is missing", { timeout: 60_000 }, async () => {
  const before = await everything();
  const ran = await doctor();
  expect(ran.dataplane).toMatchObject({ name: "bpf" });
  expect(about(ran, "programs tap")).toMatchObject({ level: "ok" });
  expect(about(ran, "enforced")).toMatchObject({ result: "nothing is enforced here" });
  expect(about(ran, "standing rule")).toMatchObject({ level: "fault", advice: "torbie guard install" });
  expect(about(ran, "tapweb2")).toMatchObject({
    level: "warning",
    result: expect.stringContaining("is a port of br0") as string,
  });
  expect(ran).toMatchObject({ status: 1, healthy: false });
  expect(await everything()).toBe(before);
  expect((await doctor("--dataplane", "iptables")).dataplane).toEqual({ name: "iptables", why: "as configured" });
});

test("behind an agent: healthy", { timeout: 60_000 }, async () => {
  await agent.startEnforcing(1);
  const ran = await doctor();
  expect(ran.findings.filter(({ level, area }) => level === "fault" && area !== "others")).toEqual([]);
  expect(about(ran, "agent")).toMatchObject({ level: "ok" });
  expect(about(ran, "standing rule")).toMatchObject({ level: "ok" });
  expect(about(ran, "map flow")).toMatchObject({ level: "ok", result: expect.stringContaining("of 262144") as string });
});

test("each thing that is wrong is named, and left as it is", { timeout: 90_000 }, async () => {
  await agent.kill();
  await host.run(["iptables", "-N", "DOCKER-USER"]);
  await host.run(["iptables", "-I", "FORWARD", "1", "-j", "DOCKER-USER"]);
  await host.run(["iptables", "-P", "FORWARD", "DROP"]);
  await host.run(["iptables", "-N", "cali-FORWARD"]);
  await host.run(["iptables", "-A", "FORWARD", "-j", "cali-FORWARD"]);
  await host.run(["ipset", "create", "cali40all", "hash:net"]);
  await host.run(["nft", "add", "table", "inet", "mine"]);
  await host.run(["nft", "add chain inet mine strict { type filter hook forward priority 0; policy drop; }"]);
  await host.run(["sysctl", "-q", "-w", "net.ipv4.conf.tapweb1.proxy_arp=1", "net.ipv4.conf.all.proxy_arp=1"]);
  await host.ip("route add 192.0.2.7/32 dev lo proto 80");
  const before = await everything();
  const ran = await doctor();
  expect(await everything()).toBe(before);
  expect(ran.status).toBe(1);
  expect(about(ran, "agent")).toMatchObject({ level: "warning" });
  expect(about(ran, "iptables FORWARD")).toMatchObject({
    level: "fault",
    result: expect.stringMatching(/policy DROP, with rules of Docker/) as string,
  });
  expect(about(ran, "nft chain inet mine strict")).toMatchObject({
    level: "warning",
    advice: expect.stringContaining("meta mark") as string,
  });
  expect(ran.findings.filter(({ what }) => /^Felix's/.test(what)).map(({ what, level }) => [what, level])).toEqual([
    ["Felix's rules in iptables-nft-save", "fault"],
    ["Felix's sets", "note"],
    ["Felix's routes", "warning"],
  ]);
  expect(about(ran, "net.ipv4.conf.tapweb1.proxy_arp")).toMatchObject({ result: "1, and must be 0" });
  expect(about(ran, "net.ipv4.conf.all.proxy_arp")).toMatchObject({ level: "warning" });
});
