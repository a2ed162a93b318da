/** One thing in the kernel that is otherwise than wanted: what `torbie check` prints. Plain JSON. Pure. */
export type DifferenceKind =
  "map" | "hook" | "route" | "neighbour" | "sysctl" | "set" | "chain" | "tap rules" | "guard" | "forward" | "services";

export interface Difference {
  readonly kind: DifferenceKind;
  /** Which of its kind: "policy", "tapweb1 ingress", "10.65.0.1/32 metric 1024", "ip6tables filter TRB-…". */
  readonly where: string;
  /** Which entry of it: the key of a map, the place of a rule, the element of a set; "" where there is but one. */
  readonly key: string;
  /** Null: it is not there. */
  readonly is: string | null;
  /** Null: it should not be there. */
  readonly wanted: string | null;
}

export const differenceKey = ({ kind, where, key }: Difference): string => JSON.stringify([kind, where, key]);

/** Those of the first that are in the second as well: what was only on its way is gone when one looks again. */
export function lasting(first: readonly Difference[], second: readonly Difference[]): readonly Difference[] {
  const before = new Set(first.map(differenceKey));
  return second.filter((difference) => before.has(differenceKey(difference)));
}

/** What to call it: "missing", "extra" or "different". */
export const verdictOf = ({ is, wanted }: Pick<Difference, "is" | "wanted">): "missing" | "extra" | "different" =>
  is === null ? "missing" : wanted === null ? "extra" : "different";
