/** NetworkSet and GlobalNetworkSet: prefixes with labels. */
import type { RawValue } from "../datastore/types.js";
import { parsePrefix } from "./cidr.js";
import { networkSetId } from "./keys.js";
import { describe, get, readObject, readResource, readStrings } from "./raw.js";
import { Report, type Outcome } from "./report.js";
import { NAMESPACE_LABEL } from "./selector.js";
import type { Prefix } from "./types.js";

export interface NetworkSetDraft {
  readonly id: string;
  readonly key: string;
  readonly prefixes: readonly Prefix[];
  readonly labels: ReadonlyMap<string, string>;
}

/** What stands in for an unreadable set is what could be read of it; without readable labels nothing. */
export function parseNetworkSet(
  key: string,
  origin: string,
  name: string,
  namespace: string | undefined,
  raw: RawValue,
): Outcome<NetworkSetDraft> {
  const report = new Report(key, origin);
  const object = readObject(raw, report);
  const kind = namespace === undefined ? "GlobalNetworkSet" : "NetworkSet";
  const resource = object && readResource(object, kind, name, namespace, report);
  const labels = resource && readStrings(get(resource.metadata, "labels"), "metadata.labels", report);
  if (namespace !== undefined) labels?.set(NAMESPACE_LABEL, namespace);
  const prefixes = resource && readNets(get(resource.spec, "nets"), report);
  const draft = labels && { id: networkSetId(name, namespace), key, prefixes: prefixes ?? [], labels };
  const outcome = { faults: report.faults, problems: report.problems };
  if (draft !== undefined && report.faults.length === 0) return { ...outcome, closedMeans: "", value: draft };
  return {
    ...outcome,
    closedMeans: "only those of its prefixes that could be read are in it",
    ...(draft && { closed: draft }),
  };
}

function readNets(value: unknown, report: Report): readonly Prefix[] {
  const list = value ?? [];
  if (!Array.isArray(list)) {
    report.fault("spec.nets", "BAD_LIST", `nets are ${describe(list)}, not a list of prefixes`);
    return [];
  }
  const good = list.flatMap((entry: unknown, i) => {
    const prefix = typeof entry === "string" ? parsePrefix(entry) : undefined;
    if (prefix !== undefined) return [prefix];
    report.fault(`spec.nets[${i}]`, "BAD_CIDR", `${describe(entry)} is neither an address nor a prefix`);
    return [];
  });
  return [...new Set(good)];
}
