/** The matches of a rule that are not about one side: IP version, protocol, ICMP. */
import { ICMP, ICMPV6, parseProtocol } from "./protocols.js";
import type { RuleContext } from "./parse-rule.js";
import { describe, get, isObject, type RawObject } from "./raw.js";
import type { Family, Rule } from "./types.js";

export function parseIpVersion(rule: RawObject, context: RuleContext): Family | undefined {
  const value = get(rule, "ipVersion");
  if (value === undefined || value === 4 || value === 6) return value;
  context.lost("ipVersion", "BAD_IP_VERSION", `ipVersion is ${describe(value)}, not 4 or 6`);
  return undefined;
}

export function parseRuleProtocol(
  rule: RawObject,
  field: "protocol" | "notProtocol",
  context: RuleContext,
): number | undefined {
  const value = get(rule, field);
  if (value === undefined) return undefined;
  const protocol = parseProtocol(value);
  if (protocol === undefined)
    context.lost(field, "UNKNOWN_PROTOCOL", `${field} is ${describe(value)}, no IP protocol that Torbie knows`);
  return protocol;
}

/** `protocol` is what the rule's own protocol was understood as: ICMP fields need ICMP or ICMPv6 there, as with Calico. */
export function parseIcmp(
  rule: RawObject,
  field: "icmp" | "notICMP",
  protocol: number | undefined,
  context: RuleContext,
): Rule["icmp"] {
  const value = get(rule, field);
  if (value === undefined) return undefined;
  if (protocol !== ICMP && protocol !== ICMPV6) {
    context.lost(field, "BAD_ICMP", `${field} needs the protocol ICMP or ICMPv6`);
    return undefined;
  }
  const type = isObject(value) ? octet(get(value, "type")) : undefined;
  const rawCode = isObject(value) ? get(value, "code") : undefined;
  const code = octet(rawCode);
  const known = isObject(value) && Object.keys(value).every((name) => name === "type" || name === "code");
  if (!known || type === undefined || (rawCode !== undefined && code === undefined)) {
    const found = isObject(value) ? `type ${describe(get(value, "type"))}, code ${describe(rawCode)}` : describe(value);
    context.lost(field, "BAD_ICMP", `${field} has ${found}; it needs a type and may have a code, each 0 to 255`);
    return undefined;
  }
  return code === undefined ? { type } : { type, code };
}

function octet(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 255 ? value : undefined;
}
