/** Deep equality of parsed values, blind to where they came from: a line added above a resource changes nothing that is enforced. */
import { isDeepStrictEqual } from "node:util";

export function same(a: object | undefined, b: object | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return isDeepStrictEqual({ ...a, origin: undefined }, { ...b, origin: undefined });
}
