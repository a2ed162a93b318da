/** Kernel settings through /proc/sys: read before write, remembered when changed. /proc/sys shows the namespace of who opens it. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Problem } from "../problems.js";
import { hostSettings, interfaceDirectory, tapSettings, type Setting } from "./sysctl-plan.js";

export interface SysctlChange {
  /** "net/ipv4/conf/tap1/rp_filter" */
  readonly setting: string;
  readonly from: string;
  readonly to: string;
}

export interface SysctlReport {
  readonly changed: readonly SysctlChange[];
  readonly failures: readonly { readonly where: string; readonly error: Error }[];
  readonly problems: readonly Problem[];
}

const isGone = (error: unknown): boolean => error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENODEV");

export class Sysctls {
  readonly #root: string;
  /** By setting: the first value found, and the last written. */
  readonly #changes = new Map<string, SysctlChange>();

  /** @param root for tests */
  constructor(root = "/proc/sys") {
    this.#root = root;
  }

  /** All that was changed since the start, with the values that were there before. */
  changes(): readonly SysctlChange[] {
    return [...this.#changes.values()];
  }

  /**
   * Host settings first, then each tap's. A tap that has gone meanwhile is no failure.
   * @param taps names of interfaces that are ours, and no others
   * @param uplinks names
   */
  async ensure(taps: readonly string[], uplinks: readonly string[]): Promise<SysctlReport> {
    const changed: SysctlChange[] = [];
    const failures: { where: string; error: Error }[] = [];
    const problems: Problem[] = [];
    const run = async (where: string, settings: () => Setting[] | Promise<Setting[]>, mayBeGone: boolean): Promise<void> => {
      try {
        for (const setting of await settings()) {
          const change = await this.#set(setting, mayBeGone);
          if (change !== undefined) changed.push(change);
        }
      } catch (error) {
        if (!(mayBeGone && isGone(error))) failures.push({ where, error: error as Error });
      }
    };
    await run("host", async () => hostSettings(await this.#hearing(uplinks)), false);
    for (const tap of taps) {
      await run(tap, () => tapSettings(tap), true);
      problems.push(...(await this.#ipv6Off(tap)));
    }
    problems.push(...(await this.#proxies()));
    return { changed, failures, problems };
  }

  async #hearing(uplinks: readonly string[]): Promise<string[]> {
    const hearing: string[] = [];
    for (const name of uplinks) {
      const read = (key: string): Promise<string | undefined> => this.#read(["net", "ipv6", "conf", interfaceDirectory(name), key]);
      if ((await read("accept_ra")) === "1" && (await read("forwarding")) === "0") hearing.push(name);
    }
    return hearing;
  }

  /** undefined: there is no such setting (the interface has gone, or the host has no IPv6). */
  async #read(path: readonly string[]): Promise<string | undefined> {
    try {
      return (await readFile(join(this.#root, ...path), "utf8")).trim();
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  async #set(setting: Setting, mayBeGone: boolean): Promise<SysctlChange | undefined> {
    const before = await this.#read(setting.path);
    if (before === setting.value || (setting.onlyFrom !== undefined && before !== setting.onlyFrom)) return undefined;
    // Without IPv6 in the kernel (or the device) there is nothing to forward, and nothing to set.
    if (before === undefined && (mayBeGone || setting.path[1] === "ipv6")) return undefined;
    await writeFile(join(this.#root, ...setting.path), setting.value, { flag: "r+" });
    const name = setting.path.join("/");
    const change = { setting: name, from: before ?? "", to: setting.value };
    this.#changes.set(name, { ...change, from: this.#changes.get(name)?.from ?? change.from });
    return change;
  }

  async #ipv6Off(tap: string): Promise<Problem[]> {
    const value = await this.#read(["net", "ipv6", "conf", tap, "disable_ipv6"]).catch(() => undefined);
    if (value !== "1") return [];
    return [{
      where: `interface ${tap}`,
      code: "IPV6_DISABLED",
      what: `net.ipv6.conf.${tap}.disable_ipv6 is 1`,
      consequence: "the guest's IPv6 addresses get no route; set it to 0 where guests have IPv6",
    }];
  }

  async #proxies(): Promise<Problem[]> {
    const problems: Problem[] = [];
    for (const [family, key] of [["ipv4", "proxy_arp"], ["ipv6", "proxy_ndp"]] as const)
      if ((await this.#read(["net", family, "conf", "all", key]).catch(() => undefined)) === "1")
        problems.push({
          where: `net.${family}.conf.all.${key}`,
          code: "PROXY_FOR_ALL",
          what: `net.${family}.conf.all.${key} is 1, which no interface can undo`,
          consequence: "where Torbie's programs are not yet attached the kernel would answer for every address; Torbie leaves the global setting alone",
        });
    return problems;
  }
}
