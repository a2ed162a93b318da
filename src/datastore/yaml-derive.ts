/**
 * The plain form of a resource made whole. In a directory of YAML may be left out: apiVersion, metadata.namespace
 * ("openstack"), and of a WorkloadEndpoint all that repeats its key: metadata.name, spec.orchestrator ("openstack"), spec.node
 * (this host), spec.workload and spec.endpoint (the name, or each other, or the interface's name). A `Subnet` is metadata.name
 * and, as spec, the DHCP object that the driver writes. Pure.
 */
import {
  endpointName,
  isNamespaced,
  keyOf,
  knownKind,
  parseKey,
  splitEndpointName,
  type EndpointParts,
  type Kind,
} from "../model/keys.js";
import { describe, get, isObject, type RawObject } from "../model/raw.js";

const API = "projectcalico.org/v3";
const NAMESPACE = "openstack";
const ORCHESTRATOR = "openstack";

export interface DerivedResource {
  readonly key: string;
  readonly object: RawObject;
}

/** Why a document is no resource. `field` says where in it. */
export interface Refusal {
  readonly code: string;
  readonly field: readonly string[];
  readonly what: string;
}

/** @param hostname the node of an endpoint that names none */
export function deriveResource(document: unknown, hostname: string): DerivedResource | Refusal {
  if (!isObject(document))
    return refuse("NOT_AN_OBJECT", [], `the document is ${describe(document)}, not a resource with a kind`);
  const api = get(document, "apiVersion");
  if (api !== undefined && api !== API)
    return refuse("BAD_API_VERSION", ["apiVersion"], `apiVersion is ${describe(api)}; it is ${API}, or left out`);
  const metadata = get(document, "metadata") ?? {};
  if (!isObject(metadata)) return refuse("BAD_METADATA", ["metadata"], `metadata is ${describe(metadata)}, not a map`);
  const saidKind = get(document, "kind");
  const kind = typeof saidKind === "string" ? knownKind(saidKind) : undefined;
  if (kind === undefined) return foreignResource(saidKind, metadata, document);
  if (kind === "WorkloadEndpoint") return deriveEndpoint(document, metadata, hostname);
  const name = readName(metadata);
  if (typeof name !== "string") return name;
  if (kind === "Subnet") return deriveSubnet(document, name);
  if (!isNamespaced(kind)) return whole(kind, document, { ...metadata, name }, undefined);
  const namespace = readNamespace(metadata);
  return typeof namespace === "string" ? whole(kind, document, { ...metadata, name, namespace }, namespace) : namespace;
}

/** Kinds of Calico's that Torbie enforces nothing of go on to the model, which says so; what nobody knows is refused. */
function foreignResource(kind: unknown, metadata: RawObject, document: RawObject): DerivedResource | Refusal {
  const name = get(metadata, "name");
  if (typeof kind === "string" && /^[A-Za-z]{1,60}$/.test(kind) && typeof name === "string" && nameIsUsable(name)) {
    const key = `/calico/resources/v3/projectcalico.org/${kind.toLowerCase().replace(/y$/, "ie")}s/${name}`;
    const parsed = parseKey(key);
    if (parsed.kind === "ignored" || kind === "HostEndpoint") return { key, object: document };
  }
  return refuse("UNKNOWN_KIND", ["kind"], `kind is ${describe(kind)}, which Torbie does not know`);
}

function deriveEndpoint(document: RawObject, metadata: RawObject, hostname: string): DerivedResource | Refusal {
  const spec = get(document, "spec");
  if (!isObject(spec)) return refuse("NO_SPEC", ["spec"], `spec is ${describe(spec)}, not a map`);
  const namespace = readNamespace(metadata);
  if (typeof namespace !== "string") return namespace;
  const said: Partial<Record<keyof EndpointParts, string>> = {};
  for (const part of ["node", "orchestrator", "workload", "endpoint"] as const) {
    const value = get(spec, part);
    if (value === undefined) continue;
    if (typeof value !== "string" || (part !== "node" && !nameIsUsable(value)) || value.includes("/")) {
      return refuse("BAD_NAME", ["spec", part], `spec.${part} is ${describe(value)}, not a name`);
    }
    said[part] = value;
  }
  const name = get(metadata, "name");
  const full = typeof name === "string" ? splitEndpointName(name) : undefined;
  const isFull = full !== undefined && full.orchestrator === (said.orchestrator ?? ORCHESTRATOR);
  const parts = isFull ? full : partsOf(said, name, get(spec, "interfaceName"), hostname);
  if ("code" in parts) return parts;
  const fullName = endpointName(parts);
  // Contradictions between name and spec stay in, for the model to report.
  return whole(
    "WorkloadEndpoint",
    { ...document, spec: { ...parts, ...spec } },
    { ...metadata, name: fullName, namespace },
    namespace,
  );
}

function partsOf(
  said: Partial<EndpointParts>,
  name: unknown,
  interfaceName: unknown,
  hostname: string,
): EndpointParts | Refusal {
  const plain = name ?? said.endpoint ?? said.workload ?? interfaceName;
  if (typeof plain !== "string" || !nameIsUsable(plain)) {
    return refuse(
      "NO_NAME",
      ["metadata", "name"],
      `the endpoint has no usable name: metadata.name, spec.workload and spec.interfaceName are ${describe(plain)}`,
    );
  }
  return {
    node: said.node ?? hostname,
    orchestrator: said.orchestrator ?? ORCHESTRATOR,
    workload: said.workload ?? plain,
    endpoint: said.endpoint ?? plain,
  };
}

function deriveSubnet(document: RawObject, name: string): DerivedResource | Refusal {
  const spec = get(document, "spec");
  return isObject(spec)
    ? { key: keyOf("Subnet", name), object: spec }
    : refuse("NO_SPEC", ["spec"], `spec is ${describe(spec)}, not a map`);
}

function whole(kind: Kind, document: RawObject, metadata: RawObject, namespace: string | undefined): DerivedResource {
  return {
    key: keyOf(kind, String(metadata["name"]), namespace),
    object: { ...document, apiVersion: API, kind, metadata },
  };
}

function readName(metadata: RawObject): string | Refusal {
  const name = get(metadata, "name");
  if (typeof name === "string" && nameIsUsable(name)) return name;
  return refuse("NO_NAME", ["metadata", "name"], `metadata.name is ${describe(name)}, not a name`);
}

function readNamespace(metadata: RawObject): string | Refusal {
  const namespace = get(metadata, "namespace") ?? NAMESPACE;
  if (typeof namespace === "string" && nameIsUsable(namespace)) return namespace;
  return refuse("BAD_NAME", ["metadata", "namespace"], `metadata.namespace is ${describe(namespace)}, not a name`);
}

/** A name becomes a part of a key: it may be odd, but not empty and without a slash. */
function nameIsUsable(name: string): boolean {
  return name !== "" && name.length <= 253 && !name.includes("/");
}

function refuse(code: string, field: readonly string[], what: string): Refusal {
  return { code, field, what };
}
