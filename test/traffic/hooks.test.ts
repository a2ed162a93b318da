/** Others on the hooks of our taps, and others who take our programs off them: what is enforced stays so, and status says who is there. */
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { Namespace } from "../../src/demo/world/namespace.js";
import { Probe } from "../../src/demo/world/probe.js";
import { Cloud } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { group, inGroup, type RuleObject } from "../support/resources.js";
import type { Problem } from "../../src/problems.js";

const EVERYTHING: RuleObject[] = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];
const toServer: RuleObject = {
  action: "Allow",
  protocol: "TCP",
  source: { selector: inGroup("client") },
  destination: { ports: [80] },
};
const policies = [
  group("client", { egress: EVERYTHING }),
  group("server", { ingress: [toServer], egress: EVERYTHING }),
];
const TAP = "tapserver";

let cloud: Cloud;
/** A machine behind an interface of the host that is no uplink: what it sends is routed by the host's stack. */
let stray: Namespace;
let strayProbe: Probe;

const tc = (...words: string[]): Promise<string> => cloud.world.host.run(["tc", ...words]);
const server = () => cloud.guest("server");

beforeAll(async () => {
  cloud = await Cloud.create(
    [
      { spec: guestSpec("client", 11), groups: ["client"] },
      { spec: guestSpec("server", 21, 18), groups: ["server"] },
    ],
    policies,
  );
  stray = await Namespace.create("stray");
  await cloud.world.host.ip(
    `link add oth0 type veth peer name eth0 netns ${stray.name}`,
    "addr add 203.0.113.1/24 dev oth0",
    "link set oth0 up",
  );
  await stray.ip("addr add 203.0.113.9/24 dev eth0", "link set eth0 up", "route add 0.0.0.0/0 via 203.0.113.1");
  await cloud.world.host.sysctl({ "net.ipv4.conf.all.forwarding": 1 });
  strayProbe = await Probe.start(stray, []);
});

afterAll(async () => {
  await strayProbe?.stop();
  await cloud?.close();
  await stray?.remove();
});

/** Our programs by hook, as tc has them. */
async function ours(): Promise<string> {
  const [into, out] = await Promise.all(["ingress", "egress"].map((side) => tc("filter", "show", "dev", TAP, side)));
  return [/\btap_ingress\b/.test(into ?? "") ? "in" : "", /\btap_egress\b/.test(out ?? "") ? "out" : ""].join(" ");
}
const attached = () => vi.waitFor(async () => expect(await ours()).toBe("in out"), { timeout: 5_000, interval: 20 });

/** What may pass passes, both ways, and what may not does not, whichever interface it comes from. */
async function holds(): Promise<void> {
  expect(await cloud.guest("client").probe.tcp(server().v4, 80)).toMatchObject({ result: "ok", hops: 63 });
  expect(await cloud.guest("client").probe.tcp(server().v6, 80)).toMatchObject({ result: "ok" });
  expect(await cloud.guest("client").probe.tcp(server().v4, 5432, 300)).toMatchObject({ result: "timeout" });
  expect(await strayProbe.tcp(server().v4, 80, 300)).toMatchObject({ result: "timeout" });
  expect(await server().probe.ping("203.0.113.9")).toMatchObject({ result: "ok" });
}

async function foreign(): Promise<Problem[]> {
  const { agent } = JSON.parse(await cloud.agent.torbie(["status", "--json"])) as { agent: { problems: Problem[] } };
  return agent.problems.filter(({ code }) => code === "FOREIGN_PROGRAM");
}
const told = (what: RegExp) =>
  vi.waitFor(
    async () =>
      expect(await foreign()).toContainEqual(
        expect.objectContaining({ where: TAP, what: expect.stringMatching(what) as string }),
      ),
    { timeout: 8_000, interval: 50 },
  );

describe("someone else's filter", () => {
  afterEach(async () => {
    await tc("filter", "del", "dev", TAP, "ingress", "prio", "50").catch(() => "");
    await tc("filter", "del", "dev", TAP, "egress", "prio", "50").catch(() => "");
    await vi.waitFor(async () => expect(await foreign()).toEqual([]), { timeout: 8_000, interval: 50 });
  });

  it("after ours sees what ours lets through, and is named", async () => {
    const mirror = ["action", "mirred", "egress", "mirror", "dev", "sink0"];
    await cloud.world.host.ip("tuntap add dev sink0 mode tap", "link set sink0 up");
    await tc(
      "filter",
      "add",
      "dev",
      TAP,
      "egress",
      "prio",
      "50",
      "protocol",
      "all",
      "u32",
      "match",
      "u32",
      "0",
      "0",
      ...mirror,
    );
    await told(/"u32" of someone else is on the egress hook$/);
    await holds();
    // Theirs counts what went through it: not what ours dropped.
    expect(await tc("-s", "filter", "show", "dev", TAP, "egress")).toMatch(/Sent \d+ bytes [1-9]\d* pkt/);
  });

  it("ahead of ours is named as one that may let packets by", async () => {
    // Classic BPF that matches nothing.
    await tc(..."filter add dev tapserver ingress prio 1 handle 1 bpf bytecode".split(" "), "1,6 0 0 0");
    try {
      await told(/"bpf" of someone else is on the ingress hook, ahead of ours$/);
      await holds();
    } finally {
      await tc("filter", "del", "dev", TAP, "ingress", "prio", "1", "handle", "1", "bpf");
    }
    await attached();
  });
});

it("a root qdisc of someone else works beside ours", async () => {
  await tc("qdisc", "add", "dev", TAP, "root", "tbf", "rate", "1gbit", "burst", "64kb", "latency", "50ms");
  await holds();
  expect(await ours()).toBe("in out");
  expect(await tc("-s", "qdisc", "show", "dev", TAP)).toMatch(/tbf[^]* Sent [1-9]\d* bytes/);
  await tc("qdisc", "del", "dev", TAP, "root");
});

describe("what someone takes away is put back at once", () => {
  it.each([
    ["the filter at ingress", ["filter", "del", "dev", TAP, "ingress"]],
    ["the filter at egress", ["filter", "del", "dev", TAP, "egress"]],
    ["the filter at egress, by its place", ["filter", "del", "dev", TAP, "egress", "prio", "1"]],
    ["the whole clsact", ["qdisc", "del", "dev", TAP, "clsact"]],
  ])("%s", async (_, words) => {
    expect(await ours()).toBe("in out");
    await tc(...words);
    await attached();
    await holds();
  });

  it("an uplink's", async () => {
    await tc("qdisc", "del", "dev", "up0", "clsact");
    await vi.waitFor(
      async () => expect(await tc("filter", "show", "dev", "up0", "ingress")).toContain("uplink_ingress"),
      {
        timeout: 5_000,
        interval: 20,
      },
    );
  });
});

describe("what someone takes away while no agent runs opens nothing", () => {
  const COUNTERS = ["UdpNoPorts", "Udp6NoPorts", "IcmpInEchos"] as const;
  /** What the server got: datagrams for a port that nobody has, and echo requests. */
  const got = async (): Promise<Record<(typeof COUNTERS)[number], number>> => {
    const text = await server().namespace.run(["nstat", "-asz", ...COUNTERS]);
    const count = (name: string): number => Number(new RegExp(`^${name}\\s+(\\d+)`, "m").exec(text)?.[1]);
    return Object.fromEntries(COUNTERS.map((name) => [name, count(name)])) as Record<(typeof COUNTERS)[number], number>;
  };
  const SEND = [
    "import socket, sys",
    "for address in sys.argv[1:]:",
    "    family = socket.AF_INET6 if ':' in address else socket.AF_INET",
    "    for _ in range(5): socket.socket(family, socket.SOCK_DGRAM).sendto(b'x', (address, 4242))",
  ].join("\n");
  const send = async (from: Namespace): Promise<void> => {
    await from.run(["python3", "-c", SEND, server().v4, server().v6]);
    await new Promise((resolve) => setTimeout(resolve, 200));
  };

  it("from an uplink, and from another guest, towards a tap without programs; what the host sends itself arrives", async () => {
    const { host, fabric } = cloud.world;
    await cloud.world.announce(`${server().v4}/32`);
    await cloud.world.announce(`${server().v6}/128`);
    await cloud.agent.kill();
    const before = await got();
    await tc("qdisc", "del", "dev", TAP, "clsact");
    // Their senders' programs judge for both ends: what is allowed passes, and nothing else.
    await send(fabric);
    await send(cloud.guest("client").namespace);
    expect(await got()).toEqual(before);
    // Nobody judges any more.
    await tc("qdisc", "del", "dev", "up0", "clsact");
    await tc("qdisc", "del", "dev", "tapclient", "clsact");
    await send(fabric);
    await send(cloud.guest("client").namespace);
    expect(await got()).toEqual(before);
    await host.run(["ping", "-c", "2", "-W", "1", server().v4]).catch(() => "");
    expect(await got()).toEqual({ ...before, IcmpInEchos: before.IcmpInEchos + 2 });
    const dropped = await host.run(["nft", "list", "chain", "inet", "torbie_guard", "onward"]);
    expect(dropped).toMatch(/counter packets 10 bytes \d+ drop/);
    // It is the guard: without its rule all of it arrives.
    await host.run(["nft", "flush", "chain", "inet", "torbie_guard", "forward"]);
    await send(fabric);
    expect(await got()).toMatchObject({ UdpNoPorts: before.UdpNoPorts + 5, Udp6NoPorts: before.Udp6NoPorts + 5 });
  });

  it("and the next agent puts programs and guard back", async () => {
    await cloud.agent.startEnforcing(2);
    await holds();
    expect(await cloud.world.host.run(["nft", "list", "chain", "inet", "torbie_guard", "forward"])).toContain(
      "goto onward",
    );
    const before = await got();
    await send(cloud.world.fabric);
    expect(await got()).toEqual(before);
  });
});

describe("an ingress qdisc of someone else (libvirt's bandwidth limits make one), which leaves no place at egress", () => {
  it("has both programs, each on its own hook, and theirs stays", async () => {
    await cloud.agent.stop();
    await server().unplug();
    await server().plug();
    await tc("qdisc", "add", "dev", TAP, "ingress");
    await tc(
      "filter",
      "add",
      "dev",
      TAP,
      "ingress",
      "prio",
      "50",
      "protocol",
      "all",
      "u32",
      "match",
      "u32",
      "0",
      "0",
      "classid",
      "1:1",
    );
    await cloud.agent.startEnforcing(2);
    await holds();
    const filters = await tc("filter", "show", "dev", TAP, "ingress");
    expect(filters).toContain("tap_ingress");
    expect(filters).not.toContain("tap_egress");
    expect(await tc("qdisc", "show", "dev", TAP)).toContain("qdisc ingress ffff:");
    expect((await foreign()).map(({ what }) => what)).toEqual([
      expect.stringMatching(/"u32" of someone else is on the ingress hook$/),
    ]);
  });

  it("stays when ours go", async () => {
    await cloud.agent.stop();
    await cloud.agent.torbie(["cleanup", "--open"]);
    expect(await tc("qdisc", "show", "dev", TAP)).toContain("qdisc ingress ffff:");
    const filters = await tc("filter", "show", "dev", TAP, "ingress");
    expect(filters).toContain("u32");
    expect(filters).not.toContain("tap_");
    expect(await cloud.world.host.run(["bpftool", "net", "show", "dev", TAP])).not.toContain("tap_");
  });
});
