/** `drop watch` and `drop list` with real packets, from both dataplanes. */
import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BpfMap } from "#libbpf";
import { decode } from "../../src/abi/codec.js";
import { fromBytes, u32 } from "../../src/abi/records.js";
import { pinsIn } from "../../src/agent/wire/pins.js";
import { mapPath } from "../../src/dataplane/bpf/pins.js";
import { Cloud } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
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

interface Line {
  readonly what: string;
  readonly reason: string;
  readonly direction: string;
  readonly port: string | null;
  readonly groups: readonly string[];
  readonly protocol: string;
  readonly source: { readonly address: string; readonly port: number; readonly name: string | null };
  readonly destination: { readonly address: string; readonly port: number; readonly name: string | null };
  readonly packets: number;
  readonly chain: string;
}

class Torbie {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly ended: Promise<number>;

  constructor(cloud: Cloud, words: readonly string[]) {
    const { pinDir, runDir } = cloud.agent.workspace;
    const argv = cloud.world.host.argv([process.execPath, join(ROOT, "bin/torbie"), ...words]);
    this.child = spawn(argv[0] ?? "", [...argv.slice(1), "--pin-dir", pinDir, "--run-dir", runDir]);
    this.child.stdout?.on("data", (chunk: Buffer) => (this.stdout += chunk.toString()));
    this.child.stderr?.on("data", (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.ended = new Promise((resolve) => this.child.once("close", (code) => resolve(code ?? -1)));
  }

  get lines(): Line[] {
    return this.stdout
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Line);
  }
}

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    if (tries === 100) throw new Error(`not within 100 looks: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}

/** Sends UDP to a port that nothing admits, from an address that the sender may have or not. */
const send = (cloud: Cloud, count: number, port: number, source = cloud.guest("client").v4): Promise<string> =>
  cloud
    .guest("client")
    .run([
      "python3",
      "-c",
      `import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(("${source}",4242))\nfor i in range(${count}): s.sendto(b"x",("${cloud.guest("server").v4}",${port}))`,
    ]);

function create(flags: readonly string[] = []): Promise<Cloud> {
  return Cloud.create(
    [
      { spec: guestSpec("client", 11), groups: ["client"] },
      { spec: guestSpec("server", 21, 18), groups: ["server"] },
    ],
    RULES,
    flags,
  );
}

describe("from the programs", { timeout: 60_000 }, () => {
  let cloud: Cloud;
  beforeAll(async () => {
    cloud = await create();
    await cloud.guest("client").run(["ip", "addr", "add", "192.0.2.77/32", "dev", "lo"]);
  }, 60_000);
  afterAll(() => cloud?.close());

  const lease = () => {
    const map = BpfMap.open(mapPath(pinsIn(cloud.agent.workspace.pinDir), "drop_watch"));
    try {
      return decode("drop_watch", map.get(fromBytes(u32(0))) ?? Buffer.alloc(0));
    } finally {
      map.close();
    }
  };
  /** Resolves once the kernel would tell it. */
  const watching = async (...words: string[]): Promise<Torbie> => {
    const watch = new Torbie(cloud, ["drop", "watch", ...words]);
    await until(() => lease().until !== 0n, `the watch began: ${words.join(" ")}`);
    return watch;
  };

  test("a packet that no rule admits is told with all that it was, at the port that refused it", async () => {
    const watch = await watching("--json", "--count", "1", "--reason", "policy-ingress", "--seconds", "20");
    await cloud.guest("client").probe.tcp(cloud.guest("server").v4, 4999, 300);
    expect(await watch.ended).toBe(0);
    expect(watch.lines).toMatchObject([
      {
        what: "drop",
        reason: "POLICY_INGRESS",
        direction: "ingress",
        port: SERVER,
        protocol: "tcp",
        interface: CLIENT,
        source: { address: cloud.guest("client").v4, name: CLIENT },
        destination: { address: cloud.guest("server").v4, port: 4999, name: SERVER },
      },
    ]);
    expect(watch.lines[0]?.groups.join()).toContain("server");
    expect(lease().until).toBe(0n);
  });

  test("works while the agent is dead; whoever asks for the sender sees what others refuse it, IPv6 and spoofing too", async () => {
    await cloud.agent.stop();
    try {
      const watch = await watching("--port", CLIENT, "--count", "3", "--seconds", "20");
      await send(cloud, 1, 4999, "192.0.2.77");
      await cloud.guest("client").probe.udp(cloud.guest("server").v6, 53, 100);
      await cloud.guest("client").probe.attempt({ kind: "ping", address: cloud.guest("server").v4, timeout: 100 });
      expect(await watch.ended).toBe(0);
      const lines = watch.stdout.trimEnd().split("\n");
      expect(lines[0]).toMatch(/ SPOOFED_ADDRESS egress tapclient: udp 192\.0\.2\.77:4242 -> /);
      expect(lines[1]).toMatch(
        / POLICY_INGRESS ingress tapserver: udp \[.*\]:\d+ \(tapclient\) -> \[.*\]:53 \(tapserver\)/,
      );
      expect(lines[2]).toContain(": icmp 8/0 ");
      expect(watch.stderr).toContain("No rule of the receiver's security groups admits it.");
    } finally {
      await cloud.agent.startEnforcing(2);
    }
  });

  test("of a flood little is told, and nothing is lost count of", async () => {
    const counted = async (): Promise<number> => (await cloud.drops("server"))["POLICY_INGRESS"] ?? 0;
    const watch = await watching("--json", "--port", SERVER, "--rate", "50", "--seconds", "30");
    const before = await counted();
    await send(cloud, 20_000, 4999);
    const after = await counted();
    watch.child.kill("SIGINT");
    expect(await watch.ended).toBe(0);
    const told = watch.lines.filter(({ what }) => what === "drop").length;
    const missed = watch.lines.filter(({ what }) => what === "missed").reduce((sum, { packets }) => sum + packets, 0);
    expect(after - before).toBeGreaterThan(3_000);
    expect(told + missed).toBe(after - before);
    expect(told).toBeGreaterThan(0);
    expect(told).toBeLessThan(2_000);
  });

  test("one watches at a time; one that was killed is forgotten, and the programs tell nobody any more", async () => {
    const first = await watching("--json");
    const second = new Torbie(cloud, ["drop", "watch"]);
    expect(await second.ended).toBe(6);
    expect(second.stderr).toContain(`pid ${first.child.pid}`);
    first.child.kill("SIGKILL");
    await first.ended;
    await until(async () => {
      await send(cloud, 1, 4999);
      return lease().until === 0n;
    }, "the programs ended the lease");
  });

  test("drop list has counts, and with --seconds what was added", async () => {
    const list = new Torbie(cloud, ["drop", "list", "--port", SERVER, "--json"]);
    expect(await list.ended).toBe(0);
    expect(list.lines).toContainEqual(expect.objectContaining({ reason: "POLICY_INGRESS", port: SERVER }));
    expect(list.lines[0]?.groups.join()).toContain("server");
    const text = new Torbie(cloud, ["drop", "list", "--seconds", "1"]);
    expect(await text.ended).toBe(0);
    expect(text.stdout).toMatch(/^Nothing was dropped in 1 s\.|^DROPPED +IN 1 s/);
  });

  test.each([
    [["drop", "watch", "--port", "nobody"], 3, "no port"],
    [["drop", "watch", "--reason", "policy-ingres"], 2, "did you mean policy ingress"],
    [["drop", "watch", "--rate", "1"], 2, "at least 10"],
    [["drop", "watch", "--address", "tapclient"], 2, "neither an address nor a prefix"],
    [["drop", "list", "--seconds", "none"], 2, "expected a number"],
  ])("refuses %j", async (words, status, message) => {
    const ran = new Torbie(cloud, words);
    expect(await ran.ended).toBe(status);
    expect(ran.stderr).toContain(message);
    expect(lease().until).toBe(0n);
  });
});

describe("with iptables", { timeout: 90_000 }, () => {
  let cloud: Cloud;
  beforeAll(async () => {
    cloud = await create(["--dataplane", "iptables"]);
  }, 60_000);
  afterAll(() => cloud?.close());

  test("what chains counted is told by port and direction, and that single packets can't be", async () => {
    const watch = new Torbie(cloud, ["drop", "watch", "--json", "--count", "1", "--seconds", "30", "--port", SERVER]);
    const sending = until(async () => {
      await send(cloud, 3, 4999);
      return watch.child.exitCode !== null;
    }, "the watch saw one");
    expect(await watch.ended).toBe(0);
    await sending;
    expect(watch.lines).toMatchObject([
      {
        what: "drops",
        reason: "POLICY_INGRESS",
        direction: "ingress",
        port: SERVER,
        chain: `TRB-to-${SERVER}`,
        family: 4,
      },
    ]);
    expect(watch.lines[0]?.packets).toBeGreaterThan(0);
    const refused = new Torbie(cloud, ["drop", "watch", "--protocol", "tcp"]);
    expect(await refused.ended).toBe(5);
    expect(refused.stderr).toContain("keeps no packet");
    const list = new Torbie(cloud, ["drop", "list"]);
    expect(await list.ended).toBe(0);
    expect(list.stdout).toMatch(/DIRECTION/);
  });
});
