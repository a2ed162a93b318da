/** `torbie doctor`: everything of this host that enforcement depends on, looked at. Changes nothing. */
import { existsSync } from "node:fs";
import { agentRuns, lockHolder } from "../agent/lock.js";
import { readStatus } from "../agent/status.js";
import { hasLocalnet, openLinks } from "../agent/wire/links.js";
import { formerPins } from "../agent/wire/former.js";
import { pinsIn } from "../agent/wire/pins.js";
import type { Config } from "../config/schema.js";
import { mapsDir } from "../dataplane/bpf/pins.js";
import { isInventory } from "../dataplane/iptables/inventory.js";
import { run } from "../dataplane/run.js";
import { readIncumbent } from "../incumbent/read.js";
import { whyNotOurs } from "../links/ours.js";
import { readAllRoutes } from "../links/read-links.js";
import type { Link } from "../links/types.js";
import { printable } from "../text.js";
import { finding, type Finding } from "./finding.js";
import { findBackEnds, findForward, findGuard } from "./firewall.js";
import { findHooks } from "./hooks.js";
import { probeKernel } from "./kernel.js";
import { findLimits } from "./limits.js";
import { findRunning, judgeLeftovers } from "./others.js";
import { findSysctls } from "./sysctls.js";
import { judgeSwitchPorts, readSwitchPorts } from "./userspace-switch.js";

export interface Doctored {
  /** What `torbie agent` with these settings would take; undefined: neither works here. */
  readonly dataplane: { readonly name: "bpf" | "iptables" | undefined; readonly why: string };
  readonly findings: readonly Finding[];
}

/** @throws DataplaneError when interfaces can't be read */
export async function doctor(config: Config): Promise<Doctored> {
  const kernel = await probeKernel(pinsIn(config.pinDir));
  const backEnds = await findBackEnds(run);
  const dataplane = chooseDataplane(config.dataplane, kernel.whyNotBpf, backEnds.whyNotIptables);
  const running = agentRuns(config.runDir);
  const pinned = existsSync(mapsDir(pinsIn(config.pinDir)));
  const inforce = isInventory(config.runDir) ? "iptables" : pinned ? "bpf" : undefined;
  const looked = inforce ?? dataplane.name ?? "bpf";
  const links = openLinks(config, looked);
  try {
    await links.start(() => undefined);
    const interfaces = links.interfaces();
    const others = findRunning();
    const felix = others.some(({ what }) => what.startsWith("Felix"));
    const incumbent = await readIncumbent(run, config);
    const left = judgeLeftovers({ ...incumbent, all: await readAllRoutes(), markShift: config.markShift }, felix);
    return {
      dataplane,
      findings: [
        ...kernel.findings,
        dataplane.name === undefined
          ? finding("dataplane", "fault", config.dataplane, printable(dataplane.why), "see kernel and firewall")
          : finding("dataplane", "ok", dataplane.name, printable(dataplane.why)),
        ...enforced(config, inforce, running),
        ...findLimits(config, looked),
        ...findSysctls(interfaces, looked, running, hasLocalnet(config)),
        ...backEnds.findings,
        ...(await findForward(run, config, looked, inforce !== undefined)),
        ...(await findGuard(run, config)),
        ...(await findHooks(run, interfaces, looked)),
        ...judgeInterfaces(
          links.links(),
          config,
          interfaces.uplinks.map(({ name }) => name),
        ),
        ...judgeSwitchPorts(
          links.links(),
          { prefixes: config.interfacePrefix, excluded: config.interfaceExclude },
          readSwitchPorts(),
        ),
        ...(others.length + left.length > 0
          ? [...others, ...left]
          : [finding("others", "ok", "Felix and Neutron's agents", "neither run here, nor left anything")]),
      ],
    };
  } finally {
    links.close();
  }
}

/** As the agent chooses (src/agent/wire/backend.ts). Pure. */
export function chooseDataplane(
  wish: Config["dataplane"],
  whyNotBpf: string | undefined,
  whyNotIptables: string | undefined,
): Doctored["dataplane"] {
  if (wish !== "iptables" && whyNotBpf === undefined)
    return { name: "bpf", why: wish === "auto" ? "the best that this machine has" : "as configured" };
  if (wish === "bpf") return { name: undefined, why: `dataplane is bpf, and ${whyNotBpf ?? ""}` };
  if (whyNotIptables === undefined)
    return { name: "iptables", why: wish === "iptables" ? "as configured" : `not BPF, since ${whyNotBpf ?? ""}` };
  return {
    name: undefined,
    why:
      wish === "iptables" ? whyNotIptables : `not BPF, since ${whyNotBpf ?? ""}; not iptables, since ${whyNotIptables}`,
  };
}

function enforced(config: Config, inforce: "bpf" | "iptables" | undefined, running: boolean): Finding[] {
  const found: Finding[] = [];
  const status = readStatus(config.runDir);
  found.push(
    running
      ? finding(
          "agent",
          "ok",
          "agent",
          `running (pid ${lockHolder(config.runDir) ?? "unknown"}${status === undefined ? "" : `, ${status.problems.length} problems: torbie status`})`,
        )
      : finding(
          "agent",
          inforce === undefined ? "note" : "warning",
          "agent",
          inforce === undefined
            ? "has not run here since the boot"
            : "is not running: the kernel goes on with what it knows, changes of policy wait",
          "systemctl start torbie; journalctl -u torbie",
        ),
  );
  found.push(
    inforce === undefined
      ? finding("agent", "note", "enforced", "nothing is enforced here")
      : finding("agent", "ok", "enforced", `by ${inforce === "bpf" ? "the programs" : "iptables"}`),
  );
  for (const directory of formerPins(config))
    if (directory !== pinsIn(config.pinDir))
      found.push(
        finding(
          "agent",
          "note",
          printable(directory),
          "pins of another version of Torbie",
          "the agent of this one takes over from it when it starts; torbie cleanup removes all",
        ),
      );
  return found;
}

/** Interfaces that are named as guests' and are not ours, and uplinks. Pure. */
export function judgeInterfaces(links: readonly Link[], config: Config, uplinks: readonly string[]): Finding[] {
  const rule = { prefixes: config.interfacePrefix, excluded: config.interfaceExclude };
  const names = new Map(links.map(({ ifindex, name }) => [ifindex, name]));
  const ours = links.filter((link) => whyNotOurs(link, rule) === undefined);
  const found: Finding[] = [
    finding("interfaces", "ok", "taps", `${ours.length} of ours, ${ours.filter(({ up }) => up).length} up`),
    uplinks.length > 0
      ? finding("interfaces", "ok", "uplinks", uplinks.map(printable).join(", "))
      : finding(
          "interfaces",
          "warning",
          "uplinks",
          "none: what comes from other hosts is judged at the taps' egress alone, more slowly",
          "name the interfaces towards other hosts in uplinks, or give the host a route with a gateway",
        ),
  ];
  for (const link of links) {
    if (!config.interfacePrefix.some((prefix) => link.name.startsWith(prefix))) continue;
    const why = whyNotOurs(link, rule);
    if (why === undefined || (config.interfaceExclude.length > 0 && why.includes("excluded"))) continue;
    const bridge = names.get(link.master);
    found.push(
      finding(
        "interfaces",
        "warning",
        printable(link.name),
        link.master !== 0
          ? `is a port of ${printable(bridge ?? `interface ${link.master}`)}: Torbie leaves it alone, and nothing protects that guest`
          : `is left alone: ${why}`,
        link.master !== 0
          ? `ip link set ${printable(link.name)} nomaster, if it is a guest's; interface-exclude, if it is not`
          : "interface-exclude names it, if it is no guest's",
      ),
    );
  }
  return found;
}
