/** ClusterInformation, FelixConfiguration and LiveMigration. */
import type { RawValue } from "../datastore/types.js";
import { endpointId, endpointName } from "./keys.js";
import { describe, get, isObject, readObject, readResource, type RawObject } from "./raw.js";
import { Report, type Outcome } from "./report.js";
import type { ClusterInfo, EndpointId, FelixSettings, LiveMigration } from "./types.js";

/** Ready only when it says `datastoreReady: true`, in so many words (D5). */
export function parseCluster(key: string, origin: string, name: string, raw: RawValue): Outcome<ClusterInfo> {
  const report = new Report(key, origin);
  const object = readObject(raw, report);
  const resource = object && readResource(object, "ClusterInformation", name, undefined, report);
  const guid = resource && get(resource.spec, "clusterGUID");
  const type = resource && get(resource.spec, "clusterType");
  const ready = resource && get(resource.spec, "datastoreReady");
  if (ready !== undefined && typeof ready !== "boolean")
    report.fault("spec.datastoreReady", "BAD_READY", `datastoreReady is ${describe(ready)}, not true or false`);
  for (const [field, value] of Object.entries({ clusterGUID: guid, clusterType: type })) {
    if (value !== undefined && typeof value !== "string")
      report.fault(`spec.${field}`, "NOT_TEXT", `${field} is ${describe(value)}, not text`);
  }
  const outcome = { faults: report.faults, problems: report.problems };
  if (report.faults.length > 0)
    return {
      ...outcome,
      closed: { ready: false },
      closedMeans: "the datastore counts as not ready: nothing changes in the kernel",
    };
  const value = {
    ...(typeof guid === "string" && { guid }),
    ...(typeof type === "string" && { type }),
    ready: ready === true,
  };
  return { ...outcome, closedMeans: "", value };
}

/** The settings that Torbie honours; a bad one is left out, and Torbie's own configuration decides. */
export function parseFelix(key: string, origin: string, name: string, raw: RawValue): Outcome<FelixSettings> {
  const report = new Report(key, origin);
  const object = readObject(raw, report);
  const resource = object && readResource(object, "FelixConfiguration", name, undefined, report);
  const outcome = { closedMeans: "Torbie's own configuration decides", closed: {} };
  if (resource === undefined || report.faults.length > 0)
    return { ...outcome, faults: report.faults, problems: report.problems };
  const interfacePrefixes = parsePrefixList(get(resource.spec, "interfacePrefix"), report);
  const endpointReporting = get(resource.spec, "endpointReportingEnabled");
  if (endpointReporting !== undefined && typeof endpointReporting !== "boolean") {
    report.problem(
      "spec.endpointReportingEnabled",
      "BAD_SWITCH",
      `endpointReportingEnabled is ${describe(endpointReporting)}, not true or false`,
      outcome.closedMeans,
    );
  }
  const value = {
    ...(interfacePrefixes && { interfacePrefixes }),
    ...(typeof endpointReporting === "boolean" && { endpointReporting }),
  };
  return { ...outcome, faults: report.faults, problems: report.problems, value };
}

function parsePrefixList(value: unknown, report: Report): readonly string[] | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  const list = typeof value === "string" ? value.split(",").map((prefix) => prefix.trim()) : [];
  const good = list.filter((prefix) => /^[A-Za-z0-9_.-]{1,15}$/.test(prefix));
  if (good.length < list.length || good.length === 0) {
    const what = `interfacePrefix is ${describe(value)}, not a list of interface prefixes like "tap,cali"`;
    report.problem(
      "spec.interfacePrefix",
      "BAD_INTERFACE",
      what,
      good.length === 0 ? "Torbie's own configuration decides" : "the readable prefixes are used",
    );
  }
  return good.length === 0 ? undefined : good;
}

/** @param name of the resource, which is that of the target's WorkloadEndpoint */
export function parseMigration(
  key: string,
  origin: string,
  namespace: string,
  name: string,
  raw: RawValue,
): Outcome<LiveMigration> {
  const report = new Report(key, origin);
  const object = readObject(raw, report);
  const resource = object && readResource(object, "LiveMigration", name, namespace, report);
  const source = resource && readEnd(resource.spec, "source", report);
  const target = resource && readEnd(resource.spec, "target", report);
  const outcome = {
    faults: report.faults,
    problems: report.problems,
    closedMeans: "the migration is not known: its endpoints are judged as any other",
  };
  if (source === undefined || target === undefined || report.faults.length > 0) return outcome;
  return { ...outcome, value: { name: `${namespace}/${name}`, source, target } };
}

function readEnd(spec: RawObject, end: "source" | "target", report: Report): EndpointId | undefined {
  const side = get(spec, end);
  const endpoint = isObject(side) ? get(side, "workloadEndpoint") : undefined;
  const field = (name: string): string | undefined => {
    const value = isObject(endpoint) ? get(endpoint, name) : undefined;
    return typeof value === "string" ? value : undefined;
  };
  const node = field("hostname");
  const orchestrator = field("orchestratorID");
  const [, namespace, workload] = /^([^/]+)\/(.+)$/s.exec(field("workloadID") ?? "") ?? [];
  const port = field("endpointID");
  if (
    node !== undefined &&
    orchestrator !== undefined &&
    namespace !== undefined &&
    workload !== undefined &&
    port !== undefined
  ) {
    return endpointId(namespace, endpointName({ node, orchestrator, workload, endpoint: port }));
  }
  report.fault(
    `spec.${end}`,
    "BAD_MIGRATION",
    `spec.${end} is ${describe(endpoint)}, not an endpoint with hostname, orchestratorID, workloadID (<namespace>/<id>) and endpointID`,
  );
  return undefined;
}
