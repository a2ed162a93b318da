/** The DHCP subnet objects (networking-calico.md §1.6): a bare JSON object, or in YAML the spec of a `Subnet`. */
import type { RawValue } from "../datastore/types.js";
import { family, parseAddress, parsePrefix } from "./cidr.js";
import { describe, get, isObject, readObject, type RawObject } from "./raw.js";
import { Report, type Outcome } from "./report.js";
import type { Address, Subnet } from "./types.js";

export function parseSubnet(key: string, origin: string, id: string, raw: RawValue): Outcome<Subnet> {
  const report = new Report(key, origin);
  const object = readObject(raw, report);
  const value = object && parseFields(id, object, report);
  const outcome = {
    faults: report.faults,
    problems: report.problems,
    closedMeans: "its guests get no address from DHCP",
  };
  return value !== undefined && report.faults.length === 0 ? { ...outcome, value } : outcome;
}

function parseFields(id: string, object: RawObject, report: Report): Subnet | undefined {
  const networkId = get(object, "network_id");
  const rawCidr = get(object, "cidr");
  const cidr = typeof rawCidr === "string" && rawCidr.includes("/") ? parsePrefix(rawCidr) : undefined;
  if (typeof networkId !== "string" || networkId === "")
    report.fault("network_id", "BAD_NETWORK_ID", `network_id is ${describe(networkId)}, not text`);
  if (cidr === undefined) report.fault("cidr", "BAD_CIDR", `cidr is ${describe(rawCidr)}, not a prefix`);
  if (typeof networkId !== "string" || cidr === undefined) return undefined;
  const gateway = parseGateway(object, family(cidr), report);
  const modes = { ipv6RaMode: text(object, "ipv6_ra_mode"), ipv6AddressMode: text(object, "ipv6_address_mode") };
  return {
    id,
    networkId,
    cidr,
    ...(gateway !== undefined && { gateway }),
    dnsServers: parseDns(object, report),
    hostRoutes: parseRoutes(object, report),
    ...(modes.ipv6RaMode !== undefined && { ipv6RaMode: modes.ipv6RaMode }),
    ...(modes.ipv6AddressMode !== undefined && { ipv6AddressMode: modes.ipv6AddressMode }),
  };
}

function parseGateway(object: RawObject, wanted: number, report: Report): Address | undefined {
  const value = get(object, "gateway_ip");
  if (value === undefined || value === null) return undefined;
  const address = addressOf(value);
  if (address !== undefined && family(address) === wanted) return address;
  report.fault("gateway_ip", "BAD_ADDRESS", `gateway_ip is ${describe(value)}, not an IPv${wanted} address`);
  return undefined;
}

function parseDns(object: RawObject, report: Report): readonly Address[] {
  return listOf(object, "dns_servers", report).flatMap((entry, i) => {
    const address = addressOf(entry);
    if (address !== undefined) return [address];
    report.problem(
      `dns_servers[${i}]`,
      "BAD_ADDRESS",
      `${describe(entry)} is no address`,
      "guests are not told of this server",
    );
    return [];
  });
}

function parseRoutes(object: RawObject, report: Report): Subnet["hostRoutes"] {
  return listOf(object, "host_routes", report).flatMap((entry, i) => {
    const to = isObject(entry) ? get(entry, "destination") : undefined;
    const destination = typeof to === "string" ? parsePrefix(to) : undefined;
    const nexthop = isObject(entry) ? addressOf(get(entry, "nexthop")) : undefined;
    if (destination !== undefined && nexthop !== undefined && family(destination) === family(nexthop))
      return [{ destination, nexthop }];
    report.problem(
      `host_routes[${i}]`,
      "BAD_ROUTE",
      `${describe(entry)} is no destination with a nexthop`,
      "guests are not told of this route",
    );
    return [];
  });
}

function listOf(object: RawObject, field: string, report: Report): readonly unknown[] {
  const value = get(object, field) ?? [];
  if (Array.isArray(value)) return value;
  report.fault(field, "BAD_LIST", `${field} is ${describe(value)}, not a list`);
  return [];
}

function addressOf(value: unknown): Address | undefined {
  return typeof value === "string" ? parseAddress(value) : undefined;
}

function text(object: RawObject, field: string): string | undefined {
  const value = get(object, field);
  return typeof value === "string" ? value : undefined;
}
