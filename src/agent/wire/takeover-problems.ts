/** What an upgrade to another layout waits for, and what it could not keep. Pure. */
import type { Problem } from "../../problems.js";
import { escape } from "../../text.js";

export type NotTaken = { readonly pinDir: string; readonly why: string }[];

/** @param from pin directories of builds whose programs still enforce. @param notTaken those whose flows could not be read */
export function takeoverProblems(from: readonly string[], notTaken: NotTaken): readonly Problem[] {
  return [
    ...from.map((pinDir) => ({
      where: pinDir,
      code: "TAKING_OVER",
      what: "programs of a build of another layout enforce what they knew when that build was stopped",
      consequence: "this build takes their place once the datastore is in sync and its own maps are filled",
    })),
    ...notTaken.map(({ pinDir, why }) => ({
      where: pinDir,
      code: "FLOWS_NOT_TAKEN_OVER",
      what: `flows of the former build could not be read: ${escape(why)}`,
      consequence: "the next packet of each was or will be judged as a first one: what only an open flow allowed ends",
    })),
  ];
}
