/** Which interfaces lead off this host. Pure. */
import type { Uplink } from "../dataplane/backend.js";
import { isOurs, type TapRule } from "./ours.js";
import type { Link } from "./types.js";

const LOOPBACK = "lo";

/**
 * Configured names that are there right now, or by default every link that carries a route with a gateway, IPv4 or IPv6.
 * A bond, VLAN device or bridge counts as itself, never its ports. Never a tap of ours, never lo. Sorted by ifindex.
 */
export function uplinks(
  links: ReadonlyMap<number, Link>,
  withGateway: ReadonlySet<number>,
  configured: readonly string[] | undefined,
  taps: TapRule,
): Uplink[] {
  return [...links.values()]
    .filter((link) => link.name !== LOOPBACK && !isOurs(link, taps))
    .filter((link) => (configured === undefined ? withGateway.has(link.ifindex) : configured.includes(link.name)))
    .map(({ name, ifindex }) => ({ name, ifindex }))
    .sort((a, b) => a.ifindex - b.ifindex);
}
