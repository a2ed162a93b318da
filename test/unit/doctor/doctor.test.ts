import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../src/config/load.js";
import { judgeUnit } from "../../../src/doctor/firewall.js";
import { judgeHook } from "../../../src/doctor/hooks.js";
import { lockedMemory, use } from "../../../src/doctor/limits.js";
import { findRunning, judgeLeftovers, type Leftovers } from "../../../src/doctor/others.js";
import { findRules } from "../../../src/incumbent/rules.js";
import { chooseDataplane, judgeInterfaces } from "../../../src/doctor/run.js";
import { judgeSwitchPorts, readSwitchPorts } from "../../../src/doctor/userspace-switch.js";
import type { Link, Route } from "../../../src/links/types.js";
import type { Mac, Prefix } from "../../../src/model/types.js";
import { cli } from "../cli/fake.js";

const levels = (found: readonly { readonly level: string }[]): string[] => found.map(({ level }) => level);

describe("which dataplane", () => {
  it("is chosen as the agent chooses", () => {
    expect(chooseDataplane("auto", undefined, "no iptables")).toMatchObject({ name: "bpf" });
    expect(chooseDataplane("auto", "no BPF", undefined)).toEqual({ name: "iptables", why: "not BPF, since no BPF" });
    expect(chooseDataplane("bpf", "no BPF", undefined)).toMatchObject({ name: undefined });
    expect(chooseDataplane("iptables", undefined, undefined)).toEqual({ name: "iptables", why: "as configured" });
    expect(chooseDataplane("auto", "no BPF", "no ipset")).toEqual({
      name: undefined,
      why: "not BPF, since no BPF; not iptables, since no ipset",
    });
  });
});

describe("limits", () => {
  const limits = (soft: string): string =>
    `Limit   Soft Limit\nMax locked memory         ${soft}             8388608  bytes\n`;
  it("locked memory counts before 5.11 only", () => {
    expect(lockedMemory(limits("65536"), "5.10.0-28-amd64")).toMatchObject({ level: "fault" });
    expect(lockedMemory(limits("unlimited"), "5.10.0")).toMatchObject({ level: "ok" });
    expect(lockedMemory(limits("65536"), "5.11.0")).toMatchObject({ level: "ok" });
    expect(lockedMemory(limits("65536"), "4.19.0")).toMatchObject({ level: "fault" });
  });
  it("a map is nearly full, then full", () => {
    expect([79, 80, 95].map((used) => use("flow", used, 100, "room").level)).toEqual(["ok", "warning", "fault"]);
    expect(use("flow", 80, 100, "room")).toMatchObject({ result: "80 of 100 entries (80.0%)", advice: "room" });
  });
});

describe("hooks", () => {
  it("alone; after ours; before ours; without ours; Felix by name", () => {
    expect(judgeHook("tap1 ingress", ["tap_ingress"], "bpf")).toEqual([]);
    expect(levels(judgeHook("tap1 ingress", ["tap_ingress", "other"], "bpf"))).toEqual(["warning"]);
    expect(judgeHook("tap1 ingress", ["other", "tap_ingress"], "bpf")).toMatchObject([
      { level: "fault", result: expect.stringContaining("before ours") as string },
    ]);
    expect(judgeHook("eth0 ingress", ["cali_tc_preamble"], "iptables")).toMatchObject([
      { level: "warning", result: expect.stringContaining("Felix's program") as string },
    ]);
  });
});

describe("who else is here", () => {
  const route = (protocol: number): Route => ({
    family: 4,
    table: 254,
    protocol,
    prefix: "10.0.0.1/32" as Prefix,
    metric: 0,
    tos: 0,
    links: [],
    gateways: [],
  });
  const NOTHING: Leftovers = {
    ...{ rules: [], tables: [], sets: [], routes: [], programs: [], pins: [], limiters: [], markShift: 0 },
    all: [route(116)],
  };

  it("by the command line, an interpreter before it or not", () => {
    const root = mkdtempSync(join(tmpdir(), "tb-proc-"));
    const process = (pid: string, ...words: string[]): void => {
      mkdirSync(join(root, pid));
      writeFileSync(join(root, pid, "cmdline"), `${words.join("\0")}\0`);
    };
    process("12", "/usr/bin/calico-felix");
    process("13", "/usr/bin/python3", "/usr/bin/neutron-openvswitch-agent", "--config-file", "x");
    process("14", "grep", "not-calico-felix");
    process("15", "vim", "x", "y", "/usr/bin/calico-felix");
    mkdirSync(join(root, "99")); // it has ended
    expect(findRunning(root).map(({ what }) => what)).toEqual(["Felix (calico-felix)", "Neutron's Open vSwitch agent"]);
    rmSync(root, { recursive: true });
  });

  it("nothing is left of Felix", () => expect(judgeLeftovers(NOTHING, false)).toEqual([]));

  it("its chains count while something leads to them; sets, routes and pins are named, each with takeover as the remedy", () => {
    const bare = "*filter\n:FORWARD ACCEPT [0:0]\n:cali-FORWARD - [0:0]\n:cali-from-wl-dispatch - [0:0]\n";
    const left = (text: string, more: Partial<Leftovers> = {}) =>
      judgeLeftovers({ ...NOTHING, rules: [findRules("iptables-nft-save", text)], ...more }, false);
    expect(left(bare)).toMatchObject([{ level: "note", advice: /torbie takeover/ }]);
    const hooked = `${bare}-A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD\n`;
    expect(left(hooked, { markShift: 16 })).toMatchObject([
      { level: "fault", result: expect.stringContaining("2 chains, 1 rules") as string },
      { level: "fault", what: "mark-shift" },
    ]);
    expect(left(`${hooked}-A DOCKER-USER -i eth0 -j cali-FORWARD\n`)).toMatchObject([
      { level: "fault" },
      { level: "warning", advice: expect.stringContaining("iptables-nft -t filter -D DOCKER-USER -i eth0") as string },
    ]);
    const rest = { sets: ["cali40s:x", "cali60s:y"], all: [route(80)], pins: ["/sys/fs/bpf/tc/globals/cali_v4_ct"] };
    expect(levels(judgeLeftovers({ ...NOTHING, ...rest }, false))).toEqual(["note", "warning", "note"]);
  });
});

describe("the guard's unit", () => {
  const unit = (state: string, active = "active", before = "network-pre.target libvirtd.service"): string =>
    `LoadState=loaded\nUnitFileState=${state}\nActiveState=${active}\nBefore=${before}\n`;
  it("enabled and before the guests, or what to do", () => {
    expect(judgeUnit(unit("enabled"))).toMatchObject({ level: "ok" });
    expect(judgeUnit(unit("disabled"))).toMatchObject({ level: "fault", advice: /enable --now/ });
    expect(judgeUnit(unit("enabled", "failed"))).toMatchObject({ level: "warning" });
    expect(judgeUnit(unit("enabled", "active", "shutdown.target"))).toMatchObject({ level: "warning" });
    expect(judgeUnit("LoadState=not-found\n")).toMatchObject({ level: "warning" });
  });
});

describe("interfaces", () => {
  const { config } = loadConfig({ flags: new Map([["interface-exclude", "tapvpn*"]]), environment: {} });
  const link = (name: string, more: Partial<Link> = {}): Link => ({
    ifindex: name.length,
    name,
    mac: "02:00:00:00:00:01" as Mac,
    mtu: 1500,
    adminUp: true,
    up: true,
    kind: "tun",
    master: 0,
    settings: {},
    ...more,
  });
  it("a tap in a bridge is named with it; what is excluded is meant", () => {
    const found = judgeInterfaces(
      [link("br0", { kind: "bridge" }), link("tap12", { master: 3 }), link("tapvpn0"), link("tap1234")],
      config,
      ["eth0"],
    );
    expect(found.map(({ level, what, result }) => [level, what, result])).toEqual([
      ["ok", "taps", "1 of ours, 1 up"],
      ["ok", "uplinks", "eth0"],
      ["warning", "tap12", "is a port of br0: Torbie leaves it alone, and nothing protects that guest"],
    ]);
    expect(judgeInterfaces([], config, [])).toMatchObject([{}, { level: "warning", what: "uplinks" }]);
  });

  it("ports of Open vSwitch's userspace datapath are told by what its process has open", () => {
    const root = mkdtempSync(join(tmpdir(), "tb-proc-"));
    for (const part of ["41/fd", "41/fdinfo", "41/net"]) mkdirSync(join(root, part), { recursive: true });
    writeFileSync(join(root, "41/cmdline"), "/usr/sbin/ovs-vswitchd\0unix:/run/db.sock\0");
    for (const [fd, to] of [
      ["3", "/dev/net/tun"],
      ["4", "socket:[77]"],
    ] as const) {
      symlinkSync(to, join(root, "41/fd", fd));
      writeFileSync(join(root, "41/fdinfo", fd), `pos:\t0\n${fd === "3" ? "iff:\ttapdhcp\n" : ""}`);
    }
    const packet = "sk RefCnt Type Proto Iface R Rmem User Inode\nff 3 3 0003 7 1 0 0 77\nff 3 3 0003 9 1 0 0 78\n";
    writeFileSync(join(root, "41/net/packet"), packet);
    const switches = readSwitchPorts(root);
    rmSync(root, { recursive: true });
    expect(switches).toEqual([{ pid: 41, held: new Set(["tapdhcp"]), read: new Set([7]) }]);
    // By their names' length, 7, 7 and 9.
    const links = [link("tapdhcp"), link("taplive"), link("tapvpn012"), link("eth0123"), link("tap345678")];
    const rule = { prefixes: config.interfacePrefix, excluded: config.interfaceExclude };
    expect(judgeSwitchPorts(links, rule, switches)).toMatchObject([
      { level: "fault", what: "tapdhcp", advice: "interface-exclude: tapdhcp" },
      { level: "fault", what: "taplive", advice: expect.stringContaining("ovs-vsctl del-port taplive") as string },
    ]);
  });
});

describe("torbie doctor", () => {
  const FOUND = {
    dataplane: { name: "bpf" as const, why: "the best that this machine has" },
    findings: [
      { area: "kernel" as const, level: "ok" as const, what: "tcx", result: "there" },
      {
        area: "guard" as const,
        level: "fault" as const,
        what: "standing rule",
        result: "gone",
        advice: "torbie guard install",
      },
    ],
  };
  it("faults first with what to do, 1; --all has the rest; --json all of it", async () => {
    const ran = await cli(["doctor"], { doctor: () => Promise.resolve(FOUND) });
    expect(ran.exit).toBe(1);
    expect(ran.out).toMatch(/^fault +guard +standing rule +gone$/m);
    expect(ran.out).toMatch(/standing rule: torbie guard install\n1 fault, 0 warnings, 0 notes; 1 things/);
    expect(ran.out).not.toContain("tcx");
    expect((await cli(["doctor", "--all"], { doctor: () => Promise.resolve(FOUND) })).out).toContain("tcx");
    const asJson = await cli(["doctor", "--json"], { doctor: () => Promise.resolve(FOUND) });
    expect(JSON.parse(asJson.out)).toEqual({ healthy: false, ...FOUND });
  });
  it("no fault: 0; not root: 4", async () => {
    expect(await cli(["doctor"])).toMatchObject({ exit: 0, out: expect.stringContaining("No fault") as string });
    expect(await cli(["doctor"], { uid: 1000 })).toMatchObject({ exit: 4 });
  });
});
