/** The present problems, by key, and which keys have a last good version in force. */
import type { Problem } from "../problems.js";
import { problemAt, type Outcome } from "./report.js";

/** What the store shall do with a key after a put. */
export type Verdict<T> =
  | { readonly do: "set"; readonly value: T; readonly standsIn: boolean }
  | { readonly do: "keep" }
  | { readonly do: "remove" };

interface Entry {
  /** Of the version in force. */
  readonly standing: readonly Problem[];
  /** Of a newer version that could not be used. */
  readonly rejected: readonly Problem[];
  /** What is in force is not what anybody wrote: it closes a value that was never readable. */
  readonly standIn: boolean;
}

export class ProblemBook {
  private readonly entries = new Map<string, Entry>();

  /**
   * D5: a value with faults leaves the last good version in force; without one, what stands in for it takes its place.
   * @param hasValue whether something is in force for the key now
   */
  judge<T>(key: string, origin: string, outcome: Outcome<T>, hasValue: boolean): Verdict<T> {
    const former = this.entries.get(key);
    if (outcome.faults.length === 0) {
      this.write(key, { standing: outcome.problems, rejected: [], standIn: false });
      return outcome.value === undefined ? { do: "remove" } : { do: "set", value: outcome.value, standsIn: false };
    }
    const faults = (consequence: string): readonly Problem[] =>
      outcome.faults.map((fault) => problemAt(key, origin, fault, consequence));
    if (hasValue && former?.standIn !== true) {
      this.write(key, {
        standing: former?.standing ?? [],
        rejected: faults("the last good version stays in force"),
        standIn: false,
      });
      return { do: "keep" };
    }
    this.write(key, { standing: [], rejected: faults(outcome.closedMeans), standIn: true });
    return outcome.closed === undefined ? { do: "remove" } : { do: "set", value: outcome.closed, standsIn: true };
  }

  /** A problem of a key that holds nothing that could be parsed. */
  note(key: string, problem: Problem): void {
    this.write(key, { standing: [problem], rejected: [], standIn: false });
  }

  forget(key: string): void {
    this.entries.delete(key);
  }

  list(): readonly Problem[] {
    return [...this.entries.values()].flatMap((entry) => [...entry.rejected, ...entry.standing]);
  }

  private write(key: string, entry: Entry): void {
    if (entry.standing.length === 0 && entry.rejected.length === 0 && !entry.standIn) this.entries.delete(key);
    else this.entries.set(key, entry);
  }
}
