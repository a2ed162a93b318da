/** Settings of the kernel: those that the agent would still write, and global ones that it leaves alone. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Interfaces } from "../dataplane/backend.js";
import { Sysctls } from "../links/sysctls.js";
import { printable } from "../text.js";
import { finding, type Finding, type Level } from "./finding.js";

interface Global {
  readonly key: string;
  readonly ill: string;
  readonly level: Level;
  readonly result: string;
  readonly advice: string;
}

const GLOBAL: readonly Global[] = [
  {
    key: "net.core.bpf_jit_enable",
    ill: "0",
    level: "warning",
    result: "programs are interpreted, at several times the cost a packet",
    advice: "sysctl -w net.core.bpf_jit_enable=1",
  },
  {
    key: "kernel.unprivileged_bpf_disabled",
    ill: "0",
    level: "note",
    result: "anybody on this host may load programs",
    advice: "sysctl -w kernel.unprivileged_bpf_disabled=2; Torbie does not need it open",
  },
  {
    key: "net.bridge.bridge-nf-call-iptables",
    ill: "1",
    level: "note",
    result: "bridged packets pass iptables as well",
    advice: "nothing, unless guests are behind bridges: those are not Torbie's",
  },
  {
    key: "net.ipv4.conf.all.proxy_arp",
    ill: "1",
    level: "warning",
    result: "the kernel answers ARP for every address on interfaces without our programs",
    advice: "sysctl -w net.ipv4.conf.all.proxy_arp=0",
  },
  {
    key: "net.ipv6.conf.all.proxy_ndp",
    ill: "1",
    level: "warning",
    result: "the kernel may answer neighbour discovery for others",
    advice: "sysctl -w net.ipv6.conf.all.proxy_ndp=0",
  },
  {
    key: "net.ipv6.conf.all.disable_ipv6",
    ill: "1",
    level: "warning",
    result: "guests' IPv6 addresses get no route",
    advice: "sysctl -w net.ipv6.conf.all.disable_ipv6=0, if guests have IPv6",
  },
];

/** @param localnet the metadata service listens on 127.0.0.0/8 @param root for tests */
export function findSysctls(
  { taps, uplinks }: Interfaces,
  dataplane: "bpf" | "iptables",
  agentRuns: boolean,
  localnet: boolean,
  root = "/proc/sys",
): Finding[] {
  const due = new Sysctls(root, dataplane, localnet).due(
    taps,
    uplinks.map(({ name }) => name),
  );
  const advice = agentRuns
    ? "somebody changed it: torbie check --repair, and find who"
    : "the agent sets it when it starts";
  const found = due.map(({ setting, from, to }) =>
    finding(
      "sysctls",
      agentRuns ? "fault" : "note",
      printable(setting.replaceAll("/", ".")),
      `${from === "" ? "not there" : from}, and must be ${to}`,
      advice,
    ),
  );
  for (const { key, ill, level, result, advice: what } of GLOBAL)
    if (read(root, key) === ill) found.push(finding("sysctls", level, key, `${ill}: ${result}`, what));
  return found.length > 0 ? found : [finding("sysctls", "ok", "all", "as they should be")];
}

function read(root: string, key: string): string | undefined {
  try {
    return readFileSync(join(root, ...key.split(".")), "utf8").trim();
  } catch {
    return undefined; // no such setting in this kernel
  }
}
