/** Text from outside made safe to print. Pure. */

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", "\0": "\\0" };

/**
 * Control characters, Unicode line breaks and direction overrides, and lone surrogates become escapes: a name can neither start a new
 * line of output, move the cursor, nor show itself in another order.
 */
export function escape(value: string): string {
  return value.replace(
    // eslint-disable-next-line no-control-regex -- control characters are exactly what is looked for
    /[\u0000-\u001f\u007f-\u009f\\\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
    (character) => NAMED[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** As escape(), but backslashes stay: for sentences whose quoted parts are escaped already. */
export function printable(value: string): string {
  return escape(value).replaceAll("\\\\", "\\");
}

/** In double quotes, escaped, at most `limit` characters of the original. */
export function quote(value: string, limit = 200): string {
  const cut = value.length > limit ? `${value.slice(0, limit)}…` : value;
  return `"${escape(cut).replaceAll('"', '\\"')}"`;
}
