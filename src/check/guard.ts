/** Whether the standing guard stands, knows the right taps, and lets judged packets through FORWARD. */
import { DEFAULT_TAP_RULE } from "../links/ours.js";
import { forwardLacks, inputLacks } from "../dataplane/forward-accept.js";
import { guardStatus, type GuardOptions } from "../dataplane/guard.js";
import { run } from "../dataplane/run.js";
import type { Difference } from "./difference.js";

export interface GuardWish {
  /** The configuration wants one. */
  readonly wanted: boolean;
  readonly judgedBy: "programs" | "rules";
  /** Names of the taps that are enforced. */
  readonly taps: readonly string[];
  readonly uplinks: readonly string[];
}

export async function compareGuard(options: GuardOptions, wish: GuardWish): Promise<Difference[]> {
  const found: Difference[] = [];
  const programs = wish.judgedBy === "programs";
  if (wish.wanted) {
    const { standing, means, ...now } = await guardStatus(options);
    if (now.asleep && (programs || wish.taps.length === 0))
      found.push({
        kind: "guard",
        where: "standing rule",
        key: "",
        is: "asleep for IP",
        wanted: "awake: no rules of ours stand in for it",
      });
    if (!standing)
      found.push({
        kind: "guard",
        where: "standing rule",
        key: "",
        is: means === "none" ? null : `altered, by ${means}`,
        wanted: "as torbie guard install writes it",
      });
    // The one of iptables has its taps in its rules: standing says all.
    if (means === "nft")
      for (const [set, names] of [
        ["claimed", wish.taps],
        ["ruled", programs ? [] : wish.taps],
        ["uplinks", programs ? wish.uplinks : []],
      ] as const) {
        const [is, wanted] = [new Set(now[set]), new Set(names)];
        for (const name of wanted)
          if (!is.has(name)) found.push({ kind: "guard", where: `set ${set}`, key: name, is: null, wanted: name });
        for (const name of is)
          if (!wanted.has(name)) found.push({ kind: "guard", where: `set ${set}`, key: name, is: name, wanted: null });
      }
  }
  // Rules leave no mark that FORWARD could go by, and stand first there themselves.
  for (const tool of programs ? await forwardLacks(run, options.markShift ?? 0) : [])
    found.push({
      kind: "forward",
      where: `${tool} FORWARD`,
      key: "",
      is: null,
      wanted: "a first rule that accepts what carries the programs' mark",
    });
  const prefixes = (options.taps ?? DEFAULT_TAP_RULE).prefixes;
  for (const tool of programs ? await inputLacks(run, options.markShift ?? 0, prefixes) : [])
    found.push({
      kind: "forward",
      where: `${tool} INPUT`,
      key: "",
      is: null,
      wanted: "first rules that accept from taps what the programs admit to the host",
    });
  return found;
}
