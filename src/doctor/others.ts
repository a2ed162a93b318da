/** Who else wants to enforce on this host: Felix and Neutron's own agents, running, or what they left behind. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Runner } from "../dataplane/run.js";
import type { Route } from "../links/types.js";
import { finding, type Finding } from "./finding.js";

/** rtm_protocol of Felix. */
const FELIX_ROUTES = 80;

interface Other {
  readonly name: string;
  readonly pattern: RegExp;
  readonly advice: string;
}

/** By the words of the command line, a path aside. */
const RUNNING: readonly Other[] = [
  {
    name: "Felix (calico-felix)",
    pattern: /^calico-felix$/,
    advice: "one agent a host: systemctl disable --now calico-felix, then start torbie",
  },
  {
    name: "Neutron's Linux bridge agent",
    pattern: /^neutron-linuxbridge-agent$/,
    advice: "it puts taps into bridges, which Torbie leaves alone: disable it on hosts of networking-calico",
  },
  {
    name: "Neutron's Open vSwitch agent",
    pattern: /^neutron-openvswitch-agent$/,
    advice: "it plugs taps into br-int, which Torbie leaves alone: disable it on hosts of networking-calico",
  },
];

/** @param root of procfs, for tests */
export function findRunning(root = "/proc"): Finding[] {
  const found = new Map<string, Finding>();
  for (const pid of readdirSync(root).filter((name) => /^\d+$/.test(name))) {
    let words: string[];
    try {
      words = readFileSync(`${root}/${pid}/cmdline`, "utf8").split("\0").slice(0, 3);
    } catch {
      continue; // it has ended
    }
    const bases = words.map((word) => word.slice(word.lastIndexOf("/") + 1));
    for (const { name, pattern, advice } of RUNNING)
      if (bases.some((word) => pattern.test(word)))
        found.set(name, finding("others", "fault", name, `is running (pid ${pid})`, advice));
  }
  return [...found.values()];
}

export interface Leftovers {
  /** Texts of iptables-save and ip6tables-save, of either back end, by tool. */
  readonly rules: Readonly<Record<string, string>>;
  readonly sets: string;
  readonly routes: readonly Route[];
  /** Names of pins below the BPF file system's tc/globals and calico. */
  readonly pins: readonly string[];
  readonly markShift: number;
}

/** What Felix left, and whether it still counts. Pure. */
export function judgeLeftovers({ rules, sets, routes, pins, markShift }: Leftovers, running: boolean): Finding[] {
  const found: Finding[] = [];
  for (const [tool, text] of Object.entries(rules)) {
    const chains = text.split("\n").filter((line) => line.startsWith(":cali-")).length;
    const hooked = text.split("\n").filter((line) => /^-A (?!cali-)\S+ .*-[jg] cali-/.test(line)).length;
    if (chains > 0)
      found.push(
        finding(
          "others",
          hooked > 0 ? "fault" : "note",
          `Felix's rules in ${tool}`,
          `${chains} chains, ${hooked} rules that lead to them${hooked > 0 ? ": packets are still judged by what it knew last" : ""}`,
          `stop calico-felix, then remove them: ${tool.replace("-save", "-save | grep -v cali- | ")}${tool.replace("-save", "-restore")}`,
        ),
      );
  }
  const names = sets.split("\n").filter((name) => /^cali[46]0/.test(name)).length;
  if (names > 0)
    found.push(
      finding(
        "others",
        "note",
        "Felix's sets",
        `${names} of them`,
        "ipset destroy each, once no rule names it; they only cost memory",
      ),
    );
  const theirs = routes.filter(({ protocol }) => protocol === FELIX_ROUTES);
  if (theirs.length > 0)
    found.push(
      finding(
        "others",
        running ? "note" : "warning",
        "Felix's routes",
        `${theirs.length} routes of protocol 80, such as ${theirs[0]?.prefix ?? ""}: where they are in the way, ours can't be set`,
        "ip route flush proto 80; ip -6 route flush proto 80",
      ),
    );
  if (pins.length > 0)
    found.push(
      finding(
        "others",
        "note",
        "Felix's pinned maps",
        `${pins.length}, such as ${pins[0] ?? ""}`,
        "rm -r /sys/fs/bpf/tc/globals/cali* /sys/fs/bpf/calico once Felix is gone",
      ),
    );
  if (markShift === 16 && (running || found.some(({ level }) => level === "fault")))
    found.push(
      finding(
        "others",
        "fault",
        "mark-shift",
        "16: those bits of the packet mark are Felix's",
        "mark-shift: 0 while Felix or its rules are on this host",
      ),
    );
  return found;
}

const TOOLS = ["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"] as const;
const LEGACY: Readonly<Record<string, string>> = {
  "iptables-legacy-save": "/proc/net/ip_tables_names",
  "ip6tables-legacy-save": "/proc/net/ip6_tables_names",
};

export async function readLeftovers(run: Runner, routes: readonly Route[], markShift: number): Promise<Leftovers> {
  const rules: Record<string, string> = {};
  for (const tool of TOOLS) {
    // Listing the legacy tables would make them.
    const tables = LEGACY[tool];
    if (tables !== undefined && (!existsSync(tables) || readFileSync(tables, "utf8").trim() === "")) continue;
    const { status, stdout } = await run(tool, []);
    if (status === 0) rules[tool] = stdout;
  }
  const sets = await run("ipset", ["list", "-n"]);
  const list = (path: string): string[] => (existsSync(path) ? readdirSync(path) : []);
  const pins = [
    ...list("/sys/fs/bpf/tc/globals").filter((name) => name.startsWith("cali")),
    ...list("/sys/fs/bpf/calico"),
  ];
  return { rules, sets: sets.status === 0 ? sets.stdout : "", routes, pins, markShift };
}
