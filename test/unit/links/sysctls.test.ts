import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hostSettings, interfaceDirectory, tapSettings } from "../../../src/links/sysctl-plan.js";
import { Sysctls } from "../../../src/links/sysctls.js";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "tb-sysctl-"));
});
afterEach(() => rm(root, { recursive: true }));

const taps = (...names: string[]): Map<string, { ifindex: number; mtu: number }> =>
  new Map(names.map((name, i) => [name, { ifindex: i + 1, mtu: 1500 }]));
const put = async (path: string, value: string): Promise<void> => {
  await mkdir(join(root, path, ".."), { recursive: true });
  await writeFile(join(root, path), `${value}\n`);
};

describe("interface names in paths", () => {
  it.each(["tap1", "tap.5", "tap-$(x)", "..tap"])("take %j as it is", (name) =>
    expect(interfaceDirectory(name)).toBe(name),
  );
  it.each([
    "",
    ".",
    "..",
    "all",
    "default",
    "a/b",
    "../../etc",
    "tap 1",
    "tap\n",
    "tap\0",
    "a:1",
    "a".repeat(16),
    "é".repeat(8),
  ])("refuse %j", (name) => {
    expect(() => interfaceDirectory(name)).toThrow(/left alone/);
    expect(() => tapSettings(name)).toThrow();
    expect(() => hostSettings([name])).toThrow();
  });
});

describe("settings", () => {
  it("are read before they are written, in order, and remembered with the first value", async () => {
    await put("net/ipv4/ip_forward", "0");
    for (const key of ["forwarding", "rp_filter", "send_redirects", "accept_redirects", "proxy_arp"])
      await put(`net/ipv4/conf/tap1/${key}`, "1");
    const sysctls = new Sysctls(root);
    const report = await sysctls.ensure(taps("tap1", "tapgone"), []);
    expect(report.failures).toEqual([]);
    expect(report.changed.map(({ setting, from, to }) => `${setting} ${from}>${to}`)).toEqual([
      "net/ipv4/ip_forward 0>1",
      "net/ipv4/conf/tap1/rp_filter 1>2",
      "net/ipv4/conf/tap1/send_redirects 1>0",
      "net/ipv4/conf/tap1/accept_redirects 1>0",
      "net/ipv4/conf/tap1/proxy_arp 1>0",
    ]);
    expect(await readFile(join(root, "net/ipv4/ip_forward"), "utf8")).toMatch(/^1/);
    expect((await sysctls.ensure(taps("tap1"), [])).changed).toEqual([]);
    await put("net/ipv4/conf/tap1/rp_filter", "0");
    expect((await sysctls.ensure(taps("tap1"), [])).changed).toEqual([]);
    expect((await sysctls.ensure(new Map([["tap1", { ifindex: 1, mtu: 1200 }]]), [])).changed).toHaveLength(1);
    await put("net/ipv4/conf/tap1/rp_filter", "0");
    sysctls.forget();
    expect((await sysctls.ensure(taps("tap1"), [])).changed).toHaveLength(1);
    expect(sysctls.changes()).toContainEqual({ setting: "net/ipv4/conf/tap1/rp_filter", from: "1", to: "2" });
  });

  it("are not read where the kernel has told them, but for what was written or has changed since", async () => {
    await put("net/ipv4/ip_forward", "1");
    const dir = "net/ipv4/conf/tap1";
    for (const key of ["forwarding", "rp_filter", "proxy_arp"]) await put(`${dir}/${key}`, "9");
    const told = { "ipv4/forwarding": 1, "ipv4/rp_filter": 0, "ipv6/disable_ipv6": 0 };
    const sysctls = new Sysctls(root);
    const changed = async (mtu = 1500): Promise<string[]> => {
      const report = await sysctls.ensure(new Map([["tap1", { ifindex: 1, mtu }]]), [], () => told);
      return report.changed.map(({ setting, from, to }) => `${setting.slice(dir.length + 1)} ${from}>${to}`);
    };
    // Forwarding is right by what was told, rp_filter wrong; of proxy_arp nothing was told.
    expect(await changed()).toEqual(["rp_filter 0>2", "proxy_arp 9>0"]);
    sysctls.forget();
    expect(await changed()).toEqual([]);
    expect(await changed(1200)).toEqual(["forwarding 9>1"]);
  });

  it("that let NAT send to 127.0.0.1 are among those that are due, where a service listens there", async () => {
    await put("net/ipv4/ip_forward", "1");
    for (const key of ["forwarding", "route_localnet"]) await put(`net/ipv4/conf/tap1/${key}`, "0");
    const due = (localnet: boolean): string[] =>
      new Sysctls(root, "bpf", localnet).due(taps("tap1"), []).map(({ setting, to }) => `${setting} ${to}`);
    expect(due(true)).toContain("net/ipv4/conf/tap1/route_localnet 1");
    expect(due(false)).not.toContain("net/ipv4/conf/tap1/route_localnet 1");
    const sysctls = new Sysctls(root, "bpf", true);
    await sysctls.ensure(taps("tap1"), []);
    expect(sysctls.due(taps("tap1"), [])).toEqual([]);
  });

  it("of an uplink that does not take advertisements stay as they are", async () => {
    await put("net/ipv4/ip_forward", "1");
    await put("net/ipv6/conf/all/forwarding", "0");
    for (const [name, acceptRa, forwarding] of [
      ["eth0", "1", "0"],
      ["eth1", "0", "0"],
      ["eth2", "1", "1"],
      ["eth3", "2", "0"],
    ] as const) {
      await put(`net/ipv6/conf/${name}/accept_ra`, acceptRa);
      await put(`net/ipv6/conf/${name}/forwarding`, forwarding);
    }
    const { changed } = await new Sysctls(root).ensure(taps(), ["eth0", "eth1", "eth2", "eth3", "nosuch"]);
    expect(changed.map((change) => change.setting)).toEqual([
      "net/ipv6/conf/eth0/accept_ra",
      "net/ipv6/conf/all/forwarding",
    ]);
  });

  it("that can't be written fail by interface, and proxies for all are reported", async () => {
    await put("net/ipv4/conf/all/proxy_arp", "1");
    await put("net/ipv4/conf/tap1/forwarding", "1");
    const { failures, problems } = await new Sysctls(root).ensure(taps("tap1", "tap/../x"), []);
    expect(failures.map((failure) => failure.where)).toEqual(["host", "tap/../x"]);
    expect(problems.map((problem) => problem.code)).toEqual(["PROXY_FOR_ALL"]);
  });
});
