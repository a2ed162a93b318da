/**
 * Beside a real Open vSwitch on the same host, by its userspace datapath, which wants no module of the kernel: a bridge with a port that is
 * named as a tap is and one of its own that is named as Neutron names its DHCP ports. With `interface-exclude`, as doctor advises, nothing of
 * its is broken or changed and nothing of ours lost.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Namespace } from "../../src/demo/world/namespace.js";
import type { Finding } from "../../src/doctor/finding.js";
import type { Doctored } from "../../src/doctor/run.js";
import { Cloud } from "../support/cloud.js";
import { expectNothingLost, TALKERS, TALKERS_GROUPS, under } from "../support/continuity.js";
import { OpenVswitch } from "../support/openvswitch.js";
import { serve } from "../support/stream.js";

const [SWITCHED, OWN] = ["tapswitch", "tapdhcp"] as const;
const EXCLUDE = ["--interface-exclude", `${SWITCHED},${OWN}`];
const ADDRESS = "192.168.9.3";

describe.each(["bpf", "iptables"] as const)("beside Open vSwitch, %s", { timeout: 120_000 }, (dataplane) => {
  let cloud: Cloud;
  let ovs: OpenVswitch | undefined;
  let ends: Namespace[] = [];
  let before: Record<string, string>;
  let stopServing: (() => Promise<void>) | undefined;

  const ownPort = async (): Promise<void> => {
    await cloud.world.host.ip(`addr replace ${ADDRESS}/24 dev ${OWN}`, `link set ${OWN} up`);
  };
  const theyWork = async (): Promise<void> => {
    const [one] = ends;
    await one?.run(["ping", "-c1", "-W2", "192.168.9.2"]);
    await one?.run(["ping", "-c1", "-W2", ADDRESS]);
  };
  /** What is theirs, as it stands. */
  const theirs = async (): Promise<Record<string, string>> => ({
    show: (await ovs?.vsctl("show")) ?? "",
    flows: (await ovs?.ofctl("--no-stats", "dump-flows", "br-int")) ?? "",
    hooks: await cloud.world.host.run(["tc", "qdisc", "show", "dev", SWITCHED]),
    own: await cloud.world.host.run(["tc", "qdisc", "show", "dev", OWN]),
  });
  const about = async (what: string, ...flags: readonly string[]): Promise<Finding[]> => {
    const out = await cloud.agent
      .torbie(["doctor", "--json", "--dataplane", dataplane, ...flags])
      .catch((error: unknown) => String((error as { stdout?: unknown }).stdout));
    return (JSON.parse(out) as Doctored).findings.filter((one) => one.what === what);
  };

  beforeAll(async () => {
    cloud = await Cloud.create(TALKERS, TALKERS_GROUPS, ["--dataplane", dataplane, ...EXCLUDE]);
    await cloud.agent.stop();
    await cloud.agent.torbie(["cleanup", "--open", ...EXCLUDE]);
    await cloud.world.announce(`${cloud.guest("server").v4}/32`);
    const { host } = cloud.world;
    await host.sysctl({ "net.ipv4.ip_forward": 1 });
    ends = [await Namespace.create("end1"), await Namespace.create("end2")];
    const [one, two] = ends as [Namespace, Namespace];
    await host.ip(
      `link add ${SWITCHED} type veth peer name eth0 netns ${one.name}`,
      `link add port2 type veth peer name eth0 netns ${two.name}`,
      ...[SWITCHED, "port2"].map((name) => `link set ${name} up`),
    );
    await one.ip("addr add 192.168.9.1/24 dev eth0", "link set eth0 up");
    await two.ip("addr add 192.168.9.2/24 dev eth0", "link set eth0 up");
    ovs = await OpenVswitch.start(host);
    await ovs.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev");
    for (const port of [SWITCHED, "port2"]) await ovs.vsctl("add-port", "br-int", port);
    await ovs.vsctl("add-port", "br-int", OWN, "--", "set", "interface", OWN, "type=internal");
    await ownPort();
    stopServing = (await serve(cloud.guest("server").namespace)).stop;
    await theyWork();
    before = await theirs();
  }, 120_000);

  afterAll(async () => {
    await stopServing?.();
    await ovs?.close();
    await Promise.all(ends.map((namespace) => namespace.remove()));
    await cloud?.close();
  });

  it("doctor names both ports, whose kinds tell nothing, and what to do", async () => {
    expect(await about(OWN)).toMatchObject([{ level: "fault", advice: `interface-exclude: ${OWN}` }]);
    expect(await about(SWITCHED)).toMatchObject([
      { level: "fault", advice: expect.stringMatching(/ovs-vsctl del-port tapswitch.*interface-exclude/) as string },
    ]);
    for (const port of [OWN, SWITCHED]) expect(await about(port, ...EXCLUDE)).toEqual([]);
  });

  it("with that done nothing of ours is lost, and theirs goes on meanwhile", async () => {
    await cloud.agent.startEnforcing(2);
    await theyWork();
    expectNothingLost(await under(cloud, theyWork));
  });

  it("nothing of theirs is changed", async () => {
    expect(await theirs()).toEqual(before);
  });

  it("its daemon ends and starts again: its ports are its own, and ours stay enforced", async () => {
    expectNothingLost(
      await under(cloud, async () => {
        await ovs?.stopDaemon();
        await ovs?.startDaemon();
        await expect.poll(() => cloud.world.host.run(["ip", "link", "show", OWN]).catch(() => "")).toContain(OWN);
        await ownPort();
        await expect.poll(() => theyWork().then(() => "works", String), { timeout: 20_000 }).toBe("works");
      }),
    );
    expect(await theirs()).toEqual(before);
  });

  it("a guest's tap that somebody makes a port of it is named, and stays enforced", async () => {
    const { tap } = cloud.guest("client").spec;
    await ovs?.vsctl("add-port", "br-int", tap);
    try {
      expect(await about(tap, ...EXCLUDE)).toMatchObject([
        { level: "fault", result: expect.stringContaining("before anything judges it") as string },
      ]);
      expectNothingLost(await under(cloud, theyWork));
    } finally {
      await ovs?.vsctl("del-port", tap);
    }
  });

  it("cleanup leaves theirs alone", async () => {
    await cloud.agent.stop();
    await cloud.agent.torbie(["cleanup", "--open", ...EXCLUDE]);
    expect(await theirs()).toEqual(before);
    await theyWork();
  });
});
