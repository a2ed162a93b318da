/** Much data, large frames, fragments and small MTUs between guests behind real taps (D4). */
import { writeFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stop } from "../../src/demo/world/command.js";
import { Cloud } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { group, type RuleObject } from "../support/resources.js";

const EVERYTHING: RuleObject[] = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];
const open = group("open", { ingress: EVERYTHING, egress: EVERYTHING });

let cloud: Cloud;

beforeAll(async () => {
  cloud = await Cloud.create(
    [
      { spec: guestSpec("a", 11), groups: ["open"] },
      { spec: guestSpec("b", 21, 18), groups: ["open"] },
      { spec: guestSpec("plain", 31, 18, { offload: false }), groups: ["open"] },
    ],
    [open],
  );
});

afterAll(() => cloud.close());

async function sent(tap: string): Promise<{ packets: number; bytes: number }> {
  const [link] = JSON.parse(await cloud.world.host.run(["ip", "-s", "-j", "link", "show", "dev", tap])) as {
    stats64: { tx: { packets: number; bytes: number } };
  }[];
  return link?.stats64.tx ?? { packets: 0, bytes: 0 };
}

/** With -n, iperf3's server counts what it had when the client said that it was done: some is still on the way. */
const MOST = 0.5;

interface Iperf {
  readonly end: {
    readonly sum_received: { readonly bytes: number };
    readonly sum: { readonly lost_percent: number; readonly packets: number };
  };
}

/** Runs iperf3 from `from` to `to`; its report, and the mean size of the frames that `to`'s tap was given. */
async function iperf(
  from: string,
  to: string,
  family: 4 | 6,
  ...flags: string[]
): Promise<{ report: Iperf; meanFrame: number }> {
  const [client, server] = [cloud.guest(from), cloud.guest(to)];
  const serving = server.run(["iperf3", "-s", "-1"], { timeout: 30_000 });
  await expect.poll(() => server.run(["ss", "-Hltn", "sport = :5201"]), { timeout: 5_000 }).toContain("5201");
  const before = await sent(server.spec.tap);
  const report = JSON.parse(await client.run(["iperf3", "-J", "-c", server.address(family), ...flags])) as Iperf;
  await serving;
  const after = await sent(server.spec.tap);
  return { report, meanFrame: (after.bytes - before.bytes) / (after.packets - before.packets) };
}

describe.each([4, 6] as const)("over IPv%i", (family) => {
  it("TCP runs with segmentation offload from end to end", async () => {
    const { report, meanFrame } = await iperf("a", "b", family, "-n", "100M");
    expect(report.end.sum_received.bytes).toBeGreaterThan(100e6 * MOST);
    expect(meanFrame).toBeGreaterThan(3_000);
  });

  it("a guest without offload gets whole, finished segments", async () => {
    const { report, meanFrame } = await iperf("a", "plain", family, "-n", "20M");
    expect(report.end.sum_received.bytes).toBeGreaterThan(20e6 * MOST);
    expect(meanFrame).toBeLessThan(1_515);
  });

  it("UDP passes, in one frame or in fragments", async () => {
    const small = await iperf("a", "b", family, "-u", "-b", "10M", "-n", "1M", "-l", "1200");
    // So slow that a receiver on a busy machine loses little in its own socket, which holds some 90 packets.
    expect(small.report.end.sum.lost_percent).toBeLessThan(10);
    const fragments = await iperf("a", "b", family, "-u", "-b", "20M", "-n", "2M", "-l", "8000");
    expect(fragments.report.end.sum.packets).toBeGreaterThan(200);
    expect(fragments.report.end.sum.lost_percent).toBeLessThan(10);
  });

  it("curl fetches a page", async () => {
    const page = join(tmpdir(), `tb-page-${process.pid}-${family}`);
    writeFileSync(page, "x".repeat(3_000_000));
    const script = `require("node:http").createServer((_, r) => r.end(require("node:fs").readFileSync(${JSON.stringify(page)}))).listen(8080)`;
    const server = cloud.guest("b").namespace.spawn([process.execPath, "-e", script], { stdio: "ignore" });
    try {
      await expect
        .poll(() => cloud.guest("b").run(["ss", "-Hltn", "sport = :8080"]), { timeout: 5_000 })
        .toContain("8080");
      const host = family === 4 ? cloud.guest("b").v4 : `[${cloud.guest("b").v6}]`;
      const size = await cloud
        .guest("a")
        .run([
          "curl",
          "-s",
          "-m",
          "10",
          "-o",
          "/dev/null",
          "-w",
          "%{http_code} %{size_download}",
          `http://${host}:8080/`,
        ]);
      expect(size).toBe("200 3000000");
    } finally {
      await stop(server);
      rmSync(page);
    }
  });

  it("follows a tap's MTU live: what is too big is answered, and fits afterwards", async () => {
    const [a, b] = [cloud.guest("a"), cloud.guest("b")];
    const big = ["ping", `-${family}`, "-M", "do", "-c", "1", "-W", "1", "-s", "1400", b.address(family)];
    await a.namespace.sysctl({ [`net.ipv${family}.route.mtu_expires`]: 1 });
    await a.run(big);
    await cloud.world.host.ip(`link set ${b.spec.tap} mtu 1300`);
    await expect.poll(async () => JSON.stringify((await show("b")).mtu), { timeout: 5_000 }).toBe("1300");
    await expect(a.run(big)).rejects.toThrow();
    const route = await a.run(["ip", `-${family}`, "route", "get", b.address(family)]);
    expect(route).toContain("mtu 1300");
    const { report } = await iperf("a", "b", family, "-n", "20M");
    expect(report.end.sum_received.bytes).toBeGreaterThan(20e6 * MOST);
    await cloud.world.host.ip(`link set ${b.spec.tap} mtu 1500`);
    await expect.poll(async () => JSON.stringify((await show("b")).mtu), { timeout: 5_000 }).toBe("1500");
    const passes = (): Promise<boolean> =>
      a.run(big).then(
        () => true,
        () => false,
      );
    await expect.poll(passes, { timeout: 5_000 }).toBe(true); // the guest forgets the small MTU after a second
  });
});

async function show(name: string): Promise<{ mtu: number }> {
  return JSON.parse(await cloud.agent.torbie(["endpoint", "show", cloud.guest(name).spec.tap, "--json"])) as {
    mtu: number;
  };
}
