/**
 * Bonds and VLANs as uplinks: one agent with `uplinks: auto`, under which the host's way out is taken away and made anew in each of these
 * shapes. Between a guest and the world outside passes what policy admits, and nothing else; the programs are on that interface and on none
 * below it.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Guest } from "../../../src/demo/world/guest.js";
import type { Probe } from "../../../src/demo/world/probe.js";
import { HOST, OUTSIDE, ROUTER } from "../../../src/demo/world/world.js";
import type { Cloud } from "../../support/cloud.js";
import { iperf3 } from "../../support/stream.js";
import { announce, LONG, result, SHORT, streaming, talking, usesRules } from "./cloud.js";

interface Shape {
  readonly name: string;
  /** What leads off the host, and what lies below it. */
  readonly uplink: string;
  readonly below: readonly string[];
  /** Lines of `ip`; on the fabric's side "far" is what takes the router's addresses. Cables are made before: up0 to down0, up1 to down1. */
  readonly host: readonly string[];
  readonly fabric: readonly string[];
}

const UPS = ["up0", "up1"];
const DOWNS = ["down0", "down1"];

const bond = (name: string, mode: string, ports: readonly string[]): string[] => [
  `link add ${name} type bond mode ${mode} miimon 100`,
  ...ports.map((port) => `link set ${port} master ${name}`),
  `link set ${name} up`,
];
const switched = (name: string): string[] => [
  `link add ${name} type bridge`,
  ...DOWNS.flatMap((port) => [`link set ${port} master ${name}`, `link set ${port} up`]),
  `link set ${name} up`,
];
const vlan = (on: string, name: string): string[] => [
  `link set ${on} up`,
  `link add link ${on} name ${name} type vlan id 100`,
  `link set ${name} up`,
];
/** Both cables carry at once: the other end is a switch that knows them as one, which another bond of that mode is. */
const bothCarry = (mode: string): Shape => ({
  name: `a bond, ${mode.split(" ")[0] ?? ""}`,
  uplink: "bond0",
  below: UPS,
  host: bond("bond0", mode, UPS),
  fabric: bond("far", mode, DOWNS),
});

const SHAPES: readonly Shape[] = [
  {
    name: "a bond, active-backup",
    uplink: "bond0",
    below: UPS,
    host: bond("bond0", "active-backup", UPS),
    fabric: switched("far"),
  },
  bothCarry("802.3ad lacp_rate fast xmit_hash_policy layer3+4"),
  bothCarry("balance-rr"),
  {
    name: "a VLAN on a bond",
    uplink: "bond0.100",
    below: ["bond0", ...UPS],
    host: [...bond("bond0", "active-backup", UPS), ...vlan("bond0", "bond0.100")],
    fabric: [...switched("bridge0"), ...vlan("bridge0", "far")],
  },
  {
    name: "a VLAN",
    uplink: "up0.100",
    below: ["up0"],
    host: vlan("up0", "up0.100"),
    fabric: vlan("down0", "far"),
  },
];

let cloud: Cloud;
let outside: Probe;
let client: Guest;
let server: Guest;
let close: (() => Promise<void>) | undefined;

beforeAll(async () => {
  ({ cloud, outside, close } = await talking());
  [client, server] = [cloud.guest("client"), cloud.guest("server")];
  // What goes up the stack, though programs could pass it on themselves, is seen here.
  await cloud.world.host.run(["nft", "-f", "-"], {
    input: "table inet watch {\n chain forward { type filter hook forward priority 0; counter; }\n}\n",
  });
});
afterAll(() => close?.());

async function cable({ uplink, host, fabric }: Shape): Promise<void> {
  const { world } = cloud;
  for (const [namespace, all] of [
    [world.host, ["bond0", ...UPS]],
    [world.fabric, ["far", "bridge0"]],
  ] as const)
    for (const name of all) await namespace.ip(`link del ${name}`).catch(() => undefined); // not every shape has it
  await world.host.ip(
    ...UPS.map((up, i) => `link add ${up} type veth peer name ${DOWNS[i] ?? ""} netns ${world.fabric.name}`),
    ...host,
    `addr add ${HOST.v4}/24 dev ${uplink}`,
    `addr add ${HOST.v6}/64 dev ${uplink} nodad`,
  );
  await world.fabric.ip(...fabric, `addr add ${ROUTER.v4}/24 dev far`, `addr add ${ROUTER.v6}/64 dev far nodad`);
  await world.host.ip(`route add 0.0.0.0/0 via ${ROUTER.v4}`, `route add ::/0 via ${ROUTER.v6}`);
  await announce(cloud);
}

const uplinks = (): string[] => (cloud.agent.status()?.interfaces.uplinks ?? []).map(({ name }) => name);
/** Programs of ours at an interface's ingress. */
const judged = async (name: string): Promise<boolean> =>
  (await cloud.world.host.run(["tc", "filter", "show", "dev", name, "ingress"]).catch(() => "")).includes(
    "uplink_ingress",
  );
/** "UP" or "DOWN", as the bond has noticed. */
async function cableOf(port: string): Promise<string | undefined> {
  const text = await cloud.world.host.run(["ip", "-d", "-j", "link", "show", "dev", port]);
  const [link] = JSON.parse(text) as { linkinfo?: { info_slave_data?: { mii_status?: string } } }[];
  return link?.linkinfo?.info_slave_data?.mii_status;
}
/** What a tap has carried so far; "rx" is from its guest. */
async function bytes(tap: string, way: "rx" | "tx"): Promise<number> {
  const text = await cloud.world.host.run(["ip", "-s", "-j", "link", "show", "dev", tap]);
  const [link] = JSON.parse(text) as [{ stats64: Readonly<Record<"rx" | "tx", { readonly bytes: number }>> }];
  return link.stats64[way].bytes;
}
const forwarded = async (): Promise<number> =>
  Number(/counter packets (\d+)/.exec(await cloud.world.host.run(["nft", "list", "table", "inet", "watch"]))?.[1]);

for (const shape of SHAPES)
  describe(shape.name, () => {
    beforeAll(async () => {
      await cable(shape);
      // A bond looks at its cables ten times a second; the agent hears of the route at once.
      await vi.waitFor(async () => expect(await result(outside.ping(HOST.v4, SHORT))).toBe("ok"), { timeout: 20_000 });
    });

    it("is found to be the uplink, and nothing below it", async () => {
      await vi.waitFor(() => expect(uplinks()).toEqual([shape.uplink]), { timeout: 10_000 });
      const on = await Promise.all([shape.uplink, ...shape.below].map(judged));
      expect(on).toEqual([!usesRules, ...shape.below.map(() => false)]);
    });

    it("what policy allows passes, and nothing else", async () => {
      for (const family of [4, 6] as const) {
        const elsewhere = OUTSIDE[family === 4 ? "v4" : "v6"];
        const inward = family === 4 ? await result(outside.udp(server.v4, 7000, LONG)) : "ok";
        expect({
          inward,
          tcp: await result(client.probe.tcp(elsewhere, 80, LONG)),
          ping: await result(client.probe.ping(elsewhere, LONG)),
        }).toEqual({ inward: "ok", tcp: "ok", ping: "ok" });
      }
      const dropped = await cloud.dropsDuring("server", async () => {
        for (const family of [4, 6] as const)
          expect(await result(outside.udp(server.address(family), 80, SHORT))).toBe("timeout");
      });
      expect(dropped).toEqual({ POLICY_INGRESS: 2 });
    });

    if (!usesRules)
      it("the programs send by it themselves, and take from it: nothing goes up the stack", async () => {
        await result(client.probe.ping(OUTSIDE.v4, LONG)); // its neighbour is known afterwards
        const before = await forwarded();
        for (let i = 0; i < 3; i++) {
          expect(await result(client.probe.ping(OUTSIDE.v4, LONG))).toBe("ok");
          expect(await result(outside.udp(server.v4, 7000, LONG))).toBe("ok");
        }
        expect(await forwarded()).toBe(before);
      });

    it("carries frames larger than the link's, which the host's last interface divides, both ways", async () => {
      for (const [from, to, address, tap, way] of [
        [client.namespace, cloud.world.fabric, OUTSIDE.v4, client.spec.tap, "rx"],
        [cloud.world.fabric, server.namespace, server.v4, server.spec.tap, "tx"],
      ] as const) {
        const before = await bytes(tap, way);
        const running = await iperf3(from, to, address);
        await vi.waitFor(async () => expect((await bytes(tap, way)) - before).toBeGreaterThan(500_000), {
          timeout: 20_000,
        });
        expect(await running.end()).toMatchObject({ error: "" });
      }
    });

    if (shape.below.includes("up1"))
      it("a cable that is pulled under traffic, one after the other, ends no connection and opens nothing", async () => {
        const writes = cloud.agent.status()?.totalWrites;
        // The answers to a datagram come from the router's own address.
        const running = [await streaming(client.namespace, ROUTER.v4), await streaming(cloud.world.fabric, server.v4)];
        for (const [i, down] of DOWNS.entries()) {
          const up = UPS[i] ?? "";
          await cloud.world.fabric.ip(`link set ${down} down`);
          await vi.waitFor(async () => expect(await cableOf(up)).toBe("DOWN"), { timeout: 10_000 });
          // Where both carry, the other end takes its time too.
          await vi.waitFor(
            async () => {
              expect(await result(client.probe.ping(OUTSIDE.v4, SHORT))).toBe("ok");
              expect(await result(outside.udp(server.v4, 7000, SHORT))).toBe("ok");
            },
            { timeout: 20_000 },
          );
          for (let times = 0; times < 3; times++)
            expect([
              await result(client.probe.tcp(OUTSIDE.v4, 80, LONG)),
              await result(outside.udp(server.v4, 7000, LONG)),
            ]).toEqual(["ok", "ok"]);
          expect(await result(outside.udp(server.v4, 80, SHORT))).toBe("timeout");
          await cloud.world.fabric.ip(`link set ${down} up`);
          await vi.waitFor(async () => expect(await cableOf(up)).toBe("UP"), { timeout: 10_000 });
        }
        // Packets are lost between the cable's end and the bond's notice of it; connections are not.
        const all = await Promise.all(running.map((one) => one.end()));
        console.log(`vm: under the pulling: ${JSON.stringify(all)}`);
        for (const { tcp, connections } of all) {
          expect({ error: tcp.error, failed: connections.failed }).toEqual({ error: "", failed: 0 });
          expect(connections.made).toBeGreaterThan(3);
        }
        expect(uplinks()).toEqual([shape.uplink]);
        expect(cloud.agent.status()?.totalWrites, "nothing was to be written").toBe(writes);
      });
  });
