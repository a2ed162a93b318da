/** Makes the kernel's routes and neighbours on our taps those of a plan, and touches nobody else's. */
import type { Problem } from "../problems.js";
import { familyDump, neighbourBody, NLM, parseRoute, routeBody, RTM, TABLE_MAIN } from "./codec.js";
import type { RoutePlan } from "./desired.js";
import { diffNeighbours, diffRoutes } from "./diff.js";
import { NetlinkError, type RtNetlink } from "./rtnetlink.js";
import { neighbourKey, routeKey, type Route, type TapRoute } from "./types.js";
import { heldKey, type KernelView } from "./view.js";

export interface RouteReport {
  readonly added: number;
  readonly replaced: number;
  readonly removed: number;
  readonly neighboursSet: number;
  readonly neighboursRemoved: number;
  /** By route or neighbour; the next apply tries again. */
  readonly failures: readonly { readonly where: string; readonly error: Error }[];
  readonly problems: readonly Problem[];
}

/** Requests on their way at once: their answers fit any receive buffer. */
const IN_FLIGHT = 64;
const GONE = new Set(["ESRCH", "ENOENT", "ENODEV", "EADDRNOTAVAIL"]);

export class Routes {
  readonly #netlink: RtNetlink;
  readonly #view: () => KernelView;
  readonly #protocol: number;
  readonly #inherits: (holder: Route) => boolean;
  /** Wanted routes whose place is held by someone else, by routeKey. */
  readonly #conflicts = new Map<string, Route>();

  /**
   * @param view the monitor's; what is written is recorded there
   * @param protocol our rtm_protocol, 1..255
   * @param inherits somebody's route that a wanted one takes the place of, in one message, instead of being in conflict with it
   */
  constructor(
    netlink: RtNetlink,
    view: () => KernelView,
    protocol: number,
    inherits: (holder: Route) => boolean = () => false,
  ) {
    this.#inherits = inherits;
    this.#netlink = netlink;
    this.#view = view;
    this.#protocol = protocol;
  }

  /** Someone else's route changed: if it stood in the way, it is worth trying again. Says whether it was. */
  forgetConflict(key: string): boolean {
    return this.#conflicts.delete(key);
  }

  forgetConflicts(): void {
    this.#conflicts.clear();
  }

  /** Neighbours first (a route without one would have the kernel ask), then new routes, moved ones, and removals last. */
  async apply(plan: RoutePlan): Promise<RouteReport> {
    const failures: { where: string; error: Error }[] = [];
    const count = { added: 0, replaced: 0, removed: 0, neighboursSet: 0, neighboursRemoved: 0 };
    for (const key of this.#conflicts.keys()) if (!plan.routes.has(key)) this.#conflicts.delete(key);

    const neighbours = diffNeighbours(this.#view().neighbours, plan.neighbours, this.#protocol);
    await each(neighbours.set, failures, neighbourKey, async (entry) => {
      const view = this.#view();
      const counts = view.writing(entry.ifindex);
      await this.#netlink.request(
        `neighbour ${neighbourKey(entry)}`,
        RTM.NEWNEIGH,
        NLM.CREATE | NLM.REPLACE,
        neighbourBody(entry, this.#protocol),
      );
      if (view === this.#view() && counts()) view.wroteNeighbour(entry);
      count.neighboursSet++;
    });

    const routes = diffRoutes(this.#view().routes, plan.routes);
    const taken: TapRoute[] = [];
    await each(
      routes.add.filter((route) => !this.#conflicts.has(routeKey(route))),
      failures,
      heldKey,
      async (route) => {
        try {
          await this.#put(route, NLM.CREATE | NLM.EXCL);
          count.added++;
        } catch (error) {
          if (!(error instanceof NetlinkError) || error.code !== "EEXIST") throw error;
          taken.push(route);
        }
      },
    );
    const unknownOfOurs = await this.#whose(taken, failures);
    await each([...routes.replace, ...unknownOfOurs], failures, heldKey, async (route) => {
      await this.#put(route, NLM.CREATE | NLM.REPLACE);
      count.replaced++;
    });
    await each(routes.remove, failures, heldKey, async (route) => {
      await ignoreGone(
        this.#netlink.request(`remove route ${heldKey(route)}`, RTM.DELROUTE, 0, routeBody(route, this.#protocol)),
      );
      this.#view().routes.delete(heldKey(route));
      count.removed++;
    });
    await each(neighbours.remove, failures, neighbourKey, async (entry) => {
      await ignoreGone(
        this.#netlink.request(
          `remove neighbour ${neighbourKey(entry)}`,
          RTM.DELNEIGH,
          0,
          neighbourBody(entry, this.#protocol),
        ),
      );
      this.#view().neighbours.delete(neighbourKey(entry));
      count.neighboursRemoved++;
    });
    return {
      ...count,
      failures,
      problems: [...plan.problems, ...[...this.#conflicts].map(([key, route]) => conflict(key, route))],
    };
  }

  async #put(route: TapRoute, flags: number): Promise<void> {
    const view = this.#view();
    const counts = view.writing(route.ifindex);
    await this.#netlink.request(`route ${heldKey(route)}`, RTM.NEWROUTE, flags, routeBody(route, this.#protocol));
    if (view === this.#view() && counts()) view.wroteRoute(route, (flags & NLM.REPLACE) !== 0);
  }

  /** Of routes whose place is taken: those taken by a forgotten route of ours, or by one that we inherit; the others become conflicts. */
  async #whose(taken: readonly TapRoute[], failures: { where: string; error: Error }[]): Promise<TapRoute[]> {
    if (taken.length === 0) return [];
    const wanted = new Set(taken.map(routeKey));
    const holders = new Map<string, Route>();
    try {
      for (const family of new Set(taken.map((route) => route.family)))
        for (const route of await this.#netlink.dump("who holds a route", RTM.GETROUTE, familyDump(family), parseRoute))
          if (route.table === TABLE_MAIN && route.tos === 0 && wanted.has(routeKey(route)))
            holders.set(routeKey(route), route);
    } catch (error) {
      for (const route of taken) failures.push({ where: heldKey(route), error: error as Error });
      return [];
    }
    const ours: TapRoute[] = [];
    for (const route of taken) {
      const holder = holders.get(routeKey(route));
      if (holder !== undefined && (holder.protocol === this.#protocol || this.#inherits(holder))) ours.push(route);
      else if (holder !== undefined) this.#conflicts.set(routeKey(route), holder);
      else
        failures.push({
          where: heldKey(route),
          error: new NetlinkError(`rtnetlink: route ${heldKey(route)}: its place was taken, and is free again`, 0),
        });
    }
    return ours;
  }
}

async function each<T>(
  items: readonly T[],
  failures: { where: string; error: Error }[],
  name: (item: T) => string,
  act: (item: T) => Promise<void>,
): Promise<void> {
  for (let at = 0; at < items.length; at += IN_FLIGHT) {
    await Promise.all(
      items.slice(at, at + IN_FLIGHT).map(async (item) => {
        try {
          await act(item);
        } catch (error) {
          failures.push({ where: name(item), error: error as Error });
        }
      }),
    );
  }
}

/** What is to be removed and is not there has been removed. */
async function ignoreGone(request: Promise<void>): Promise<void> {
  try {
    await request;
  } catch (error) {
    if (!(error instanceof NetlinkError) || !GONE.has(error.code)) throw error;
  }
}

function conflict(key: string, holder: Route): Problem {
  return {
    where: `route ${key}`,
    code: "ROUTE_CONFLICT",
    what: `route ${key} is held by protocol ${holder.protocol} through interface ${holder.links.join(", ")}`,
    consequence:
      "it is left alone, and the guest with that address is not reached; remove it, and Torbie takes its place",
  };
}
