/** Services of the host (S7) on both dataplanes: a real HTTP server as metadata service, real guests that ask it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stop } from "../../src/demo/world/command.js";
import { HOST } from "../../src/demo/world/world.js";
import { Cloud } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { ask, METADATA, MetadataServer } from "../support/metadata.js";
import { group } from "../support/resources.js";

const PORT = 8775;

describe.each(["bpf", "iptables"] as const)("metadata, %s", { timeout: 60_000 }, (dataplane) => {
  let cloud: Cloud;
  let server: MetadataServer | undefined;
  const serve = async (): Promise<void> => {
    server = await MetadataServer.start(cloud.world.host, PORT, "127.0.0.1", "::");
  };

  beforeAll(async () => {
    cloud = await Cloud.create(
      [
        { spec: guestSpec("shut", 11), groups: ["closed"] },
        { spec: guestSpec("other", 12, 18), groups: ["closed"] },
        { spec: guestSpec("open", 13), groups: [], more: { portSecurity: false } },
      ],
      [group("closed", {})],
      ["--dataplane", dataplane],
    );
    await serve();
  }, 120_000);

  afterAll(async () => {
    await server?.stop();
    await cloud?.close();
  });

  it.each(["shut", "other", "open"])("%s asks whatever its rules, and is known by its fixed address", async (name) => {
    const guest = cloud.guest(name);
    expect(await ask(guest, `${METADATA[4]}/latest`)).toBe(guest.v4);
    expect(await ask(guest, `${METADATA[6]}/latest`)).toBe(guest.v6);
  });

  it("a guest that has the address on its link asks by ARP, and is answered", async () => {
    const guest = cloud.guest("shut");
    await guest.namespace.ip("route add 169.254.0.0/16 dev eth0");
    expect(await ask(guest, `${METADATA[4]}/latest`)).toBe(guest.v4);
    await guest.namespace.ip("route del 169.254.0.0/16 dev eth0");
  });

  it("much of it, both ways", async () => {
    for (const at of [METADATA[4], METADATA[6]]) {
      expect((await ask(cloud.guest("shut"), `${at}/bulk/3000000`)).length).toBe(3_000_000);
      const body = "y".repeat(300_000);
      const sent = await cloud
        .guest("shut")
        .run(["curl", "-sS", "-g", "-m", "20", "--data-binary", "@-", `http://${at}/`], { input: body });
      expect(sent).toBe("300000");
    }
  });

  it("nothing else of the host: other ports there, the service by the host's addresses, the host's loopback", async () => {
    const everywhere = await MetadataServer.start(cloud.world.host, 8776, "0.0.0.0", "::");
    const web = await MetadataServer.start(cloud.world.host, 80, "0.0.0.0", "::");
    try {
      const guest = cloud.guest("shut");
      for (const url of [
        `${METADATA[4]}:8775`,
        `${METADATA[4]}:8776`,
        `${METADATA[6]}:8776`,
        // Where IPv6's is really answered.
        "[fe80::fc16:3eff:fe00:650b%25eth0]:8775",
        `${HOST.v4}:8776`,
        `${HOST.v4}:80`,
        `[${HOST.v6}]:80`,
        "169.254.169.253:80",
        "10.65.0.1:80",
      ])
        expect([url, await ask(guest, url, "--connect-timeout", "0.6")]).toEqual([url, "exit 28"]);
      expect(await guest.probe.udp("169.254.169.254", 80, 400)).toMatchObject({ result: "timeout" });
      expect(await guest.probe.ping("169.254.169.254", 400)).toMatchObject({ result: "timeout" });
    } finally {
      await everywhere.stop();
      await web.stop();
    }
  });

  it("the host's loopback addresses stay the host's, although its stack takes what comes for them", async () => {
    const guest = cloud.guest("shut");
    const names = cloud.world.host.spawn(
      ["setpriv", "--pdeathsig", "KILL", "socat", "udp4-recvfrom:53,bind=127.0.0.1,fork", "exec:echo open"],
      { stdio: "ignore" },
    );
    try {
      // A guest that routes what every other keeps to itself.
      await guest.namespace.sysctl({ "net.ipv4.conf.all.route_localnet": 1 });
      await guest.namespace.ip(
        "route del local 127.0.0.0/8 dev lo table local",
        "route del local 127.0.0.1/32 dev lo table local",
        "route add 127.0.0.1/32 via 10.65.0.1 dev eth0",
      );
      const dropped = await cloud.dropsDuring("shut", async () => {
        expect(await ask(guest, "127.0.0.1:8775", "--interface", guest.v4, "--connect-timeout", "0.6")).toBe("exit 28");
        expect(await guest.run(["sh", "-c", `echo x | socat -t 0.5 - udp4:127.0.0.1:53,bind=${guest.v4}`])).toBe("");
      });
      expect(Object.values(dropped).reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(
        dataplane === "bpf" ? 2 : 0,
      );
    } finally {
      await stop(names);
      await guest.namespace.ip(
        "route del 127.0.0.1/32",
        "route add local 127.0.0.1/32 dev lo table local",
        "route add local 127.0.0.0/8 dev lo table local",
      );
    }
  });

  it("with a forged address nobody is answered", async () => {
    const guest = cloud.guest("shut");
    await guest.namespace.ip(`addr add ${cloud.guest("other").v4}/32 dev eth0`);
    const forged = await ask(
      guest,
      `${METADATA[4]}/`,
      "--interface",
      cloud.guest("other").v4,
      "--connect-timeout",
      "0.6",
    );
    await guest.namespace.ip(`addr del ${cloud.guest("other").v4}/32 dev eth0`);
    expect(forged).toBe("exit 28");
  });

  it("passes a firewall of the host that admits nothing", async () => {
    const { host } = cloud.world;
    for (const tool of ["iptables", "ip6tables"]) await host.run([tool, "-P", "INPUT", "DROP"]);
    try {
      expect(await ask(cloud.guest("shut"), `${METADATA[4]}/`)).toBe(cloud.guest("shut").v4);
      expect(await ask(cloud.guest("shut"), `${METADATA[6]}/`)).toBe(cloud.guest("shut").v6);
    } finally {
      for (const tool of ["iptables", "ip6tables"]) await host.run([tool, "-P", "INPUT", "ACCEPT"]);
    }
  });

  it("goes on without the agent, and is put back when somebody takes it away", async () => {
    await cloud.agent.kill();
    expect(await ask(cloud.guest("shut"), `${METADATA[4]}/`)).toBe(cloud.guest("shut").v4);
    await cloud.world.host.run(["nft", "delete", "table", "ip", "torbie_services"]);
    await cloud.agent.startEnforcing(3);
    await expect
      .poll(() => ask(cloud.guest("shut"), `${METADATA[4]}/`), { timeout: 20_000 })
      .toBe(cloud.guest("shut").v4);
  });

  it("a service that is down refuses, at once", async () => {
    await server?.stop();
    server = undefined;
    for (const at of [METADATA[4], METADATA[6]]) expect(await ask(cloud.guest("shut"), `${at}/latest`)).toBe("exit 7");
    await serve();
    expect(await ask(cloud.guest("shut"), `${METADATA[4]}/latest`)).toBe(cloud.guest("shut").v4);
  });
});
