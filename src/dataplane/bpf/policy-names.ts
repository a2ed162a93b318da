/** Which policies apply to a port, from what names its policy set and its rules in the kernel. Pure. */
import type { PinnedPolicy } from "./read-policy.js";

/** Policy keys as src/compile makes them; "~" and what follows tells variants of one policy apart. */
const IN_SET = /"((?:np|gnp|profile):(?:[^"\\]|\\.)*)"/g;
const OF_RULE = /^("(?:[^"\\]|\\.)*"|\S+) (?:ingress|egress) /;

const plain = (key: string): string => key.split("~")[0] ?? key;
const unquoted = (text: string): string => {
  try {
    return text.startsWith('"') ? String(JSON.parse(text)) : text;
  } catch {
    return text;
  }
};

/** The policy that a rule's text begins with; undefined: it has none, or was cut. */
export function policyOfRule(text: string | undefined): string | undefined {
  const found = OF_RULE.exec(text ?? "")?.[1];
  return found === undefined ? undefined : plain(unquoted(found));
}

/** In order of evaluation as far as the set's name holds (it is cut at 232 bytes), then those that have a rule. */
export function policyNames(setName: string | undefined, policy: PinnedPolicy | undefined): readonly string[] {
  const inSet = [...(setName ?? "").matchAll(IN_SET)].map((match) => plain(unquoted(`"${match[1] ?? ""}"`)));
  const planes = [...(policy?.ingress ?? []), ...(policy?.egress ?? [])];
  const ofRules = planes.flatMap(({ rules }) => rules).flatMap(({ text }) => policyOfRule(text) ?? []);
  return [...new Set([...inSet, ...ofRules])];
}
