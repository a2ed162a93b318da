/** `map list|show|dump` where iptables enforces: its sets. Each says whether it was its turn. */
import { suggest } from "../config/suggest.js";
import type { SetInfo } from "../dataplane/iptables/read-state.js";
import { escape, quote } from "../text.js";
import { CommandError, EXIT, type Invocation } from "./command.js";
import type { RulesView } from "./context.js";
import { bytesText, columns, json, jsonLine, percentText, style } from "./output.js";

async function withSets(
  { context, config }: Invocation,
  work: (rules: RulesView, sets: readonly SetInfo[]) => void | Promise<void>,
): Promise<boolean> {
  const rules = await context.openRules(config().config);
  if (rules === undefined) return false;
  try {
    const sets = await rules.sets();
    await work(
      rules,
      [...sets].sort((a, b) => (a.set < b.set ? -1 : 1)),
    );
    return true;
  } finally {
    rules.close();
  }
}

export function listSets(invocation: Invocation): Promise<boolean> {
  return withSets(invocation, (_rules, sets) => {
    const { context } = invocation;
    const memory = sets.reduce((sum, one) => sum + one.memory, 0);
    if (invocation.json) return context.out(json({ sets, memory }));
    context.out(
      columns(
        ["SET", "TYPE", "IP", "ENTRIES", "SIZE", "USE", "MEMORY", "RULES", "WHAT IT HOLDS"],
        sets.map((one) => [
          one.set,
          one.type,
          `v${one.family}`,
          String(one.entries),
          String(one.maxEntries),
          percentText(one.entries, one.maxEntries),
          bytesText(one.memory),
          String(one.references),
          one.of ?? "-",
        ]),
      ),
    );
    context.out(`${bytesText(memory)} of kernel memory in ${sets.length} sets; iptables has no maps\n`);
  });
}

/** @throws CommandError absent, with what was meant */
function named(sets: readonly SetInfo[], word: string): SetInfo {
  const found = sets.find(({ set }) => set === word);
  if (found !== undefined) return found;
  const meant = suggest(
    word,
    sets.map(({ set }) => set),
    2,
  );
  const hint = meant.length > 0 ? `; did you mean ${meant.join(" or ")}?` : "";
  throw new CommandError(
    EXIT.absent,
    "NO_SUCH_SET",
    `no set ${quote(word, 60)}: this host enforces with iptables, which has sets and no maps${hint} (torbie map list)`,
  );
}

export function showSet(invocation: Invocation, word: string): Promise<boolean> {
  return withSets(invocation, (_rules, sets) => {
    const { context } = invocation;
    const found = named(sets, word);
    if (invocation.json) return context.out(json(found));
    const { bold } = style(context.colours);
    const { set, type, family, entries, maxEntries, memory, references, of } = found;
    context.out(
      [
        bold(set),
        `  ${of === null ? "of nothing that is known" : escape(of)}`,
        `  ${type}, IPv${family}, ${entries} of ${maxEntries} entries (${percentText(entries, maxEntries)})`,
        `  ${bytesText(memory)} of kernel memory, named by ${references} rule${references === 1 ? "" : "s"}`,
        "",
      ].join("\n"),
    );
  });
}

export function dumpSet(invocation: Invocation, word: string, limit: number): Promise<boolean> {
  return withSets(invocation, async (rules, sets) => {
    const { context } = invocation;
    const { set } = named(sets, word);
    const members = [...((await rules.members(set)) ?? [])].sort();
    const shown = members.slice(0, limit);
    context.out(shown.map((member) => (invocation.json ? jsonLine({ member }) : `${escape(member)}\n`)).join(""));
    if (!invocation.json && members.length === 0) context.out(`set ${set} is empty\n`);
    if (members.length > shown.length) context.err(`${members.length - shown.length} more entries (--limit)\n`);
  });
}
