/** `takeover` and `handback`: this host changes from Felix to Torbie, and back. */
import type { HandbackReport } from "../incumbent/handback.js";
import type { Step } from "../incumbent/steps.js";
import type { TakeoverReport } from "../incumbent/takeover.js";
import { printable } from "../text.js";
import { CommandError, EXIT, type Command, type Invocation } from "./command.js";
import { countOf } from "./count.js";
import { json, style } from "./output.js";
import { requireRoot } from "./require.js";

/** Names printed of a step; --json has all. */
const MOST = 6;
const DRY_RUN = { name: "dry-run", doc: "Only say what would be done, in order; nothing is changed." } as const;
/** What is refused because it would be unsafe, or would be undone. */
const REFUSED: ReadonlySet<string> = new Set(["AGENT_RUNNING", "HINDERED", "NOT_COVERED"]);

function stepText({ what, names }: Step, number: number): string {
  const shown = names.slice(0, MOST).map(printable);
  const more = names.length > MOST ? `, and ${names.length - MOST} more` : "";
  const first = `${String(number).padStart(2)}. ${printable(what)}\n`;
  return shown.length === 0 ? first : `${first}    ${shown.join(", ")}${more}\n`;
}

/** Prints steps as they come, unless JSON is wanted. */
function printer({ context, json: asJson }: Invocation): (step: Step) => void {
  let number = 0;
  return (step) => {
    if (!asJson) context.out(stepText(step, ++number));
  };
}

async function guarded<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const code = String((error as { code?: unknown } | null)?.code);
    if (REFUSED.has(code)) throw new CommandError(EXIT.refused, code, (error as Error).message, error);
    if (code === "NO_DATASTORE") throw new CommandError(EXIT.absent, code, (error as Error).message, error);
    throw error;
  }
}

export const takeover: Command = {
  name: "takeover",
  summary:
    "Enforce in the place of Felix on this host, without cutting what guests have open; then remove what is Felix's.",
  detail: [
    "Stop Felix first (systemctl disable --now calico-felix): what it enforces stays in the kernel. This puts Torbie in force beside it, with the",
    "connections that the kernel tracks and the routes in their place, and only then removes Felix's chains, sets, routes, programs and pins, by",
    "their names. Afterwards the kernel enforces; start the agent: systemctl enable --now torbie-guard torbie. Do not start torbie-guard before:",
    "it lets no tap pass that it does not know. Give this command the settings that the agent will have.",
    "It refuses, changes nothing and says what to do where Felix or Torbie's agent runs, rules of others are tied up with Felix's, or the",
    "datastore does not know guests that Felix lets talk. Cut short at whatever point, it may be run again.",
  ],
  arguments: [],
  flags: [DRY_RUN, { name: "force", doc: "Cut off guests that Felix lets talk and the datastore does not know." }],
  settings: "all",
  examples: [
    "torbie takeover --dry-run",
    "systemctl disable --now calico-felix && torbie takeover && systemctl enable --now torbie-guard torbie",
  ],
  run: async (invocation) => {
    const { context, flags, json: asJson, config } = invocation;
    const loaded = config();
    requireRoot(context, "takeover changes who enforces on this host");
    const say = printer(invocation);
    const dryRun = flags.has("dry-run");
    const report = await guarded(() => context.takeover(loaded, { dryRun, force: flags.has("force"), say }));
    if (asJson) context.out(json({ dryRun, ...report }));
    else if (dryRun) report.steps.forEach(say);
    if (!asJson) context.out(takeoverEnd(report, dryRun, style(context.colours)));
    return dryRun && report.hindrances.length > 0 ? EXIT.refused : EXIT.ok;
  },
};

function takeoverEnd(
  { nothing, hindrances, left, enforced }: TakeoverReport,
  dryRun: boolean,
  { good, bad }: ReturnType<typeof style>,
): string {
  if (nothing) return "Nothing of Felix's is on this host: start the agent.\n";
  const lines = left.map((one) => `Left: ${printable(one)}`);
  if (dryRun)
    lines.push(
      ...hindrances.map(({ what, how }) => `${bad("In the way")}: ${printable(what)}\n  ${printable(how)}`),
      "Nothing was changed (--dry-run).",
    );
  else
    lines.push(
      ...((enforced?.problems ?? 0) > 0
        ? [`${enforced?.problems ?? 0} values or settings are a problem: torbie status`]
        : []),
      `${good("Done")}: the kernel enforces ${enforced?.taps.length ?? 0} endpoint${enforced?.taps.length === 1 ? "" : "s"}. Start the agent, so that changes of policy are followed: systemctl enable --now torbie-guard torbie`,
    );
  return `${lines.join("\n")}\n`;
}

export const handback: Command = {
  name: "handback",
  summary: "Give this host back to Felix, without cutting what guests have open; then remove what is Torbie's.",
  detail: [
    "Stop Torbie's agent (systemctl disable --now torbie; what it enforces stays), and start Felix (systemctl enable --now calico-felix): its rules",
    "come beside ours. This waits until they judge every tap that may pass, hands the flows over to the kernel's connection tracking, gives Felix",
    "the routes, and lets go. At no moment is a tap without rules. systemctl disable torbie-guard before the next boot.",
    "Cut short at whatever point, it may be run again.",
  ],
  arguments: [],
  flags: [
    DRY_RUN,
    { name: "wait", value: "SECONDS", doc: "So long for Felix's rules to judge every tap (default 60)." },
    {
      name: "force",
      doc: "Let go although no rules of Felix's judge a tap, which is open then; without the datastore, hand over every flow.",
    },
  ],
  settings: "all",
  examples: [
    "torbie handback --dry-run",
    "systemctl disable --now torbie && systemctl enable --now calico-felix && torbie handback && systemctl disable torbie-guard",
  ],
  run: async (invocation) => {
    const { context, flags, json: asJson, config } = invocation;
    const wait = countOf(invocation, "handback", "wait") ?? 60;
    const loaded = config();
    requireRoot(context, "handback changes who enforces on this host");
    const say = printer(invocation);
    const dryRun = flags.has("dry-run");
    const report = await guarded(() => context.handback(loaded, { dryRun, force: flags.has("force"), wait, say }));
    if (asJson) context.out(json({ dryRun, ...report }));
    else if (dryRun) report.steps.forEach(say);
    if (!asJson) context.out(handbackEnd(report, dryRun, style(context.colours)));
    return dryRun && report.uncovered.length > 0 ? EXIT.refused : EXIT.ok;
  },
};

function handbackEnd(
  { nothing, uncovered, left }: HandbackReport,
  dryRun: boolean,
  { good, bad }: ReturnType<typeof style>,
): string {
  if (nothing) return "Nothing of Torbie's is on this host.\n";
  const lines = left.map((one) => `Left: ${printable(one)}`);
  if (uncovered.length > 0)
    lines.push(
      `${bad(dryRun ? "In the way" : "Open")}: no rules of Felix's judge ${uncovered.slice(0, MOST).map(printable).join(", ")}${uncovered.length > MOST ? ", …" : ""}${dryRun ? ": start Felix first" : ""}`,
    );
  lines.push(dryRun ? "Nothing was changed (--dry-run)." : `${good("Done")}: Felix's rules are in force alone.`);
  return `${lines.join("\n")}\n`;
}
