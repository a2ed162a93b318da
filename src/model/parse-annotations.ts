/**
 * What Calico's model cannot say (D12). The values are text, as annotations are; in YAML they may be written as what they mean.
 * An annotation in our name that cannot be read is a fault of the whole resource: it may have narrowed what passes.
 */
import { parseMac, parsePrefix } from "./cidr.js";
import { describe, get, isObject, type RawObject } from "./raw.js";
import type { Report } from "./report.js";
import { quote } from "../text.js";
import type { AllowedPair } from "./types.js";

const OURS = "torbie/";
const PORT_SECURITY = "torbie/port-security";
const ADMIN_STATE = "torbie/admin-state";
const PAIRS = "torbie/allowed-address-pairs";
const STATEFUL = "torbie/stateful";
const RULE_IDS = "torbie/rule-ids";
const NETWORK_ID = "openstack.projectcalico.org/network-id";

export interface EndpointAnnotations {
  readonly portSecurity: boolean;
  readonly adminUp: boolean;
  /** Absent: the annotation is not there, allowedIps says it. */
  readonly pairs?: readonly AllowedPair[];
  readonly networkId?: string;
}

/** Reports a fault for each that cannot be read. */
export function parseEndpointAnnotations(metadata: RawObject, report: Report): EndpointAnnotations {
  const annotations = readAnnotations(metadata, [PORT_SECURITY, ADMIN_STATE, PAIRS], report);
  const pairs = parsePairs(get(annotations, PAIRS), report);
  const networkId = get(annotations, NETWORK_ID);
  return {
    portSecurity: readSwitch(annotations, PORT_SECURITY, "on", "off", report),
    adminUp: readSwitch(annotations, ADMIN_STATE, "up", "down", report),
    ...(pairs !== undefined && { pairs }),
    ...(typeof networkId === "string" && { networkId }),
  };
}

export interface PolicyAnnotations {
  readonly stateful: boolean;
  readonly ruleIds: { readonly ingress: readonly unknown[]; readonly egress: readonly unknown[] };
}

export function parsePolicyAnnotations(metadata: RawObject, report: Report): PolicyAnnotations {
  const annotations = readAnnotations(metadata, [STATEFUL, RULE_IDS], report);
  return {
    stateful: readSwitch(annotations, STATEFUL, "true", "false", report),
    ruleIds: parseRuleIds(get(annotations, RULE_IDS), report),
  };
}

function readAnnotations(metadata: RawObject, known: readonly string[], report: Report): RawObject {
  const annotations = get(metadata, "annotations") ?? {};
  if (!isObject(annotations)) {
    report.fault("metadata.annotations", "BAD_ANNOTATION", `annotations are ${describe(annotations)}, not a map`);
    return {};
  }
  for (const name of Object.keys(annotations)) {
    if (!name.startsWith(OURS) || known.includes(name)) continue;
    report.fault(
      path(name),
      "BAD_ANNOTATION",
      `${quote(name)} is no annotation that this version of Torbie knows here: ${known.join(", ")}`,
    );
  }
  return annotations;
}

/** True for `yes` and when it is absent, false for `no`. */
function readSwitch(annotations: RawObject, name: string, yes: string, no: string, report: Report): boolean {
  const value = get(annotations, name);
  if (value === undefined) return true;
  const text = typeof value === "boolean" ? String(value) : value;
  if (text !== yes && text !== no)
    report.fault(path(name), "BAD_ANNOTATION", `${name} is ${describe(value)}, not ${yes} or ${no}`);
  return text === yes;
}

function parsePairs(value: unknown, report: Report): readonly AllowedPair[] | undefined {
  if (value === undefined) return undefined;
  const list = fromJson(value);
  if (!Array.isArray(list)) {
    report.fault(path(PAIRS), "BAD_ANNOTATION", `${PAIRS} is ${describe(value)}, not a list of {"ip": …, "mac": …}`);
    return undefined;
  }
  return list.flatMap((pair: unknown, i) => {
    const ip = isObject(pair) ? get(pair, "ip") : undefined;
    const rawMac = isObject(pair) ? (get(pair, "mac") ?? undefined) : undefined;
    const prefix = typeof ip === "string" ? parsePrefix(ip) : undefined;
    const mac = typeof rawMac === "string" ? parseMac(rawMac) : undefined;
    if (prefix === undefined || (rawMac !== undefined && mac === undefined)) {
      const what = isObject(pair) ? `the pair of ip ${describe(ip)} and mac ${describe(rawMac)}` : describe(pair);
      report.fault(`${path(PAIRS)}[${i}]`, "BAD_ANNOTATION", `${what} is no allowed address pair`);
      return [];
    }
    return [mac === undefined ? { prefix } : { prefix, mac }];
  });
}

/** They only name rules: unreadable ones leave the rules without a Neutron id and change nothing that is enforced. */
function parseRuleIds(value: unknown, report: Report): PolicyAnnotations["ruleIds"] {
  const none = { ingress: [], egress: [] };
  if (value === undefined) return none;
  const ids = fromJson(value);
  const ingress = isObject(ids) ? (get(ids, "ingress") ?? []) : undefined;
  const egress = isObject(ids) ? (get(ids, "egress") ?? []) : undefined;
  if (Array.isArray(ingress) && Array.isArray(egress)) return { ingress, egress };
  report.problem(
    path(RULE_IDS),
    "BAD_ANNOTATION",
    `${RULE_IDS} is ${describe(value)}, not {"ingress": […], "egress": […]}`,
    "rules are shown without Neutron's ids",
  );
  return none;
}

function fromJson(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return undefined;
  }
}

function path(name: string): string {
  return `metadata.annotations[${quote(name, 100)}]`;
}
