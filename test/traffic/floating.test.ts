/** Floating IPs (S8) on both dataplanes: guests, the host and the world outside reach a guest by an address that it does not have. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Probe } from "../../src/demo/world/probe.js";
import { ROUTER } from "../../src/demo/world/world.js";
import { Cloud, endpointOf, type Member } from "../support/cloud.js";
import { Conversation } from "../support/conversation.js";
import { guestSpec } from "../support/guests.js";
import { ask, MetadataServer } from "../support/metadata.js";
import { group, inGroup, type RuleObject } from "../support/resources.js";

const EVERYTHING: RuleObject[] = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];
const web = group("web", {
  ingress: [
    ...["TCP", "UDP"].map((protocol) => ({ action: "Allow", protocol, destination: { ports: ["53:80", 8080] } })),
    { action: "Allow", protocol: "ICMP", icmp: { type: 8 } },
    { action: "Allow", protocol: "ICMPv6", icmp: { type: 128 } },
  ],
  egress: EVERYTHING,
});
const db = group("db", {
  ingress: [
    {
      action: "Allow",
      protocol: "TCP",
      source: { selector: inGroup("client") },
      destination: { ports: ["5000:6000"] },
    },
  ],
});
const client = group("client", { egress: EVERYTHING });
/** Lets out to the database's own address only. */
const strict = group("strict", {
  egress: [
    { action: "Allow", destination: { nets: ["172.18.3.22/32"] } },
    { action: "Allow", destination: { nets: ["2001:db8:18::22/128"] } },
  ],
});

const WEB = { 4: "172.24.4.7", 6: "2001:db8:f::7" } as const;
const WEB_TOO = "172.24.4.6";
const DB = { 4: "172.24.4.9", 6: "2001:db8:f::9" } as const;
const THIN = "172.24.4.13";
const FLOATING = ["172.24.4.0/24", "2001:db8:f::/64"];

const WEB_SPEC = guestSpec("web", 11);
const SPARE_SPEC = guestSpec("spare", 12);
const members = (webFloats: Record<string, string>, spareFloats: Record<string, string> = {}): Member[] => [
  { spec: WEB_SPEC, groups: ["web"], more: { floating: webFloats } },
  { spec: SPARE_SPEC, groups: ["web", "db"], more: { floating: spareFloats } },
  {
    spec: guestSpec("db", 22, 18),
    groups: ["db"],
    more: { floating: { [DB[4]]: "172.18.3.22", [DB[6]]: "2001:db8:18::22" } },
  },
  { spec: guestSpec("client", 31), groups: ["client"] },
  { spec: guestSpec("strict", 32, 18), groups: ["strict"] },
  { spec: guestSpec("thin", 13, 65, { mtu: 1300 }), groups: ["web"], more: { floating: { [THIN]: "10.65.0.13" } } },
];
const ALL = { [WEB[4]]: "10.65.0.11", [WEB_TOO]: "10.65.0.11", [WEB[6]]: "2001:db8:65::11" };
const ok = expect.objectContaining({ result: "ok" }) as unknown;
const quiet = expect.objectContaining({ result: "timeout" }) as unknown;

describe.each(["bpf", "iptables"] as const)("%s", { timeout: 60_000 }, (dataplane) => {
  let cloud: Cloud;
  let outside: Probe;
  const servers: MetadataServer[] = [];
  const put = (...floats: Parameters<typeof members>) =>
    cloud.put("endpoints.yaml", members(...floats).map(endpointOf));

  beforeAll(async () => {
    cloud = await Cloud.create(members(ALL), [web, db, client, strict], [], ["env", `TORBIE_DATAPLANE=${dataplane}`]);
    await cloud.world.announce(...FLOATING, "10.65.0.0/24", "172.18.3.0/24");
    outside = await Probe.start(cloud.world.fabric, []);
    for (const name of ["web", "db"])
      servers.push(
        await MetadataServer.start(cloud.guest(name).namespace, name === "web" ? 8080 : 5433, "0.0.0.0", "::"),
      );
  }, 120_000);

  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await outside?.stop();
    await cloud?.close();
  });

  it.each([WEB[4], WEB_TOO, WEB[6]])("from outside by %s, and answers come from there", async (address) => {
    expect(await outside.tcp(address, 80)).toMatchObject({ result: "ok", hops: 63 });
    expect(await outside.udp(address, 53)).toMatchObject({ result: "ok", hops: 63 });
    expect(await outside.ping(address)).toEqual(ok);
  });

  it("the guest sees who asks, and the rules of its groups hold as for its own address", async () => {
    const asked = await cloud.world.fabric.run(["curl", "-sS", "-m", "5", `http://${WEB[4]}:8080/`]);
    expect(asked).toBe(ROUTER.v4);
    expect(await outside.tcp(DB[4], 5432)).toEqual(quiet);
    expect(await outside.tcp(WEB[4], 443)).toEqual(quiet);
  });

  it.each([4, 6] as const)("guests of the host too, IPv%i: known by their own address", async (family) => {
    const guest = cloud.guest("client");
    expect(await guest.probe.tcp(DB[family], 5432)).toMatchObject({ result: "ok", hops: 63 });
    expect(await guest.probe.ping(WEB[family])).toEqual(ok);
    expect(await guest.probe.udp(WEB[family], 53)).toEqual(ok);
    expect(await cloud.guest("web").probe.tcp(DB[family], 5432)).toEqual(quiet);
    expect(await ask(guest, family === 4 ? `${DB[4]}:5433` : `[${DB[6]}]:5433`)).toBe(guest.address(family));
  });

  it.each([4, 6] as const)("what goes out is judged by where it goes in the end, IPv%i", async (family) => {
    expect(await cloud.guest("strict").probe.tcp(WEB[family], 80)).toEqual(quiet);
    const groups = [web, db, client, strict];
    const open = group("db", { ingress: EVERYTHING });
    await cloud.put("policies.yaml", [web, open, client, strict]);
    expect(await cloud.guest("strict").probe.tcp(DB[family], 5432)).toEqual(ok);
    await cloud.put("policies.yaml", groups);
    expect(await cloud.guest("strict").probe.tcp(DB[family], 5432)).toEqual(quiet);
  });

  it("a guest reaches itself, and sees the lowest of its floating IPs", async () => {
    const guest = cloud.guest("web");
    expect(await ask(guest, `${WEB[4]}:8080`)).toBe(WEB_TOO);
    expect(await ask(guest, `[${WEB[6]}]:8080`)).toBe(WEB[6]);
    expect(await guest.probe.udp(WEB[4], 53)).toEqual(ok);
    expect(await guest.probe.ping(WEB[4])).toEqual(ok);
    // Its own groups must let it in, as any other.
    expect(await cloud.guest("db").probe.tcp(DB[4], 5432)).toEqual(quiet);
  });

  it("the host reaches it as well", async () => {
    const host = await Probe.start(cloud.world.host, []);
    for (const address of [WEB[4], WEB[6]]) expect(await host.tcp(address, 80)).toEqual(ok);
    await host.stop();
  });

  it.each([WEB[4], WEB[6]])("ICMP errors are translated inside: a closed port of %s is refused", async (address) => {
    expect(await outside.udp(address, 54)).toMatchObject({ result: "refused" });
    expect(await cloud.guest("client").probe.udp(address, 54)).toMatchObject({ result: "refused" });
  });

  it("what is too big is said about the floating IP, and what comes in pieces arrives", async () => {
    const ping = (argv: string): Promise<string> =>
      cloud.world.fabric.run(["sh", "-c", `ping -c 4 -i 0.2 -W 2 ${argv} ${THIN} || true`]);
    expect(await ping("-M do -s 1372")).toContain("mtu = 1300");
    await cloud.world.fabric.ip("route flush cache");
    // A later fragment that overtakes its first is lost.
    expect(await ping("-M dont -s 2500")).toMatch(/[34] received/);
    expect(await cloud.guest("client").run(["ping", "-c", "4", "-i", "0.2", "-W", "2", "-s", "2500", WEB[4]])).toMatch(
      /[34] received/,
    );
  });

  // The kernel tells of the hop by the address that was asked, as with any NAT of its own.
  it("a traceroute shows a hop, and ends at the floating IP", async () => {
    const route = await cloud.world.fabric.run(["traceroute", "-n", "-q", "1", "-w", "1", "-p", "54", "-U", WEB[4]]);
    expect(route).toMatch(/\n 1 {2}172\.24\.4\.7 .*\n 2 {2}172\.24\.4\.7 /);
  });

  it("much of it, both ways", async () => {
    const much = async (url: string): Promise<number> =>
      (await cloud.world.fabric.run(["curl", "-sS", "-m", "20", `http://${url}/bulk/3000000`])).length;
    expect(await much(`${WEB[4]}:8080`)).toBe(3_000_000);
    expect((await ask(cloud.guest("client"), `${WEB[4]}:8080/bulk/3000000`)).length).toBe(3_000_000);
  });

  it("nobody sends from it, and its own address is reached as before", async () => {
    const guest = cloud.guest("web");
    await guest.namespace.ip(`addr add ${WEB[4]}/32 dev eth0`);
    expect(await guest.run(["sh", "-c", `ping -c 1 -W 1 -I ${WEB[4]} ${ROUTER.v4} || true`])).toContain("0 received");
    await guest.namespace.ip(`addr del ${WEB[4]}/32 dev eth0`);
    expect(await outside.tcp(guest.v4, 80)).toMatchObject({ result: "ok", hops: 63 });
    // Outwards a guest is known by its own address.
    expect(await guest.probe.ping(ROUTER.v4)).toEqual(ok);
  });

  it("is routed to the tap, as long as it leads there", async () => {
    const routes = (): Promise<string> => cloud.world.host.run(["ip", "route", "show", WEB_TOO]);
    expect(await routes()).toContain("dev tapweb");
    await put({ [WEB[4]]: "10.65.0.11", [WEB[6]]: "2001:db8:65::11" });
    expect(await routes()).toBe("");
    expect(await outside.tcp(WEB_TOO, 80, 500)).not.toEqual(ok);
    expect(await outside.tcp(WEB[4], 80)).toEqual(ok);
    await put(ALL);
    expect(await outside.tcp(WEB_TOO, 80)).toEqual(ok);
  });

  it.each([4, 6] as const)("moves to another guest while connections run, IPv%i", async (family) => {
    const fabric = { namespace: cloud.world.fabric };
    const here = await Conversation.open(fabric, cloud.guest("web"), family, 60 + family, WEB[family]);
    const inside = await Conversation.open(cloud.guest("client"), cloud.guest("web"), family, 70 + family, WEB[family]);
    const other = await Conversation.open(fabric, cloud.guest("web"), 4, 55 + family, WEB_TOO);
    expect([await here.answers(), await inside.answers(), await other.answers()]).toEqual([true, true, true]);
    await put({ [WEB_TOO]: "10.65.0.11" }, { [WEB[4]]: "10.65.0.12", [WEB[6]]: "2001:db8:65::12" });
    expect([await here.answers(700), await inside.answers(700)]).toEqual([false, false]);
    const there = await Conversation.open(fabric, cloud.guest("spare"), family, 5000 + family, WEB[family]);
    // The rules of the other guest hold for it now.
    expect(await there.answers(700)).toBe(false);
    await there.close();
    const moved = await Conversation.open(
      cloud.guest("client"),
      cloud.guest("spare"),
      family,
      5100 + family,
      WEB[family],
    );
    expect(await moved.answers()).toBe(true);
    await put(ALL);
    expect(await moved.answers(700)).toBe(false);
    // What had nothing to do with it has not noticed.
    expect(await other.answers()).toBe(true);
    await Promise.all([here.close(), inside.close(), moved.close(), other.close()]);
    expect(await outside.tcp(WEB[family], 80)).toEqual(ok);
  });

  it("a rule that goes ends what came by it", async () => {
    const by = await Conversation.open(cloud.guest("client"), cloud.guest("db"), 4, 5555, DB[4]);
    expect(await by.answers()).toBe(true);
    await cloud.put("policies.yaml", [web, group("db", {}), client, strict]);
    expect(await by.answers(700)).toBe(false);
    await cloud.put("policies.yaml", [web, db, client, strict]);
    expect(await by.answers(10_000)).toBe(true);
    await by.close();
  });

  it("that two claim leads to one, and both are told", async () => {
    await put(ALL, {
      [WEB[4]]: "10.65.0.12",
      "172.24.4.99": "10.65.0.99",
      "10.65.0.22": "10.65.0.12",
      "10.65.0.13": "10.65.0.12",
    });
    const told = (): string[] =>
      (cloud.agent.status()?.problems ?? []).map(({ code }) => code).filter((code) => code.startsWith("FLOATING_IP"));
    await expect
      .poll(() => told().sort())
      .toEqual(["FLOATING_IP_IN_USE", "FLOATING_IP_NOT_ITS_OWN", "FLOATING_IP_TWICE"]);
    const asked = await cloud.world.fabric.run(["curl", "-sS", "-m", "5", `http://${WEB[4]}:8080/`]);
    expect(asked).toBe(ROUTER.v4);
    expect(await outside.ping(cloud.guest("thin").v4)).toEqual(ok);
    await put(ALL);
  });

  it("goes on without the agent, and is put back when somebody takes it away", async () => {
    const open = await Conversation.open({ namespace: cloud.world.fabric }, cloud.guest("web"), 4, 65, WEB[4]);
    expect(await open.answers()).toBe(true);
    await cloud.agent.kill();
    expect(await outside.tcp(WEB[4], 80)).toEqual(ok);
    await cloud.world.host.run(["nft", "delete", "table", "ip", "torbie_services"]);
    expect(await outside.tcp(WEB[4], 80, 500)).not.toEqual(ok);
    await cloud.agent.startEnforcing(6);
    await expect.poll(() => outside.tcp(WEB[4], 80), { timeout: 20_000 }).toEqual(ok);
    expect(await open.answers(10_000)).toBe(true);
    await open.close();
  });

  it("passes a firewall of the host that forwards nothing", async () => {
    const { host } = cloud.world;
    for (const tool of ["iptables", "ip6tables"]) await host.run([tool, "-P", "FORWARD", "DROP"]);
    for (const address of [WEB[4], WEB[6]]) expect(await outside.tcp(address, 80)).toEqual(ok);
    expect(await cloud.guest("client").probe.tcp(DB[4], 5432)).toEqual(ok);
    for (const tool of ["iptables", "ip6tables"]) await host.run([tool, "-P", "FORWARD", "ACCEPT"]);
  });

  it("connections go on when the other dataplane takes over, and when this one comes back", async () => {
    const open = [
      await Conversation.open({ namespace: cloud.world.fabric }, cloud.guest("web"), 4, 66, WEB[4]),
      await Conversation.open(cloud.guest("client"), cloud.guest("db"), 4, 5600, DB[4]),
    ];
    const other = dataplane === "bpf" ? "iptables" : "bpf";
    for (const next of [other, dataplane]) {
      await cloud.agent.stop();
      cloud.agent.more = ["--dataplane", next];
      await cloud.agent.startEnforcing(6);
      await expect.poll(() => cloud.agent.status()?.dataplane.name).toBe(next);
      for (const one of open) expect(await one.answers(5_000)).toBe(true);
      expect(await outside.tcp(WEB[4], 80)).toEqual(ok);
    }
    await Promise.all(open.map((one) => one.close()));
  });
});
