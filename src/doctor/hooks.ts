/** Who else is on the hooks of taps and uplinks: programs at tc, tcx and XDP, filters that are no programs, qdiscs that leave no room. */
import { BpfError, features } from "#libbpf";
import { isOurs, queryHook } from "../dataplane/bpf/attach.js";
import type { Interfaces } from "../dataplane/backend.js";
import type { Runner } from "../dataplane/run.js";
import { quote } from "../text.js";
import { finding, type Finding } from "./finding.js";

export async function findHooks(
  run: Runner,
  { taps, uplinks }: Interfaces,
  dataplane: "bpf" | "iptables",
): Promise<Finding[]> {
  const places = [
    ...[...taps.values()].map(({ name, ifindex }) => ({ name, ifindex, tap: true })),
    ...uplinks.map(({ name, ifindex }) => ({ name, ifindex, tap: false })),
  ];
  const found: Finding[] = [];
  for (const { name, ifindex, tap } of places)
    for (const direction of ["ingress", "egress"] as const) {
      // What somebody puts at an uplink's egress sees only what was judged.
      if (!tap && direction === "egress") continue;
      try {
        found.push(
          ...judgeHook(
            `${name} ${direction}`,
            queryHook(ifindex, direction).map((one) => one.name),
            dataplane,
          ),
        );
      } catch (error) {
        if (!(error instanceof BpfError)) throw error;
        if (error.code !== "ENODEV")
          found.push(
            finding(
              "hooks",
              "warning",
              `${name} ${direction}`,
              `can't be asked: ${error.message}`,
              "run doctor as root",
            ),
          );
      }
    }
  const names = new Set(places.map(({ name }) => name));
  found.push(...(await qdiscs(run, names)), ...(await xdp(run, names)));
  return found.length > 0
    ? found
    : [finding("hooks", "ok", "taps and uplinks", `nobody else is on ${places.length} interfaces`)];
}

/** @param programs names in the order in which they run. Pure. */
export function judgeHook(where: string, programs: readonly string[], dataplane: "bpf" | "iptables"): Finding[] {
  const at = programs.findIndex(isOurs);
  return programs.flatMap((name, i) => {
    if (isOurs(name)) return [];
    const who = /^cali_/.test(name) ? `Felix's program ${quote(name)}` : `program ${quote(name)} of somebody else`;
    const before = at < 0 || i < at;
    return [
      finding(
        "hooks",
        before && dataplane === "bpf" && at >= 0 ? "fault" : "warning",
        where,
        at < 0
          ? `${who}`
          : before
            ? `${who} runs before ours, and may let pass what ours would drop`
            : `${who} runs after ours`,
        before
          ? "take it off (tc filter del, or stop who puts it there); the agent puts its own first again"
          : "nothing, if you know it: it sees only what ours hands on",
      ),
    ];
  });
}

interface Qdisc {
  readonly kind?: string;
  readonly dev?: string;
}

async function qdiscs(run: Runner, names: ReadonlySet<string>): Promise<Finding[]> {
  const { status, stdout } = await run("tc", ["-j", "qdisc", "show"]);
  if (status !== 0)
    return [
      finding(
        "hooks",
        "note",
        "qdiscs",
        "not looked at: there is no tc",
        "install iproute2 to see foreign qdiscs and filters",
      ),
    ];
  const tcx = features.tcx();
  return (JSON.parse(stdout) as Qdisc[]).flatMap(({ kind, dev = "" }) =>
    kind === "ingress" && names.has(dev)
      ? [
          finding(
            "hooks",
            tcx ? "note" : "fault",
            dev,
            "somebody's ingress qdisc (libvirt makes one for bandwidth limits) holds the place of clsact",
            tcx
              ? "nothing: our program at egress is attached by tcx"
              : `tc qdisc del dev ${dev} ingress; else nothing passes to the guest`,
          ),
        ]
      : [],
  );
}

interface LinkShown {
  readonly ifname?: string;
  readonly xdp?: { readonly mode?: number; readonly prog?: { readonly id?: number; readonly name?: string } };
}

async function xdp(run: Runner, names: ReadonlySet<string>): Promise<Finding[]> {
  const { status, stdout } = await run("ip", ["-j", "-d", "link", "show"]);
  if (status !== 0) return [];
  return (JSON.parse(stdout) as LinkShown[]).flatMap(({ ifname = "", xdp: program }) =>
    program !== undefined && names.has(ifname)
      ? [
          finding(
            "hooks",
            "warning",
            `${ifname} XDP`,
            `program ${quote(program.prog?.name ?? String(program.prog?.id ?? "unknown"))} sees packets before all else`,
            "nothing, if you know it; ip link set dev … xdp off",
          ),
        ]
      : [],
  );
}
