/** WorkloadEndpoint: in full for this host, reduced to what others must know of it for the rest of the cloud. */
import type { RawValue } from "../datastore/types.js";
import { escape } from "../text.js";
import { parseMac } from "./cidr.js";
import { claimedPrefixes, parseAddresses, type EndpointAddresses } from "./endpoint-addresses.js";
import { parseGateways, parseNats } from "./endpoint-extras.js";
import type { EndpointParts } from "./keys.js";
import type { LabelReader } from "./labels.js";
import { parseEndpointAnnotations } from "./parse-annotations.js";
import { describe, get, isObject, readObject, readResource, readStrings, type RawObject } from "./raw.js";
import { Report, type Outcome } from "./report.js";
import { NAMESPACE_LABEL, ORCHESTRATOR_LABEL } from "./selector.js";
import type { EndpointId, LocalWorkload, Mac, Prefix } from "./types.js";

/** Where an endpoint's key says it is. */
export interface EndpointPlace {
  readonly id: EndpointId;
  readonly key: string;
  readonly origin: string;
  readonly namespace: string;
  readonly name: string;
  readonly parts: EndpointParts;
}

/** An endpoint before its labels are interned and those of its profiles added. */
export interface EndpointDraft {
  readonly id: EndpointId;
  readonly key: string;
  readonly node: string;
  readonly prefixes: readonly Prefix[];
  readonly labels: ReadonlyMap<string, string>;
  readonly profiles: readonly string[];
  /** Present for an endpoint of this host. */
  readonly local?: Omit<LocalWorkload, "id" | "key" | "node" | "prefixes" | "labels" | "profiles">;
}

/** Spec fields that are read, or that say nothing to a host; any other is named as not enforced. */
const READ = new Set([
  "orchestrator",
  "workload",
  "node",
  "endpoint",
  "interfaceName",
  "mac",
  "ipv4Gateway",
  "ipv6Gateway",
  "ipNetworks",
  "allowedIps",
  "ipNATs",
  "profiles",
  "containerID",
  "pod",
  "serviceAccountName",
]);
/** What Linux takes as an interface name (dev_valid_name in net/core/dev.c). */
// eslint-disable-next-line no-control-regex -- NUL is one of the characters that may not be there
const INTERFACE = /^(?!\.{1,2}$)[^\s/:\u0000]{1,15}$/u;
/** More than there are: then it is not worth naming them. */
const MOST_CONTROLS = 40;
const NO_MAC = "00:00:00:00:00:00" as Mac;

/** @param local whether the endpoint is of this host, and wanted in full */
export function parseEndpoint(
  place: EndpointPlace,
  raw: RawValue,
  local: boolean,
  labelReader: LabelReader,
): Outcome<EndpointDraft> {
  const report = new Report(place.key, place.origin);
  const object = readObject(raw, report);
  const resource = object && readResource(object, "WorkloadEndpoint", place.name, place.namespace, report);
  const metadata = resource?.metadata ?? {};
  const spec = resource?.spec ?? {};
  checkParts(spec, place.parts, report);
  const annotations = parseEndpointAnnotations(metadata, report);
  const written = get(metadata, "labels");
  const labels = labelReader.read(written, `${place.namespace} ${place.parts.orchestrator}`, () => {
    const own = readStrings(written, "metadata.labels", report);
    return own && withPlace(own, place);
  });
  const profiles = readProfiles(get(spec, "profiles"), report);
  const addresses = resource && parseAddresses(spec, annotations.pairs, report);
  const draft = {
    id: place.id,
    key: place.key,
    node: place.parts.node,
    prefixes: addresses ? claimedPrefixes(addresses) : [],
    labels: labels ?? withPlace(new Map(), place),
    profiles: profiles ?? [],
  };
  // Of a value that could not be read at all it is not worth saying that its parts are missing.
  const workload = local
    ? localPart(place, spec, annotations, addresses, resource ? report : new Report(place.key, place.origin))
    : undefined;
  const outcome = { faults: report.faults, problems: report.problems };
  const [fault] = report.faults;
  if (fault === undefined)
    return { ...outcome, closedMeans: "", value: workload === undefined ? draft : { ...draft, local: workload } };
  if (workload === undefined) {
    const closedMeans = "rules that name its groups do not cover it, except for the addresses that could be read";
    return { ...outcome, closedMeans, ...(addresses && labels && { closed: draft }) };
  }
  const blocked = fault.path === "" ? fault.what : `${escape(fault.path)}: ${fault.what}`;
  return { ...outcome, closedMeans: "it passes nothing", closed: { ...draft, local: { ...workload, blocked } } };
}

function localPart(
  place: EndpointPlace,
  spec: RawObject,
  annotations: ReturnType<typeof parseEndpointAnnotations>,
  addresses: EndpointAddresses | undefined,
  report: Report,
): EndpointDraft["local"] {
  const { portSecurity, adminUp, networkId } = annotations;
  const { orchestrator, workload, endpoint } = place.parts;
  return {
    namespace: place.namespace,
    orchestrator,
    workload,
    endpoint,
    interfaceName: readInterface(spec, endpoint, report),
    mac: readMac(spec, report),
    fixed: addresses?.fixed ?? [],
    pairs: addresses?.pairs ?? [],
    gateways: parseGateways(spec, report),
    nats: parseNats(spec, report),
    portSecurity,
    adminUp,
    ...(networkId !== undefined && { networkId }),
    notEnforced: notEnforcedOf(spec),
    origin: place.origin,
  };
}

/** By name; of qosControls each control that says something, since whoever set one wants to know of that one. */
function notEnforcedOf(spec: RawObject): readonly string[] {
  const named = (name: string): string => escape(name.slice(0, 100));
  return Object.keys(spec)
    .filter((field) => !READ.has(field))
    .flatMap((field) => {
      const value = get(spec, field);
      if (field !== "qosControls" || !isObject(value)) return [named(field)];
      const said = Object.keys(value).filter((control) => ![undefined, null, 0].includes(get(value, control) as null));
      return said.length > MOST_CONTROLS ? [field] : said.map((control) => named(`${field}.${control}`));
    });
}

/** What spec repeats of the key may be left out; what contradicts it makes the endpoint nobody's. */
function checkParts(spec: RawObject, parts: EndpointParts, report: Report): void {
  for (const field of ["node", "orchestrator", "workload", "endpoint"] as const) {
    const value = get(spec, field);
    if (value === undefined || value === parts[field]) continue;
    report.fault(
      `spec.${field}`,
      "KEY_MISMATCH",
      `spec.${field} is ${describe(value)}, the key says ${describe(parts[field])}`,
    );
  }
}

function readInterface(spec: RawObject, endpoint: string, report: Report): string {
  const value = get(spec, "interfaceName");
  if (typeof value === "string" && INTERFACE.test(value)) return value;
  report.fault(
    "spec.interfaceName",
    "BAD_INTERFACE",
    `interfaceName is ${describe(value)}, not the name of a network interface`,
  );
  // Whatever tap it is, it stays blocked: this is the driver's name for it, for people who look.
  return `tap${endpoint.slice(0, 11)}`;
}

function readMac(spec: RawObject, report: Report): Mac {
  const value = get(spec, "mac");
  const mac = typeof value === "string" ? parseMac(value) : undefined;
  if (mac === undefined) report.fault("spec.mac", "BAD_MAC", `mac is ${describe(value)}, not like fa:16:3e:00:00:01`);
  return mac ?? NO_MAC;
}

function readProfiles(value: unknown, report: Report): readonly string[] | undefined {
  const list = value ?? [];
  if (Array.isArray(list) && list.every((name) => typeof name === "string")) return list;
  report.fault("spec.profiles", "BAD_PROFILES", `profiles are ${describe(value)}, not a list of names`);
  return undefined;
}

/** Namespace and orchestrator are what the key says, whatever the value's labels claim: rules are bound to them. */
function withPlace(labels: ReadonlyMap<string, string>, place: EndpointPlace): ReadonlyMap<string, string> {
  return new Map([...labels, [NAMESPACE_LABEL, place.namespace], [ORCHESTRATOR_LABEL, place.parts.orchestrator]]);
}
