/** What the agent sees of links: which taps and uplinks are there, and calls that make their routes, neighbours and settings right. */
import type { DesiredState } from "../compile/desired.js";
import type { Interfaces, Tap } from "../dataplane/backend.js";
import type { EndpointId, Prefix } from "../model/types.js";
import type { Problem } from "../problems.js";
import { planRoutes, type PlanInput, type RoutePlan } from "./desired.js";
import { diffNeighbours, diffRoutes, type NeighbourDiff, type RouteDiff } from "./diff.js";
import { Monitor, type MonitorState } from "./monitor.js";
import { checkTapRule, DEFAULT_TAP_RULE, isOurs, type TapRule } from "./ours.js";
import { Routes, type RouteReport } from "./routes.js";
import { RtNetlink } from "./rtnetlink.js";
import { Sysctls, type SysctlChange, type SysctlReport } from "./sysctls.js";
import type { Dataplane } from "./sysctl-plan.js";
import type { HookChange, Link, Route } from "./types.js";
import { uplinks } from "./uplinks.js";
import type { KernelView } from "./view.js";

/** rtm_protocol of what Torbie installs: assigned to nobody in linux/rtnetlink.h and iproute2's rt_protos (80 is Felix, 84 OVN). */
export const ROUTE_PROTOCOL = 116;

export interface LinksOptions {
  readonly taps?: TapRule;
  /** Names; absent: whichever carry a route with a gateway. */
  readonly uplinks?: readonly string[];
  /** 5..255; 0 to 4 are the kernel's own and the administrator's. */
  readonly protocol?: number;
  readonly metric?: { readonly normal: number; readonly elevated: number };
  readonly resyncMs?: number;
  /** What enforces: it decides what the kernel's own network stack has to do. Default: bpf. */
  readonly dataplane?: Dataplane;
  /** NAT sends what comes by taps to 127.0.0.0/8. */
  readonly localnet?: boolean;
  /** Somebody's routes that ours take the place of (see Routes). */
  readonly inherits?: (holder: Route) => boolean;
}

/** What differs between the kernel and a plan. */
export interface LinksDue {
  readonly plan: RoutePlan;
  readonly routes: RouteDiff;
  readonly neighbours: NeighbourDiff;
  readonly held: Pick<KernelView, "routes" | "neighbours">;
  readonly sysctls: readonly SysctlChange[];
}

export class Links {
  readonly #options: LinksOptions;
  readonly #rule: TapRule;
  readonly #netlink = new RtNetlink();
  readonly #routes: Routes;
  readonly #sysctls: Sysctls;
  readonly #monitor: Monitor;
  #onChange: () => void = () => undefined;
  #onHook: (change: HookChange | undefined) => void = () => undefined;
  #trouble: Error | undefined;
  #conflictsOver = 0;
  /** By ifindex: those that were switched on when they were looked at. */
  readonly #settled = new Set<number>();
  #interfaces: { readonly revision: number; readonly now: Interfaces } | undefined;
  #report: { readonly routes: readonly Problem[]; readonly sysctls: readonly Problem[] } = { routes: [], sysctls: [] };
  #last: Promise<unknown> = Promise.resolve();

  /** @throws ConfigError for prefixes that could not be said in a firewall rule */
  constructor(options: LinksOptions = {}) {
    this.#options = options;
    this.#sysctls = new Sysctls("/proc/sys", options.dataplane, options.localnet);
    this.#rule = checkTapRule(options.taps ?? DEFAULT_TAP_RULE);
    const protocol = options.protocol ?? ROUTE_PROTOCOL;
    this.#routes = new Routes(this.#netlink, () => this.#monitor.view, protocol, options.inherits);
    this.#monitor = new Monitor(this.#netlink, {
      protocol,
      ...(options.resyncMs === undefined ? {} : { resyncMs: options.resyncMs }),
      onChange: () => this.#onChange(),
      onHook: (change) => this.#onHook(change),
      onSync: () => (this.#trouble = undefined),
      onForeignRoute: (key) => {
        if (!this.#routes.forgetConflict(key)) return;
        this.#conflictsOver++;
        this.#onChange();
      },
      onTrouble: (error) => (this.#trouble = error),
    });
  }

  /**
   * Resolves when all is known. `onChange`: interfaces(), or routes or neighbours of ours, are no longer what they were. `onHook`: somebody
   * changed an interface's tc filters (undefined: any interface's may have been).
   */
  async start(onChange: () => void, onHook?: (change: HookChange | undefined) => void): Promise<void> {
    this.#onChange = onChange;
    if (onHook !== undefined) this.#onHook = onHook;
    await this.#monitor.start();
  }

  get state(): MonitorState {
    return this.#monitor.state;
  }

  /** How often everything was read: more than the periodic readings means that notifications were lost. */
  get snapshots(): number {
    return this.#monitor.snapshots;
  }

  /** Reads everything from the kernel again. */
  resync(): Promise<void> {
    this.#routes.forgetConflicts();
    this.#sysctls.forget();
    return this.#monitor.resync();
  }

  /**
   * Taps of ours (with and without endpoints) and uplinks as they are now; the same object as long as nothing changed. A tap without an
   * Ethernet address is not up.
   */
  interfaces(): Interfaces {
    const { revision } = this.#monitor;
    if (this.#interfaces?.revision !== revision) this.#interfaces = { revision, now: this.#readInterfaces() };
    return this.#interfaces.now;
  }

  /** Another number whenever interfaces, or routes or neighbours on them, are or may be other than before. */
  get revision(): number {
    return this.#monitor.revision + this.#conflictsOver;
  }

  #readInterfaces(): Interfaces {
    const view = this.#monitor.view;
    const taps = new Map<string, Tap>();
    for (const ifindex of this.#settled) if (!view.links.has(ifindex)) this.#settled.delete(ifindex);
    for (const { name, ifindex, mac, mtu, up, ...rest } of view.links.values()) {
      if (!isOurs({ name, ...rest }, this.#rule)) continue;
      if (rest.adminUp) this.#settled.add(ifindex);
      taps.set(name, { name, ifindex, mac, mtu, up, ...(this.#settled.has(ifindex) ? {} : { fresh: true as const }) });
    }
    return { taps, uplinks: uplinks(view.links, view.gateways.links, this.#options.uplinks, this.#rule) };
  }

  /** Every link of the namespace, for status. */
  links(): readonly Link[] {
    return [...this.#monitor.view.links.values()];
  }

  /** What applyRoutes() would aim at. */
  plan(
    desired: Pick<DesiredState, "endpoints">,
    enforced: ReadonlySet<EndpointId>,
    more: Pick<PlanInput, "ownerOf" | "elevated"> = {},
  ): RoutePlan {
    const gateways = [...this.#monitor.view.gateways.addresses].map(
      (address) => `${address}/${address.includes(":") ? 128 : 32}` as Prefix,
    );
    const metric = this.#options.metric;
    return planRoutes({
      endpoints: desired.endpoints,
      taps: this.interfaces().taps,
      enforced,
      reserved: gateways,
      ...more,
      ...(metric === undefined ? {} : { metric }),
    });
  }

  /**
   * Makes routes and permanent neighbours on our taps those of the endpoints that are enforced, and removes ours that are not
   * wanted. Calls queue. Failures are the caller's to repeat, with a back-off.
   */
  applyRoutes(
    desired: Pick<DesiredState, "endpoints">,
    enforced: ReadonlySet<EndpointId>,
    more: Pick<PlanInput, "ownerOf" | "elevated"> = {},
  ): Promise<RouteReport> {
    return this.#serially(async () => {
      const report = await this.#routes.apply(this.plan(desired, enforced, more));
      this.#report = { ...this.#report, routes: report.problems };
      return report;
    });
  }

  /** What applyRoutes() and ensureSysctls() would write now. Reads the kernel only where the monitor has not. */
  due(desired: Pick<DesiredState, "endpoints">, enforced: ReadonlySet<EndpointId>): LinksDue {
    const plan = this.plan(desired, enforced);
    const { routes, neighbours } = this.#monitor.view;
    const { taps, uplinks } = this.interfaces();
    return {
      plan,
      routes: diffRoutes(routes, plan.routes),
      neighbours: diffNeighbours(neighbours, plan.neighbours, this.#options.protocol ?? ROUTE_PROTOCOL),
      held: { routes, neighbours },
      sysctls: this.#sysctls.due(
        taps,
        uplinks.map(({ name }) => name),
      ),
    };
  }

  /** Removes every route and neighbour that carries our protocol number. */
  removeRoutes(): Promise<RouteReport> {
    return this.#serially(() => this.#routes.apply({ routes: new Map(), neighbours: new Map(), problems: [] }));
  }

  /** Settings of the host and of every tap of ours; a tap that had them is looked at again after resync(). */
  ensureSysctls(): Promise<SysctlReport> {
    return this.#serially(async () => {
      const { taps, uplinks } = this.interfaces();
      const report = await this.#sysctls.ensure(
        taps,
        uplinks.map((uplink) => uplink.name),
        (ifindex) => this.#monitor.view.links.get(ifindex)?.settings,
      );
      this.#report = { ...this.#report, sysctls: report.problems };
      return report;
    });
  }

  sysctlChanges(): readonly SysctlChange[] {
    return this.#sysctls.changes();
  }

  /** What stands between these interfaces and working, as of the last calls. */
  problems(): Problem[] {
    const present = new Set(this.links().map((link) => link.name));
    const missing = (this.#options.uplinks ?? [])
      .filter((name) => !present.has(name))
      .map((name) => ({
        where: `uplink ${JSON.stringify(name)}`,
        code: "UPLINK_MISSING",
        what: "the configured uplink is not there",
        consequence:
          "packets to and from it take the slow path once it appears under another name; it is picked up when it appears under this one",
      }));
    const trouble =
      this.#trouble === undefined
        ? []
        : [
            {
              where: "rtnetlink",
              code: "MONITOR_LOST",
              what: JSON.stringify(this.#trouble.message.slice(0, 200)),
              consequence: "interfaces are read again; what changed meanwhile is acted on late",
            },
          ];
    return [...missing, ...trouble, ...this.#report.routes, ...this.#report.sysctls];
  }

  /** Lets go; what was written stays. */
  close(): void {
    this.#monitor.close();
    this.#netlink.close();
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
