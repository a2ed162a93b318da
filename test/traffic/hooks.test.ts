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
