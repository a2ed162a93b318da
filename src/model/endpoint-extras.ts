/** Gateways and floating IPs of an endpoint: without them it is reachable by less, never by more. */
import { family, parseAddress } from "./cidr.js";
import { describe, get, isObject, type RawObject } from "./raw.js";
import type { Report } from "./report.js";
import type { Address, Family, LocalWorkload, Nat } from "./types.js";

export function parseGateways(spec: RawObject, report: Report): LocalWorkload["gateways"] {
  const v4 = gateway(spec, "ipv4Gateway", 4, report);
  const v6 = gateway(spec, "ipv6Gateway", 6, report);
  return { ...(v4 !== undefined && { v4 }), ...(v6 !== undefined && { v6 }) };
}

function gateway(spec: RawObject, field: string, wanted: Family, report: Report): Address | undefined {
  const value = get(spec, field);
  if (value === undefined || value === null || value === "") return undefined;
  const address = typeof value === "string" ? parseAddress(value) : undefined;
  if (address !== undefined && family(address) === wanted) return address;
  report.problem(
    `spec.${field}`,
    "BAD_ADDRESS",
    `${field} is ${describe(value)}, not an IPv${wanted} address`,
    "the guest is told of no such gateway",
  );
  return undefined;
}

export function parseNats(spec: RawObject, report: Report): readonly Nat[] {
  const value = get(spec, "ipNATs") ?? [];
  if (!Array.isArray(value)) {
    report.problem(
      "spec.ipNATs",
      "BAD_LIST",
      `ipNATs are ${describe(value)}, not a list`,
      "the endpoint has no floating IP",
    );
    return [];
  }
  return value.flatMap((entry: unknown, i) => {
    const internal = natAddress(entry, "internalIP");
    const external = natAddress(entry, "externalIP");
    if (internal !== undefined && external !== undefined && family(internal) === family(external))
      return [{ internal, external }];
    const what = isObject(entry)
      ? `${describe(get(entry, "externalIP"))} to ${describe(get(entry, "internalIP"))}`
      : describe(entry);
    report.problem(
      `spec.ipNATs[${i}]`,
      "BAD_NAT",
      `${what} is no pair of addresses of one family`,
      "this floating IP is not in force",
    );
    return [];
  });
}

function natAddress(entry: unknown, field: string): Address | undefined {
  const value = isObject(entry) ? get(entry, field) : undefined;
  return typeof value === "string" ? parseAddress(value) : undefined;
}
