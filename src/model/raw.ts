/** Unknown values taken apart without trusting them: own properties only, no recursion into what is not asked for. */
import type { RawValue } from "../datastore/types.js";
import { quote } from "../text.js";
import type { Report } from "./report.js";

export type RawObject = Readonly<Record<string, unknown>>;

/** etcd refuses values above 1.5 MiB by default; what is far beyond that is no resource. */
const MAX_TEXT = 16 * 1024 * 1024;

export function isObject(value: unknown): value is RawObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An own property, or undefined: what sits on a prototype is not there. */
export function get(object: RawObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** The value as an object, or undefined with a fault reported. */
export function readObject(raw: RawValue, report: Report): RawObject | undefined {
  const value = "object" in raw ? raw.object : parseJson(raw.text, report);
  if (isObject(value)) return value;
  if (report.faults.length > 0) return undefined;
  report.fault("", "NOT_AN_OBJECT", `the value is ${describe(value)}, not an object`);
  return undefined;
}

function parseJson(text: string, report: Report): unknown {
  if (text.length > MAX_TEXT) {
    report.fault("", "TOO_LARGE", `the value has ${text.length} characters; ${MAX_TEXT} are the most`);
    return undefined;
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    report.fault("", "NOT_JSON", `the value ${quote(text, 60)} is not JSON: ${quote(why, 120)}`);
    return undefined;
  }
}

/** For messages: what was found, short and quoted. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "string") return quote(value, 100);
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  return Array.isArray(value) ? `a list of ${value.length}` : "an object";
}

export interface Resource {
  readonly metadata: RawObject;
  readonly spec: RawObject;
}

/**
 * The parts of a v3 resource. Undefined with a fault when there is no usable spec; a kind, name or namespace that contradicts
 * the key is a fault as well, for nobody can tell which of the two was meant.
 */
export function readResource(
  value: RawObject,
  kind: string,
  name: string,
  namespace: string | undefined,
  report: Report,
): Resource | undefined {
  const metadata = get(value, "metadata") ?? {};
  if (!isObject(metadata)) {
    report.fault("metadata", "BAD_METADATA", `metadata is ${describe(metadata)}, not an object`);
    return undefined;
  }
  const said: readonly [string, unknown, string | undefined][] = [
    ["kind", get(value, "kind"), kind],
    ["metadata.name", get(metadata, "name"), name],
    ["metadata.namespace", get(metadata, "namespace"), namespace],
  ];
  for (const [path, found, expected] of said) {
    if (found === undefined || found === expected || (path === "metadata.namespace" && expected === undefined))
      continue;
    report.fault(path, "KEY_MISMATCH", `${path} is ${describe(found)}, the key says ${describe(expected)}`);
  }
  const spec = get(value, "spec");
  if (!isObject(spec)) {
    report.fault("spec", "NO_SPEC", `spec is ${describe(spec)}, not an object`);
    return undefined;
  }
  return { metadata, spec };
}

/** A map of strings to strings; null counts as "" (as Go's decoder has it). Undefined with a fault when it is not one; {} when absent. */
export function readStrings(value: unknown, path: string, report: Report): Map<string, string> | undefined {
  const result = new Map<string, string>();
  if (value === undefined || value === null) return result;
  if (!isObject(value)) {
    report.fault(path, "NOT_A_MAP", `${path} is ${describe(value)}, not a map of text to text`);
    return undefined;
  }
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string" && text !== null) {
      report.fault(path, "NOT_TEXT", `${path}[${quote(key, 100)}] is ${describe(text)}, not text`);
      return undefined;
    }
    result.set(key, text ?? "");
  }
  return result;
}
