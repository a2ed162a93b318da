/** News of the agent in one line: what changed, how many writes, how long, which cells are different now. Pure. */
import type { Change } from "../agent/delta.js";
import type { ApplyEvent } from "../agent/status.js";
import type { Problem } from "../problems.js";
import { escape } from "../text.js";

/** Absolute paths in origins become what the reader knows the directory as. */
const shorten = (text: string, directory: string, shown: string): string =>
  text.replaceAll(`${directory.replace(/\/$/, "")}/`, shown);

function changeText({ kind, id, change, origin, name }: Change): string {
  return `${origin === undefined ? "" : `${origin}: `}${kind} ${name ?? id}${change === "gone" ? " gone" : ""}`;
}

export function describeChange(event: ApplyEvent, cells: readonly string[], directory: string, shown: string): string {
  const changes = event.changes.map(changeText);
  const more = event.totalChanges - event.changes.length;
  const what = [...changes, ...(more > 0 ? [`${more} more`] : [])].join(", ") || "nothing in the directory";
  const failed = event.failures.map(({ where, what: why }) => `FAILED ${where}: ${why}`);
  const { links = 0, guard = 0 } = event.writes;
  const maps = event.totalWrites - links - guard;
  const writes = `${maps} map write${maps === 1 ? "" : "s"} in ${event.milliseconds.toFixed(1)} ms`;
  const now = cells.length === 0 ? "the table is as before" : `now ${cells.join(", ")}`;
  return `${event.at.slice(11, 19)}  ${escape(shorten([what, writes, ...failed, now].join("; "), directory, shown))}\n`;
}

export function describeProblem(problem: Problem, solved: boolean, directory: string, shown: string): string {
  const text = solved
    ? `${problem.where}: no longer: ${problem.what}`
    : `${problem.where}: ${problem.what}: ${problem.consequence}`;
  return `${solved ? "" : "PROBLEM  "}${escape(shorten(text, directory, shown))}\n`;
}
