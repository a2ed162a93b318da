/** Kernel settings through /proc/sys: read before write, remembered when changed. /proc/sys shows the namespace of who opens it. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import type { Problem } from "../problems.js";
import type { LinkSettings } from "./types.js";
import { hostSettings, interfaceDirectory, tapSettings, type Dataplane, type Setting } from "./sysctl-plan.js";

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

/** A tap as far as its settings live: with the interface, and IPv6's are made anew when the MTU has been below 1280. */
export interface SettledBy {
  readonly ifindex: number;
  readonly mtu: number;
}

/** Taps between two turns of the event loop: a file of /proc takes some 10 to 30 µs, and a thread's turn far more. */
const AT_ONCE = 32;
const UNKNOWN: LinkSettings = {};

const isGone = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENODEV");

export class Sysctls {
  readonly #root: string;
  /** By setting: the first value found, and the last written. */
  readonly #changes = new Map<string, SysctlChange>();

  /** Taps that had all they need, by name. */
  readonly #settled = new Map<string, string>();
  readonly #problems = new Map<string, Problem>();

  /** @param root for tests */
  constructor(
    root = "/proc/sys",
    private readonly dataplane: Dataplane = "bpf",
    private readonly localnet = false,
  ) {
    this.#root = root;
  }

  /** All that was changed since the start, with the values that were there before. */
  changes(): readonly SysctlChange[] {
    return [...this.#changes.values()];
  }

  /** The next ensure() looks at every tap again. */
  forget(): void {
    this.#settled.clear();
  }

  /**
   * Host settings first, then each tap's. A tap that has gone meanwhile is no failure.
   * @param taps by name; interfaces that are ours, and no others; those that were right and are still the same are not looked at
   * @param uplinks names
   * @param told what the kernel said of an interface when all of them were read last; taken for what it is where nothing was written since
   */
  async ensure(
    taps: ReadonlyMap<string, SettledBy>,
    uplinks: readonly string[],
    told: (ifindex: number) => LinkSettings | undefined = () => undefined,
  ): Promise<SysctlReport> {
    const changed: SysctlChange[] = [];
    const failures: { where: string; error: Error }[] = [];
    const run = (where: string, settings: () => Setting[], mayBeGone: boolean, known = UNKNOWN): boolean => {
      try {
        for (const setting of settings()) {
          const change = this.#set(setting, mayBeGone, known);
          if (change !== undefined) changed.push(change);
        }
        return true;
      } catch (error) {
        if (!(mayBeGone && isGone(error))) failures.push({ where, error: error as Error });
        return false;
      }
    };
    run("host", () => hostSettings(this.#hearing(uplinks), this.dataplane), false);
    let looked = 0;
    for (const [name, { ifindex, mtu }] of taps) {
      const identity = `${ifindex} ${mtu}`;
      if (this.#settled.get(name) === identity) continue;
      if (++looked % AT_ONCE === 0) await breathe();
      // One that was right and has changed may have been given others meanwhile.
      const known = this.#settled.delete(name) ? UNKNOWN : (told(ifindex) ?? UNKNOWN);
      this.#problems.delete(name);
      const off = known["ipv6/disable_ipv6"] === 0 ? undefined : this.#ipv6Off(name);
      if (off !== undefined) this.#problems.set(name, off);
      const settings = (): Setting[] => tapSettings(name, this.dataplane, this.localnet);
      if (run(name, settings, true, known)) this.#settled.set(name, identity);
    }
    for (const known of [...this.#settled.keys(), ...this.#problems.keys()]) {
      if (taps.has(known)) continue;
      this.#settled.delete(known);
      this.#problems.delete(known);
    }
    return { changed, failures, problems: [...this.#problems.values(), ...this.#proxies()] };
  }

  #hearing(uplinks: readonly string[]): string[] {
    return uplinks.filter((name) => {
      const read = (key: string): string | undefined =>
        this.#read(["net", "ipv6", "conf", interfaceDirectory(name), key]);
      return read("accept_ra") === "1" && read("forwarding") === "0";
    });
  }

  /** undefined: there is no such setting (the interface has gone, or the host has no IPv6). */
  #read(path: readonly string[]): string | undefined {
    try {
      return readFileSync(join(this.#root, ...path), "utf8").trim();
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  /** What ensure() would write now. @throws Error (errno) for what can't be read */
  due(taps: ReadonlyMap<string, SettledBy>, uplinks: readonly string[]): readonly SysctlChange[] {
    const host = hostSettings(this.#hearing(uplinks), this.dataplane).map((setting) => this.#due(setting, false));
    const ofTaps = [...taps.keys()].flatMap((name) =>
      tapSettings(name, this.dataplane, this.localnet).map((setting) => this.#due(setting, true)),
    );
    return [...host, ...ofTaps].filter((change) => change !== undefined);
  }

  #due(setting: Setting, mayBeGone: boolean, known = UNKNOWN): SysctlChange | undefined {
    const told = known[`${setting.path[1] ?? ""}/${setting.path[4] ?? ""}`]?.toString();
    // What was told before we wrote it is no longer true.
    const isOld = told !== setting.value && this.#changes.has(setting.path.join("/"));
    const before = isOld ? this.#read(setting.path) : (told ?? this.#read(setting.path));
    if (before === setting.value || (setting.onlyFrom !== undefined && before !== setting.onlyFrom)) return undefined;
    // Without IPv6 in the kernel (or the device) there is nothing to forward, and nothing to set.
    if (before === undefined && (mayBeGone || setting.path[1] !== "ipv4")) return undefined;
    return { setting: setting.path.join("/"), from: before ?? "", to: setting.value };
  }

  #set(setting: Setting, mayBeGone: boolean, known: LinkSettings): SysctlChange | undefined {
    const change = this.#due(setting, mayBeGone, known);
    if (change === undefined) return undefined;
    writeFileSync(join(this.#root, ...setting.path), setting.value, { flag: "r+" });
    const { setting: name, from } = change;
    this.#changes.set(name, { ...change, from: this.#changes.get(name)?.from ?? from });
    return change;
  }

  #ipv6Off(tap: string): Problem | undefined {
    if (this.#glance(["net", "ipv6", "conf", tap, "disable_ipv6"]) !== "1") return undefined;
    return {
      where: `interface ${JSON.stringify(tap)}`,
      code: "IPV6_DISABLED",
      what: `net.ipv6.conf.${JSON.stringify(tap)}.disable_ipv6 is 1`,
      consequence: "the guest's IPv6 addresses get no route; set it to 0 where guests have IPv6",
    };
  }

  #proxies(): Problem[] {
    const all = (family: string, key: string): boolean => this.#glance(["net", family, "conf", "all", key]) === "1";
    return (
      [
        ["ipv4", "proxy_arp"],
        ["ipv6", "proxy_ndp"],
      ] as const
    )
      .filter(([family, key]) => all(family, key))
      .map(([family, key]) => ({
        where: `net.${family}.conf.all.${key}`,
        code: "PROXY_FOR_ALL",
        what: `net.${family}.conf.all.${key} is 1, which no interface can undo`,
        consequence:
          "where Torbie's programs are not yet attached the kernel would answer for every address; Torbie leaves the global setting alone",
      }));
  }

  /** For what is only reported: whatever can't be read is not set. */
  #glance(path: readonly string[]): string | undefined {
    try {
      return this.#read(path.map((part, index) => (index === 3 && part !== "all" ? interfaceDirectory(part) : part)));
    } catch {
      return undefined;
    }
  }
}
