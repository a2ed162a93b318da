/** Live migration on both dataplanes, as the target's host sees it: nothing leads here before the guest does. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Probe } from "../../src/demo/world/probe.js";
import { Cloud, endpointOf, HOSTNAME, type Member } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { endpoint, endpointKeyName, group, NAMESPACE, type Resource } from "../support/resources.js";

const open = group("open", {
  ingress: [
    { action: "Allow", ipVersion: 4 },
    { action: "Allow", ipVersion: 6 },
  ],
  egress: [
    { action: "Allow", ipVersion: 4 },
    { action: "Allow", ipVersion: 6 },
  ],
});
const MOVING = guestSpec("moving", 11);
const FLOATING = { "172.24.4.7": "10.65.0.11" };
const others: Member[] = [{ spec: guestSpec("stays", 12), groups: ["open"] }];
const target: Member = { spec: MOVING, groups: ["open"], more: { floating: FLOATING } };
const source = endpoint({
  name: "moving",
  node: "compute0",
  mac: MOVING.mac,
  addresses: [`10.65.0.11`, "2001:db8:65::11"],
  groups: ["open"],
});
const end = (hostname: string) => ({
  workloadEndpoint: {
    hostname,
    orchestratorID: "openstack",
    workloadID: `${NAMESPACE}/vm-moving`,
    endpointID: "moving",
  },
});
const name = endpointKeyName({ name: "moving", node: HOSTNAME });
const migration: Resource = {
  key: `/calico/resources/v3/projectcalico.org/livemigrations/${NAMESPACE}/${name}`,
  object: {
    kind: "LiveMigration",
    apiVersion: "projectcalico.org/v3",
    metadata: { name, namespace: NAMESPACE },
    spec: { source: end("compute0"), target: end(HOSTNAME) },
  },
};
const ok = expect.objectContaining({ result: "ok" }) as unknown;

describe.each(["bpf", "iptables"] as const)("%s", { timeout: 60_000 }, (dataplane) => {
  let cloud: Cloud;
  let outside: Probe;
  const routes = async (): Promise<string[]> =>
    (
      await Promise.all(
        ["10.65.0.11", "172.24.4.7", "2001:db8:65::11"].map((address) =>
          cloud.world.host.run(["ip", address.includes(":") ? "-6" : "-4", "route", "show", address]),
        ),
      )
    ).map((text) => /metric (\d+)/.exec(text)?.[1] ?? "");
  const put = (...more: readonly Resource[]) => cloud.put("endpoints.yaml", [...others.map(endpointOf), ...more]);

  beforeAll(async () => {
    cloud = await Cloud.create(others, [open], [], ["env", `TORBIE_DATAPLANE=${dataplane}`]);
    outside = await Probe.start(cloud.world.fabric, []);
    await cloud.world.announce("172.24.4.0/24", "10.65.0.0/24");
  }, 120_000);

  afterAll(async () => {
    await outside?.stop();
    await cloud?.close();
  });

  it("its target is enforced and has no route: what is sent to it goes to where the guest is", async () => {
    await put(source);
    await put(source, migration);
    const enforced = cloud.agent.applied(({ enforced }) => enforced === 2, "the target was enforced");
    await put(source, migration, endpointOf(target));
    await cloud.world.addGuest({ ...MOVING, addresses: [], gateways: [], silent: true });
    await enforced;
    expect(await routes()).toEqual(["", "", ""]);
    // It went out by the uplink, where no such guest is: no answer of this host's.
    const sent = cloud.world.fabric.run([
      "timeout",
      "3",
      "tcpdump",
      "-nc",
      "1",
      "-i",
      "down0",
      "icmp and dst 10.65.0.11",
    ]);
    await new Promise((resolve) => setTimeout(resolve, 700));
    await cloud.guest("stays").run(["sh", "-c", "ping -c 2 -i 0.3 -W 1 10.65.0.11 || true"]);
    expect(await sent).toContain("10.65.0.12 > 10.65.0.11: ICMP echo request");
    const shown = await cloud.agent.torbie(["endpoint", "show", "tapmoving"]);
    expect(shown).toContain("live migration");
    expect(await routes()).toEqual(["", "", ""]);
  });

  it("with the guest's first frame, a RARP of QEMU's, it is announced, before others", async () => {
    const rarp = Buffer.from(
      `ffffffffffff${MOVING.mac.replaceAll(":", "")}8035000108000604000300000000`.slice(0, 44) +
        `${MOVING.mac.replaceAll(":", "")}00000000${MOVING.mac.replaceAll(":", "")}00000000`,
      "hex",
    );
    await cloud
      .guest("moving")
      .run([
        "python3",
        "-c",
        `import socket;s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW);s.bind(("eth0",0));s.send(bytes.fromhex("${rarp.toString("hex")}"))`,
      ]);
    await expect.poll(routes, { timeout: 5_000 }).toEqual(["512", "512", "512"]);
    const { namespace } = cloud.guest("moving");
    await namespace.sysctl({ "net.ipv6.conf.eth0.disable_ipv6": 0 });
    await namespace.ip(
      ...MOVING.addresses.map((address) => `addr add ${address} dev eth0${address.includes(":") ? " nodad" : ""}`),
      ...MOVING.gateways.map(
        (gateway) => `route add ${gateway.includes(":") ? "::/0" : "0.0.0.0/0"} via ${gateway} dev eth0`,
      ),
    );
    expect(await cloud.guest("stays").probe.tcp("10.65.0.11", 80)).toEqual(ok);
    expect(await outside.tcp("172.24.4.7", 80)).toEqual(ok);
  });

  it("an agent that starts in the middle of it takes nothing back", async () => {
    await cloud.agent.kill();
    await cloud.agent.startEnforcing(2);
    expect(await routes()).toEqual(["512", "512", "512"]);
    expect(await cloud.agent.torbie(["check", "--policy-dir", cloud.policyDir, "--hostname", HOSTNAME])).toContain(
      "No difference",
    );
  });

  it("complete, it stays preferred while routing settles", async () => {
    await put(endpointOf(target));
    expect(await routes()).toEqual(["512", "512", "512"]);
    expect(await outside.tcp("172.24.4.7", 80)).toEqual(ok);
  });

  it("failed, nothing is left; and one that completes unheard is announced", async () => {
    await put();
    expect(await routes()).toEqual(["", "", ""]);
    await cloud.world.removeGuest("moving");
    await put(source, migration, endpointOf(target));
    await cloud.world.addGuest({ ...MOVING, addresses: [], gateways: [], silent: true });
    await expect.poll(() => cloud.agent.status()?.endpoints.filter(({ held }) => held).length).toBe(1);
    expect(await routes()).toEqual(["", "", ""]);
    await put(endpointOf(target));
    await expect.poll(routes, { timeout: 10_000 }).toEqual(["512", "512", "512"]);
  });
});
