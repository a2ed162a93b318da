/** `status`: the agent's last word (its status file) beside what the kernel holds now. */
import type { AgentStatus } from "../agent/status.js";
import { escape, printable } from "../text.js";
import { CommandError, EXIT, type Command, type Invocation } from "./command.js";
import { isHarmless, STATE_SETTINGS } from "./endpoint.js";
import { columns, json, style } from "./output.js";

interface Kernel {
  readonly endpoints: number;
  readonly flows: number;
  readonly flowLimit: number;
  /** Packets of no known port. */
  readonly unknownDrops: readonly { readonly reason: string; readonly count: bigint; readonly sentence: string }[];
}

/** A sentence: why nothing can be told. */
async function readKernel({ context, config }: Invocation): Promise<Kernel | string> {
  try {
    const { pinDir, runDir } = config().config;
    const state = await context.openState(pinDir, runDir);
    try {
      const endpoints = state.endpoints();
      const drops = state.drops().filter(({ endpoint, reason }) => endpoint === 0 && !isHarmless(reason));
      return {
        endpoints: endpoints.length,
        flows: endpoints.reduce((sum, { flows }) => sum + flows.count, 0),
        flowLimit: state.control().flow_limit,
        unknownDrops: drops.map(({ reason, packets, sentence }) => ({ reason, count: packets, sentence })),
      };
    } finally {
      state.close();
    }
  } catch (error) {
    if (error instanceof CommandError && error.exit === EXIT.absent) return error.message;
    throw error;
  }
}

export const status: Command = {
  name: "status",
  summary: "Print whether the agent runs, what it enforces, and every problem.",
  detail: ["Exit status 3 when no agent runs; what is pinned is enforced all the same, and printed."],
  arguments: [],
  flags: [],
  settings: STATE_SETTINGS,
  examples: ["torbie status", "torbie status --json"],
  run: async (invocation) => {
    const { context, config } = invocation;
    const { runDir } = config().config;
    const running = context.agentRuns(runDir);
    const last = context.readStatus(runDir);
    const kernel = await readKernel(invocation);
    if (invocation.json)
      context.out(
        json({
          running,
          pid: running ? (context.lockHolder(runDir) ?? null) : null,
          pinned: typeof kernel === "string" ? null : kernel,
          agent: last ?? null,
        }),
      );
    else context.out(render(running, context.lockHolder(runDir), last, kernel, context.colours));
    return running ? EXIT.ok : EXIT.absent;
  },
};

function render(
  running: boolean,
  pid: number | undefined,
  last: AgentStatus | undefined,
  kernel: Kernel | string,
  colours: boolean,
): string {
  const { bold, good, bad } = style(colours);
  const since =
    last?.stopped !== undefined
      ? `stopped at ${last.stopped}`
      : last === undefined
        ? "has not run here"
        : `gone without a word; its last was at ${last.updated}`;
  const lines: [string, string][] = [
    [
      "agent",
      running
        ? `${good("running")} (pid ${pid ?? "unknown"}${last === undefined ? "" : `, since ${last.started}, version ${escape(last.version)}`})`
        : `${bad("not running")}: ${since}`,
    ],
    [
      "kernel",
      typeof kernel === "string"
        ? bad(escape(kernel))
        : `${kernel.endpoints} endpoints enforced${running ? "" : ", also without the agent"}; ${kernel.flows} of ${kernel.flowLimit} flows`,
    ],
  ];
  if (last !== undefined) {
    const { lastApply, interfaces, datastore } = last;
    lines.push(
      ["dataplane", `${last.dataplane.name}: ${escape(last.dataplane.why)}`],
      ["guard", last.guard === "on" ? good("on") : bad(last.guard)],
      [
        "datastore",
        `${escape(datastore.description)}: ${datastore.state}${datastore.held === undefined ? "" : `; ${bad(`held: ${printable(datastore.held)}`)}`}`,
      ],
      [
        "taps",
        `${interfaces.taps.length}${interfaces.taps.length === 0 ? "" : `, ${interfaces.taps.filter(({ up }) => up).length} up`}; uplinks: ${interfaces.uplinks.map(({ name }) => escape(name)).join(", ") || "none"}`,
      ],
    );
    if (lastApply)
      lines.push([
        "last pass",
        `${lastApply.at}: ${lastApply.totalWrites} writes in ${lastApply.milliseconds} ms; ${last.applies} passes, ${last.totalWrites} writes in all`,
      ]);
  }
  const parts = [bold("Torbie"), ...lines.map(([name, value]) => `  ${name.padEnd(11)}${value}`)];
  const unwell = last?.endpoints.filter(({ why }) => why !== undefined) ?? [];
  if (unwell.length > 0)
    parts.push(
      "",
      columns(
        ["ENDPOINT", "INTERFACE", "WHY NOTHING PASSES"],
        unwell.slice(0, 20).map(({ workload, interface: name, why }) => [workload, name, why ?? ""]),
      ).trimEnd(),
    );
  if (unwell.length > 20) parts.push(`… and ${unwell.length - 20} more (--json has all)`);
  const notEnforced = last?.endpoints.filter((endpoint) => endpoint.notEnforced.length > 0) ?? [];
  if (notEnforced.length > 0)
    parts.push(
      "",
      columns(
        ["ENDPOINT", "ASKED FOR, BUT NOT ENFORCED"],
        notEnforced.slice(0, 20).map(({ workload, notEnforced: what }) => [workload, what.join(", ")]),
      ).trimEnd(),
    );
  if (typeof kernel !== "string" && kernel.unknownDrops.length > 0)
    parts.push(
      "",
      "Packets of no known port:",
      columns(
        ["DROPPED", "REASON", "WHAT IT MEANS"],
        kernel.unknownDrops.map(({ count, reason, sentence }) => [String(count), reason, sentence]),
      ).trimEnd(),
    );
  if (last !== undefined)
    parts.push(
      "",
      last.problems.length === 0
        ? good("No problems.")
        : bad(`${last.problems.length} problem${last.problems.length === 1 ? "" : "s"}:`),
    );
  for (const { where, code, what, consequence } of last?.problems ?? [])
    parts.push(`  ${printable(where)}: ${printable(what)} [${printable(code)}]`, `    ${printable(consequence)}`);
  return `${parts.join("\n")}\n`;
}
