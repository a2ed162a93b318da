/**
 * While no agent runs and iptables enforces, the guard's hooks for IP sleep: the rules themselves let nothing come from a tap that nobody has
 * claimed, be it one of a known name or of none (D5).
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cloud, HOSTNAME } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { group, type RuleObject } from "../support/resources.js";

const EVERYTHING: RuleObject[] = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];
const open = group("open", { ingress: EVERYTHING, egress: EVERYTHING });
const NAMES = ["guarded", "free"] as const;

let cloud: Cloud;
beforeAll(async () => {
  cloud = await Cloud.create(
    [
      { spec: guestSpec("guarded", 11), groups: ["open"] },
      { spec: guestSpec("free", 21), groups: ["open"], more: { portSecurity: false } },
      { spec: guestSpec("peer", 31), groups: ["open"] },
    ],
    [open],
  );
  await cloud.agent.stop();
  cloud.agent.more = ["--dataplane", "iptables"];
  await cloud.agent.startEnforcing(3);
}, 90_000);
afterAll(() => cloud.close());

const guest = (name: string) => cloud.guest(name);
const asleep = async (): Promise<boolean> =>
  !(await cloud.world.host.run(["nft", "list", "table", "inet", "torbie_guard"])).includes("hook");

async function reaches(name: string): Promise<Record<string, string>> {
  const { probe } = guest(name);
  const said: Record<string, string> = {};
  for (const family of [4, 6] as const)
    said[`tcp${family}`] = (await probe.tcp(guest("peer").address(family), 80, 400)).result;
  return said;
}
const NOTHING = { tcp4: "timeout", tcp6: "timeout" };
const ALL = { tcp4: "ok", tcp6: "ok" };

it("the guard sleeps for IP while the rules enforce, and status and check are content with it", async () => {
  await expect.poll(asleep).toBe(true);
  expect(await cloud.agent.torbie(["guard", "show"])).toContain("asleep for IP");
  const settings = ["--dataplane", "iptables", "--policy-dir", cloud.policyDir, "--hostname", HOSTNAME];
  expect(await cloud.agent.torbie(["check", ...settings])).toContain("Compared 3 endpoints");
  for (const name of NAMES) expect({ name, ...(await reaches(name)) }).toEqual({ name, ...ALL });
});

describe.each(NAMES)("a tap of a known port that comes back (%s)", (name) => {
  it.each(["as the kernel leaves its chain at ingress", "without its chain, as before Linux 6.16"])(
    "passes nothing until an agent has claimed it, %s",
    async (how) => {
      const { host } = cloud.world;
      await cloud.agent.kill();
      await guest(name).unplug();
      await guest(name).plug();
      const { tap } = guest(name).spec;
      // What the agent had set, and what the guest had asked: nothing is lost for want of a route or a MAC.
      const [{ address: hostMac = "" } = {}] = JSON.parse(await host.run(["ip", "-j", "link", "show", tap])) as {
        address?: string;
      }[];
      for (const gateway of guest(name).spec.gateways)
        await guest(name).namespace.ip(`neigh replace ${gateway} lladdr ${hostMac} dev eth0 nud permanent`);
      for (const family of [4, 6] as const) {
        const address = guest(name).address(family);
        await host.ip(
          `route replace ${address} dev ${tap}`,
          `neigh replace ${address} lladdr ${guest(name).spec.mac} dev ${tap} nud permanent`,
        );
      }
      if (how.startsWith("without"))
        await host.run(["nft", "delete", "chain", "netdev", "torbie_link", `t_${tap}`]).catch(() => "");
      expect(await asleep()).toBe(true);
      expect(await reaches(name)).toEqual(NOTHING);
      await cloud.agent.startEnforcing(3);
      await expect.poll(() => reaches(name), { timeout: 20_000 }).toEqual(ALL);
    },
    90_000,
  );
});

it("a tap of no known port passes nothing", async () => {
  const { host } = cloud.world;
  await cloud.agent.kill();
  const stray = await cloud.world.addGuest(guestSpec("stray", 41));
  await host.run(["ip", "route", "replace", stray.address(4), "dev", stray.spec.tap]);
  await host.run(["ip", "route", "replace", stray.address(6), "dev", stray.spec.tap]);
  expect(await asleep()).toBe(true);
  const peer = guest("peer");
  expect((await stray.probe.tcp(peer.v4, 80, 400)).result).toBe("timeout");
  expect((await stray.probe.tcp(peer.address(6), 80, 400)).result).toBe("timeout");
  expect((await peer.probe.tcp(stray.v4, 80, 400)).result).toBe("timeout");
  await cloud.world.removeGuest("stray");
  await cloud.agent.startEnforcing(3);
}, 60_000);

it("when the programs take over it is awake", async () => {
  await cloud.agent.stop();
  cloud.agent.more = ["--dataplane", "bpf"];
  await cloud.agent.startEnforcing(3);
  await expect.poll(asleep).toBe(false);
  for (const name of NAMES) expect(await reaches(name)).toEqual(ALL);
}, 90_000);
