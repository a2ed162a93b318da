/** The harness itself: what it says of guests behind taps is true before an agent comes into it. */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tapMac } from "../../src/demo/world/guest.js";
import { World } from "../../src/demo/world/world.js";
import { guestSpec } from "../support/guests.js";
import { eth, type Frame } from "../support/packet.js";
import { plainRouting } from "../support/plain-routing.js";
import { needsChecksum, Wire } from "../support/wire.js";

let world: World;

beforeAll(async () => {
  world = await World.create();
  await Promise.all([
    world.addGuest(guestSpec("web1", 11)),
    world.addGuest(guestSpec("db1", 21)),
    world.addGuest(guestSpec("old", 31, 18, { offload: false })),
  ]);
  await plainRouting(world);
});

afterAll(() => world.close());

describe("a world of guests behind taps", () => {
  it("gives the host taps without a peer device", async () => {
    const link = await world.host.run(["ip", "-d", "-j", "link", "show", "dev", "tapweb1"]);
    const [tap] = JSON.parse(link) as { link_index?: number; linkinfo: { info_kind: string; info_data: unknown } }[];
    expect(tap?.linkinfo).toMatchObject({ info_kind: "tun", info_data: { type: "tap", vnet_hdr: true } });
    expect(tap).not.toHaveProperty("link_index");
  });

  it.each([4, 6] as const)("reaches a neighbour by TCP, UDP and echo over IPv%i, one hop away", async (family) => {
    const { probe } = world.guest("web1");
    const to = world.guest("db1").address(family);
    expect(await probe.tcp(to, 80)).toMatchObject({ result: "ok", hops: 63 });
    expect(await probe.udp(to, 53)).toMatchObject({ result: "ok", hops: 63 });
    expect(await probe.ping(to)).toMatchObject({ result: "ok", hops: 63 });
    expect(await probe.tcp(to, 81)).toMatchObject({ result: "refused" });
  });

  it("tells silence from refusal", async () => {
    expect(await world.guest("web1").probe.tcp("10.65.0.99", 80, 200)).toMatchObject({ result: "timeout" });
  });

  it("answers on a port that comes later", async () => {
    const to = world.guest("db1");
    expect(await to.probe.listen("tcp/8080")).toMatchObject({ result: "ok" });
    expect(await world.guest("web1").probe.tcp(to.v4, 8080)).toMatchObject({ result: "ok" });
  });

  it("carries segmentation offload from guest to guest, and undoes it for one without", async () => {
    const big = async (name: string) => {
      const tap = world.guest(name).spec.tap;
      const before = await counters(tap);
      await iperf(name);
      const after = await counters(tap);
      return (after.bytes - before.bytes) / (after.packets - before.packets);
    };
    expect(await big("db1")).toBeGreaterThan(3_000);
    expect(await big("old")).toBeLessThan(1_515);
  });

  it("carries frames past the guest's stack, tags and checksum metadata included", async () => {
    const [from, to] = [world.guest("web1"), world.guest("old")];
    const [sender, receiver] = await Promise.all([Wire.open(from.namespace), Wire.open(to.namespace)]);
    const macs = { from: from.spec.mac, to: tapMac(from.spec.mac) };
    const packet = (frame: Frame, text: string): Uint8Array =>
      frame.ip4({ src: from.v4, dst: to.v4 }).udp({ sport: 40_000, dport: 80 }).payload(Buffer.from(text)).bytes();
    const came = (text: string) => receiver.receive(({ frame }) => frame.includes(text));

    await sender.send(packet(eth(macs).vlan(0), "<tagged>"));
    expect((await came("<tagged>"))?.frame.subarray(0, 6).toString("hex")).toBe(to.spec.mac.replaceAll(":", ""));
    // The kernel's own hole, here on plain forwarding: what says port 80 arrives as another.
    await sender.send(packet(eth(macs), "<rewritten>"), needsChecksum(34, 2));
    expect((await came("<rewritten>"))?.frame.readUInt16BE(36)).not.toBe(80);
    await expect(sender.send(Buffer.alloc(0))).rejects.toThrow(/not sent/);
    await Promise.all([sender.close(), receiver.close()]);
  });

  it("unplugs and plugs a guest, which keeps its addresses", async () => {
    const guest = world.guest("db1");
    await guest.unplug();
    await expect(world.host.run(["ip", "link", "show", "dev", "tapdb1"])).rejects.toThrow(/does not exist/);
    await guest.plug();
    await plainRouting(world);
    expect(await world.guest("web1").probe.tcp(guest.v6, 80)).toMatchObject({ result: "ok" });
  });

  it("removes everything it made", async () => {
    const other = await World.create();
    await other.addGuest(guestSpec("short", 41));
    const names = [other.host.name, other.fabric.name, other.guest("short").namespace.name];
    expect(readdirSync("/run/netns")).toEqual(expect.arrayContaining(names));
    await other.close();
    expect(readdirSync("/run/netns").filter((name) => names.includes(name))).toEqual([]);
  });
});

async function counters(tap: string): Promise<{ packets: number; bytes: number }> {
  const text = await world.host.run(["ip", "-s", "-j", "link", "show", "dev", tap]);
  const [link] = JSON.parse(text) as { stats64: { tx: { packets: number; bytes: number } } }[];
  return link?.stats64.tx ?? { packets: 0, bytes: 0 };
}

async function iperf(to: string): Promise<void> {
  const guest = world.guest(to);
  const server = guest.run(["iperf3", "-s", "-1", "-p", "5201"]);
  await expect.poll(() => guest.run(["ss", "-Hltn", "sport = :5201"]), { timeout: 3_000 }).toContain("5201");
  await world.guest("web1").run(["iperf3", "-c", guest.v4, "-n", "40M"]);
  await server;
}
