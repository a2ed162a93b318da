/**
 * Bonds and VLANs as uplinks: one agent with `uplinks: auto`, under which the host's way out is taken away and made anew in each of these
 * shapes. Between a guest and the world outside passes what policy admits, and nothing else; the programs are on that interface and on none
 * below it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Guest } from "../../../src/demo/world/guest.js";
import type { Probe } from "../../../src/demo/world/probe.js";
import { HOST, OUTSIDE, ROUTER } from "../../../src/demo/world/world.js";
import type { Cloud } from "../../support/cloud.js";
import { iperf3 } from "../../support/stream.js";
import { announce, LONG, result, SHORT, talking, usesRules } from "./cloud.js";

interface Shape {
  readonly name: string;
  /** What leads off the host, and what lies below it. */
  readonly uplink: string;
  readonly below: readonly string[];
  /** Lines of `ip`; on the fabric's side "far" is what takes the router's addresses. Cables are made before: up0 to down0, up1 to down1. */
  readonly host: readonly string[];
  readonly fabric: readonly string[];
}

const bond = (name: string, mode: string, ports: readonly string[]): string[] => [
  `link add ${name} type bond mode ${mode} miimon 100`,
  ...ports.map((port) => `link set ${port} master ${name}`),
  `link set ${name} up`,
];
const switched = (name: string): string[] => [
  `link add ${name} type bridge`,
  ...["down0", "down1"].flatMap((port) => [`link set ${port} master ${name}`, `link set ${port} up`]),
  `link set ${name} up`,
];
const vlan = (on: string, name: string): string[] => [
  `link set ${on} up`,
  `link add link ${on} name ${name} type vlan id 100`,
  `link set ${name} up`,
];
const UPS = ["up0", "up1"];
const DOWNS = ["down0", "down1"];

const SHAPES: readonly Shape[] = [
  {
    name: "a bond, active-backup",
    uplink: "bond0",
    below: UPS,
    host: bond("bond0", "active-backup", UPS),
    fabric: switched("far"),
  },
  {
    name: "a VLAN on a bond",
    uplink: "bond0.100",
    below: ["bond0", ...UPS],
    host: [...bond("bond0", "active-backup", UPS), ...vlan("bond0", "bond0.100")],
    fabric: [...switched("bridge0"), ...vlan("bridge0", "far")],
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

    for (const family of [4, 6] as const)
      it(`what policy allows passes, and nothing else, over IPv${family}`, async () => {
        const elsewhere = OUTSIDE[family === 4 ? "v4" : "v6"];
        const inward = family === 4 ? await result(outside.udp(server.v4, 7000, LONG)) : "ok";
        expect({
          inward,
          tcp: await result(client.probe.tcp(elsewhere, 80, LONG)),
          ping: await result(client.probe.ping(elsewhere, LONG)),
        }).toEqual({ inward: "ok", tcp: "ok", ping: "ok" });
        const dropped = await cloud.dropsDuring("server", async () => {
          expect(await result(outside.udp(server.address(family), 80, SHORT))).toBe("timeout");
        });
        expect(dropped).toEqual({ POLICY_INGRESS: 1 });
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
      const up = await iperf3(client.namespace, cloud.world.fabric, OUTSIDE.v4);
      await sleep(3_000);
      expect(await up.end()).toMatchObject({ error: "" });
      const down = await iperf3(cloud.world.fabric, server.namespace, server.v4);
      await sleep(3_000);
      expect((await down.end()).bytes).toBeGreaterThan(500_000);
    });
  });
