/** Routes, neighbours and settings that are otherwise than planned, in words. Pure. */
import type { LinksDue } from "../links/links.js";
import { neighbourKey, routeKey, type Route, type TapRoute } from "../links/types.js";
import type { Difference } from "./difference.js";

/** @param others routes of the main table that are not ours, to say who is in the way */
export function nameLinkDifferences(
  due: LinksDue,
  interfaceOf: (ifindex: number) => string,
  others: readonly Route[],
): Difference[] {
  const holders = new Map(others.map((route) => [routeKey(route), route]));
  const heldBy = (route: TapRoute): string | null => {
    const other = holders.get(routeKey(route));
    return other === undefined
      ? null
      : `somebody else's (protocol ${other.protocol}), by ${other.links.map(interfaceOf).join(", ") || "no interface"}`;
  };
  const by = (ifindex: number): string => `by ${interfaceOf(ifindex)}`;
  const held = [...due.held.routes.values()];
  return [
    ...due.routes.add.map((route) => one("route", routeKey(route), heldBy(route), by(route.ifindex))),
    ...due.routes.replace.map((route) =>
      one(
        "route",
        routeKey(route),
        held
          .filter((other) => routeKey(other) === routeKey(route))
          .map((other) => by(other.ifindex))
          .join(", "),
        by(route.ifindex),
      ),
    ),
    ...due.routes.remove.map((route) => one("route", routeKey(route), by(route.ifindex), null)),
    ...due.neighbours.set.map((entry) =>
      one(
        "neighbour",
        `${entry.address} on ${interfaceOf(entry.ifindex)}`,
        due.held.neighbours.get(neighbourKey(entry))?.mac ?? null,
        entry.mac,
      ),
    ),
    ...due.neighbours.remove.map((entry) =>
      one("neighbour", `${entry.address} on ${interfaceOf(entry.ifindex)}`, entry.mac, null),
    ),
    ...due.sysctls.map(({ setting, from, to }) => one("sysctl", setting.replaceAll("/", "."), from || null, to)),
  ];
}

const one = (kind: Difference["kind"], where: string, is: string | null, wanted: string | null): Difference => ({
  kind,
  where,
  key: "",
  is,
  wanted,
});
