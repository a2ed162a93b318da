import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { GuardOptions, GuardReport, GuardStatus } from "../../src/dataplane/guard.js";
import { guardTables, renderGuard } from "../../src/dataplane/guard-rules.js";
import { arpRequest, PAYLOAD, udp4, udp6 } from "./frames.js";
import { bundle, type Bundle } from "../support/bundle.js";
import { namespace, type Namespace } from "./helper.js";
import { LineChild } from "./lines.js";

const TAP = fileURLToPath(new URL("./tap.py", import.meta.url));
const FLOOD = 200;
let script: Bundle;
let host: Namespace;
let outside: Namespace;

beforeAll(async () => {
  script = await bundle("test/netns/guard-script.ts");
});
afterAll(async () => {
  script.remove();
});
/** A host with one uplink to `outside`, forwarding, and counters of its own at every place that a guest must not reach. */
beforeEach(async () => {
  host = await namespace();
  outside = await namespace();
  await ip("link", "add", "wan0", "type", "veth", "peer", "name", "eth0", "netns", outside.name);
  for (const [ns, dev, n] of [
    [host, "wan0", 2],
    [outside, "eth0", 1],
  ] as const) {
    await ns.run("ip", "link", "set", dev, "up");
    await ns.run("ip", "addr", "add", `192.0.2.${n}/24`, "dev", dev);
    await ns.run("ip", "-6", "addr", "add", `2001:db8:ffff::${n}/64`, "dev", dev, "nodad");
  }
  for (const setting of [
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
  ])
    await host.run("sysctl", "-qw", setting);
  const count = (hook: string): string =>
    `chain ${hook} { type filter hook ${hook} priority 0; udp dport 4242 counter name ${hook}\n }`;
  await host.feed(
    `table inet seen { counter input { }\n counter forward { }\n ${count("input")}\n ${count("forward")}\n }
    table arp seen { counter input { }\n chain input { type filter hook input priority 0; iifname "tap*" counter name input\n }\n }`,
    "nft",
    "-f",
    "-",
  );
  await outside.feed(`table inet seen { counter input { }\n ${count("input")}\n }`, "nft", "-f", "-");
});
afterEach(async () => {
  await host.remove();
  await outside.remove();
});

const ip = (...args: string[]): Promise<string> => host.run("ip", ...args);
const guard = async <T>(
  command: string,
  more: { claimed?: [number, string][]; options?: GuardOptions; without?: string[] } = {},
): Promise<T> =>
  JSON.parse(await host.run(process.execPath, script.file, JSON.stringify({ do: command, ...more }))) as T;
const packets = async (ns: Namespace): Promise<Record<string, number>> => {
  const listed = JSON.parse(await ns.run("nft", "-j", "list", "counters")) as {
    nftables: { counter?: { family: string; name: string; packets: number } }[];
  };
  return Object.fromEntries(
    listed.nftables.flatMap(({ counter }) =>
      counter === undefined ? [] : [[`${counter.family} ${counter.name}`, counter.packets]],
    ),
  );
};
const ifindex = async (name: string): Promise<number> =>
  (JSON.parse(await ip("-j", "link", "show", name)) as { ifindex: number }[])[0]?.ifindex ?? 0;

interface Guest {
  readonly child: LineChild;
  readonly name: string;
  readonly mac: string;
  readonly tapMac: string;
  readonly address: string;
  readonly address6: string;
}
/** A tap with a guest, routed as an agent had left it. */
async function guest(n: number): Promise<Guest> {
  const name = `tapguest${n}`;
  const one = {
    name,
    mac: `02:00:00:00:00:0${n}`,
    tapMac: `fe:00:00:00:00:0${n}`,
    address: `10.65.0.${n}`,
    address6: `2001:db8::${n}`,
    child: new LineChild(host.start("python3", TAP, name, `fe:00:00:00:00:0${n}`)),
  };
  expect(await one.child.next()).toBe("up");
  for (const address of [one.address, one.address6]) {
    await ip("route", "add", address, "dev", name);
    await ip("neigh", "replace", address, "lladdr", one.mac, "dev", name, "nud", "permanent");
  }
  return one;
}
const got = async (one: Guest): Promise<number> =>
  (await one.child.ask("seen")).split(" ").filter((frame) => frame.includes(PAYLOAD)).length;

/** To the host, beyond it and to another guest, v4 and v6, and ARP. */
async function flood(from: Guest, to: Guest): Promise<void> {
  const ends = { sourceMac: from.mac, destinationMac: from.tapMac };
  for (const destination of ["192.0.2.2", "192.0.2.1", to.address])
    expect(await from.child.ask(`send ${udp4({ ...ends, source: from.address, destination })} ${FLOOD}`)).toBe("sent");
  for (const destination of ["2001:db8:ffff::2", "2001:db8:ffff::1", to.address6])
    expect(await from.child.ask(`send ${udp6({ ...ends, source: from.address6, destination })} ${FLOOD}`)).toBe("sent");
  expect(
    await from.child.ask(`send ${arpRequest({ ...ends, source: from.address, destination: "192.0.2.2" })} ${FLOOD}`),
  ).toBe("sent");
}

describe("the guard, while no agent runs", () => {
  it("lets nothing of a new tap's guest reach the host, an uplink or another guest; without it all arrives", async () => {
    expect(await guard<GuardReport>("ensure")).toMatchObject({ means: "nft", problems: [] });
    const [flooder, other] = [await guest(1), await guest(2)];
    await flood(flooder, other);
    expect(await packets(host)).toEqual({ "inet input": 0, "inet forward": 0, "arp input": 0 });
    expect(await packets(outside)).toEqual({ "inet input": 0 });
    expect(await got(other)).toBe(0);
    const status = await guard<GuardStatus>("status");
    expect(status).toMatchObject({ standing: true, means: "nft" });
    expect(status.dropped["arp from_tap"]).toBe(FLOOD);
    expect(status.dropped["inet from_tap"]).toBeGreaterThanOrEqual(6 * FLOOD);

    expect(await guard<string[]>("remove")).toEqual(
      expect.arrayContaining(["nft table inet torbie_guard", "nft table arp torbie_guard"]),
    );
    await ip(
      "neigh",
      "replace",
      "192.0.2.1",
      "lladdr",
      (await outside.run("cat", "/sys/class/net/eth0/address")).trim(),
      "dev",
      "wan0",
    );
    await flood(flooder, other);
    const open = await packets(host);
    expect(open["inet input"]).toBe(2 * FLOOD);
    expect(open["inet forward"]).toBe(4 * FLOOD);
    expect(open["arp input"]).toBe(FLOOD);
    expect((await packets(outside))["inet input"]).toBeGreaterThanOrEqual(FLOOD);
    await expect.poll(() => got(other), { timeout: 5000 }).toBe(2 * FLOOD);
    await Promise.all([flooder, other].map((one) => one.child.end()));
  });

  it("lets packets without a mark come only from claimed taps that rules judge, for as long as they do", async () => {
    await guard("ensure");
    const [one, two] = [await guest(1), await guest(2)];
    const claimed: [number, string][] = [[await ifindex(one.name), one.name]];
    await guard("claim", { claimed, options: { judgedBy: "rules" } });
    expect(await guard<GuardStatus>("status")).toMatchObject({
      standing: true,
      claimed: [one.name],
      ruled: [one.name],
    });
    // Mending it leaves them as they are.
    expect(await guard<GuardReport>("ensure")).toMatchObject({ changed: [] });
    await flood(one, two);
    await flood(two, one);
    expect(await packets(host)).toEqual({ "inet input": 2 * FLOOD, "inet forward": 4 * FLOOD, "arp input": FLOOD });
    expect(await got(two)).toBe(0);
    // From Linux 6.16 on the chain at a tap's ingress is there again for another tap of its name: its mark lets no unclaimed one in.
    await host.feed(
      `table netdev linked { chain c { type filter hook ingress device ${two.name} priority 0; meta mark set 0x1000\n }\n }`,
      "nft",
      "-f",
      "-",
    );
    await flood(two, one);
    expect(await packets(host)).toEqual({ "inet input": 2 * FLOOD, "inet forward": 4 * FLOOD, "arp input": FLOOD });
    await guard("claim", { claimed, options: { judgedBy: "programs" } });
    await flood(one, two);
    expect(await packets(host)).toEqual({ "inet input": 2 * FLOOD, "inet forward": 4 * FLOOD, "arp input": FLOOD });
    await Promise.all([one, two].map((each) => each.child.end()));
  });

  it("sleeps for IP, but not for ARP, where it is told that rules stand in for it, and wakes with the programs", async () => {
    await guard("ensure");
    const [one, two] = [await guest(1), await guest(2)];
    const claimed: [number, string][] = [[await ifindex(one.name), one.name]];
    const sleep = { judgedBy: "rules", asleep: true } as const;
    // With nothing claimed there are no rules that could stand in for it.
    await guard("claim", { claimed: [], options: sleep });
    expect(await guard<GuardStatus>("status")).toMatchObject({ standing: true, asleep: false });
    await flood(two, one);
    expect(await packets(host)).toEqual({ "inet input": 0, "inet forward": 0, "arp input": 0 });

    await guard("claim", { claimed, options: sleep });
    const asleep = { standing: true, asleep: true, claimed: [one.name], ruled: [one.name] };
    expect(await guard<GuardStatus>("status")).toMatchObject(asleep);
    expect(await guard<GuardReport>("ensure")).toMatchObject({ changed: [] });
    expect(await guard<GuardStatus>("status")).toMatchObject(asleep);
    await flood(two, one);
    expect(await packets(host)).toEqual({ "inet input": 2 * FLOOD, "inet forward": 4 * FLOOD, "arp input": 0 });
    // Written anew as it was, because someone flushed a part of it.
    await host.run("nft", "flush", "chain", "arp", "torbie_guard", "input");
    expect(await guard<GuardStatus>("status")).toMatchObject({ ...asleep, standing: false });
    expect((await guard<GuardReport>("ensure")).changed).not.toEqual([]);
    expect(await guard<GuardStatus>("status")).toMatchObject(asleep);
    await flood(two, one);
    expect(await packets(host)).toMatchObject({ "arp input": 0 });
    // Another tap is claimed while it sleeps.
    const both: [number, string][] = [...claimed, [await ifindex(two.name), two.name]];
    await guard("claim", { claimed: both, options: sleep });
    const status = await guard<GuardStatus>("status");
    expect({ ...status, claimed: [...status.claimed].sort() }).toMatchObject({
      ...asleep,
      claimed: [one.name, two.name],
      ruled: expect.arrayContaining([one.name, two.name]) as string[],
    });
    await guard("claim", { claimed, options: sleep });

    const before = await packets(host);
    await guard("ensure", { options: { asleep: false } });
    expect(await guard<GuardStatus>("status")).toMatchObject({ ...asleep, asleep: false });
    await flood(two, one);
    expect(await packets(host)).toEqual(before);
    await guard("claim", { claimed, options: sleep });
    await guard("claim", { claimed, options: { judgedBy: "programs" } });
    expect(await guard<GuardStatus>("status")).toMatchObject({ standing: true, asleep: false, ruled: [] });
    await flood(two, one);
    expect(await packets(host)).toEqual(before);
    await Promise.all([one, two].map((each) => each.child.end()));
  });

  it("lets nothing reach an unclaimed tap, and leaves a claimed one to its program", async () => {
    await guard("ensure");
    const [one, two] = [await guest(1), await guest(2)];
    const send = async (to: Guest): Promise<void> => {
      for (const [address, family] of [
        [to.address, "4"],
        [to.address6, "6"],
      ] as const)
        await outside.run(
          "python3",
          "-c",
          "import socket,sys\ns=socket.socket(socket.AF_INET6 if sys.argv[2]=='6' else socket.AF_INET,socket.SOCK_DGRAM)\nfor _ in range(3): s.sendto(b'torbie guard test',(sys.argv[1],4242))",
          address,
          family,
        );
    };
    await outside.run("ip", "route", "add", "10.65.0.0/24", "via", "192.0.2.2");
    await outside.run("ip", "-6", "route", "add", "2001:db8::/64", "via", "2001:db8:ffff::2");
    await guard("claim", {
      claimed: [
        [await ifindex(two.name), two.name],
        [99_999, "tapgone"],
      ],
    });
    await send(one);
    await send(two);
    await host.run("ping", "-c1", "-W1", one.address).catch(() => "");
    await expect.poll(() => got(two), { timeout: 5000 }).toBe(6);
    expect(await got(one)).toBe(0);
    // Not even ARP or ND: the neighbour entry is taken away, so that the host would have to ask.
    const frames = (await one.child.ask("seen")).split(" ").filter((frame) => frame !== "");
    await ip("neigh", "del", one.address, "dev", one.name);
    await host.run("ping", "-c1", "-W1", one.address).catch(() => "");
    expect((await one.child.ask("seen")).split(" ").filter((frame) => frame !== "")).toEqual(frames);
    expect((await guard<GuardStatus>("status")).claimed).toEqual([two.name]);
    // Rewritten, because someone flushed a part of it, it keeps what is claimed.
    await host.run("nft", "flush", "chain", "inet", "torbie_guard", "prerouting");
    expect((await guard<GuardStatus>("status")).standing).toBe(false);
    expect((await guard<GuardReport>("ensure")).changed).toEqual([
      "nft table inet torbie_guard",
      "nft table arp torbie_guard",
    ]);
    expect(await guard<GuardStatus>("status")).toMatchObject({ standing: true, claimed: [two.name] });
    expect((await guard<GuardReport>("ensure")).changed).toEqual([]);
    await Promise.all([one, two].map((child) => child.child.end()));
  });

  it("passes what is marked as judged, untracked, through a FORWARD that drops", async () => {
    await host.run("iptables-nft", "-P", "FORWARD", "DROP");
    await host.run("iptables-nft", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP");
    await host.run("ip6tables-nft", "-P", "FORWARD", "DROP");
    await host.run("iptables-legacy", "-P", "FORWARD", "DROP");
    await host.run("iptables-nft", "-A", "INPUT", "-j", "DROP");
    const report = await guard<GuardReport>("ensure");
    expect(report.changed).toEqual(expect.arrayContaining(["iptables-nft", "ip6tables-nft", "iptables-legacy"]));
    const [one, two] = [await guest(1), await guest(2)];
    await guard("claim", { claimed: [[await ifindex(two.name), two.name]] });
    await host.feed(
      `table netdev marker { chain c { type filter hook ingress device ${one.name} priority 0; meta mark set 0x8002\n }\n }
      table inet tracked { counter tracked { }\n chain c { type filter hook forward priority 10; ct state != untracked counter name tracked\n }\n }`,
      "nft",
      "-f",
      "-",
    );
    await flood(one, two);
    await expect.poll(() => got(two), { timeout: 5000 }).toBe(2 * FLOOD);
    expect((await packets(host))["inet tracked"]).toBe(0);
    // Admitted to the host itself is not admitted to be forwarded past someone's firewall.
    const before = (await packets(host))["inet input"] ?? 0;
    await host.feed(`flush chain netdev marker c\nadd rule netdev marker c meta mark set 0x4000\n`, "nft", "-f", "-");
    await flood(one, two);
    expect(await got(two)).toBe(2 * FLOOD);
    expect((await packets(host))["inet input"]).toBe(before + 2 * FLOOD);

    // Not first any more: put back. Then removed with all the rest, others' rules left.
    await host.run("iptables-nft", "-I", "FORWARD", "1", "-s", "198.51.100.1", "-j", "DROP");
    expect((await guard<GuardReport>("ensure")).changed).toEqual(["iptables-nft"]);
    const rules = (await host.run("iptables-nft", "-S", "FORWARD")).split("\n").filter((line) => line.startsWith("-A"));
    expect(rules[0]).toContain("--comment torbie");
    expect(rules.filter((line) => line.includes("torbie"))).toHaveLength(1);
    const input = "-A INPUT -i tap+ -m mark --mark 0x4000/0xc000 -m comment --comment torbie -j ACCEPT";
    expect((await host.run("iptables-nft", "-S", "INPUT")).trim().split("\n")).toEqual([
      "-P INPUT ACCEPT",
      input,
      "-A INPUT -j DROP",
    ]);
    await guard("remove");
    expect((await host.run("iptables-nft", "-S", "INPUT")).trim()).toBe("-P INPUT ACCEPT\n-A INPUT -j DROP");
    expect((await host.run("iptables-nft", "-S", "FORWARD")).trim().split("\n")).toEqual([
      "-P FORWARD DROP",
      "-A FORWARD -s 198.51.100.1/32 -j DROP",
      "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
    ]);
    expect(await host.run("iptables-legacy", "-S", "FORWARD")).toBe("-P FORWARD DROP\n");
    await Promise.all([one, two].map((child) => child.child.end()));
  });

  it("leaves alone what is not ours: other names, excluded ones, bridged ports", async () => {
    await guard("ensure", { options: { taps: { prefixes: ["tap", "vm-"], excluded: ["tapguest1"] } } });
    const [excluded, ours] = [await guest(1), await guest(2)];
    await flood(excluded, ours);
    expect((await packets(host))["inet input"]).toBe(2 * FLOOD);
    await flood(ours, excluded);
    expect((await packets(host))["inet input"]).toBe(2 * FLOOD);
    // As a port of a bridge it is the bridge's affair.
    await ip("link", "add", "br0", "type", "bridge");
    await ip("link", "set", "br0", "up", "address", ours.tapMac);
    await ip("addr", "add", "198.51.100.1/24", "dev", "br0");
    await ip("link", "set", ours.name, "master", "br0");
    await ours.child.ask(
      `send ${udp4({ sourceMac: ours.mac, destinationMac: ours.tapMac, source: "198.51.100.2", destination: "198.51.100.1" })} ${FLOOD}`,
    );
    await expect.poll(async () => (await packets(host))["inet input"], { timeout: 5000 }).toBe(3 * FLOOD);
    await Promise.all([excluded, ours].map((child) => child.child.end()));
  });

  it("reports a base chain of someone else that drops what is forwarded", async () => {
    await host.feed(
      "table inet firewall { chain forwarded { type filter hook forward priority 5; policy drop; }\n }",
      "nft",
      "-f",
      "-",
    );
    const { problems } = await guard<GuardReport>("ensure");
    expect(problems).toMatchObject([{ code: "FORWARD_DROPS", where: "nft chain inet firewall forwarded" }]);
  });

  it("stands in iptables where nft is missing, for IP, and says what that leaves open", async () => {
    const without = ["nft"];
    const report = await guard<GuardReport>("ensure", { without });
    expect(report).toMatchObject({ means: "iptables" });
    expect(report.problems.map((problem) => problem.code)).toEqual(["ARP_NOT_GUARDED"]);
    expect(await guard<GuardStatus>("status", { without })).toMatchObject({ standing: true, means: "iptables" });
    const [one, two] = [await guest(1), await guest(2)];
    await flood(one, two);
    expect(await packets(host)).toMatchObject({ "inet input": 0, "inet forward": 0 });
    await guard("ensure", { without });
    expect((await host.run("iptables", "-t", "raw", "-S", "PREROUTING")).trim().split("\n")).toHaveLength(2);
    await guard("remove", { without });
    expect(await host.run("iptables", "-t", "raw", "-S")).not.toContain("torbie");
    expect(await guard<GuardStatus>("status", { without })).toMatchObject({ standing: false, means: "none" });
    await Promise.all([one, two].map((child) => child.child.end()));
  });

  it("says what is missing when nothing can hold it, and refuses names that could not be quoted", async () => {
    expect(await guard("ensure", { without: ["nft", "iptables", "ip6tables"] })).toMatchObject({ code: "NO_FIREWALL" });
    expect(await guard("ensure", { options: { taps: { prefixes: ['tap" accept #'], excluded: [] } } })).toMatchObject({
      code: "BAD_INTERFACE_PREFIX",
    });
    expect(await guard("ensure", { options: { table: "x; flush ruleset" } })).toMatchObject({ code: "BAD_TABLE_NAME" });
    expect(await guard("ensure", { options: { markShift: 17 } })).toMatchObject({ code: "BAD_MARK_SHIFT" });
  });

  it.each([0, 16])("is text that nft takes, with the mark shifted by %i", async (markShift) => {
    const settings = {
      table: "torbie_guard",
      taps: { prefixes: ["tap", "vm-"], excluded: ["tap9", "tapx*"] },
      markShift,
    };
    await host.feed(
      renderGuard(settings, guardTables(settings), {
        claimed: [3, "wan0"],
        ruled: [3],
        uplinks: [2, "wan0"],
      }),
      "nft",
      "-c",
      "-f",
      "-",
    );
  });
});
