/**
 * Which links carry a route with a gateway, followed without remembering the routes: with BGP there may be 100,000, and
 * only "none" or "some" matters. A new route adds its links at once; a removed one only lowers what the last reading
 * counted, and when that reaches nothing the table has to be read again. Reading too often is the only possible mistake.
 */
import type { Address } from "../model/types.js";
import type { Route } from "./types.js";

const TABLE_LOCAL = 255;

export class GatewayLinks {
  /** ifindex → routes counted at the last reading less those removed since. */
  readonly #left = new Map<number, number>();
  readonly #addresses = new Set<Address>();

  get links(): ReadonlySet<number> {
    return new Set(this.#left.keys());
  }

  /** Addresses of the gateways seen since the last reading. */
  get addresses(): ReadonlySet<Address> {
    return this.#addresses;
  }

  /** A route of a reading. */
  count(route: Route): void {
    if (route.table === TABLE_LOCAL) return;
    for (const { ifindex, address } of route.gateways) {
      this.#left.set(ifindex, (this.#left.get(ifindex) ?? 0) + 1);
      this.#addresses.add(address);
    }
  }

  /** A notification. Says whether a link was added, and whether the table should be read again. */
  note(kind: "new" | "replaced" | "removed", route: Route): { readonly added: boolean; readonly stale: boolean } {
    let added = false;
    let stale = false;
    if (route.table === TABLE_LOCAL) return { added, stale };
    const links = route.gateways.map((gateway) => gateway.ifindex);
    if (kind !== "removed") {
      for (const { ifindex, address } of route.gateways) {
        this.#addresses.add(address);
        if (!this.#left.has(ifindex)) added = true;
        this.#left.set(ifindex, this.#left.get(ifindex) ?? 1);
      }
    }
    // What a route replaced is not said: it may have been on any other link.
    const fewer =
      kind === "removed"
        ? links
        : kind === "replaced"
          ? [...this.#left.keys()].filter((link) => !links.includes(link))
          : [];
    for (const link of fewer) {
      const left = this.#left.get(link);
      if (left === undefined) continue;
      this.#left.set(link, Math.max(0, left - 1));
      if (left <= 1) stale = true;
    }
    return { added, stale };
  }
}
