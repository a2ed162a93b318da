/** An edit that changes what passes, found in the directory's own files. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { escape } from "../text.js";

/** A line that says from which group a rule lets in: `selector: … "web"`, but not which guests a policy applies to. */
const NAMED = /^\s{4,}.*\bselector:.*"([^"]+)"/;

/**
 * "examples/groups.yaml, line 14: "web" -> "db", save".
 * @param shown the directory as the reader knows it, with "/" at its end
 */
export function suggestEdit(directory: string, shown: string, groups: ReadonlySet<string>): string | undefined {
  for (const file of readdirSync(directory)
    .filter((name) => /\.ya?ml$/.test(name))
    .sort()) {
    const lines = readFileSync(join(directory, file), "utf8").split("\n");
    for (const [index, line] of lines.entries()) {
      const group = NAMED.exec(line)?.[1];
      if (group === undefined || !groups.has(group)) continue;
      const other = [...groups].find((name) => name !== group);
      if (other !== undefined) return escape(`${shown}${file}, line ${index + 1}: "${group}" -> "${other}", save`);
    }
  }
  return undefined;
}
