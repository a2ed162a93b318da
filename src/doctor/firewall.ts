/** The host's firewall: which back ends there are, who drops in FORWARD, whether the guard stands and is started before guests. */
import { existsSync } from "node:fs";
import { guardOptions } from "../agent/wire/guard.js";
import type { Config } from "../config/schema.js";
import { forwardLacks } from "../dataplane/forward-accept.js";
import { guardStatus } from "../dataplane/guard.js";
import { findTools, otherBackEnd } from "../dataplane/iptables/tools.js";
import type { Runner } from "../dataplane/run.js";
import { UnsupportedError } from "../errors.js";
import type { Problem } from "../problems.js";
import { printable } from "../text.js";
import { finding, type Finding, type Level } from "./finding.js";

export interface FirewallFacts {
  readonly findings: readonly Finding[];
  /** Undefined: the iptables dataplane would work. */
  readonly whyNotIptables: string | undefined;
}

const ofProblem = (area: Finding["area"], level: Level, { where, what, consequence }: Problem): Finding =>
  finding(area, level, printable(where), printable(what), printable(consequence));

/** Which programs of the firewall are there, and whether both back ends hold rules. */
export async function findBackEnds(run: Runner): Promise<FirewallFacts> {
  try {
    const tools = await findTools(run);
    const others = await otherBackEnd(run, tools);
    return {
      findings: [
        finding("firewall", "ok", "iptables", `${tools.version}, with ipset, and nft with its netdev family`),
        ...others.map((problem) => ofProblem("firewall", "warning", problem)),
      ],
      whyNotIptables: undefined,
    };
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    return {
      findings: [
        finding("firewall", "warning", "iptables", printable(error.message), "needed only where BPF is not there"),
      ],
      whyNotIptables: error.message,
    };
  }
}

/** Whoever drops by policy at FORWARD, and whether what the programs have judged gets by. */
export async function findForward(
  run: Runner,
  config: Config,
  dataplane: "bpf" | "iptables",
  enforcing: boolean,
): Promise<Finding[]> {
  const found: Finding[] = [];
  const lacks = dataplane === "bpf" ? await forwardLacks(run, config.markShift) : [];
  for (const tool of ["iptables", "ip6tables"]) {
    const { status, stdout } = await run(tool, ["-w", "-S", "FORWARD"]);
    if (status !== 0) continue;
    const policy = /^-P FORWARD (\S+)/m.exec(stdout)?.[1] ?? "unknown";
    const who = [
      ...(/ DOCKER-(?:USER|FORWARD)\b/.test(stdout) ? ["Docker"] : []),
      ...(/ FWD[IO]_|FORWARD_direct/.test(stdout) ? ["firewalld"] : []),
      ...(/ ufw6?-/.test(stdout) ? ["ufw"] : []),
    ];
    const by = who.length > 0 ? `, with rules of ${who.join(" and ")}` : "";
    if (policy !== "DROP" && who.length === 0) continue;
    const passes = dataplane === "iptables" || !lacks.some((one) => one.startsWith(tool));
    found.push(
      passes
        ? finding("firewall", "ok", `${tool} FORWARD`, `policy ${policy}${by}; what Torbie has judged passes before`)
        : finding(
            "firewall",
            enforcing ? "fault" : "note",
            `${tool} FORWARD`,
            `policy ${policy}${by}, and our rule does not stand first: what goes by the kernel's stack is lost`,
            enforcing
              ? "torbie check --repair; the agent puts it there with every full pass"
              : "the agent puts its rule first when it starts",
          ),
    );
  }
  const { status, stdout } = await run("nft", ["list", "tables"]);
  if (status === 0 && /^table \S+ firewalld$/m.test(stdout))
    found.push(
      finding(
        "firewall",
        "warning",
        "firewalld",
        "it has chains of its own in nft, which no rule of others can overrule",
        "put the taps and uplinks into a zone whose target is ACCEPT (firewall-cmd --zone=trusted --add-interface=…), or stop firewalld on compute hosts",
      ),
    );
  return found.length > 0 ? found : [finding("firewall", "ok", "FORWARD", "nobody drops there")];
}

/** @param systemd whether this host is run by it */
export async function findGuard(
  run: Runner,
  config: Config,
  systemd = existsSync("/run/systemd/system"),
): Promise<Finding[]> {
  if (!config.guard)
    return [
      finding(
        "guard",
        "warning",
        "guard",
        "off by configuration",
        "guard: true; without it a new tap is open until the agent has seen it",
      ),
    ];
  const { standing, means, problems, dropped } = await guardStatus(guardOptions(config));
  const packets = Object.values(dropped).reduce((sum, count) => sum + count, 0);
  return [
    standing
      ? finding("guard", "ok", "standing rule", `stands, by ${means}; it has dropped ${packets} packets`)
      : finding(
          "guard",
          "fault",
          "standing rule",
          means === "none" ? "is not there: a tap without programs passes everything" : `was altered, by ${means}`,
          "torbie guard install",
        ),
    ...problems.map((problem) => ofProblem("guard", "warning", problem)),
    ...(systemd ? await unitOrder(run) : []),
  ];
}

/** Before these a guest may start. */
const GUESTS = /\b(?:libvirtd|virtqemud|libvirt-guests|nova-compute)\.service\b/;

async function unitOrder(run: Runner): Promise<Finding[]> {
  const { status, stdout } = await run("systemctl", [
    "show",
    "torbie-guard.service",
    "-p",
    "LoadState,UnitFileState,ActiveState,Before",
  ]);
  return status === 0 ? [judgeUnit(stdout)] : [];
}

/** @param text of systemctl show. Pure. */
export function judgeUnit(text: string): Finding {
  const of = (key: string): string => new RegExp(`^${key}=(.*)$`, "m").exec(text)?.[1] ?? "";
  const unit = "torbie-guard.service";
  if (of("LoadState") !== "loaded")
    return finding(
      "guard",
      "warning",
      unit,
      "is not installed",
      "install the package, or run torbie guard install before guests start",
    );
  if (!/^enabled/.test(of("UnitFileState")))
    return finding(
      "guard",
      "fault",
      unit,
      `is ${of("UnitFileState") || "not enabled"}: after a boot guests' taps are open until the agent runs`,
      `systemctl enable --now ${unit}`,
    );
  if (!GUESTS.test(of("Before")))
    return finding(
      "guard",
      "warning",
      unit,
      "is not ordered before libvirt or nova-compute",
      "a drop-in without its Before= lines? systemctl cat torbie-guard.service",
    );
  return of("ActiveState") === "active"
    ? finding("guard", "ok", unit, "enabled, active, and ordered before guests start")
    : finding(
        "guard",
        "warning",
        unit,
        `enabled, and ${of("ActiveState")}`,
        `systemctl start ${unit}; systemctl status ${unit}`,
      );
}
