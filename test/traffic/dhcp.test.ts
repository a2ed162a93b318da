/** The incumbent's dnsmasq on a Torbie host, with real clients in guests whose groups admit nothing (S7). */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { onLines, stop } from "../../src/demo/world/command.js";
import { Cloud } from "../support/cloud.js";
import { Dnsmasq } from "../support/dnsmasq.js";
import { guestSpec } from "../support/guests.js";
import { group } from "../support/resources.js";

const DNS = fileURLToPath(new URL("../support/dns.py", import.meta.url));
/** udhcpc calls it with what it has been given. */
const SCRIPT = `#!/bin/sh
[ -n "$ip" ] && ip addr replace "$ip/\${mask:-24}" dev "$interface"
echo "$1 $ip router=$router mtu=$mtu"
`;

describe.each(["bpf", "iptables"] as const)("dnsmasq of the DHCP agent, %s", { timeout: 60_000 }, (dataplane) => {
  let cloud: Cloud;
  let dnsmasq: Dnsmasq;
  let monitor: ChildProcess | undefined;
  /** What the kernel said about neighbours. */
  const seen: string[] = [];
  const directory = mkdtempSync(join(tmpdir(), "tb-dhcp-"));
  const specs = [guestSpec("lease1", 11), guestSpec("lease2", 12, 65, { mtu: 1440 })];

  beforeAll(async () => {
    cloud = await Cloud.create(
      specs.map((spec) => ({ spec, groups: ["closed"] })),
      [group("closed", {})],
      ["--dataplane", dataplane],
    );
    monitor = cloud.world.host.spawn(
      ["setpriv", "--pdeathsig", "KILL", "stdbuf", "-oL", "ip", "-4", "monitor", "neigh"],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    if (monitor.stdout) onLines(monitor.stdout, (line) => seen.push(line));
    dnsmasq = await Dnsmasq.start(cloud.world.host, specs);
    // As guests that know nothing yet.
    for (const { name } of specs) await cloud.guest(name).namespace.ip("addr flush dev eth0 scope global");
    writeFileSync(join(directory, "dhclient.conf"), "request subnet-mask, routers, interface-mtu;\n");
    writeFileSync(join(directory, "udhcpc.sh"), SCRIPT, { mode: 0o755 });
  }, 120_000);

  afterAll(async () => {
    if (monitor) await stop(monitor);
    await dnsmasq?.stop();
    await cloud?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const dhclient = (name: string, family: 4 | 6): Promise<string> => {
    const file = (what: string): string => join(directory, `${name}-${family}.${what}`);
    return cloud
      .guest(name)
      .run(
        [
          "dhclient",
          `-${family}`,
          "-1",
          "-v",
          "-cf",
          join(directory, "dhclient.conf"),
          "-sf",
          "/bin/true",
          "-lf",
          file("leases"),
          "-pf",
          file("pid"),
          "eth0",
        ],
        { timeout: 30_000 },
      )
      .then(() =>
        cloud
          .guest(name)
          .run(["dhclient", "-x", "-pf", file("pid"), "-lf", file("leases")])
          .catch(() => ""),
      )
      .then(() => readFileSync(file("leases"), "utf8"));
  };
  const resolve = (name: string, server: string, how: "udp" | "tcp"): Promise<string> =>
    cloud
      .guest(name)
      .run(["python3", DNS, server, "lease2.example.org", how])
      .then((text) => text.trim());

  it("a guest is given its address, router and MTU by DHCPv4", async () => {
    const lease = await dhclient("lease1", 4);
    expect(lease).toContain("fixed-address 10.65.0.11;");
    expect(lease).toContain("option routers 10.65.0.1;");
    expect(lease).toContain("option interface-mtu 1500;");
  });

  it("a lease is taken with udhcpc, and renewed with the server alone", async () => {
    const guest = cloud.guest("lease2");
    const lines: string[] = [];
    const child = guest.namespace.spawn(
      ["setpriv", "--pdeathsig", "KILL", "udhcpc", "-f", "-O", "mtu", "-i", "eth0", "-s", join(directory, "udhcpc.sh")],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    if (child.stdout) onLines(child.stdout, (line) => lines.push(line));
    await expect.poll(() => lines, { timeout: 20_000 }).toContain("bound 10.65.0.12 router=10.65.0.1 mtu=1440");
    child.kill("SIGUSR1");
    await expect.poll(() => lines, { timeout: 20_000 }).toContain("renew 10.65.0.12 router=10.65.0.1 mtu=1440");
    await stop(child);
  });

  it("permanent neighbours are so again after dnsmasq has written over them", async () => {
    expect(seen.filter((line) => /^10\.65\.0\.1[12] .* (REACHABLE|STALE|DELAY)/.test(line))).not.toEqual([]);
    for (const { tap, mac } of specs)
      await expect
        .poll(() => cloud.world.host.run(["ip", "-4", "neigh", "show", "dev", tap]), { timeout: 10_000 })
        .toMatch(new RegExp(`lladdr ${mac} PERMANENT`));
  });

  it("a router is advertised, and asks for DHCPv6 to be used", async () => {
    const advertised = await cloud.guest("lease1").run(["rdisc6", "-1", "eth0"], { timeout: 30_000 });
    expect(advertised).toMatch(/Stateful address conf\. +: +Yes/);
  });

  it("a guest is given its address by DHCPv6", async () => {
    expect(await dhclient("lease1", 6)).toContain("iaaddr 2001:db8:65::11 ");
  });

  // dnsmasq itself closes TCP that comes by an interface without an IPv4 address, which taps are.
  it.each(["udp", "tcp"] as const)("names are answered at the gateways' addresses, by %s", async (how) => {
    await cloud
      .guest("lease1")
      .namespace.ip("addr replace 10.65.0.11/24 dev eth0", "addr replace 2001:db8:65::11/64 dev eth0 nodad");
    expect(await resolve("lease1", "10.65.0.1", how)).toBe(how === "udp" ? "10.65.0.12" : "closed");
    expect(await resolve("lease1", "2001:db8:65::1", how)).toBe("10.65.0.12");
    expect(await resolve("lease1", "fe80::fc16:3eff:fe00:650b%eth0", how)).toBe("10.65.0.12");
  });

  it("no other server on the host is reached by it", async () => {
    expect(await resolve("lease1", "192.0.2.10", "udp")).not.toBe("10.65.0.12");
    expect(await cloud.guest("lease1").probe.tcp("10.65.0.1", 54, 400)).toMatchObject({ result: "timeout" });
    expect(await cloud.guest("lease1").probe.ping("10.65.0.1", 400)).toMatchObject({ result: "timeout" });
  });

  it("guests are served while no agent runs", async () => {
    await cloud.agent.kill();
    expect(await dhclient("lease1", 4)).toContain("fixed-address 10.65.0.11;");
    await cloud.agent.startEnforcing(2);
  });
});
