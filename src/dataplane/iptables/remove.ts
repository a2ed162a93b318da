/** For the day when nothing is to be enforced here any more. */
import { run as runProgram, type Runner } from "../run.js";
import { LINK_TABLE } from "./link-rules.js";
import { readSets, readTable } from "./read-back.js";
import { isJump } from "./survivors.js";
import { IPTABLES, runStep } from "./tools.js";
import { FAMILIES } from "./types.js";

/** Takes away all that is ours, the hooks first. Says what it was. */
export async function removeRules(run: Runner = runProgram): Promise<{ what: string; count: number }[]> {
  const removed: { what: string; count: number }[] = [];
  for (const family of FAMILIES)
    for (const table of ["filter", "raw"] as const) {
      const printed = await readTable(run, family, table).catch(() => new Map<string, readonly string[]>());
      const ours = [...printed.keys()].filter((name) => name.startsWith("TRB-"));
      if (ours.length === 0) continue;
      const lines = [...printed].flatMap(([name, rules]) =>
        name.startsWith("TRB-") ? [] : rules.filter(isJump).map((rule) => `-D ${name} ${rule}`),
      );
      const text = [
        `*${table}`,
        ...ours.map((name) => `:${name} - [0:0]`),
        ...lines,
        ...ours.map((name) => `-X ${name}`),
        "COMMIT",
        "",
      ];
      await runStep(run, { tool: "iptables", family, table, text: text.join("\n"), writes: 0 });
      removed.push({ what: `${IPTABLES[family]} ${table} chains`, count: ours.length });
    }
  if ((await run("nft", ["delete", "table", "netdev", LINK_TABLE])).status === 0)
    removed.push({ what: `nft table netdev ${LINK_TABLE}`, count: 1 });
  const sets = await readSets(run).catch((): ReadonlyMap<string, unknown> => new Map());
  if (sets.size > 0) {
    const text = [...sets.keys()].map((name) => `destroy ${name}\n`).join("");
    await runStep(run, { tool: "ipset", text, writes: 0 });
    removed.push({ what: "sets", count: sets.size });
  }
  return removed;
}
