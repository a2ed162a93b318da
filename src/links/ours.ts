/** Which interfaces are taps of ours. Pure; src/dataplane/guard-rules.ts says the same in nft's words. */
import { ConfigError } from "../errors.js";
import type { Link } from "./types.js";

export interface TapRule {
  /** An interface is a candidate when its name starts with one of these. */
  readonly prefixes: readonly string[];
  /** Names, or prefixes that end in "*", that are never ours. */
  readonly excluded: readonly string[];
}

export const DEFAULT_TAP_RULE: TapRule = { prefixes: ["tap"], excluded: [] };

/** Kinds that carry a tap's name but are a switch or its port: Neutron's OVS agent calls its DHCP ports "tap…" too. */
export const FOREIGN_KINDS: readonly string[] = ["openvswitch", "bridge"];

/** Why it is not ours, for status and logs; undefined: it is. */
export function whyNotOurs(link: Pick<Link, "name" | "kind" | "master">, rule: TapRule): string | undefined {
  if (!rule.prefixes.some((prefix) => link.name.startsWith(prefix))) return "its name has none of our prefixes";
  if (rule.excluded.some((pattern) => matches(pattern, link.name))) return "it is excluded by configuration";
  if (FOREIGN_KINDS.includes(link.kind)) return `it is of kind ${link.kind}`;
  if (link.master !== 0) return `it is a port of interface ${link.master}`;
  return undefined;
}

export const isOurs = (link: Pick<Link, "name" | "kind" | "master">, rule: TapRule): boolean =>
  whyNotOurs(link, rule) === undefined;

function matches(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** @throws ConfigError BAD_INTERFACE_PREFIX: these words go into firewall rules, so only [A-Za-z0-9_.-], at most 14 characters, may occur. */
export function checkTapRule(rule: TapRule): TapRule {
  if (rule.prefixes.length === 0)
    throw new ConfigError("BAD_INTERFACE_PREFIX", "no interface prefix is given: at least one is needed, e.g. tap");
  for (const prefix of rule.prefixes) check("interface prefix", prefix, /^[A-Za-z0-9_.-]{1,14}$/);
  for (const pattern of rule.excluded) check("excluded interface", pattern, /^[A-Za-z0-9_.-]{1,15}\*?$/);
  return rule;
}

function check(what: string, value: string, allowed: RegExp): void {
  if (!allowed.test(value))
    throw new ConfigError(
      "BAD_INTERFACE_PREFIX",
      `${what} ${JSON.stringify(value.slice(0, 200))}: letters, digits, "_", "." and "-" only, and at most an interface name's length`,
    );
}
