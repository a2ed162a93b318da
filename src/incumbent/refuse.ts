/** Why a takeover must not begin, each with what to do about it. Pure. */
import type { DesiredState } from "../compile/desired.js";
import type { Config } from "../config/schema.js";
import { quote } from "../text.js";
import type { Found } from "./read.js";
import { entanglements } from "./rules.js";

export interface Hindrance {
  readonly code: "INCUMBENT_RUNS" | "FOREIGN_RULES" | "MARK_BITS" | "UNKNOWN_TAPS";
  readonly what: string;
  /** What to do. */
  readonly how: string;
}

/** @param felix its pid, where it runs */
export function hindrances(
  found: Pick<Found, "rules" | "judged">,
  { markShift, hostname }: Pick<Config, "markShift" | "hostname">,
  felix: number | undefined,
  desired: Pick<DesiredState, "endpoints">,
): readonly Hindrance[] {
  const list: Hindrance[] = [];
  if (felix !== undefined)
    list.push({
      code: "INCUMBENT_RUNS",
      what: `Felix is running (pid ${felix}) and would write everything again`,
      how: "systemctl disable --now calico-felix; what it enforces stays in the kernel until it is taken over",
    });
  if (markShift !== 0)
    list.push({
      code: "MARK_BITS",
      what: `mark-shift is ${markShift}: those bits of the packet mark are Felix's, whose rules are still there`,
      how: "mark-shift: 0",
    });
  for (const tool of found.rules)
    list.push(...entanglements(tool).map((one) => ({ code: "FOREIGN_RULES" as const, ...one })));
  const known = new Set([...desired.endpoints.values()].map(({ interfaceName }) => interfaceName));
  const unknown = [...found.judged.values()].filter((name) => !known.has(name));
  if (unknown.length > 0)
    list.push({
      code: "UNKNOWN_TAPS",
      what: `Felix lets guests talk by ${unknown
        .slice(0, 5)
        .map((name) => quote(name))
        .join(
          ", ",
        )}${unknown.length > 5 ? ` and ${unknown.length - 5} more` : ""}, of which the datastore knows no endpoint on host ${quote(hostname)}: they would be cut off`,
      how: "hostname must be the one that Nova and Felix have (FelixHostname); or say --force, if those guests are to be cut off",
    });
  return list;
}
