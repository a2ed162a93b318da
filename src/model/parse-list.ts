/** Lists in a rule, of which some entries may be unreadable, and the ports in them. */
import type { RuleContext } from "./parse-rule.js";
import { describe, get, type RawObject } from "./raw.js";
import type { PortRange } from "./types.js";

export type Parsed<T> = { readonly value: T } | { readonly error: string };

/**
 * Leaving an entry out narrows an allow that lists what it admits and widens a deny that lists what it spares: those go on with
 * the rest. In every other case the whole match is lost. Never does a list that was said end as one that says nothing
 * without the rule being marked inexpressible.
 */
export function readList<T>(
  side: RawObject,
  path: string,
  field: string,
  code: string,
  parse: (value: unknown) => Parsed<T>,
  context: RuleContext,
): readonly T[] {
  const list = get(side, field);
  if (list === undefined) return [];
  const at = `${path}.${field}`;
  if (!Array.isArray(list) || list.length === 0) {
    context.lost(at, "BAD_LIST", `${field} is ${describe(list)}; leave it out to mean any`);
    return [];
  }
  const parsed = list.map((entry: unknown) => parse(entry));
  const good = parsed.flatMap((one) => ("value" in one ? [one.value] : []));
  if (good.length === parsed.length) return good;
  const mayGoOn = good.length > 0 && context.action === (field.startsWith("not") ? "deny" : "allow");
  parsed.forEach((one, i) => {
    if ("value" in one) return;
    const what = `${describe(list[i])} ${one.error}`;
    if (mayGoOn) context.entryLost(`${at}[${i}]`, code, what);
    else context.lost(`${at}[${i}]`, code, what);
  });
  return mayGoOn ? good : [];
}

/** A number, "80" or "80:90". Named ports ("http") belong to Kubernetes endpoints and are an error here. */
export function parsePort(value: unknown): Parsed<PortRange> {
  if (typeof value === "number") return Number.isInteger(value) ? range(value, value) : { error: "is no port" };
  if (typeof value !== "string") return { error: "is no port" };
  const [, first, last] = /^([0-9]{1,5})(?::([0-9]{1,5}))?$/.exec(value) ?? [];
  if (first !== undefined) return range(Number(first), Number(last ?? first));
  return {
    error: /^[a-z0-9-]*[a-z][a-z0-9-]*$/i.test(value)
      ? "is a named port, which Torbie does not support"
      : "is no port, nor a range like 80:90",
  };
}

function range(first: number, last: number): Parsed<PortRange> {
  if (first < 0 || last > 65535) return { error: "is not within 0 to 65535" };
  return first <= last ? { value: { first, last } } : { error: "is a range upside down" };
}
