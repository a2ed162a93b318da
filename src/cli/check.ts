/** `check`: is the kernel what the datastore says it should be? Every difference by name, and putting it right. */
import { verdictOf, type Difference } from "../check/difference.js";
import type { RepairReport } from "../check/repair.js";
import type { CheckReport } from "../check/run.js";
import type { LoadedConfig } from "../config/load.js";
import { escape, printable } from "../text.js";
import { CommandError, EXIT, type Command } from "./command.js";
import type { Context } from "./context.js";
import { countOf } from "./count.js";
import { columns, json, style, type Style } from "./output.js";
import { requireRoot } from "./require.js";

/** Lines printed for people; --json has all. */
const MOST = 200;

export const check: Command = {
  name: "check",
  summary: "Compare the datastore with what the agent wants and with the kernel read back, and name every difference.",
  detail: [
    "Exit status 0: no difference; 1: there are some, or --repair could not end them; 3: nothing is enforced here, or there is nothing to",
    "compare with. Give it the settings that the agent has. It changes nothing, unless --repair is given. What differs is looked at twice, so",
    "that a change that is just being written is none. Where the datastore can't be read, it compares with what the running agent holds as its",
    "last good state, and says so. Flows and counters are the kernel's own and no part of this.",
  ],
  arguments: [],
  flags: [
    {
      name: "repair",
      doc: "Put right what differs: by the agent where one runs, else by this command under its lock.",
    },
    { name: "limit", value: "COUNT", doc: `At most so many differences (default ${MOST}; --json: all).` },
  ],
  settings: "all",
  examples: [
    "torbie check",
    "torbie check --repair",
    "torbie check --json | jq '.differences[] | select(.kind == \"map\")'",
    "torbie check >/dev/null || logger -p daemon.err 'torbie: the kernel is not what the datastore says'",
  ],
  run: async (invocation) => {
    const { context, flags, config } = invocation;
    const limit = countOf(invocation, "check", "limit");
    const loaded = config();
    requireRoot(context, "check reads maps, hooks, rules and routes of the kernel");
    const found = await checked(context, loaded);
    const differs = ({ differences, agent }: CheckReport): boolean => differences.length + agent.behind.length > 0;
    let repaired: RepairReport | undefined;
    let left = found;
    if (flags.has("repair") && differs(found)) {
      repaired = await context.repair(loaded);
      left = await checked(context, loaded);
    }
    if (invocation.json)
      context.out(
        json({
          same: !differs(left),
          ...found,
          differences: found.differences.slice(0, limit),
          ...(repaired === undefined ? {} : { repaired, left: left.differences, behind: left.agent.behind }),
        }),
      );
    else context.out(render(found, repaired, left, limit ?? MOST, style(context.colours)));
    return differs(left) ? EXIT.failed : EXIT.ok;
  },
};

async function checked(context: Context, loaded: LoadedConfig): Promise<CheckReport> {
  try {
    return await context.check(loaded);
  } catch (error) {
    const code = (error as { code?: unknown } | null)?.code;
    if (code === "NOTHING_TO_COMPARE" || code === "NO_PINNED_STATE" || code === "OTHER_LAYOUT")
      throw new CommandError(EXIT.absent, code, (error as Error).message, error);
    throw error;
  }
}

function render(
  found: CheckReport,
  repaired: RepairReport | undefined,
  left: CheckReport,
  limit: number,
  { good, bad, bold }: Style,
): string {
  const { datastore, agent, against, dataFrom } = found;
  const compared =
    against === "datastore"
      ? escape(datastore.description)
      : `${bad("the agent's last good state")}${dataFrom === undefined ? "" : ` of ${dataFrom}`}: ${escape(datastore.description)} can't be used (${printable(datastore.why ?? "")})`;
  const lines = [
    `Compared ${found.endpoints} endpoint${found.endpoints === 1 ? "" : "s"} with the kernel (${found.dataplane}), as ${against === "datastore" ? "" : "told by "}${compared}${against === "datastore" ? " says" : ""}.`,
    agent.running
      ? `The agent runs${agent.why === undefined ? "" : `, and holds: ${printable(agent.why)}`}.`
      : `${bad("No agent runs")}: the kernel goes on with what it has.`,
  ];
  if (datastore.problems.length > 0)
    lines.push(
      `${datastore.problems.length} value${datastore.problems.length === 1 ? "" : "s"} can't be understood; a running agent keeps the last good version of them (torbie status):`,
      ...datastore.problems.slice(0, 10).map(({ where, what }) => `  ${printable(where)}: ${printable(what)}`),
    );
  if (agent.behind.length > 0)
    lines.push(
      "",
      bold("What the agent has not taken up"),
      columns(
        ["KIND", "WHICH", "WHAT"],
        agent.behind.slice(0, limit).map(({ kind, id, what }) => [kind, id, what]),
      ).trimEnd(),
      ...more(agent.behind.length, limit),
    );
  if (found.differences.length > 0)
    lines.push("", bold("What is otherwise in the kernel"), ...table(found.differences, limit));
  if (repaired !== undefined) {
    const places = Object.entries(repaired.writes).map(([where, count]) => `${count} ${where}`);
    lines.push(
      "",
      `Repaired by ${repaired.by}: ${repaired.totalWrites} writes${places.length > 0 ? ` (${places.join(", ")})` : ""}.`,
      ...repaired.failures.map(({ where, what }) => bad(`  ${printable(where)}: ${printable(what)}`)),
    );
    const rest = left.differences.length + left.agent.behind.length;
    if (rest > 0) lines.push("", bad(`${rest} left:`), ...table(left.differences, limit));
    else lines.push(good("No difference is left."));
  } else
    lines.push(
      found.differences.length + agent.behind.length === 0
        ? good("No difference.")
        : bad(
            `${found.differences.length + agent.behind.length} difference${found.differences.length + agent.behind.length === 1 ? "" : "s"}; torbie check --repair puts them right.`,
          ),
    );
  return `${lines.join("\n")}\n`;
}

const more = (count: number, limit: number): readonly string[] =>
  count > limit ? [`… and ${count - limit} more (--limit, --json)`] : [];

const table = (differences: readonly Difference[], limit: number): readonly string[] => [
  columns(
    ["WHAT", "WHERE", "KEY", "VERDICT", "IS", "SHOULD BE"],
    differences
      .slice(0, limit)
      .map((one) => [one.kind, one.where, one.key || "-", verdictOf(one), one.is ?? "-", one.wanted ?? "-"]),
  ).trimEnd(),
  ...more(differences.length, limit),
];
