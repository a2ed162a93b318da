/** The source or destination of a rule. */
import { parsePrefix } from "./cidr.js";
import { parsePort, readList, type Parsed } from "./parse-list.js";
import type { RuleContext } from "./parse-rule.js";
import { PORT_PROTOCOLS } from "./protocols.js";
import { describe, get, isObject, type RawObject } from "./raw.js";
import { allOf, inNamespace, parseNamespaceSelector, parseSelector, SelectorError, type Selector } from "./selector.js";
import type { PortRange, Prefix, RuleSide } from "./types.js";

const FIELDS = new Set([
  "nets",
  "notNets",
  "selector",
  "notSelector",
  "namespaceSelector",
  "ports",
  "notPorts",
  "serviceAccounts",
  "services",
]);

export const EMPTY_SIDE: RuleSide = { nets: [], notNets: [], ports: [], notPorts: [] };

export function parseSide(
  rule: RawObject,
  side: "source" | "destination",
  protocol: number | undefined,
  context: RuleContext,
): RuleSide {
  const value = get(rule, side);
  if (value === undefined) return EMPTY_SIDE;
  if (!isObject(value)) {
    context.lost(side, "BAD_SIDE", `${side} is ${describe(value)}, not an object`);
    return EMPTY_SIDE;
  }
  for (const field of Object.keys(value)) {
    if (!FIELDS.has(field))
      context.lost(`${side}.${field}`, "UNKNOWN_MATCH", `${describe(field)} is no match that Torbie knows`);
  }
  for (const field of ["serviceAccounts", "services"]) {
    if (get(value, field) !== undefined)
      context.lost(`${side}.${field}`, "NOT_SUPPORTED", `Torbie does not know Kubernetes ${field}`);
  }
  const notSelector = readSelector(value, side, "notSelector", parseSelector, context);
  const selector = positiveSelector(value, side, context);
  return {
    ...(selector !== undefined && { selector: selector.text }),
    ...(notSelector !== undefined && { notSelector: notSelector.text }),
    nets: readList(value, side, "nets", "BAD_CIDR", netOf, context),
    notNets: readList(value, side, "notNets", "BAD_CIDR", netOf, context),
    ports: readPorts(value, side, "ports", protocol, context),
    notPorts: readPorts(value, side, "notPorts", protocol, context),
  };
}

/**
 * Calico's rule (networking-calico.md §1.6): once a side of a namespaced policy says any selector, it speaks of that policy's
 * namespace only, or of those that its namespaceSelector names. A side with nets alone is not bound to a namespace.
 */
function positiveSelector(side: RawObject, path: string, context: RuleContext): Selector | undefined {
  const own = readSelector(side, path, "selector", parseSelector, context);
  const named = readSelector(side, path, "namespaceSelector", parseNamespaceSelector, context);
  const said = (field: string): boolean => get(side, field) !== undefined;
  const ofPolicy =
    context.namespace !== undefined && !said("namespaceSelector") && (said("selector") || said("notSelector"))
      ? inNamespace(context.namespace)
      : undefined;
  const parts = [named, ofPolicy, own].filter((part) => part !== undefined);
  return parts.length === 0 ? undefined : allOf(...parts);
}

function readSelector(
  side: RawObject,
  path: string,
  field: string,
  parse: (text: string) => Selector,
  context: RuleContext,
): Selector | undefined {
  const value = get(side, field);
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value.trim() === "") {
    context.lost(`${path}.${field}`, "BAD_SELECTOR", `${field} is ${describe(value)}; leave it out to mean any`);
    return undefined;
  }
  try {
    return parse(value);
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error;
    context.lost(`${path}.${field}`, "BAD_SELECTOR", `${field} is ${describe(value)}: ${error.message}`);
    return undefined;
  }
}

function netOf(value: unknown): Parsed<Prefix> {
  const net = typeof value === "string" ? parsePrefix(value) : undefined;
  return net === undefined ? { error: "is neither an address nor a prefix" } : { value: net };
}

function readPorts(
  side: RawObject,
  path: string,
  field: string,
  protocol: number | undefined,
  context: RuleContext,
): readonly PortRange[] {
  if (get(side, field) !== undefined && (protocol === undefined || !PORT_PROTOCOLS.has(protocol))) {
    const what =
      protocol === undefined ? "a rule without one protocol has no ports" : `protocol ${protocol} has no ports`;
    context.lost(`${path}.${field}`, "PORTS_WITHOUT_PROTOCOL", `${what}: TCP, UDP, SCTP, UDP-Lite and DCCP have`);
    return [];
  }
  return readList(side, path, field, "BAD_PORT", parsePort, context);
}
