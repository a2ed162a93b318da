/** Flags that hold numbers and words of a list, checked. */
import { suggest } from "../config/suggest.js";
import { quote } from "../text.js";
import { UsageError, type Invocation } from "./command.js";

/** A whole number of 1 or more. @throws UsageError */
export function countOf({ flags }: Pick<Invocation, "flags">, command: string, flag: string): number | undefined {
  const said = flags.get(flag);
  if (said === undefined) return undefined;
  if (!/^[1-9]\d{0,8}$/.test(said))
    throw new UsageError(`torbie ${command}: --${flag}: expected a number from 1 on, not ${quote(said, 40)}`);
  return Number(said);
}

/** One of a list, case and dashes aside. @throws UsageError */
export function oneOf(
  { flags }: Pick<Invocation, "flags">,
  command: string,
  flag: string,
  words: readonly string[],
): string | undefined {
  const said = flags.get(flag);
  if (said === undefined) return undefined;
  const plain = said.toLowerCase().replaceAll(/[-_]/g, " ");
  if (words.includes(plain)) return plain;
  const meant = suggest(plain, words);
  const hint = meant.length > 0 ? `; did you mean ${meant.join(" or ")}?` : `: one of ${words.join(", ")}`;
  throw new UsageError(`torbie ${command}: --${flag}: no such thing as ${quote(said, 40)}${hint}`);
}
