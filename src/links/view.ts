/** What the kernel has, as far as Torbie cares: all links, routes of our protocol, permanent neighbours, links with gateways. Pure fold of rtnetlink messages. */
import { NLM, NUD_PERMANENT, parseLink, parseNeighbour, parseRoute, RTM, TABLE_MAIN } from "./codec.js";
import { GatewayLinks } from "./gateways.js";
import {
  neighbourKey,
  routeKey,
  type Link,
  type Neighbour,
  type Route,
  type TapNeighbour,
  type TapRoute,
} from "./types.js";

export interface ViewChange {
  /** Links, links with gateways, our routes or permanent neighbours are different now. */
  readonly changed: boolean;
  /** The routing table has to be read again before what is known of gateways is right. */
  readonly stale: boolean;
  /** Key of a route that someone else changed or removed: a conflict there may be over. */
  readonly foreign?: string;
}

const NOTHING: ViewChange = { changed: false, stale: false };

/** A route of ours by what the kernel can tell apart: IPv6 may hold one prefix and metric on several links. */
export const heldKey = (route: TapRoute): string => `${routeKey(route)} dev ${route.ifindex}`;

export class KernelView {
  readonly links = new Map<number, Link>();
  readonly routes = new Map<string, TapRoute>();
  /** Permanent ones on any link; `protocol` says whose. */
  readonly neighbours = new Map<string, Neighbour>();
  readonly gateways = new GatewayLinks();
  readonly #protocol: number;
  /** Whose a name is: looked for at each notification, of which a thousand taps bring thousands. */
  readonly #named = new Map<string, number>();
  /** How often routes and neighbours of a link have ended with it. */
  readonly #ends = new Map<number, number>();

  /** @param protocol our rtm_protocol */
  constructor(protocol: number) {
    this.#protocol = protocol;
  }

  /** A message of a dump or a notification; `flags` are those of the header. */
  fold(type: number, flags: number, body: Buffer): ViewChange {
    switch (type) {
      case RTM.NEWLINK:
      case RTM.DELLINK: {
        const link = parseLink(body);
        if (link === undefined) return NOTHING;
        return type === RTM.NEWLINK ? this.#putLink(link) : this.#dropLink(link.ifindex);
      }
      case RTM.NEWROUTE:
      case RTM.DELROUTE: {
        const route = parseRoute(body);
        if (route === undefined) return NOTHING;
        return this.#route(route, type === RTM.DELROUTE ? "removed" : (flags & NLM.REPLACE) !== 0 ? "replaced" : "new");
      }
      case RTM.NEWNEIGH:
      case RTM.DELNEIGH: {
        const entry = parseNeighbour(body);
        return entry === undefined ? NOTHING : this.#neighbour(entry, type === RTM.DELNEIGH);
      }
      default:
        return NOTHING;
    }
  }

  /** A link as read (not notified). */
  addLink(link: Link): void {
    this.#putLink(link);
  }

  /** A route as read (not notified). */
  addRead(route: Route): void {
    this.gateways.count(route);
    if (this.#isOurs(route)) for (const held of taken(route)) this.routes.set(heldKey(held), held);
  }

  /**
   * To be asked before a route or a neighbour is written; the answer says afterwards whether it still counts. The kernel's word that the link
   * was switched off may be heard before its word that the writing was done.
   */
  writing(ifindex: number): () => boolean {
    const before = this.#ends.get(ifindex);
    return () => this.#ends.get(ifindex) === before;
  }

  /** What we wrote ourselves, recorded when the kernel has acknowledged it. */
  wroteRoute(route: TapRoute, replaced: boolean): void {
    if (replaced) this.#dropRoutes(routeKey(route));
    this.routes.set(heldKey(route), route);
  }

  wroteNeighbour(entry: TapNeighbour): void {
    this.neighbours.set(neighbourKey(entry), { ...entry, state: NUD_PERMANENT, protocol: this.#protocol });
  }

  #putLink(link: Link): ViewChange {
    const before = this.links.get(link.ifindex);
    // Names are unique in a namespace: whoever held this one has left it, even if that was not heard.
    const holder = this.#named.get(link.name);
    if (holder !== undefined && holder !== link.ifindex) this.#dropLink(holder);
    if (before !== undefined && before.name !== link.name) this.#named.delete(before.name);
    this.links.set(link.ifindex, link);
    this.#named.set(link.name, link.ifindex);
    if (!link.adminUp) this.#forget(link.ifindex);
    const changed =
      before === undefined ||
      (Object.keys(link) as (keyof Link)[]).some((key) => key !== "settings" && before[key] !== link[key]);
    return { changed, stale: before?.adminUp === true && !link.adminUp && this.gateways.links.has(link.ifindex) };
  }

  #dropLink(ifindex: number): ViewChange {
    const name = this.links.get(ifindex)?.name;
    if (name !== undefined && this.#named.get(name) === ifindex) this.#named.delete(name);
    const changed = this.links.delete(ifindex);
    this.#forget(ifindex);
    return { changed, stale: this.gateways.links.has(ifindex) };
  }

  /** Routes and neighbours end with their link, and IPv4's do so without a notification. */
  #forget(ifindex: number): void {
    this.#ends.set(ifindex, (this.#ends.get(ifindex) ?? 0) + 1);
    for (const [key, route] of this.routes) if (route.ifindex === ifindex) this.routes.delete(key);
    for (const [key, entry] of this.neighbours) if (entry.ifindex === ifindex) this.neighbours.delete(key);
  }

  #isOurs(route: Route): boolean {
    return (
      route.protocol === this.#protocol && route.table === TABLE_MAIN && route.tos === 0 && route.gateways.length === 0
    );
  }

  #route(route: Route, kind: "new" | "replaced" | "removed"): ViewChange {
    const { added, stale } = this.gateways.note(kind, route);
    let changed = added;
    const ours = this.#isOurs(route);
    const key = routeKey(route);
    if (kind === "replaced" && route.table === TABLE_MAIN) {
      const kept = new Set(ours ? taken(route).map(heldKey) : []);
      if (this.#dropRoutes(key, kept)) changed = true;
    }
    if (ours)
      for (const held of taken(route)) {
        const known = this.routes.has(heldKey(held));
        if (kind === "removed") this.routes.delete(heldKey(held));
        else this.routes.set(heldKey(held), held);
        if (known === (kind === "removed")) changed = true;
      }
    return ours || route.table !== TABLE_MAIN ? { changed, stale } : { changed, stale, foreign: key };
  }

  #dropRoutes(key: string, except: ReadonlySet<string> = new Set()): boolean {
    let dropped = false;
    for (const [held, route] of this.routes)
      if (routeKey(route) === key && !except.has(held)) dropped = this.routes.delete(held) || dropped;
    return dropped;
  }

  #neighbour(entry: Neighbour, removed: boolean): ViewChange {
    const key = neighbourKey(entry);
    const before = this.neighbours.get(key);
    if (removed || (entry.state & NUD_PERMANENT) === 0) return { changed: this.neighbours.delete(key), stale: false };
    this.neighbours.set(key, entry);
    return { changed: before?.mac !== entry.mac || before.protocol !== entry.protocol, stale: false };
  }
}

const taken = (route: Route): TapRoute[] =>
  route.links.map((ifindex) => ({ family: route.family, prefix: route.prefix, metric: route.metric, ifindex }));
