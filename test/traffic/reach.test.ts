/** Guests behind real taps, judged by groups: who reaches whom with ping, TCP and UDP, over how many hops (S1, S2, S3, S5). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cloud } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { group, inGroup, type RuleObject } from "../support/resources.js";

const EVERYTHING: RuleObject[] = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];
const port = (number: number, more: RuleObject = {}): RuleObject => ({
  action: "Allow",
  protocol: "TCP",
  destination: { ports: [number] },
  ...more,
});
const ping: RuleObject[] = [
  { action: "Allow", protocol: "ICMP", icmp: { type: 8 } },
  { action: "Allow", protocol: "ICMPv6", icmp: { type: 128 } },
];
const web = group("web", {
  ingress: [port(80), ...ping, { action: "Allow", protocol: "UDP", destination: { ports: [53] } }],
  egress: EVERYTHING,
});
const db = (from: string) =>
  group("db", { ingress: [port(5432, { source: { selector: inGroup(from) } })], egress: EVERYTHING });
const closed = group("closed", {});

describe.each(["clsact", "tcx"])("attached by %s", (attach) => {
  let cloud: Cloud;

  beforeAll(async () => {
    cloud = await Cloud.create(
      [
        { spec: guestSpec("web1", 11), groups: ["web"] },
        { spec: guestSpec("db1", 21), groups: ["db"] },
        { spec: guestSpec("web2", 12, 18), groups: ["web"] },
        { spec: guestSpec("db2", 22, 18), groups: ["db"] },
        { spec: guestSpec("shut", 31), groups: ["closed"] },
      ],
      [web, db("web"), closed],
      ["--attach", attach],
    );
  });

  afterAll(() => cloud.close());

  it(`is attached by ${attach}`, () => expect(cloud.agent.status()?.dataplane.why).toContain(`attached by ${attach}`));

  describe.each([4, 6] as const)("over IPv%i", (family) => {
    const probe = (name: string) => cloud.guest(name).probe;
    const address = (name: string) => cloud.guest(name).address(family);

    it.each([
      ["web1", "db1", "in one subnet"],
      ["web1", "db2", "in two subnets"],
    ])("%s reaches %s's port 5432 (%s), one hop away, from its own address", async (from, to) => {
      expect(await probe(from).tcp(address(to), 5432)).toMatchObject({ result: "ok", hops: 63 });
    });

    it("echo and UDP pass where a rule says so, both ways as one flow", async () => {
      expect(await probe("db1").ping(address("web2"))).toMatchObject({ result: "ok", hops: 63 });
      expect(await probe("db1").udp(address("web2"), 53)).toMatchObject({ result: "ok", hops: 63 });
    });

    it("drops at the receiver what no rule of its group admits, and counts it there", async () => {
      const drops = await cloud.dropsDuring("db2", async () => {
        expect(await probe("db1").tcp(address("db2"), 5432, 300)).toMatchObject({ result: "timeout" });
        expect(await probe("web1").tcp(address("db2"), 80, 300)).toMatchObject({ result: "timeout" });
        expect(await probe("web1").ping(address("db2"), 300)).toMatchObject({ result: "timeout" });
      });
      expect(drops).toEqual({ POLICY_INGRESS: 3 });
    });

    it("drops at the sender what its groups do not let out", async () => {
      const drops = await cloud.dropsDuring("shut", () => probe("shut").tcp(address("web1"), 80, 300));
      expect(drops).toMatchObject({ POLICY_EGRESS: 1 });
    });

    it("an expired TTL is answered: traceroute shows the hop and then the guest", async () => {
      const hop = family === 4 ? /^ 1 +192\.0\.2\.10 / : /^ 1 +2001:db8:ffff::10 /;
      const text = await cloud
        .guest("web1")
        .run(["traceroute", `-${family}`, "-I", "-n", "-q", "1", "-w", "1", "-m", "3", address("web2")]);
      const [, first, second, ...more] = text.trimEnd().split("\n");
      expect(first).toMatch(hop);
      expect(second).toMatch(new RegExp(`^ 2 +${address("web2")} `));
      expect(more).toEqual([]);
    });
  });

  it("an edit of a group is in force at once, for its own ports only", async () => {
    const reaches = (from: string, to: string) => cloud.guest(from).probe.tcp(cloud.guest(to).v4, 5432, 400);
    const event = await cloud.put("policies.yaml", [web, db("db"), closed]);
    expect(event.totalWrites).toBeGreaterThan(0);
    expect(await reaches("web1", "db1")).toMatchObject({ result: "timeout" });
    expect(await reaches("db1", "db2")).toMatchObject({ result: "ok" });
    expect(await cloud.guest("web1").probe.tcp(cloud.guest("web2").v6, 80)).toMatchObject({ result: "ok" });
    await cloud.put("policies.yaml", [web, db("web"), closed]);
    expect(await reaches("web1", "db1")).toMatchObject({ result: "ok" });
    expect(await reaches("db1", "db2")).toMatchObject({ result: "timeout" });
  });
});
