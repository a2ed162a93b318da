/**
 * Felix's status keys and values, byte for byte (reference/networking-calico.md §1.5, §1.6; reference/felix.md §4.1): Neutron's driver
 * reads them by path. Pure.
 */
import type { LocalWorkload } from "../model/types.js";

export type EndpointState = "up" | "down" | "error";

/** Path part of the region: "no-region", or "region-<name>". */
export const regionPart = (region: string): string => (region === "" ? "no-region" : `region-${region}`);

const hostPrefix = (region: string, hostname: string): string =>
  `/calico/felix/v2/${regionPart(region)}/host/${hostname}`;

export const statusKey = (region: string, hostname: string): string => `${hostPrefix(region, hostname)}/status`;
export const lastReportedKey = (region: string, hostname: string): string =>
  `${hostPrefix(region, hostname)}/last_reported_status`;
/** Below it: one key an endpoint of this host. */
export const endpointsPrefix = (region: string, hostname: string): string =>
  `${hostPrefix(region, hostname)}/workload/`;

/** As escapeName of libcalico-go (lib/backend/model/name.go): lower case, and nothing else is escaped. */
export const escapeName = (name: string): string => name.replaceAll("%", "%25").replaceAll("/", "%2f");

/** `…/workload/openstack/<namespace>%2f<device>/endpoint/<port>`. */
export function endpointKey(
  region: string,
  hostname: string,
  {
    orchestrator,
    namespace,
    workload,
    endpoint,
  }: Pick<LocalWorkload, "orchestrator" | "namespace" | "workload" | "endpoint">,
): string {
  const id = escapeName(`${namespace}/${workload}`);
  return `${endpointsPrefix(region, hostname)}${escapeName(orchestrator)}/${id}/endpoint/${escapeName(endpoint)}`;
}

export const endpointValue = (status: EndpointState): string => JSON.stringify({ status });

/**
 * Body of `status` and `last_reported_status`. Time as Go's RFC3339 in UTC, whole seconds; uptime in seconds: encoding/json and
 * JSON.stringify write the same shortest digits for a float64.
 */
export function hostValue(time: Date, uptime: number, firstUpdate: boolean): string {
  return JSON.stringify({ time: time.toISOString().replace(/\.\d+Z$/, "Z"), uptime, first_update: firstUpdate });
}
