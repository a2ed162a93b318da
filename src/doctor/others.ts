/** Who else wants to enforce on this host: Felix and Neutron's own agents, running, or what they left behind. */
import { hasItsProtocol } from "../incumbent/names.js";
import type { Found } from "../incumbent/read.js";
import { entanglements } from "../incumbent/rules.js";
import { isFelix, processesHere, type Process } from "../incumbent/running.js";
import type { Route } from "../links/types.js";
import { printable } from "../text.js";
import { finding, type Finding } from "./finding.js";

interface Other {
  readonly name: string;
  readonly is: (process: Process) => boolean;
  readonly advice: string;
}

const called =
  (name: string) =>
  ({ words }: Process): boolean =>
    words.slice(0, 3).includes(name);

const RUNNING: readonly Other[] = [
  {
    name: "Felix (calico-felix)",
    is: isFelix,
    advice:
      "one agent a host: systemctl disable --now calico-felix, torbie takeover, and start torbie-guard and torbie",
  },
  {
    name: "Neutron's Linux bridge agent",
    is: called("neutron-linuxbridge-agent"),
    advice: "it puts taps into bridges, which Torbie leaves alone: disable it on hosts of networking-calico",
  },
  {
    name: "Neutron's Open vSwitch agent",
    is: called("neutron-openvswitch-agent"),
    advice: "it plugs taps into br-int, which Torbie leaves alone: disable it on hosts of networking-calico",
  },
];

/** In this network namespace. @param root of procfs, for tests */
export function findRunning(root?: string): Finding[] {
  const processes = processesHere(root);
  return RUNNING.flatMap(({ name, is, advice }) => {
    const one = processes.find(is);
    return one === undefined ? [] : [finding("others", "fault", name, `is running (pid ${one.pid})`, advice)];
  });
}

/** Of Felix's: what readIncumbent() finds, and every route of the main table. */
export type Leftovers = Pick<Found, "rules" | "tables" | "sets" | "routes" | "programs" | "pins" | "limiters"> & {
  readonly all: readonly Route[];
  readonly markShift: number;
};

const TAKEOVER = "torbie takeover removes what is Felix's and puts Torbie in its place (--dry-run says what that is)";

/** What Felix left, and whether it still counts. Pure. */
export function judgeLeftovers(left: Leftovers, running: boolean): Finding[] {
  const { rules, tables, sets, programs, pins, limiters, markShift } = left;
  const found: Finding[] = [];
  const add = (level: Finding["level"], what: string, result: string, advice = TAKEOVER): void => {
    found.push(finding("others", level, what, printable(result), printable(advice)));
  };
  for (const tool of rules) {
    const chains = tool.tables.reduce((sum, table) => sum + table.chains.length, 0);
    const hooks = tool.tables.reduce((sum, { hooks: own, foreignJumps }) => sum + own.length + foreignJumps.length, 0);
    if (chains > 0)
      add(
        hooks > 0 ? "fault" : "note",
        `Felix's rules in ${tool.tool}`,
        `${chains} chains, ${hooks} rules that lead to them${hooks > 0 ? ": packets are still judged by what it knew last" : ""}`,
      );
    for (const { what, how } of entanglements(tool))
      add(
        "warning",
        `tied up with Felix in ${tool.tool}`,
        `${what}: takeover refuses`,
        `take it away, or lead it elsewhere: ${how}`,
      );
  }
  if (tables.length > 0)
    add("fault", "Felix's nft tables", tables.map(({ family, name }) => `${family} ${name}`).join(", "));
  if (sets.length > 0) add("note", "Felix's sets", `${sets.length} of them, which only cost memory`);
  const routes = [...new Set([...left.routes, ...left.all.filter(hasItsProtocol)])];
  if (routes.length > 0)
    add(
      running ? "note" : "warning",
      "Felix's routes",
      `${routes.length} routes, such as ${routes[0]?.prefix ?? ""}: where they are in the way, ours can't be set`,
      left.routes.length > 0 ? TAKEOVER : "ip route flush proto 80; ip -6 route flush proto 80",
    );
  if (programs.length > 0)
    add(
      "warning",
      "Felix's programs",
      `${programs.length}, such as ${programs[0]?.name ?? ""} at ${programs[0]?.link ?? ""}`,
    );
  if (pins.length > 0) add("note", "Felix's pins", `${pins.length}, such as ${pins[0] ?? ""}`);
  if (limiters.length > 0) add("warning", "Felix's limits", `${limiters.join(", ")} still limit guests`);
  if (markShift > 0 && (running || found.some(({ level }) => level === "fault")))
    found.push(
      finding(
        "others",
        "fault",
        "mark-shift",
        `${markShift}: those bits of the packet mark are Felix's`,
        "mark-shift: 0 while Felix or its rules are on this host",
      ),
    );
  return found;
}
