/** What `torbie doctor` finds: plain sentences, and for whatever is not well what to do about it. Plain JSON. Pure. */
export type Level =
  /** As it should be, or good to know. */
  | "ok"
  | "note"
  /** It works, with a cost or a risk. */
  | "warning"
  /** Something does not work, or is open, until somebody does something. */
  | "fault";

export type Area =
  "kernel" | "dataplane" | "limits" | "sysctls" | "firewall" | "guard" | "hooks" | "interfaces" | "others" | "agent";

export interface Finding {
  readonly area: Area;
  readonly level: Level;
  /** What was looked at: "tcx", "tap1 ingress", "nf_conntrack_max". */
  readonly what: string;
  readonly result: string;
  /** What to do about it; of what is well: absent. */
  readonly advice?: string;
}

export const finding = (area: Area, level: Level, what: string, result: string, advice?: string): Finding => ({
  area,
  level,
  what,
  result,
  ...(advice === undefined ? {} : { advice }),
});

export const isFault = ({ level }: Finding): boolean => level === "fault";
