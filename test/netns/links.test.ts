import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Tap, Uplink } from "../../src/dataplane/backend.js";
import type { LinksOptions } from "../../src/links/links.js";
import type { RouteReport } from "../../src/links/routes.js";
import type { SysctlReport } from "../../src/links/sysctls.js";
import { bundle, type Bundle } from "../support/bundle.js";
import { namespace, type Namespace } from "./helper.js";
import { LineChild } from "./lines.js";

const TAP = fileURLToPath(new URL("./tap.py", import.meta.url));
const PROTOCOL = "116";
let script: Bundle;
let ns: Namespace;

beforeAll(async () => {
  script = await bundle("test/netns/links-script.ts");
});
afterAll(async () => {
  script.remove();
});
beforeEach(async () => {
  ns = await namespace();
});
afterEach(async () => {
  await ns.remove();
});

interface Seen {
  readonly taps: Record<string, Tap>;
  readonly uplinks: Uplink[];
  readonly snapshots: number;
}
class Child extends LineChild {
  static async start(options: LinksOptions = {}): Promise<Child> {
    const child = new Child(ns.start(process.execPath, script.file, JSON.stringify(options)));
    expect(JSON.parse(await child.next())).toEqual({ ready: "following" });
    return child;
  }
  async do<T>(command: string, more: object = {}): Promise<T> {
    return JSON.parse(await this.ask(JSON.stringify({ do: command, ...more }))) as T;
  }
  interfaces(): Promise<Seen> {
    return this.do<Seen>("interfaces");
  }
  /** Waits from change to change until it holds. */
  async until(holds: (seen: Seen) => boolean): Promise<Seen> {
    for (;;) {
      const seen = await this.interfaces();
      if (holds(seen)) return seen;
      await this.do("change");
    }
  }
}
const tap = async (name: string, ...more: string[]): Promise<LineChild> => {
  const child = new LineChild(ns.start("python3", TAP, name, ...more));
  expect(await child.next()).toBe("up");
  return child;
};
const endpoint = (id: string, interfaceName: string, mac: string, ...prefixes: string[]): object => ({
  id,
  interfaceName,
  mac,
  adminUp: true,
  portSecurity: true,
  workload: { key: id },
  set: "s",
  owned: prefixes.map((prefix) => ({ prefix, kind: "fixed" })),
});
const ip = (...args: string[]): Promise<string> => ns.run("ip", ...args);
const routes = async (family = "-4"): Promise<string[]> =>
  (await ip(family, "route", "show", "proto", PROTOCOL))
    .trim()
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");

describe("taps and uplinks", () => {
  it("are followed as they appear, flap, change, are renamed, enslaved and gone", async () => {
    const links = await Child.start({ taps: { prefixes: ["tap"], excluded: ["tapvpn*"] } });
    expect(await links.interfaces()).toMatchObject({ taps: {}, uplinks: [] });
    const one = await tap("tap1", "02:00:00:00:00:11");
    const seen = await links.until((now) => now.taps["tap1"]?.up === true);
    expect(seen.taps["tap1"]).toMatchObject({ mac: "02:00:00:00:00:11", mtu: 1500 });

    await ip("link", "set", "tap1", "mtu", "1400", "address", "02:00:00:00:00:12");
    await links.until((now) => now.taps["tap1"]?.mtu === 1400 && now.taps["tap1"].mac === "02:00:00:00:00:12");
    await ip("link", "set", "tap1", "down");
    await links.until((now) => now.taps["tap1"]?.up === false);
    await ip("link", "set", "tap1", "up");
    await links.until((now) => now.taps["tap1"]?.up === true);
    await ip("link", "set", "tap1", "name", "tap2");
    await links.until((now) => now.taps["tap1"] === undefined && now.taps["tap2"]?.up === true);

    await ip("link", "add", "br0", "type", "bridge");
    await ip("link", "set", "tap2", "master", "br0");
    await links.until((now) => now.taps["tap2"] === undefined);
    await ip("link", "set", "tap2", "nomaster");
    await links.until((now) => now.taps["tap2"] !== undefined);
    await one.end();
    await links.until((now) => now.taps["tap2"] === undefined);

    await ip("link", "add", "tapbr", "type", "bridge");
    await ip("link", "add", "tapvpn0", "type", "veth", "peer", "name", "other");
    await ip("link", "add", "tapveth", "type", "veth", "peer", "name", "guest");
    const now = await links.until((present) => present.taps["tapveth"] !== undefined);
    expect(Object.keys(now.taps)).toEqual(["tapveth"]);
    await links.end();
  });

  it("are followed by a child that ends with the process, however that ends", async () => {
    const links = await Child.start();
    const reader = Number((await ns.run("pgrep", "-P", String(links.pid))).trim());
    process.kill(links.pid ?? 0, "SIGKILL");
    const alive = (): boolean => {
      try {
        return process.kill(reader, 0);
      } catch {
        return false;
      }
    };
    await expect.poll(alive, { timeout: 5000 }).toBe(false);
  });

  it("find an interface that comes back under the ifindex of one that left", async () => {
    const links = await Child.start();
    await ip("link", "add", "tapA", "index", "777", "type", "veth", "peer", "name", "a");
    await ip("link", "del", "tapA");
    await ip("link", "add", "tapB", "index", "777", "type", "veth", "peer", "name", "b");
    const seen = await links.until((now) => now.taps["tapB"] !== undefined);
    expect(seen.taps).toMatchObject({ tapB: { ifindex: 777 } });
    expect(Object.keys(seen.taps)).toHaveLength(1);
    await links.end();
  });

  it("uplinks are those with a gateway, v4 or v6, followed live, or those configured", async () => {
    const links = await Child.start();
    const fixed = await Child.start({ uplinks: ["wan1", "later"] });
    expect((await fixed.do<{ code: string }[]>("problems")).map((one) => one.code)).toEqual([
      "UPLINK_MISSING",
      "UPLINK_MISSING",
    ]);
    for (const [name, peer] of [
      ["wan0", "w0"],
      ["wan1", "w1"],
    ]) {
      await ip("link", "add", String(name), "type", "veth", "peer", "name", String(peer));
      for (const end of [name, peer]) await ip("link", "set", String(end), "up");
    }
    await fixed.until((now) => now.uplinks.some((uplink) => uplink.name === "wan1"));
    await ip("addr", "add", "192.0.2.2/24", "dev", "wan0");
    await ip("route", "add", "default", "via", "192.0.2.1");
    await links.until((now) => now.uplinks.map((uplink) => uplink.name).join() === "wan0");
    await ip("-6", "addr", "add", "2001:db8::2/64", "dev", "wan1", "nodad");
    await ip("-6", "route", "add", "2001:db8:1::/48", "via", "2001:db8::1");
    await links.until((now) => now.uplinks.map((uplink) => uplink.name).join() === "wan0,wan1");
    await ip("route", "replace", "default", "via", "192.0.2.3");
    await ip("-6", "route", "del", "2001:db8:1::/48");
    await links.until((now) => now.uplinks.map((uplink) => uplink.name).join() === "wan0");
    await ip("route", "replace", "default", "nexthop", "via", "192.0.2.3", "nexthop", "via", "192.0.2.4");
    await ip("link", "set", "wan0", "down");
    await links.until((now) => now.uplinks.length === 0);
    await links.end();
    await fixed.end();
  });

  it("are right after so many changes at once that notifications are lost", async () => {
    const links = await Child.start();
    const numbers = Array.from({ length: 50 }, (_, i) => i);
    const noise = Array.from({ length: 10_000 }, (_, i) => `link set lo mtu ${60_000 + (i % 2)}`);
    // Stopped, its reader can't empty the socket: the kernel runs out of room there (ENOBUFS) and drops what follows.
    const reader = Number((await ns.run("pgrep", "-P", String(links.pid))).trim());
    process.kill(reader, "SIGSTOP");
    await ns.feed(
      [
        ...noise,
        ...numbers.map((i) => `link add tapf${i} type veth peer name p${i}\nlink set tapf${i} up mtu 1400`),
      ].join("\n"),
      "ip",
      "-batch",
      "-",
    );
    process.kill(reader, "SIGCONT");
    const seen = await links.until(
      (now) => Object.keys(now.taps).length === 50 && Object.values(now.taps).every((one) => one.mtu === 1400),
    );
    expect(seen.snapshots).toBeGreaterThan(1);
    await ns.feed(numbers.map((i) => `link del tapf${i}`).join("\n"), "ip", "-batch", "-");
    await links.until((now) => Object.keys(now.taps).length === 0);
    await links.end();
  });
});

describe("routes and neighbours", () => {
  it("come for enforced endpoints, move without a gap, and leave nothing behind", async () => {
    const [one, two] = [await tap("tap1"), await tap("tap2")];
    const links = await Child.start();
    const seen = await links.until((now) => now.taps["tap1"]?.up === true && now.taps["tap2"]?.up === true);
    const e1 = endpoint("e1", "tap1", "02:00:00:00:00:01", "10.65.0.1/32", "2001:db8::1/128", "10.99.0.0/24");
    const first = await links.do<RouteReport>("routes", { endpoints: [e1] });
    expect(first).toMatchObject({ added: 3, replaced: 0, removed: 0, neighboursSet: 2, failures: [], problems: [] });
    expect(await routes()).toEqual([
      "10.65.0.1 dev tap1 scope link metric 1024",
      "10.99.0.0/24 dev tap1 scope link metric 1024",
    ]);
    expect(await routes("-6")).toEqual(["2001:db8::1 dev tap1 metric 1024 pref medium"]);
    const neighbours = await ip("neigh", "show", "nud", "permanent");
    expect(neighbours).toMatch(/10\.65\.0\.1 dev tap1 lladdr 02:00:00:00:00:01 PERMANENT/);
    expect(neighbours).toMatch(/2001:db8::1 dev tap1 lladdr 02:00:00:00:00:01 PERMANENT/);
    expect(await links.do<RouteReport>("routes", { endpoints: [e1] })).toMatchObject({
      added: 0,
      replaced: 0,
      removed: 0,
      neighboursSet: 0,
      neighboursRemoved: 0,
    });

    const moved = endpoint("e2", "tap2", "02:00:00:00:00:02", "10.65.0.1/32", "2001:db8::1/128");
    expect(await links.do<RouteReport>("routes", { endpoints: [moved] })).toMatchObject({
      added: 0,
      replaced: 2,
      removed: 1,
      neighboursSet: 2,
      neighboursRemoved: 2,
      failures: [],
    });
    expect([await routes(), await routes("-6")].flat()).toEqual([
      "10.65.0.1 dev tap2 scope link metric 1024",
      "2001:db8::1 dev tap2 metric 1024 pref medium",
    ]);
    expect(await links.do<RouteReport>("routes", { endpoints: [moved], elevated: ["e2"] })).toMatchObject({
      added: 2,
      removed: 2,
      failures: [],
    });
    expect(await routes()).toEqual(["10.65.0.1 dev tap2 scope link metric 512"]);

    expect(await links.do<RouteReport>("routes", { endpoints: [moved], enforced: [] })).toMatchObject({
      removed: 2,
      neighboursRemoved: 2,
    });
    expect(await routes()).toEqual([]);
    expect(Object.keys(seen.taps)).toHaveLength(2);
    await Promise.all([links, one, two].map((child) => child.end()));
  });

  it("come back after the tap was switched off and on, or someone removed or changed them", async () => {
    const one = await tap("tap1");
    const links = await Child.start();
    await links.until((now) => now.taps["tap1"]?.up === true);
    const e1 = [endpoint("e1", "tap1", "02:00:00:00:00:01", "10.65.0.1/32", "2001:db8::1/128")];
    await links.do("routes", { endpoints: e1 });
    await ip("link", "set", "tap1", "down");
    await links.until((now) => now.taps["tap1"]?.up === false);
    expect(await links.do<RouteReport>("routes", { endpoints: e1 })).toMatchObject({ added: 0, failures: [] });
    await ip("link", "set", "tap1", "up");
    await links.until((now) => now.taps["tap1"]?.up === true);
    expect(await links.do<RouteReport>("routes", { endpoints: e1 })).toMatchObject({
      added: 2,
      neighboursSet: 2,
      failures: [],
    });
    await links.do("resync");
    expect(await links.do<RouteReport>("routes", { endpoints: e1 })).toMatchObject({ added: 0, neighboursSet: 0 });

    const wanted = "10.65.0.1 dev tap1 scope link metric 1024";
    await ip("route", "del", "10.65.0.1/32");
    await ip("neigh", "replace", "2001:db8::1", "lladdr", "02:ff:ff:ff:ff:ff", "dev", "tap1", "nud", "stale");
    await links.do("resync");
    expect(await links.do<RouteReport>("routes", { endpoints: e1 })).toMatchObject({
      added: 1,
      neighboursSet: 1,
      failures: [],
    });
    expect(await routes()).toEqual([wanted]);
    expect(await ip("-6", "neigh", "show", "nud", "permanent")).toContain("lladdr 02:00:00:00:00:01");
    await Promise.all([links, one].map((child) => child.end()));
  });

  it("of a former run are adopted, and those it should not have left are removed", async () => {
    const one = await tap("tap1");
    await ip("route", "add", "10.65.0.1/32", "dev", "tap1", "proto", PROTOCOL, "scope", "link", "metric", "1024");
    await ip("route", "add", "10.65.0.2/32", "dev", "tap1", "proto", PROTOCOL, "scope", "link", "metric", "1024");
    const links = await Child.start();
    const report = await links.do<RouteReport>("routes", {
      endpoints: [endpoint("e1", "tap1", "02:00:00:00:00:01", "10.65.0.1/32")],
    });
    expect(report).toMatchObject({ added: 0, replaced: 0, removed: 1 });
    expect(await routes()).toEqual(["10.65.0.1 dev tap1 scope link metric 1024"]);
    expect(await links.do<RouteReport>("remove")).toMatchObject({ removed: 1, neighboursRemoved: 1 });
    expect(await routes()).toEqual([]);
    await Promise.all([links, one].map((child) => child.end()));
  });

  it("of anyone else stay, and one in our place is a conflict until it goes", async () => {
    const one = await tap("tap1");
    await ip("link", "add", "wan0", "type", "veth", "peer", "name", "w0");
    await ip("link", "set", "wan0", "up");
    await ip("route", "add", "10.65.0.1/32", "dev", "wan0", "proto", "static", "metric", "1024");
    await ip("-6", "route", "add", "2001:db8::1/128", "dev", "wan0", "proto", "static", "metric", "1024");
    await ip("route", "add", "10.65.0.7/32", "dev", "tap1", "proto", "static");
    await ip("neigh", "add", "10.65.0.7", "lladdr", "02:00:00:00:00:77", "dev", "tap1", "nud", "permanent");
    const links = await Child.start();
    await links.until((now) => now.taps["tap1"]?.up === true);
    const e1 = [endpoint("e1", "tap1", "02:00:00:00:00:01", "10.65.0.1/32", "2001:db8::1/128", "10.65.0.3/32")];
    const report = await links.do<RouteReport>("routes", { endpoints: e1 });
    expect(report).toMatchObject({ added: 1, replaced: 0, removed: 0, failures: [] });
    expect(report.problems.map((problem) => problem.code)).toEqual(["ROUTE_CONFLICT", "ROUTE_CONFLICT"]);
    expect(await ip("route", "show", "proto", "static")).toMatch(/10\.65\.0\.1 dev wan0/);
    await links.do("interfaces");
    await ip("route", "del", "10.65.0.1/32", "dev", "wan0");
    await ip("-6", "route", "del", "2001:db8::1/128", "dev", "wan0");
    let last = report;
    while (last.problems.length > 0) {
      await links.do("change");
      last = await links.do<RouteReport>("routes", { endpoints: e1 });
    }
    expect([await routes(), await routes("-6")].flat()).toEqual([
      "10.65.0.1 dev tap1 scope link metric 1024",
      "10.65.0.3 dev tap1 scope link metric 1024",
      "2001:db8::1 dev tap1 metric 1024 pref medium",
    ]);
    await links.do("remove");
    expect(await ip("route", "show", "proto", "static")).toMatch(/10\.65\.0\.7 dev tap1/);
    expect(await ip("neigh", "show", "nud", "permanent")).toContain("02:00:00:00:00:77");
    await Promise.all([links, one].map((child) => child.end()));
  });

  it("fail one by one when a tap is deleted under us, and the others are written", async () => {
    const [one, two] = [await tap("tap1"), await tap("tap2")];
    const links = await Child.start();
    await links.until((now) => now.taps["tap1"]?.up === true && now.taps["tap2"]?.up === true);
    await one.end();
    const report = await links.do<RouteReport>("routes", {
      endpoints: [
        endpoint("e1", "tap1", "02:00:00:00:00:01", "10.65.0.1/32"),
        endpoint("e2", "tap2", "02:00:00:00:00:02", "10.65.0.2/32"),
      ],
    });
    expect(await routes()).toEqual(["10.65.0.2 dev tap2 scope link metric 1024"]);
    expect(report.failures.every((failure) => failure.where.includes("10.65.0.1"))).toBe(true);
    await Promise.all([links, two].map((child) => child.end()));
  });
});

describe("kernel settings", () => {
  const read = async (...names: string[]): Promise<string> =>
    (await ns.run("sysctl", "-n", ...names)).trim().split("\n").join(" ");

  it("are told with the link as /proc/sys has them", async () => {
    const one = await tap("tap1");
    const settings = [
      ...[
        "forwarding",
        "proxy_arp",
        "accept_redirects",
        "send_redirects",
        "rp_filter",
        "accept_source_route",
        "route_localnet",
      ].map((key) => `ipv4/${key}`),
      ...["forwarding", "accept_ra", "accept_redirects", "proxy_ndp", "disable_ipv6"].map((key) => `ipv6/${key}`),
    ];
    const proc = async (): Promise<Record<string, number>> => {
      const files = settings.map((name) => `/proc/sys/net/${name.replace("/", "/conf/tap1/")}`);
      const values = (await ns.run("cat", ...files)).trim().split("\n");
      return Object.fromEntries(settings.map((name, i) => [name, Number(values[i])]));
    };
    const links = await Child.start();
    await links.until((now) => now.taps["tap1"] !== undefined);
    const before = await proc();
    // Each alone is another than it was: none is told in the place of another.
    for (const name of settings) {
      const dotted = `net.${name.replace("/", ".conf.tap1.")}`;
      const was = (await proc())[name];
      await ns.run("sysctl", "-qw", `${dotted}=${was === 0 ? 1 : 0}`);
      const now = await proc();
      expect(now[name]).not.toBe(was);
      await links.do("resync");
      expect((await links.do<Record<string, object>>("told"))["tap1"]).toEqual(now);
      await ns.run("sysctl", "-qw", `${dotted}=${was}`);
    }
    expect(await proc()).toEqual(before);
    await links.end();
    await one.end();
  });

  it("are made right for taps of ours and the host, only where they differ, and remembered", async () => {
    await ip("link", "add", "wan0", "type", "veth", "peer", "name", "w0");
    for (const name of ["wan0", "w0"]) await ip("link", "set", name, "up");
    await ip("addr", "add", "192.0.2.2/24", "dev", "wan0");
    await ip("route", "add", "default", "via", "192.0.2.1");
    for (const setting of [
      "net.ipv6.conf.all.forwarding=0",
      "net.ipv4.ip_forward=0",
      "net.ipv6.conf.wan0.accept_ra=1",
      "net.ipv6.conf.w0.accept_ra=1",
    ])
      await ns.run("sysctl", "-qw", setting);
    const [one, dotted] = [await tap("tap1"), await tap("tap.5")];
    for (const setting of [
      "net.ipv4.conf.tap1.proxy_arp=1",
      "net.ipv4.conf.tap1.rp_filter=1",
      "net.ipv6.conf.tap1.proxy_ndp=1",
      "net.ipv6.conf.tap1.disable_ipv6=1",
    ])
      await ns.run("sysctl", "-qw", setting);
    const links = await Child.start();
    await links.until(
      (now) => now.taps["tap1"] !== undefined && now.taps["tap.5"] !== undefined && now.uplinks.length === 1,
    );
    const report = await links.do<SysctlReport & { all: { setting: string; from: string; to: string }[] }>("sysctls");
    expect(report.failures).toEqual([]);
    expect(report.problems.map((problem) => problem.code)).toEqual(["IPV6_DISABLED"]);
    expect(
      await read(
        "net.ipv4.ip_forward",
        "net.ipv6.conf.all.forwarding",
        "net.ipv6.conf.wan0.accept_ra",
        "net.ipv6.conf.w0.accept_ra",
      ),
    ).toBe("1 1 2 1");
    const tapSettings = ["forwarding", "rp_filter", "send_redirects", "accept_redirects", "proxy_arp"].map(
      (key) => `net.ipv4.conf.tap1.${key}`,
    );
    expect(await read(...tapSettings)).toBe("1 2 0 0 0");
    expect(
      await read(
        ...["forwarding", "accept_ra", "accept_redirects", "proxy_ndp"].map((key) => `net.ipv6.conf.tap1.${key}`),
      ),
    ).toBe("1 0 0 0");
    expect((await ns.run("cat", "/proc/sys/net/ipv4/conf/tap.5/rp_filter")).trim()).toBe("2");
    expect(report.all).toContainEqual({ setting: "net/ipv4/conf/tap1/rp_filter", from: "1", to: "2" });
    const order = report.changed.map((change) => change.setting);
    expect(order.indexOf("net/ipv6/conf/wan0/accept_ra")).toBeLessThan(order.indexOf("net/ipv6/conf/all/forwarding"));
    expect((await links.do<SysctlReport>("sysctls")).changed).toEqual([]);
    await Promise.all([links, one, dotted].map((child) => child.end()));
  });
});
