/** Taps that nobody reads, and what the kernel hands to them. */
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Interface } from "./inject.js";

/** Nanoseconds a packet, over so many packets. */
export type Measurement = (packets: number) => number;

export interface Link extends Interface {
  readonly name: string;
  readonly mtu: number;
}

export function linkOf(name: string): Link {
  const text = execFileSync("ip", ["-j", "link", "show", "dev", name], { encoding: "utf8" });
  const [link] = JSON.parse(text) as { ifindex: number; address: string; mtu: number }[];
  if (link === undefined) throw new Error(`no interface ${name}`);
  return { name, ifindex: link.ifindex, mac: link.address, mtu: link.mtu };
}

/** Taps in the order named, held open until this process ends. */
export async function makeTaps(names: readonly string[]): Promise<ReadonlyMap<string, Link>> {
  const holder = spawn("build/taps", names, { stdio: ["pipe", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    holder.stdout.once("data", () => resolve());
    holder.once("exit", (code) => reject(new Error(`build/taps ended with status ${String(code)}`)));
  });
  process.once("exit", () => holder.kill());
  return new Map(names.map((name) => [name, linkOf(name)]));
}

/** Frames that the kernel handed to an interface, whether its reader wanted them or not (proc_net(5): transmitted and drop). */
export function handed(name: string): number {
  const line = readFileSync("/proc/net/dev", "utf8")
    .split("\n")
    .find((one) => one.trim().startsWith(`${name}:`));
  const fields = line?.split(":")[1]?.trim().split(/\s+/).map(Number) ?? [];
  return (fields[9] ?? 0) + (fields[11] ?? 0);
}

/** Measures only when what was sent also arrives: a dropped packet is cheap. */
export function arriving(to: string, measure: Measurement): Measurement {
  return (packets) => {
    const before = handed(to);
    const result = measure(packets);
    const arrived = handed(to) - before;
    if (arrived < packets * 0.99) throw new Error(`only ${arrived} of ${packets} packets reached ${to}`);
    return result;
  };
}
