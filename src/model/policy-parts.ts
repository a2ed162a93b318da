/** Parts of a policy that are read alike from a good one and, as far as they go, from a bad one. */
import { describe, get, isObject, type RawObject } from "./raw.js";
import type { Report } from "./report.js";
import { allOf, inNamespace, parseNamespaceSelector, parseSelector, SelectorError, type Selector } from "./selector.js";

/** Where a policy's key says it is. */
export interface PolicyPlace {
  readonly key: string;
  readonly origin: string;
  readonly name: string;
  /** Absent: a GlobalNetworkPolicy. */
  readonly namespace: string | undefined;
}

/** The tier that a policy's name says, as Calico has it: "<tier>.<name>", with two prefixes of the default tier. */
export function tierOfName(name: string): string {
  const dot = name.indexOf(".");
  return dot <= 0 || /^(ossg|knp)\.default\./.test(name) ? "default" : name.slice(0, dot);
}

/** The security group's id where the name is the driver's, else the name. */
export function displayName(name: string): string {
  return name.replace(/^ossg\.default\./, "");
}

/** What the policy applies to. Undefined with a fault when that cannot be read. */
export function policySelector(place: PolicyPlace, spec: RawObject, report: Report): Selector | undefined {
  const own = selectorField(spec, "selector", parseSelector, report);
  if (place.namespace !== undefined) return own && allOf(own, inNamespace(place.namespace));
  const named =
    (get(spec, "namespaceSelector") ?? "") === ""
      ? allOf()
      : selectorField(spec, "namespaceSelector", parseNamespaceSelector, report);
  return own && named && allOf(own, named);
}

function selectorField(
  spec: RawObject,
  field: string,
  parse: (text: string) => Selector,
  report: Report,
): Selector | undefined {
  const value = get(spec, field);
  if (value === undefined) return allOf();
  if (typeof value !== "string") {
    report.fault(`spec.${field}`, "BAD_SELECTOR", `${field} is ${describe(value)}, not text`);
    return undefined;
  }
  try {
    return parse(value);
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error;
    report.fault(`spec.${field}`, "BAD_SELECTOR", `${field} is ${describe(value)}: ${error.message}`);
    return undefined;
  }
}

/** No types: both directions, as Felix has it (networking-calico.md §1.6). */
export function policyTypes(
  value: unknown,
  report: Report,
): { readonly ingressApplies: boolean; readonly egressApplies: boolean } | undefined {
  const list = value ?? [];
  const isType = (type: unknown): boolean => type === "Ingress" || type === "Egress";
  if (!Array.isArray(list) || !list.every(isType)) {
    const found = Array.isArray(list)
      ? `a list with ${describe(list.find((type) => !isType(type)))} in it`
      : describe(list);
    report.fault("spec.types", "BAD_TYPES", `types are ${found}, not a list of Ingress and Egress`);
    return undefined;
  }
  return {
    ingressApplies: list.length === 0 || list.includes("Ingress"),
    egressApplies: list.length === 0 || list.includes("Egress"),
  };
}

/** Whether any rule of a list may be a Deny or a Pass that would have kept a packet from an Allow. */
export function mayDeny(value: unknown): boolean {
  if (value === undefined || value === null) return false;
  if (!Array.isArray(value)) return true;
  return value.some((rule: unknown) => {
    const action = isObject(rule) ? get(rule, "action") : undefined;
    return typeof action !== "string" || !/^(allow|log)$/i.test(action);
  });
}
