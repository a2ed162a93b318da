/** From what the kernel has to what it should have. Pure. */
import type { RoutePlan } from "./desired.js";
import { routeKey, type Neighbour, type TapNeighbour, type TapRoute } from "./types.js";
import type { KernelView } from "./view.js";

export interface RouteDiff {
  readonly add: readonly TapRoute[];
  /** The same prefix and metric, another tap: one message, no moment without a route. */
  readonly replace: readonly TapRoute[];
  /** To be done after the others. */
  readonly remove: readonly TapRoute[];
}

export function diffRoutes(have: KernelView["routes"], want: RoutePlan["routes"]): RouteDiff {
  const held = new Map<string, TapRoute[]>();
  for (const route of have.values()) held.set(routeKey(route), [...(held.get(routeKey(route)) ?? []), route]);
  const add: TapRoute[] = [];
  const replace: TapRoute[] = [];
  const remove: TapRoute[] = [];
  for (const [key, route] of want) {
    const others = held.get(key) ?? [];
    if (others.some((other) => other.ifindex === route.ifindex))
      remove.push(...others.filter((other) => other.ifindex !== route.ifindex));
    else (others.length > 0 ? replace : add).push(route);
    held.delete(key);
  }
  for (const routes of held.values()) remove.push(...routes);
  return { add, replace, remove };
}

export interface NeighbourDiff {
  readonly set: readonly TapNeighbour[];
  readonly remove: readonly Neighbour[];
}

/**
 * Entries for wanted addresses are set whoever wrote them (dnsmasq does), since the tap is ours; of the others only those
 * that carry our protocol number are removed.
 */
export function diffNeighbours(
  have: KernelView["neighbours"],
  want: RoutePlan["neighbours"],
  protocol: number,
): NeighbourDiff {
  const set = [...want].filter(([key, entry]) => have.get(key)?.mac !== entry.mac).map(([, entry]) => entry);
  const remove = [...have]
    .filter(([key, entry]) => !want.has(key) && entry.protocol === protocol)
    .map(([, entry]) => entry);
  return { set, remove };
}
