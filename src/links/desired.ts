/** Which routes and permanent neighbours the taps should have. Pure. */
import type { DesiredEndpoint } from "../compile/desired.js";
import type { Tap } from "../dataplane/backend.js";
import { addressToPrefix } from "../model/cidr.js";
import type { EndpointId, Family, Prefix } from "../model/types.js";
import type { Problem } from "../problems.js";
import { neighbourKey, routeKey, type TapNeighbour, type TapRoute } from "./types.js";
import { contains, overlaps, prefixParts, type PrefixParts } from "./wire-address.js";

/** Metrics as the incumbent has them, so that one BIRD configuration serves both kinds of host. */
export const NORMAL_METRIC = 1024;
export const ELEVATED_METRIC = 512;

/** Never routed to a guest: what a host must keep for itself, and what no router forwards (RFC 6890). */
const NEVER = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "ff00::/8"].map((range) => ({
  range,
  parts: prefixParts(range as Prefix),
}));
const LINK_LOCAL = prefixParts("fe80::/10" as Prefix);
/** A pair wider than this would take the host's own traffic with it; the dataplane still delivers between local guests. */
const WIDEST: Readonly<Record<Family, number>> = { 4: 8, 6: 16 };
const WHOLE: Readonly<Record<Family, number>> = { 4: 32, 6: 128 };

export interface PlanInput {
  readonly endpoints: ReadonlyMap<EndpointId, DesiredEndpoint>;
  /** By interface name. */
  readonly taps: ReadonlyMap<string, Tap>;
  /** Endpoints whose policy is in the kernel: no others get a route, so that nobody is announced before being protected. */
  readonly enforced: ReadonlySet<EndpointId>;
  /** Who gets what is sent to an address that several endpoints have; by default, and when it names none of `ids`, the lowest id. */
  readonly ownerOf?: (prefix: Prefix, ids: readonly EndpointId[]) => EndpointId | undefined;
  /** Endpoints whose routes are announced before others', besides those that a live migration elevates. */
  readonly elevated?: ReadonlySet<EndpointId>;
  readonly metric?: { readonly normal: number; readonly elevated: number };
  /** Addresses that must never lead to a guest: this host's gateways. */
  readonly reserved?: readonly Prefix[];
}

export interface RoutePlan {
  /** By routeKey(). */
  readonly routes: ReadonlyMap<string, TapRoute>;
  /** By neighbourKey(). */
  readonly neighbours: ReadonlyMap<string, TapNeighbour>;
  readonly problems: readonly Problem[];
}

export function planRoutes(input: PlanInput): RoutePlan {
  const metric = input.metric ?? { normal: NORMAL_METRIC, elevated: ELEVATED_METRIC };
  const reserved = new Set(input.reserved ?? []);
  const claims = new Map<Prefix, EndpointId[]>();
  const neighbours = new Map<string, TapNeighbour>();
  const problems: Problem[] = [];
  const ids = [...input.endpoints.keys()].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  for (const id of ids) {
    const endpoint = input.endpoints.get(id);
    const tap = endpoint === undefined ? undefined : input.taps.get(endpoint.interfaceName);
    if (
      endpoint === undefined ||
      tap === undefined ||
      !tap.up ||
      !endpoint.adminUp ||
      endpoint.blocked !== undefined ||
      endpoint.move === "held" ||
      !input.enforced.has(id)
    )
      continue;
    for (const { prefix, mac } of endpoint.owned) {
      const parts = prefixParts(prefix);
      const refused = whyNotRouted(prefix, parts, reserved);
      if (refused !== undefined) {
        if (refused !== "") problems.push(problem(endpoint, prefix, refused));
        continue;
      }
      const claimants = claims.get(prefix);
      if (claimants === undefined) claims.set(prefix, [id]);
      else if (!claimants.includes(id)) claimants.push(id);
      if (parts.length !== WHOLE[parts.family]) continue;
      const address = prefix.slice(0, prefix.lastIndexOf("/")) as TapNeighbour["address"];
      const entry: TapNeighbour = { family: parts.family, address, ifindex: tap.ifindex, mac: mac ?? endpoint.mac };
      // The endpoint's own MAC wins over that of a pair with the same address: it is listed first.
      if (!neighbours.has(neighbourKey(entry))) neighbours.set(neighbourKey(entry), entry);
    }
    // With a neighbour, although NAT gives what is sent there another address: before 5.11 bpf_fib_lookup() does not tell by which
    // interface a route leads that has none.
    for (const { external } of endpoint.floating ?? []) {
      const prefix = addressToPrefix(external);
      if (reserved.has(prefix)) problems.push(problem(endpoint, prefix, "it is the address of a gateway of this host"));
      else if (!claims.has(prefix)) {
        claims.set(prefix, [id]);
        const entry: TapNeighbour = {
          family: external.includes(":") ? 6 : 4,
          address: external,
          ifindex: tap.ifindex,
          mac: endpoint.mac,
        };
        neighbours.set(neighbourKey(entry), entry);
      }
    }
  }
  const routes = new Map<string, TapRoute>();
  for (const [prefix, claimants] of claims) {
    const chosen = input.ownerOf?.(prefix, claimants);
    const owner = chosen !== undefined && claimants.includes(chosen) ? chosen : claimants[0];
    const endpoint = owner === undefined ? undefined : input.endpoints.get(owner);
    const tap = endpoint === undefined ? undefined : input.taps.get(endpoint.interfaceName);
    if (owner === undefined || tap === undefined) continue;
    const route: TapRoute = {
      family: prefix.includes(":") ? 6 : 4,
      prefix,
      metric: endpoint?.move === "elevated" || input.elevated?.has(owner) === true ? metric.elevated : metric.normal,
      ifindex: tap.ifindex,
    };
    routes.set(routeKey(route), route);
  }
  return { routes, neighbours, problems };
}

/** undefined: it is routed; "": it is not, and nobody needs to be told (link-local is on every link). */
function whyNotRouted(prefix: Prefix, parts: PrefixParts, reserved: ReadonlySet<Prefix>): string | undefined {
  if (contains(LINK_LOCAL, parts)) return "";
  if (parts.length < WIDEST[parts.family])
    return `it is wider than /${WIDEST[parts.family]} and would take this host's own traffic`;
  const never = NEVER.find((range) => overlaps(range.parts, parts));
  if (never !== undefined) return `it overlaps ${never.range}, which is never forwarded`;
  return reserved.has(prefix) ? "it is the address of a gateway of this host" : undefined;
}

function problem(endpoint: DesiredEndpoint, prefix: Prefix, why: string): Problem {
  return {
    where: `${endpoint.workload.key} ${prefix}`,
    code: "PREFIX_NOT_ROUTED",
    what: `${prefix} of endpoint ${JSON.stringify(endpoint.id)} has no route: ${why}`,
    consequence: "the guest may send from it, but nothing from beyond this host is delivered to it",
  };
}
