/**
 * The addresses of an endpoint. The driver writes the fixed ones first and then the allowed pairs, which it names again in
 * allowedIps (networking-calico.md §1.6); pairs that it cannot say ("10.0.0.0/24/32", §2.3) are in our annotation.
 */
import { isSingle, parsePrefix } from "./cidr.js";
import { describe, get, type RawObject } from "./raw.js";
import type { Report } from "./report.js";
import type { AllowedPair, Prefix } from "./types.js";

export interface EndpointAddresses {
  readonly fixed: readonly Prefix[];
  readonly pairs: readonly AllowedPair[];
}

/**
 * What could be read, with a fault for each entry that could not.
 * @param annotated the pairs of the annotation, which then are the truth; allowedIps only tells which ipNetworks are pairs
 */
export function parseAddresses(
  spec: RawObject,
  annotated: readonly AllowedPair[] | undefined,
  report: Report,
): EndpointAddresses {
  const networks = readTexts(spec, "ipNetworks", true, report);
  const allowed = readTexts(spec, "allowedIps", false, report);
  const fixedTexts = withoutPairs(networks, allowed);
  const fixed = fixedTexts.flatMap((text) => {
    if (annotated !== undefined && isWrittenPair(text, annotated)) return [];
    const prefix = parsePrefix(text);
    if (prefix !== undefined && isSingle(prefix)) return [prefix];
    const what = prefix === undefined ? "is neither an address nor a prefix" : "is more than one address";
    report.fault("spec.ipNetworks", "BAD_CIDR", `${describe(text)} ${what}`);
    return [];
  });
  return { fixed: unique(fixed), pairs: annotated ?? parseAllowed(allowed, report) };
}

/** Everything it may send from, once each. */
export function claimedPrefixes({ fixed, pairs }: EndpointAddresses): readonly Prefix[] {
  return pairs.length === 0 ? fixed : unique([...fixed, ...pairs.map((pair) => pair.prefix)]);
}

function parseAllowed(allowed: readonly string[], report: Report): readonly AllowedPair[] {
  return allowed.flatMap((text) => {
    const prefix = parsePrefix(text);
    if (prefix !== undefined) return [{ prefix }];
    report.fault(
      "spec.allowedIps",
      "BAD_CIDR",
      `${describe(text)} is neither an address nor a prefix; Torbie reads such pairs from torbie/allowed-address-pairs`,
    );
    return [];
  });
}

/** A fixed address may also be a pair, and is then listed twice: the last one of each is the pair's. */
function withoutPairs(networks: readonly string[], allowed: readonly string[]): readonly string[] {
  if (allowed.length === 0) return networks;
  const left = [...networks];
  for (const text of allowed) {
    const at = left.lastIndexOf(text);
    if (at >= 0) left.splice(at, 1);
  }
  return left;
}

/** Whether the incumbent would have written a pair this way: with /32 or /128 behind it, even behind a prefix. */
function isWrittenPair(text: string, pairs: readonly AllowedPair[]): boolean {
  const bare = /^(.*\/[0-9]+)\/(?:32|128)$/.exec(text)?.[1];
  const prefix = bare === undefined ? undefined : parsePrefix(bare);
  return prefix !== undefined && pairs.some((pair) => pair.prefix === prefix);
}

function readTexts(spec: RawObject, field: string, required: boolean, report: Report): readonly string[] {
  const value = get(spec, field);
  if (value === undefined && !required) return [];
  if (Array.isArray(value) && value.every((entry) => typeof entry === "string")) return value;
  const found = Array.isArray(value)
    ? `a list with ${describe(value.find((entry) => typeof entry !== "string"))} in it`
    : describe(value);
  report.fault(`spec.${field}`, "BAD_LIST", `${field} is ${found}, not a list of addresses`);
  return [];
}

function unique(prefixes: readonly Prefix[]): readonly Prefix[] {
  return prefixes.length < 2 ? prefixes : [...new Set(prefixes)];
}
