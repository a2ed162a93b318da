/** JSON as the incumbent's driver writes it, and comparing values by what they mean. Pure. */

/**
 * As Python's json.dumps: ", " and ": " as separators, everything outside ASCII as \uXXXX. The driver's resync compares subnets as text.
 * Depth is that of what JSON.parse gave; numbers that JSON does not have become null.
 */
export function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(", ")}]`;
  if (typeof value === "object" && value !== null)
    return `{${Object.entries(value)
      .filter(([, part]) => part !== undefined)
      .map(([name, part]) => `${pythonJson(name)}: ${pythonJson(part)}`)
      .join(", ")}}`;
  return (JSON.stringify(value) ?? "null").replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Where two values differ: "spec.ingress[2].action", each once, at most `limit`. The order of an object's members means nothing. */
export function differingPaths(a: unknown, b: unknown, limit = 10): readonly string[] {
  const found: string[] = [];
  const visit = (x: unknown, y: unknown, path: string): void => {
    if (found.length >= limit || Object.is(x, y)) return;
    if (Array.isArray(x) && Array.isArray(y)) {
      for (let i = 0; i < Math.max(x.length, y.length); i++) visit(x[i], y[i], `${path}[${i}]`);
    } else if (isMap(x) && isMap(y)) {
      for (const name of new Set([...Object.keys(x), ...Object.keys(y)]))
        visit(own(x, name), own(y, name), path === "" ? name : `${path}.${name}`);
    } else found.push(path === "" ? "the value" : path);
  };
  visit(a, b, "");
  return found;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function own(object: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}
