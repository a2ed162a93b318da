/**
 * Beside others on the same host: Docker's rules and bridge, a firewalld that drops what is invalid, a bridge with a port of a tap's name. Nothing
 * of theirs is broken or changed, nothing of ours is lost, and doctor names what is in the way.
 */
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Namespace } from "../../src/demo/world/namespace.js";
import { OUTSIDE } from "../../src/demo/world/world.js";
import type { Doctored } from "../../src/doctor/run.js";
import { Cloud } from "../support/cloud.js";
import { expectNothingLost, TALKERS, TALKERS_GROUPS, under } from "../support/continuity.js";
import { serve } from "../support/stream.js";

/** As dockerd writes them for one network and one published port. */
const DOCKER = `*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
`;
/** As firewalld has them with taps, uplink and docker0 in zones whose target is ACCEPT, which doctor advises. */
const FIREWALLD = `table inet firewalld {
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    iifname { "up0", "docker0" } accept
    iifname "tap*" accept
    reject with icmpx admin-prohibited
  }
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    iifname "lo" accept
    ct state invalid drop
    iifname "tap*" accept
    icmp type echo-request accept
    meta l4proto ipv6-icmp accept
    reject with icmpx admin-prohibited
  }
}
`;

describe.each(["bpf", "iptables"] as const)(
  "beside Docker, firewalld and a bridge, %s",
  { timeout: 120_000 },
  (dataplane) => {
    let cloud: Cloud;
    let container: Namespace;
    const ends: Namespace[] = [];
    const stops: (() => Promise<void>)[] = [];
    let before: Record<string, string>;
    const host = (...argv: string[]): Promise<string> => cloud.world.host.run(argv);

    /** What is theirs, as it stands; ours taken out. */
    const theirs = async (): Promise<Record<string, string>> => {
      const plain = (text: string): string =>
        text.replaceAll(/^#.*\n|\[\d+:\d+\]|packets \d+ bytes \d+/gm, "").replaceAll(/^.*(?:TRB-|torbie).*\n/gm, "");
      return {
        iptables: plain(await host("iptables-save", "-t", "filter")) + plain(await host("iptables-save", "-t", "nat")),
        firewalld: plain(await host("nft", "list", "table", "inet", "firewalld")),
        bridge: await host("bridge", "link", "show"),
        mark: await host("tc", "filter", "show", "dev", "tapswitch", "ingress"),
      };
    };

    beforeAll(async () => {
      // Everything of theirs is there before the agent, but for what needs its host.
      cloud = await Cloud.create(TALKERS, TALKERS_GROUPS, ["--dataplane", dataplane, "--resync", "5m"]);
      await cloud.agent.stop();
      await cloud.agent.torbie(["cleanup", "--open"]);
      await cloud.world.host.sysctl({ "net.ipv4.ip_forward": 1 });
      await cloud.world.announce(`${cloud.guest("server").v4}/32`);
      container = await Namespace.create("container");
      ends.push(await Namespace.create("end1"), await Namespace.create("end2"));
      const [one, two] = ends as [Namespace, Namespace];
      await cloud.world.host.ip(
        "link add docker0 type bridge",
        "addr add 172.17.0.1/16 dev docker0",
        "link set docker0 up",
        `link add veth1 type veth peer name eth0 netns ${container.name}`,
        "link set veth1 master docker0",
        "link set veth1 up",
        "link add brx type bridge",
        "link set brx up",
        `link add tapswitch type veth peer name eth0 netns ${one.name}`,
        `link add port2 type veth peer name eth0 netns ${two.name}`,
        ...["tapswitch", "port2"].flatMap((name) => [`link set ${name} master brx`, `link set ${name} up`]),
      );
      await container.ip("addr add 172.17.0.2/16 dev eth0", "link set eth0 up", "route add 0.0.0.0/0 via 172.17.0.1");
      await one.ip("addr add 192.168.7.1/24 dev eth0", "link set eth0 up");
      await two.ip("addr add 192.168.7.2/24 dev eth0", "link set eth0 up");
      await host("tc", "qdisc", "add", "dev", "tapswitch", "clsact");
      await host(..."tc filter add dev tapswitch ingress prio 7 handle 9 bpf bytecode".split(" "), "1,6 0 0 0");
      await cloud.world.host.run(["iptables-restore", "--noflush"], { input: DOCKER });
      await cloud.world.host.run(["nft", "-f", "-"], { input: FIREWALLD });
      for (const namespace of [cloud.guest("server").namespace]) stops.push((await serve(namespace)).stop);
      const web = container.spawn(["setpriv", "--pdeathsig", "KILL", "python3", "-m", "http.server", "80"], {
        stdio: "ignore",
      });
      stops.push(() => {
        web.kill("SIGKILL");
        return Promise.resolve();
      });
      // Else Docker's policy would be for what is bridged too, agent or none.
      if (existsSync("/proc/sys/net/bridge"))
        await cloud.world.host.sysctl({ "net.bridge.bridge-nf-call-iptables": 0 });
      await theyWork();
      before = await theirs();
      await cloud.agent.startEnforcing(2);
    }, 120_000);

    afterAll(async () => {
      await Promise.all(stops.map((stop) => stop()));
      await Promise.all([container, ...ends].map((namespace) => namespace?.remove()));
      await cloud?.close();
    });

    const theyWork = async (): Promise<void> => {
      // Out of the container by MASQUERADE, into it by its published port, and over the bridge.
      await container.run(["ping", "-c1", "-W2", OUTSIDE.v4]);
      const { fabric } = cloud.world;
      const patient = ["--retry", "8", "--retry-delay", "1", "--retry-connrefused", "-m", "3"];
      expect(await fabric.run(["curl", "-sS", ...patient, "http://192.0.2.10:8080/"])).toContain("Directory listing");
      await ends[0]?.run(["ping", "-c1", "-W2", "192.168.7.2"]);
    };

    it("nothing of ours is lost, and theirs goes on meanwhile", async () => {
      await theyWork();
      expectNothingLost(await under(cloud, theyWork));
    });

    it("nothing of theirs is changed", async () => {
      expect(await theirs()).toEqual(before);
    });

    it("doctor names what is in the way, and what to do", async () => {
      const out = await cloud.agent
        .torbie(["doctor", "--json", "--dataplane", dataplane])
        .catch((error: unknown) => String((error as { stdout?: unknown }).stdout));
      const { findings } = JSON.parse(out) as Doctored;
      const about = (what: string) => findings.find((one) => one.what === what);
      expect(about("iptables FORWARD")).toMatchObject({
        level: "ok",
        result: expect.stringMatching(
          /policy DROP, with rules of Docker; what Torbie has judged passes before/,
        ) as string,
      });
      expect(about("firewalld")).toMatchObject({ level: "warning", advice: expect.stringContaining("zone") as string });
      expect(about("tapswitch")).toMatchObject({
        level: "warning",
        result: expect.stringContaining("is a port of brx") as string,
      });
    });

    it("Docker that restarts puts its rules before ours, and the agent its own first again", async () => {
      for (const rule of ["DOCKER-USER", "DOCKER-ISOLATION-STAGE-1"]) {
        await host("iptables", "-D", "FORWARD", "-j", rule);
        await host("iptables", "-I", "FORWARD", "1", "-j", rule);
      }
      await cloud.agent.torbie([
        "check",
        "--repair",
        "--policy-dir",
        cloud.policyDir,
        "--hostname",
        "compute1",
        "--dataplane",
        dataplane,
      ]);
      const first = (await host("iptables", "-S", "FORWARD")).split("\n").find((line) => line.startsWith("-A"));
      expect(first).toMatch(/torbie|TRB-/);
      await theyWork();
      expectNothingLost(await under(cloud, theyWork));
    });

    it("cleanup leaves theirs alone", async () => {
      await cloud.agent.stop();
      await cloud.agent.torbie(["cleanup", "--open"]);
      const left = await theirs();
      expect({ ...left, iptables: left["iptables"]?.split("\n").sort() }).toEqual({
        ...before,
        iptables: before["iptables"]?.split("\n").sort(),
      });
      await theyWork();
    });
  },
);
