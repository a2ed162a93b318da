/** Ports of Open vSwitch's userspace datapath: they have neither its kind nor a master, so that only its process tells of them. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { processesHere } from "../incumbent/running.js";
import { isOurs, type TapRule } from "../links/ours.js";
import type { Link } from "../links/types.js";
import { printable } from "../text.js";
import { finding, type Finding } from "./finding.js";

export interface SwitchPorts {
  /** Of ovs-vswitchd. */
  readonly pid: number;
  /** Names of the taps that it holds: its internal ports. */
  readonly held: ReadonlySet<string>;
  /** Interfaces that it reads by packet sockets, by ifindex; 0 among them: all. */
  readonly read: ReadonlySet<number>;
}

const DAEMON = "ovs-vswitchd";

/** Of every ovs-vswitchd in this network namespace. @param root of procfs, for tests */
export function readSwitchPorts(root = "/proc"): SwitchPorts[] {
  return processesHere(root)
    .filter(({ words }) => words[0] === DAEMON)
    .map(({ pid }) => {
      const held = new Set<string>();
      const sockets = new Set<string>();
      for (const fd of list(`${root}/${pid}/fd`)) {
        // "iff:" is said of what /dev/net/tun was opened for.
        const [, tap] = /^iff:\s*(\S+)/m.exec(read(`${root}/${pid}/fdinfo/${fd}`)) ?? [];
        if (tap !== undefined) held.add(tap);
        const [, inode] = /^socket:\[(\d+)\]$/.exec(target(`${root}/${pid}/fd/${fd}`)) ?? [];
        if (inode !== undefined) sockets.add(inode);
      }
      // sk RefCnt Type Proto Iface R Rmem User Inode
      const packet = read(`${root}/${pid}/net/packet`)
        .split("\n")
        .map((line) => line.trim().split(/\s+/));
      const own = packet.filter(([, , , , , , , , inode]) => inode !== undefined && sockets.has(inode));
      return { pid, held, read: new Set(own.map(([, , , , ifindex]) => Number(ifindex))) };
    });
}

/** What of it Torbie takes for a guest's tap. Pure. */
export function judgeSwitchPorts(links: readonly Link[], rule: TapRule, switches: readonly SwitchPorts[]): Finding[] {
  const found: Finding[] = [];
  for (const link of links.filter((one) => isOurs(one, rule)))
    for (const { pid, held, read } of switches) {
      const name = printable(link.name);
      if (held.has(link.name))
        found.push(
          finding(
            "interfaces",
            "fault",
            name,
            `is a port of Open vSwitch's own (${DAEMON}, pid ${pid}) and named as a guest's tap: Torbie lets nothing pass there`,
            `interface-exclude: ${name}`,
          ),
        );
      else if (read.has(link.ifindex))
        found.push(
          finding(
            "interfaces",
            "fault",
            name,
            `is a port of Open vSwitch's userspace datapath (${DAEMON}, pid ${pid}): what comes there reaches the switch before anything judges it`,
            `ovs-vsctl del-port ${name}, if it is a guest's; interface-exclude, if it is not`,
          ),
        );
    }
  return found;
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // it has ended, or is not ours to look at
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // likewise
  }
}

function target(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return ""; // likewise
  }
}
