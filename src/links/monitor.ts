/**
 * Follows the kernel's links, routes and neighbours: subscribe → snapshot → following, and from there a periodic snapshot,
 * or, when notifications were lost (ENOBUFS: nobody can say which), lost → subscribe again.
 */
import type { NetlinkMessage } from "netlink";
import {
  familyDump,
  GROUP,
  linkDump,
  NUD_PERMANENT,
  parseHookChange,
  parseLink,
  parseNeighbour,
  parseRoute,
  RTM,
} from "./codec.js";
import { Follower } from "./follower.js";
import type { RtNetlink } from "./rtnetlink.js";
import { neighbourKey, type HookChange } from "./types.js";
import { KernelView } from "./view.js";

export type MonitorState = "idle" | "subscribing" | "snapshot" | "following" | "lost" | "closed";

export interface MonitorOptions {
  /** Our rtm_protocol. */
  readonly protocol: number;
  /** What is known has changed; may come often, carries nothing: look at `view`. */
  readonly onChange: () => void;
  /** A route that is not ours was changed: its key. */
  readonly onForeignRoute?: (key: string) => void;
  /** Filters of an interface were changed by anyone, ourselves too. Undefined: of any, since notifications were lost. */
  readonly onHook?: (change: HookChange | undefined) => void;
  /** Everything has been read, and is being followed. */
  readonly onSync?: () => void;
  /** Why notifications were lost or a snapshot failed; it goes on by itself. */
  readonly onTrouble?: (error: Error) => void;
  /** Everything is read again this often, whatever was heard (default 90 s). */
  readonly resyncMs?: number;
}

const BACKOFF_MS = [100, 200, 500, 1000, 2000, 5000];
/** Readings of the routing table asked for by its own churn are at least this far apart. */
const STALE_MS = 500;

export class Monitor {
  #state: MonitorState = "idle";
  #view: KernelView;
  #follower: Follower | undefined;
  #queue: NetlinkMessage[] = [];
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #resync: NodeJS.Timeout | undefined;
  #snapshots = 0;
  #revision = 0;
  #lostSome = false;
  #waiting: (() => void)[] = [];
  readonly #requests: RtNetlink;
  readonly #options: MonitorOptions;

  /** @param requests socket for dumps; stays the caller's */
  constructor(requests: RtNetlink, options: MonitorOptions) {
    this.#requests = requests;
    this.#options = options;
    this.#view = new KernelView(options.protocol);
  }

  get state(): MonitorState {
    return this.#state;
  }

  /** What was last known. Of the last snapshot while a new one is being taken. */
  get view(): KernelView {
    return this.#view;
  }

  /** Another number whenever `view` says something else than before. */
  get revision(): number {
    return this.#revision;
  }

  /** How often everything was read. */
  get snapshots(): number {
    return this.#snapshots;
  }

  /** Resolves when the first snapshot is in; keeps trying until then. */
  start(): Promise<void> {
    const synced = this.#nextSync();
    if (this.#state === "idle") this.#subscribe();
    return synced;
  }

  /** Reads everything again now. */
  resync(): Promise<void> {
    const synced = this.#nextSync();
    if (this.#state === "following") void this.#snapshot();
    return synced;
  }

  close(): void {
    this.#state = "closed";
    clearTimeout(this.#timer);
    clearTimeout(this.#resync);
    this.#follower?.close();
    this.#settle();
  }

  #nextSync(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #settle(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #subscribe(): void {
    this.#state = "subscribing";
    this.#queue = [];
    // Of a former child, or after close(), nothing counts.
    const mine = (then: () => void): void => {
      if (this.#follower === follower && this.#state !== "closed") then();
    };
    const follower: Follower = new Follower(
      Object.values(GROUP),
      () => mine(() => void this.#snapshot()),
      (message) => mine(() => this.#hear(message)),
      (error) => mine(() => this.#lost(error)),
    );
    this.#follower = follower;
  }

  async #snapshot(): Promise<void> {
    this.#state = "snapshot";
    clearTimeout(this.#resync);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const follower = this.#follower;
    const view = new KernelView(this.#options.protocol);
    try {
      for (const link of await this.#requests.dump("read the links", RTM.GETLINK, linkDump(), parseLink))
        view.addLink(link);
      for (const family of [4, 6] as const) {
        await this.#requests
          .dump(`read the IPv${family} routes`, RTM.GETROUTE, familyDump(family), (body) => {
            const route = parseRoute(body);
            if (route === undefined) return undefined;
            return route.gateways.length > 0 || route.protocol === this.#options.protocol ? route : undefined;
          })
          .then((routes) => routes.forEach((route) => view.addRead(route)));
        const entries = await this.#requests.dump(
          `read the IPv${family} neighbours`,
          RTM.GETNEIGH,
          familyDump(family),
          parseNeighbour,
        );
        for (const entry of entries)
          if ((entry.state & NUD_PERMANENT) !== 0) view.neighbours.set(neighbourKey(entry), entry);
      }
    } catch (error) {
      if (follower === this.#follower && this.#state === "snapshot") this.#lost(error as Error);
      return;
    }
    // Closed or subscribed anew meanwhile: this reading has no notifications to go with it.
    if (follower !== this.#follower || this.#state !== "snapshot") return;
    this.#inSync(view);
  }

  #inSync(view: KernelView): void {
    const before = this.#view;
    this.#view = view;
    this.#revision++;
    this.#state = "following";
    this.#failures = 0;
    this.#snapshots++;
    if (this.#lostSome) this.#options.onHook?.(undefined);
    this.#lostSome = false;
    // Some were already in the reading: a later message about the same thing always follows, so the end is right.
    for (const message of this.#queue.splice(0)) this.#fold(message, false);
    this.#resync = setTimeout(() => void this.#snapshot(), this.#options.resyncMs ?? 90_000).unref();
    this.#options.onSync?.();
    this.#settle();
    if (this.#snapshots === 1 || !same(before, this.#view)) this.#options.onChange();
  }

  #hear(message: NetlinkMessage): void {
    const hook = parseHookChange(message.type, message.data);
    if (hook !== undefined) return this.#options.onHook?.(hook);
    if (this.#state !== "following") this.#queue.push(message);
    // A long reading must not delay what is heard meanwhile: it is true of the old view as well.
    if (this.#snapshots > 0 && this.#state !== "lost") this.#fold(message, true);
  }

  #fold(message: NetlinkMessage, tell: boolean): void {
    let change;
    try {
      change = this.#view.fold(message.type, message.flags, message.data);
    } catch (error) {
      this.#lost(error as Error);
      return;
    }
    if (change.changed) this.#revision++;
    if (change.foreign !== undefined) this.#options.onForeignRoute?.(change.foreign);
    if (change.stale && this.#timer === undefined)
      this.#timer = setTimeout(() => {
        if (this.#state === "following") void this.#snapshot();
      }, STALE_MS).unref();
    if (change.changed && tell) this.#options.onChange();
  }

  #lost(error: Error): void {
    if (this.#state === "closed" || this.#state === "lost") return;
    this.#state = "lost";
    this.#lostSome = true;
    this.#options.onTrouble?.(error);
    clearTimeout(this.#resync);
    clearTimeout(this.#timer);
    this.#follower?.close();
    this.#follower = undefined;
    const delay = BACKOFF_MS[Math.min(this.#failures++, BACKOFF_MS.length - 1)];
    this.#timer = setTimeout(() => this.#subscribe(), delay);
  }
}

function same(a: KernelView, b: KernelView): boolean {
  const text = (view: KernelView): string =>
    JSON.stringify([
      [...view.links.values()].sort((x, y) => x.ifindex - y.ifindex),
      [...view.routes.keys()].sort(),
      [...view.neighbours].map(([key, entry]) => `${key} ${entry.mac} ${entry.protocol}`).sort(),
      [...view.gateways.links].sort(),
    ]);
  return text(a) === text(b);
}
