/** What a parser of one value has to say: faults of the whole value, and problems of its parts. */
import type { Problem } from "../problems.js";
import { escape } from "../text.js";

/** Past this many for one key the rest is counted: a hostile value must not fill the log. */
const MOST = 20;

/** Something that makes the whole value unusable; the store says the consequence, as it knows the last good version. */
export interface Fault {
  readonly path: string;
  readonly code: string;
  readonly what: string;
}

/** Result of parsing one value. */
export interface Outcome<T> {
  /** The value, when the whole of it was understood well enough to be enforced as D5 says. */
  readonly value?: T;
  /** Why not, otherwise. */
  readonly faults: readonly Fault[];
  /** What stands in when there are faults and no last good version (D5); absent: nothing does. */
  readonly closed?: T;
  /** The consequence of `closed`, in words: "it passes nothing". */
  readonly closedMeans: string;
  /** Parts that were understood differently than written, or that Torbie does not enforce. */
  readonly problems: readonly Problem[];
}

export class Report {
  readonly faults: Fault[] = [];
  private readonly found: Problem[] = [];
  private omitted = 0;

  constructor(
    readonly key: string,
    readonly origin: string,
  ) {}

  /** The whole value cannot be used. */
  fault(path: string, code: string, what: string): void {
    if (this.faults.length < MOST) this.faults.push({ path, code, what });
  }

  /** A part of it is not in force as written. */
  problem(path: string, code: string, what: string, consequence: string): void {
    if (this.found.length < MOST) this.found.push(problemAt(this.key, this.origin, { path, code, what }, consequence));
    else this.omitted++;
  }

  get problems(): readonly Problem[] {
    if (this.omitted === 0) return this.found;
    const rest = { path: "", code: "MORE_PROBLEMS", what: `${this.omitted} more problems of this value are not shown` };
    return [...this.found, problemAt(this.key, this.origin, rest, "each has the consequence of its kind")];
  }
}

/** Keys, paths and file names may be hostile: escaped, they stay on their line. What is quoted in `what` is so already. */
export function problemAt(key: string, origin: string, fault: Fault, consequence: string): Problem {
  const where = escape(fault.path === "" ? key : `${key} ${fault.path}`);
  return { where, code: fault.code, what: `${fault.what} (${escape(origin)})`, consequence };
}
