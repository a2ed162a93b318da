/** Profile and Tier. */
import type { RawValue } from "../datastore/types.js";
import { parseRules } from "./parse-rule.js";
import { describe, get, readObject, readResource, readStrings } from "./raw.js";
import { Report, type Outcome } from "./report.js";
import type { Profile, Tier } from "./types.js";

/** A profile that cannot be read has no labels and no rules: its endpoints are in fewer groups and allowed nothing by it. */
export function parseProfile(key: string, origin: string, name: string, raw: RawValue): Outcome<Profile> {
  const report = new Report(key, origin);
  const object = readObject(raw, report);
  const resource = object && readResource(object, "Profile", name, undefined, report);
  const labels = resource && readStrings(get(resource.spec, "labelsToApply"), "spec.labelsToApply", report);
  const ingress = resource && parseRules(get(resource.spec, "ingress"), "ingress", undefined, report);
  const egress = resource && parseRules(get(resource.spec, "egress"), "egress", undefined, report);
  const outcome = { faults: report.faults, problems: report.problems };
  if (labels && ingress && egress && report.faults.length === 0)
    return { ...outcome, closedMeans: "", value: { name, labels, ingress, egress } };
  return {
    ...outcome,
    closedMeans: "it allows nothing and gives no labels",
    closed: { name, labels: new Map(), ingress: [], egress: [] },
  };
}

/**
 * A tier that cannot be read comes first and denies what its policies do not decide; the store makes their allows void as well,
 * for only the order of the tiers says what an allow is worth.
 */
export function parseTier(key: string, origin: string, name: string, raw: RawValue): Outcome<Tier> {
  const report = new Report(key, origin);
  const object = readObject(raw, report);
  const resource = object && readResource(object, "Tier", name, undefined, report);
  const order = (resource && get(resource.spec, "order")) ?? Number.POSITIVE_INFINITY;
  const end = (resource && get(resource.spec, "defaultAction")) ?? "Deny";
  if (typeof order !== "number" || Number.isNaN(order))
    report.fault("spec.order", "BAD_ORDER", `order is ${describe(order)}, not a number`);
  if (end !== "Deny" && end !== "Pass")
    report.fault("spec.defaultAction", "BAD_ACTION", `defaultAction is ${describe(end)}, not Deny or Pass`);
  const outcome = { faults: report.faults, problems: report.problems };
  if (report.faults.length > 0) {
    const closedMeans = "it comes first, its policies allow nothing, and what they do not pass is denied";
    return { ...outcome, closedMeans, closed: { name, order: Number.NEGATIVE_INFINITY, end: "deny" } };
  }
  return {
    ...outcome,
    closedMeans: "",
    value: { name, order: order as number, end: end === "Pass" ? "pass" : "deny" },
  };
}
