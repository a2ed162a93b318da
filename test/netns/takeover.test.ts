/** `torbie takeover` and what is in its way: each is named with what to do about it, and nothing is changed. */
import { execFile, type ChildProcess } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AgentProcess } from "../../src/demo/world/agent.js";
import { stop } from "../../src/demo/world/command.js";
import { Namespace } from "../../src/demo/world/namespace.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const comment = (n: number): string => `-m comment --comment "cali:${String(n).padStart(16, "A")}"`;
/** One tap, judged. */
const FELIX = (host: string): string => `*filter
:cali-FORWARD - [0:0]
:cali-from-wl-dispatch - [0:0]
:cali-to-wl-dispatch - [0:0]
:cali-fw-${host} - [0:0]
:cali-tw-${host} - [0:0]
-A cali-FORWARD -i tap+ ${comment(1)} -j cali-from-wl-dispatch
-A cali-FORWARD -o tap+ ${comment(2)} -j cali-to-wl-dispatch
-A cali-from-wl-dispatch -i ${host} ${comment(3)} -g cali-fw-${host}
-A cali-to-wl-dispatch -o ${host} ${comment(4)} -g cali-tw-${host}
-A cali-fw-${host} ${comment(5)} -j RETURN
-A cali-tw-${host} ${comment(6)} -j DROP
-I FORWARD 1 ${comment(7)} -j cali-FORWARD
COMMIT
`;

let host: Namespace;
let agent: AgentProcess;
let policyDir: string;
interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

function torbie(...words: readonly string[]): Promise<Ran> {
  const { pinDir, runDir, directory } = agent.workspace;
  const settings = { "policy-dir": policyDir, hostname: "compute1", "state-dir": join(directory, "state") };
  const argv = host.argv([
    ...[process.execPath, join(ROOT, "bin/torbie"), ...words, "--pin-dir", pinDir, "--run-dir", runDir],
    ...Object.entries(settings).flatMap(([key, value]) => (words.includes(`--${key}`) ? [] : [`--${key}`, value])),
  ]);
  return new Promise((resolve) => {
    execFile(argv[0] ?? "", argv.slice(1), { timeout: 100_000 }, (error, out, err) =>
      resolve({ status: error === null ? 0 : typeof error.code === "number" ? error.code : -1, out, err }),
    );
  });
}

const everything = async (): Promise<string> =>
  (
    await Promise.all([
      host.run(["nft", "list", "ruleset"]),
      host.run(["iptables-save"]),
      host.run(["iptables-legacy-save"]),
      host.run(["ipset", "save"]),
      host.run(["ip", "route", "show", "table", "all"]),
      host.run(["tc", "qdisc"]),
    ])
  )
    .join("\n")
    .replaceAll(/packets \d+ bytes \d+|\[\d+:\d+\]|^#.*$|(?:expires|age|valid_lft) \S+/gm, "");

async function refused(status: number, said: RegExp, ...words: readonly string[]): Promise<void> {
  const before = await everything();
  const ran = await torbie("takeover", ...words);
  expect({ status: ran.status, said: said.test(ran.err) ? said : ran.err }).toEqual({ status, said });
  expect(await everything()).toBe(before);
}

beforeAll(async () => {
  policyDir = mkdtempSync(join(tmpdir(), "tb-takeover-"));
  cpSync(join(ROOT, "examples"), policyDir, { recursive: true });
  host = await Namespace.create("takeover");
  await host.ip("link add tapweb1 type veth peer name p1", "link set tapweb1 up", "link set p1 up");
  agent = await AgentProcess.create(host, { policyDir });
  for (const tool of ["iptables", "ip6tables"])
    await host.run([`${tool}-restore`, "--noflush"], { input: FELIX("tapweb1") });
  await host.run(["ipset", "create", "cali40s:x", "hash:net"]);
  await host.ip("route add 10.65.0.11/32 dev tapweb1 scope link proto boot metric 1024");
}, 60_000);
afterAll(async () => {
  await agent?.remove();
  await host?.remove();
  rmSync(policyDir, { recursive: true, force: true });
});

test("Felix runs", { timeout: 60_000 }, async () => {
  const felix: ChildProcess = host.spawn(
    ["setpriv", "--pdeathsig", "KILL", "bash", "-c", "exec -a /usr/bin/calico-felix sleep 60"],
    { stdio: "ignore" },
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  try {
    await refused(6, new RegExp(`Felix is running \\(pid ${felix.pid}\\).*systemctl disable --now calico-felix`, "s"));
  } finally {
    await stop(felix);
  }
});

test("rules of others lead into its chains, stand in them, name its sets", { timeout: 90_000 }, async () => {
  const rules = [
    ["-N", "DOCKER-USER"],
    ["-A", "DOCKER-USER", "-i", "eth0", "-j", "cali-FORWARD"],
    ["-A", "cali-FORWARD", "-s", "192.0.2.9", "-j", "DROP"],
    ["-A", "INPUT", "-m", "set", "--match-set", "cali40s:x", "src", "-j", "DROP"],
  ];
  for (const rule of rules) await host.run(["iptables", ...rule]);
  const each = [
    "-t filter -D DOCKER-USER -i eth0 -j cali-FORWARD",
    "-t filter -D cali-FORWARD -s 192.0.2.9/32 -j DROP",
    "-t filter -D INPUT -m set --match-set cali40s:x src -j DROP",
  ];
  for (const how of each) await refused(6, new RegExp(`iptables-nft ${how}`));
  // The commands that it names end it.
  for (const how of each) await host.run(["iptables-nft", ...how.split(" ")]);
  await host.run(["iptables", "-X", "DOCKER-USER"]);
});

test(
  "Felix lets a guest talk that the datastore does not know, as where the host has another name there",
  { timeout: 60_000 },
  async () => {
    await host.ip("link add tapghost type veth peer name p2", "link set tapghost up");
    const rules = FELIX("tapghost").replaceAll(/^(?::cali-(?:FORWARD|from|to).*|-A cali-FORWARD.*|-I .*)\n/gm, "");
    for (const tool of ["iptables", "ip6tables"]) await host.run([`${tool}-restore`, "--noflush"], { input: rules });
    await refused(6, /"tapghost".* no endpoint on host "compute1".*FelixHostname.*--force/s);
    await host.ip("link del tapghost");
  },
);

test("the datastore can't be read; Felix's mark bits are ours", { timeout: 90_000 }, async () => {
  await refused(3, /nothing was changed: .*no-such-directory/, "--policy-dir", "/no-such-directory");
  await refused(6, /mark-shift is 16.*mark-shift: 0/s, "--mark-shift", "16");
});

/** A program of Felix's name at both hooks of the tap, pinned with a map below DIRECTORY. */
async function programs(directory: string): Promise<void> {
  const text = `__attribute__((section("classifier"), used)) int cali_tc_main(void *skb) { return -1; }
    char _license[] __attribute__((section("license"), used)) = "MIT";`;
  const object = join(policyDir, "..", `tb-cali-${process.pid}.o`);
  await host.run(["clang", "-O2", "-g", "-target", "bpf", "-x", "c", "-c", "-", "-o", object], { input: text });
  mkdirSync(join(directory, "tc", "globals"), { recursive: true });
  mkdirSync(join(directory, "calico"));
  const pin = join(directory, "tc", "globals", "cali_main");
  await host.run(["bpftool", "prog", "load", object, pin, "type", "classifier"]);
  rmSync(object);
  const map = "type hash key 4 value 4 entries 8 name cali_v4_ct".split(" ");
  await host.run(["bpftool", "map", "create", join(directory, "calico", "ct"), ...map]);
  await host.run(["bpftool", "map", "create", join(directory, "mine"), ...map]);
  await host.run("tc qdisc add dev tapweb1 clsact".split(" "));
  for (const way of ["ingress", "egress"]) {
    const words = `filter add dev tapweb1 ${way} prio 49152 handle 1 bpf da object-pinned`.split(" ");
    await host.run(["tc", ...words, pin]);
  }
}

test(
  "what is in another back end or in nftables goes as well, and what is not Felix's stays",
  { timeout: 120_000 },
  async () => {
    await host.run(["iptables-legacy-restore", "--noflush"], { input: FELIX("tapweb1") });
    await host.run(["iptables-legacy", "-A", "FORWARD", "-i", "eth9", "-j", "DROP"]);
    await host.run(["iptables", "-N", "calico-dhcp-x"]);
    await host.run(["ipset", "create", "mine", "hash:net"]);
    await host.run(["nft", "add", "table", "ip", "calico"]);
    await host.run([
      "nft",
      "add chain ip calico filter-FORWARD { type filter hook forward priority 0; policy accept; }",
    ]);
    await host.run(["nft", "add", "table", "inet", "mine"]);
    await host.ip("route add 10.65.9.0/24 dev tapweb1 proto boot", "route add 10.65.0.99/32 dev tapweb1 proto 80");
    const directory = dirname(agent.workspace.pinDir);
    await programs(directory);
    const ran = await torbie("takeover");
    expect({ status: ran.status, err: ran.err }).toEqual({ status: 0, err: "" });
    expect(ran.out).toMatch(/Of 2 routes 1 became ours in place, and 1 were removed/);
    expect(ran.out).toMatch(/Removed 2 programs\n {4}cali_\w+ at tapweb1 ingress/);
    const filters = await host.run(["tc", "filter", "show", "dev", "tapweb1", "ingress"]);
    expect([/tap_ingress/.test(filters), /cali_/.test(filters)]).toEqual([true, false]);
    expect(readdirSync(join(directory, "tc", "globals"))).toEqual([]);
    const now = await everything();
    expect(now.match(/.*(?:cali-|cali40|ip calico).*/g)).toBeNull();
    for (const theirs of [
      "-i eth9 -j DROP",
      "calico-dhcp-x",
      "create mine ",
      "table inet mine",
      "10.65.9.0/24 dev tapweb1",
    ])
      expect(now).toContain(theirs);
    expect(await host.run(["ip", "route", "show", "10.65.0.11"])).toContain("proto 116");
  },
);

test(
  "handback by force, without Felix: it says what is open, and nothing of Torbie's is left",
  { timeout: 90_000 },
  async () => {
    const ran = await torbie("handback", "--force");
    expect({ status: ran.status, err: ran.err }).toEqual({ status: 0, err: "" });
    expect(ran.out).toMatch(/Open: no rules of Felix's judge tapweb1/);
    expect((await everything()).match(/.*(?:torbie|TRB-|trb[46]-|proto 116).*/g)).toBeNull();
    expect(await host.run(["ip", "route", "show", "10.65.0.11"])).toMatch(/dev tapweb1 .*scope link/);
  },
);
