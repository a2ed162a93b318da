/** `torbie check` on a real kernel: each kind of damage is named and repaired, by the agent or without one, in both dataplanes. */
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pinsIn } from "../../src/agent/wire/pins.js";
import type { Difference } from "../../src/check/difference.js";
import type { CheckReport } from "../../src/check/run.js";
import { openPinned } from "../../src/dataplane/bpf/read.js";
import { AgentProcess } from "../../src/demo/world/agent.js";
import { Namespace } from "../../src/demo/world/namespace.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const TAPS = ["tapweb1", "tapweb2", "tapdb1", "tapdb2"] as const;

interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
interface Checked extends CheckReport {
  readonly same: boolean;
  readonly repaired?: { readonly by: string; readonly totalWrites: number };
  readonly left?: readonly Difference[];
}

let host: Namespace;
let policyDir: string;

async function prepare(label: string): Promise<void> {
  policyDir = mkdtempSync(join(tmpdir(), "tb-check-"));
  cpSync(join(ROOT, "examples"), policyDir, { recursive: true });
  host = await Namespace.create(label);
  await host.ip(
    ...TAPS.flatMap((tap) => [
      `link add ${tap} type veth peer name p-${tap}`,
      `link set p-${tap} up`,
      `link set ${tap} up`,
    ]),
  );
}

function torbie(agent: AgentProcess, words: readonly string[], prefix: readonly string[] = []): Promise<Ran> {
  const { pinDir, runDir, directory } = agent.workspace;
  const places = ["--pin-dir", pinDir, "--run-dir", runDir, "--state-dir", join(directory, "state")];
  const same = ["--policy-dir", policyDir, "--hostname", "compute1", ...agent.more];
  const argv = host.argv([...prefix, process.execPath, join(ROOT, "bin/torbie"), ...words, ...places, ...same]);
  return new Promise((resolve) => {
    execFile(argv[0] ?? "", argv.slice(1), { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : typeof error.code === "number" ? error.code : -1, stdout, stderr });
    });
  });
}

async function checked(agent: AgentProcess, ...words: readonly string[]): Promise<Checked & { status: number }> {
  const { status, stdout, stderr } = await torbie(agent, ["check", "--json", ...words]);
  if (stdout === "") throw new Error(`check printed nothing (${status}): ${stderr}`);
  return { ...(JSON.parse(stdout) as Checked), status };
}

function edit(file: string, change: (text: string) => string): void {
  const path = join(policyDir, file);
  writeFileSync(`${path}.new`, change(readFileSync(path, "utf8")));
  renameSync(`${path}.new`, path);
}

const places = ({ differences }: CheckReport): string[] =>
  [...new Set(differences.map(({ kind, where }) => `${kind} ${where}`))].sort();

describe("with the programs", { timeout: 120_000 }, () => {
  let agent: AgentProcess;
  beforeAll(async () => {
    await prepare("check");
    agent = await AgentProcess.create(host, { policyDir, flags: ["--resync", "1h"] });
  });
  afterAll(async () => {
    await agent?.remove();
    await host?.remove();
    rmSync(policyDir, { recursive: true, force: true });
  });

  test("where nothing is enforced there is nothing to check: status 3", async () => {
    expect(await torbie(agent, ["check"])).toMatchObject({
      status: 3,
      stdout: "",
      stderr: expect.stringContaining("nothing is pinned") as string,
    });
    expect(await torbie(agent, ["check", "--repair"])).toMatchObject({ status: 3 });
  });

  test("what the agent has just written is what the datastore says, also when it was killed", async () => {
    await agent.startEnforcing(4);
    expect(await checked(agent)).toMatchObject({
      status: 0,
      same: true,
      dataplane: "bpf",
      against: "datastore",
      agent: { running: true, behind: [] },
      endpoints: 4,
      differences: [],
    });
    expect(statSync(join(agent.workspace.runDir, "agent.sock")).mode & 0o777).toBe(0o600);
    await agent.kill();
    expect(await checked(agent)).toMatchObject({ status: 0, same: true, agent: { running: false }, differences: [] });
  });

  const damage = async (): Promise<void> => {
    const state = openPinned(pinsIn(agent.workspace.pinDir));
    try {
      const { tables } = state;
      const [policy] = [...tables.entries("policy")];
      const [remote] = [...tables.entries("remote")];
      tables.delete("policy", [policy?.[0] ?? ("" as never)]);
      tables.delete("remote", [remote?.[0] ?? ("" as never)]);
    } finally {
      state.close();
    }
    await host.run(["tc", "filter", "del", "dev", "tapweb1", "ingress"]);
    await host.run(["sysctl", "-q", "-w", "net.ipv4.conf.tapdb1.forwarding=0"]);
    await host.ip("route del 10.65.0.21/32 metric 1024", "route add 10.65.0.99/32 dev tapdb2 proto 116 metric 1024");
    await host.ip("neigh del 172.18.3.22 dev tapdb2");
    await host.run(["nft", "delete", "table", "inet", "torbie_guard"]);
  };
  const DAMAGED = [
    "guard standing rule",
    "hook tapweb1 ingress",
    "map policy",
    "map remote",
    "neighbour 172.18.3.22 on tapdb2",
    "route 10.65.0.21/32 metric 1024",
    "route 10.65.0.99/32 metric 1024",
    "sysctl net.ipv4.conf.tapdb1.forwarding",
  ];

  test("each kind of damage is named, and nothing else; without an agent --repair ends it under the lock", async () => {
    await damage();
    const found = await checked(agent);
    expect(found.status).toBe(1);
    expect(places(found)).toEqual(DAMAGED);
    const lost = found.differences.find(({ where }) => where === "policy");
    expect(lost).toMatchObject({
      key: expect.stringMatching(/policy set np:openstack/) as string,
      is: null,
      wanted: expect.stringMatching(/rule np:openstack.*action allow/) as string,
    });
    expect(found.differences).toContainEqual({
      kind: "hook",
      where: "tapweb1 ingress",
      key: "",
      is: null,
      wanted: "tap_ingress",
    });
    const said = await torbie(agent, ["check"]);
    expect(said.stdout).toMatch(/No agent runs/);
    expect(said.stdout).toMatch(/route +10\.65\.0\.99\/32 metric 1024 +- +extra +by tapdb2/);

    const repaired = await checked(agent, "--repair");
    expect(repaired).toMatchObject({ status: 0, same: true, repaired: { by: "this command" }, left: [] });
    expect(await checked(agent)).toMatchObject({ status: 0, differences: [] });
  });

  test("an edit while nobody runs is a difference, by the rule that is missing", async () => {
    edit("groups.yaml", (text) => text.replace("ports: [80]", "ports: [80, 443]"));
    const found = await checked(agent);
    expect(found.status).toBe(1);
    expect(JSON.stringify(found.differences)).toContain("443");
    expect(await checked(agent, "--repair")).toMatchObject({ status: 0, left: [] });
    edit("groups.yaml", (text) => text.replace("ports: [80, 443]", "ports: [80]"));
    expect(await checked(agent)).toMatchObject({ status: 1 });
  });

  test("where an agent runs it repairs", async () => {
    await agent.startEnforcing(4);
    expect(await checked(agent)).toMatchObject({ status: 0 });
    // The agent follows hooks, routes and neighbours by itself; maps it reads back when it is asked to.
    const state = openPinned(pinsIn(agent.workspace.pinDir));
    const [local] = [...state.tables.entries("local")];
    state.tables.delete("local", [local?.[0] ?? ("" as never)]);
    state.close();
    expect(places(await checked(agent))).toEqual(["map local"]);
    expect(await checked(agent, "--repair")).toMatchObject({
      status: 0,
      repaired: { by: "the agent" },
      left: [],
    });
  });

  test("a datastore that can't be read: the agent's last good state is compared with, and that is said", async () => {
    renameSync(policyDir, `${policyDir}-away`);
    try {
      const found = await checked(agent);
      expect(found).toMatchObject({ status: 0, against: "agent", same: true, endpoints: 4 });
      expect(found.datastore.why).toMatch(/cannot be read/);
      expect((await torbie(agent, ["check"])).stdout).toMatch(/told by the agent's last good state/);
      await agent.kill();
      expect(await torbie(agent, ["check"])).toMatchObject({
        status: 3,
        stderr: expect.stringMatching(/can't be compared with.*no agent runs/s) as string,
      });
      expect(await torbie(agent, ["check", "--repair"])).toMatchObject({ status: 3 });
    } finally {
      renameSync(`${policyDir}-away`, policyDir);
    }
  });

  test("nobody but root: status 4", async () => {
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    expect(await torbie(agent, ["check"], nobody)).toMatchObject({ status: 4, stdout: "" });
  });
});

describe("with iptables", { timeout: 120_000 }, () => {
  let agent: AgentProcess;
  beforeAll(async () => {
    await prepare("checkrules");
    agent = await AgentProcess.create(host, { policyDir, flags: ["--resync", "1h"] });
    agent.more = ["--dataplane", "iptables"];
  });
  afterAll(async () => {
    await agent?.remove();
    await host?.remove();
    rmSync(policyDir, { recursive: true, force: true });
  });

  test("what the agent has just written is what a fresh writing would leave, also when it was killed", async () => {
    await agent.startEnforcing(4);
    expect(await checked(agent)).toMatchObject({
      status: 0,
      dataplane: "iptables",
      agent: { running: true, behind: [] },
      differences: [],
    });
    await agent.kill();
    expect(await checked(agent)).toMatchObject({ status: 0, differences: [] });
  });

  test("a rule, a member, a tap's chain: each is named, and repaired", async () => {
    const chains = (await host.run(["iptables-save", "-t", "filter"])).split("\n");
    const [, chain = ""] = chains.map((line) => /^-A (TRB-Pi-\S+) /.exec(line)).find((match) => match !== null) ?? [];
    await host.run(["iptables", "-I", chain, "1", "-j", "ACCEPT"]);
    const sets = (await host.run(["ipset", "save"])).split("\n");
    const [, set = "", member = ""] =
      sets.map((line) => /^add (trb4-c-\S+) (\S+)$/.exec(line)).find((match) => match !== null) ?? [];
    await host.run(["ipset", "del", set, member]);
    await host.run(["ipset", "add", set, "192.0.2.66"]);
    await host.run(["nft", "flush", "chain", "netdev", "torbie_link", "t_tapweb1"]);
    await host.run(["iptables", "-I", "FORWARD", "1", "-j", "ACCEPT"]);
    const found = await checked(agent);
    expect(found.status).toBe(1);
    expect(found.differences).toContainEqual({
      kind: "chain",
      where: `iptables filter ${chain}`,
      key: "rule 1",
      is: "-j ACCEPT",
      wanted: null,
    });
    expect(found.differences).toContainEqual({ kind: "set", where: set, key: member, is: null, wanted: "a member" });
    expect(found.differences).toContainEqual(
      expect.objectContaining({ kind: "set", where: set, key: expect.stringContaining("192.0.2.66"), wanted: null }),
    );
    expect(places(found)).toContain("tap rules nft netdev torbie_link t_tapweb1");
    expect(places(found)).toContain("chain iptables filter FORWARD");
    expect(await checked(agent, "--repair")).toMatchObject({ status: 0, repaired: { by: "this command" }, left: [] });
    expect(await checked(agent)).toMatchObject({ status: 0 });
  });
});
