/** Every part's present problems, and the failures of the last pass in the same words. Pure. */
import type { Problem } from "../problems.js";
import { printable } from "../text.js";
import type { Gate } from "./gate.js";
import type { AgentParts } from "./parts.js";
import type { RoundResult } from "./round.js";

const RETRY = "tried again, first soon, then every 30 s";

export function* collectProblems(
  parts: Pick<AgentParts, "model" | "compiler" | "backend" | "links" | "guard" | "services">,
  gate: Gate,
  failures: RoundResult["failures"],
  others: Iterable<Problem> = [],
): Iterable<Problem> {
  yield* parts.model.problems();
  yield* parts.compiler.problems();
  yield* parts.backend.problems?.() ?? [];
  yield* parts.links.problems();
  yield* parts.guard.problems();
  yield* parts.services?.problems() ?? [];
  yield* others;
  const held = gate.closed(parts.model.model.cluster);
  if (typeof held === "object") yield held;
  for (const { where, error } of failures) {
    const { code } = error as { code?: unknown };
    yield {
      where,
      code: typeof code === "string" ? code : "FAILED",
      what: printable(error.message),
      consequence: RETRY,
    };
  }
}
