/** src/links as the agent's loop sees it. */
import type { DesiredEndpoint, DesiredState } from "../../compile/desired.js";
import type { Config } from "../../config/schema.js";
import { Links } from "../../links/links.js";
import { speakers } from "../../links/speakers.js";
import type { RouteReport } from "../../links/routes.js";
import type { Route } from "../../links/types.js";
import type { EndpointId } from "../../model/types.js";
import { isLoopback4 } from "../../model/services.js";
import type { LinksPart, ReportPart } from "../parts.js";
import { metadataOf } from "./served.js";

const NOTHING: ReportPart = { writes: 0, failures: [] };
/** Metric of a guest that is moving here, relative to the normal one: the lower wins. */
const elevated = (normal: number): number => Math.max(1, Math.floor(normal / 2));

/** NAT sends what guests ask of the metadata service to 127.0.0.0/8. */
export const hasLocalnet = (config: Config): boolean => isLoopback4(metadataOf(config).addresses[4]);

/** @param inherits whose routes ours take the place of */
export function openLinks(
  config: Config,
  dataplane: "bpf" | "iptables" = "bpf",
  inherits?: (holder: Route) => boolean,
): Links {
  return new Links({
    dataplane,
    ...(inherits === undefined ? {} : { inherits }),
    taps: { prefixes: config.interfacePrefix, excluded: config.interfaceExclude },
    ...(config.uplinks.includes("auto") ? {} : { uplinks: config.uplinks }),
    protocol: config.routeProtocol,
    localnet: hasLocalnet(config),
    metric: { normal: config.routeMetric, elevated: elevated(config.routeMetric) },
  });
}

const routeWrites = (report: RouteReport): number =>
  report.added + report.replaced + report.removed + report.neighboursSet + report.neighboursRemoved;

/** What the kernel's routes are about. */
interface Before {
  /** Of what was seen of the kernel; undefined: something could not be written. */
  readonly revision: number | undefined;
  readonly endpoints: ReadonlyMap<EndpointId, DesiredEndpoint>;
  readonly enforced: ReadonlySet<EndpointId>;
  /** Of taps, by name. */
  readonly ifindexes: ReadonlyMap<string, number>;
}

export class LinksAdapter implements LinksPart {
  readonly #links: Links;
  /** What the last program() was about; undefined: nothing of this process yet. */
  #before: Before | undefined;
  /** Interfaces whose sysctls are as they should be. */
  #settled = "";

  constructor(links: Links) {
    this.#links = links;
  }

  start(...callbacks: Parameters<LinksPart["start"]>): Promise<void> {
    return this.#links.start(...callbacks);
  }
  interfaces(): ReturnType<Links["interfaces"]> {
    return this.#links.interfaces();
  }
  async refresh(): Promise<void> {
    this.#settled = "";
    await this.#links.resync();
  }
  problems(): ReturnType<Links["problems"]> {
    return this.#links.problems();
  }
  speakers(): ReadonlySet<string> {
    return speakers();
  }
  stop(): Promise<void> {
    this.#links.close();
    return Promise.resolve();
  }

  /**
   * Routes of endpoints that are gone or different, as long as the maps still hold them. A process that has just begun does not know
   * which are in the maps: there, stale routes go in program(), and lead to a tap whose program drops meanwhile.
   */
  async withdraw(desired: DesiredState): Promise<ReportPart> {
    const before = this.#before;
    if (before === undefined || hasAll(desired.endpoints, before.endpoints)) return NOTHING;
    const kept = [...before.enforced].filter((id) => desired.endpoints.get(id) === before.endpoints.get(id));
    if (kept.length === before.enforced.size) return NOTHING;
    const keeps = new Set(kept);
    const changed = [...before.enforced].filter((id) => !keeps.has(id) && desired.endpoints.has(id));
    // A tap that was replaced has no program yet: no route to it before it has.
    const { taps } = this.#links.interfaces();
    const same = (id: EndpointId): boolean => {
      const name = before.endpoints.get(id)?.interfaceName ?? "";
      return taps.get(name)?.ifindex === before.ifindexes.get(name);
    };
    // An endpoint that only changed keeps its routes to the addresses that it keeps.
    const report = await this.#links.applyRoutes(
      { endpoints: narrowed(before.endpoints, desired.endpoints, changed) },
      new Set([...kept, ...changed].filter(same)),
    );
    return { writes: routeWrites(report), failures: report.failures };
  }

  #isAsBefore({ endpoints }: DesiredState, enforced: ReadonlySet<EndpointId>): boolean {
    const before = this.#before;
    if (before === undefined || endpoints.size !== before.endpoints.size || enforced.size !== before.enforced.size)
      return false;
    if (before.enforced !== enforced) for (const id of enforced) if (!before.enforced.has(id)) return false;
    return hasAll(endpoints, before.endpoints);
  }

  async program(desired: DesiredState, enforced: ReadonlySet<EndpointId>): Promise<ReportPart> {
    const { revision } = this.#links;
    if (this.#settled !== "" && this.#before?.revision === revision && this.#isAsBefore(desired, enforced))
      return NOTHING;
    let writes = 0;
    const failures: { where: string; error: Error }[] = [];
    const { taps, uplinks } = this.#links.interfaces();
    const present = JSON.stringify([[...taps.values()].map(({ name, ifindex, up }) => [name, ifindex, up]), uplinks]);
    if (present !== this.#settled) {
      const report = await this.#links.ensureSysctls();
      writes += report.changed.length;
      failures.push(...report.failures);
      if (report.failures.length === 0) this.#settled = present;
    }
    const report = await this.#links.applyRoutes(desired, enforced);
    this.#before = {
      revision: failures.length + report.failures.length === 0 ? revision : undefined,
      endpoints: new Map(desired.endpoints),
      enforced,
      ifindexes: new Map([...taps].map(([name, { ifindex }]) => [name, ifindex])),
    };
    return { writes: writes + routeWrites(report), failures: [...failures, ...report.failures] };
  }
}

/** Nothing of `before` is gone or different; what is new does not count. */
function hasAll(
  now: ReadonlyMap<EndpointId, DesiredEndpoint>,
  before: ReadonlyMap<EndpointId, DesiredEndpoint>,
): boolean {
  for (const [id, endpoint] of before) if (now.get(id) !== endpoint) return false;
  return true;
}

/** The endpoints of before, those of `changed` with only the addresses that they had and keep, on the interface that they keep. */
function narrowed(
  before: ReadonlyMap<EndpointId, DesiredEndpoint>,
  after: ReadonlyMap<EndpointId, DesiredEndpoint>,
  changed: readonly EndpointId[],
): ReadonlyMap<EndpointId, DesiredEndpoint> {
  const result = new Map([...before].filter(([id]) => after.has(id)));
  for (const id of changed) {
    const [old, next] = [before.get(id), after.get(id)];
    if (old === undefined || next === undefined) continue;
    const keeps = new Set(
      next.interfaceName === old.interfaceName && next.mac === old.mac ? next.owned.map(({ prefix }) => prefix) : [],
    );
    const floats = new Set(keeps.size === 0 ? [] : next.floating?.map(({ external }) => external));
    result.set(id, {
      ...old,
      owned: old.owned.filter(({ prefix }) => keeps.has(prefix)),
      ...(old.floating && { floating: old.floating.filter(({ external }) => floats.has(external)) }),
    });
  }
  return result;
}
