/** All present problems of all parts, as one list; says which are new and which are gone. Pure. */
import type { Problem } from "../problems.js";

const keyOf = (problem: Problem): string => `${problem.where}\u0000${problem.code}`;

export class ProblemList {
  #present = new Map<string, Problem>();

  get present(): readonly Problem[] {
    return [...this.#present.values()];
  }

  /** Replaces the list. A problem whose text has changed counts as new. */
  replace(problems: Iterable<Problem>): { readonly appeared: readonly Problem[]; readonly gone: readonly Problem[] } {
    const next = new Map<string, Problem>();
    for (const problem of problems) next.set(keyOf(problem), problem);
    const appeared = [...next].filter(([key, problem]) => {
      const before = this.#present.get(key);
      return before === undefined || before.what !== problem.what || before.consequence !== problem.consequence;
    });
    const gone = [...this.#present].filter(([key]) => !next.has(key));
    this.#present = next;
    return { appeared: appeared.map(([, problem]) => problem), gone: gone.map(([, problem]) => problem) };
  }
}
