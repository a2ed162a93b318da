/** NetworkPolicy and GlobalNetworkPolicy. */
import type { RawValue } from "../datastore/types.js";
import { closedPolicy } from "./closed-policy.js";
import { policyId } from "./keys.js";
import { parsePolicyAnnotations } from "./parse-annotations.js";
import { parseRules } from "./parse-rule.js";
import { displayName, policySelector, policyTypes, type PolicyPlace } from "./policy-parts.js";
import { describe, get, readObject, readResource, type RawObject } from "./raw.js";
import { Report, type Outcome } from "./report.js";
import type { Policy, Rule } from "./types.js";

/** Fields that only host endpoints have a use for: the incumbent then applies nothing of the policy to guests. */
const HOST_ONLY = ["doNotTrack", "preDNAT"];
const FIELDS = new Set([
  "tier",
  "order",
  "ingress",
  "egress",
  "selector",
  "types",
  "serviceAccountSelector",
  "namespaceSelector",
  "applyOnForward",
  "performanceHints",
  "stagedAction",
  ...HOST_ONLY,
]);

/** `value` is absent without faults when the policy concerns no guest (doNotTrack, preDNAT). */
export function parsePolicy(place: PolicyPlace, raw: RawValue): Outcome<Policy> {
  const report = new Report(place.key, place.origin);
  const object = readObject(raw, report);
  const resource = object && readResource(object, kindOf(place), place.name, place.namespace, report);
  const policy = resource && parseSpec(place, resource.metadata, resource.spec, report);
  const outcome = { faults: report.faults, problems: report.problems };
  if (policy !== undefined && report.faults.length === 0) {
    const hostOnly = resource !== undefined && HOST_ONLY.some((field) => get(resource.spec, field) === true);
    return { ...outcome, closedMeans: "", ...(!hostOnly && { value: policy }) };
  }
  return { ...outcome, ...closedPolicy(place, resource?.spec) };
}

function kindOf(place: PolicyPlace): string {
  return place.namespace === undefined ? "GlobalNetworkPolicy" : "NetworkPolicy";
}

function parseSpec(place: PolicyPlace, metadata: RawObject, spec: RawObject, report: Report): Policy | undefined {
  const annotations = parsePolicyAnnotations(metadata, report);
  checkFields(spec, report);
  const selector = policySelector(place, spec, report);
  const types = policyTypes(get(spec, "types"), report);
  const ingress = parseRules(get(spec, "ingress"), "ingress", place.namespace, report);
  const egress = parseRules(get(spec, "egress"), "egress", place.namespace, report);
  const order = get(spec, "order") ?? Number.POSITIVE_INFINITY;
  const tier = get(spec, "tier") ?? "default";
  if (typeof order !== "number" || Number.isNaN(order))
    report.fault("spec.order", "BAD_ORDER", `order is ${describe(order)}, not a number`);
  if (typeof tier !== "string" || tier === "")
    report.fault("spec.tier", "BAD_TIER", `tier is ${describe(tier)}, not the name of one`);
  if (selector === undefined || types === undefined || ingress === undefined || egress === undefined) return undefined;
  return {
    id: policyId(place.name, place.namespace),
    key: place.key,
    origin: place.origin,
    name: displayName(place.name),
    tier: tier as string,
    order: order as number,
    selector: selector.text,
    ...types,
    ingress: named(ingress, annotations.ruleIds.ingress),
    egress: named(egress, annotations.ruleIds.egress),
    stateful: annotations.stateful,
  };
}

function checkFields(spec: RawObject, report: Report): void {
  for (const field of HOST_ONLY) {
    if (get(spec, field) !== true) continue;
    const what = `${field} policies are for host endpoints, which Torbie does not enforce`;
    report.problem(
      `spec.${field}`,
      "NOT_SUPPORTED",
      what,
      "nothing of this policy is enforced; guests are judged by the other policies, as with Felix",
    );
  }
  if (get(spec, "applyOnForward") === true) {
    const what = "applyOnForward is for host endpoints, which Torbie does not enforce";
    report.problem(
      "spec.applyOnForward",
      "NOT_SUPPORTED",
      what,
      "the policy is enforced for guests, and for nothing else",
    );
  }
  if ((get(spec, "serviceAccountSelector") ?? "") !== "") {
    report.fault("spec.serviceAccountSelector", "NOT_SUPPORTED", "Torbie does not know Kubernetes service accounts");
  }
  for (const field of Object.keys(spec)) {
    if (!FIELDS.has(field))
      report.fault(
        `spec.${field}`.slice(0, 100),
        "UNKNOWN_FIELD",
        `${describe(field)} is no field of a policy that Torbie knows`,
      );
  }
}

function named(rules: readonly Rule[], ids: readonly unknown[]): readonly Rule[] {
  return rules.map((rule, i) => {
    const id = ids[i];
    return typeof id === "string" && id !== "" ? { ...rule, neutronId: id } : rule;
  });
}
