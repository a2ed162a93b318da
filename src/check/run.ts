/** `torbie check`: the datastore against what the agent wants against the kernel read back. Writes nothing. */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { agentRuns } from "../agent/lock.js";
import { readStatus } from "../agent/status.js";
import { formerPins } from "../agent/wire/former.js";
import { servedOf } from "../agent/wire/served.js";
import { servicesWish } from "../agent/wire/services.js";
import { guardOptions } from "../agent/wire/guard.js";
import { openLinks } from "../agent/wire/links.js";
import { pinsIn } from "../agent/wire/pins.js";
import { flowTimeouts } from "../agent/wire/timeouts.js";
import type { DesiredState } from "../compile/desired.js";
import { behind, type DesiredDifference } from "../compile/desired-text.js";
import type { LoadedConfig } from "../config/load.js";
import { compareMaps } from "../dataplane/bpf/compare.js";
import { findHz } from "../dataplane/bpf/hz.js";
import { openPinned } from "../dataplane/bpf/read.js";
import { mapsDir } from "../dataplane/bpf/pins.js";
import { assignTaps } from "../dataplane/bpf/plan-endpoints.js";
import { readInventory } from "../dataplane/iptables/inventory.js";
import { readAllRoutes } from "../links/read-links.js";
import { DataplaneError } from "../errors.js";
import type { Links } from "../links/links.js";
import type { EndpointId } from "../model/types.js";
import type { Problem } from "../problems.js";
import { askDesired } from "./agent-client.js";
import { lasting, type Difference } from "./difference.js";
import { compareServices } from "./services.js";
import { compareGuard } from "./guard.js";
import { compareHooks, pinnedPrograms } from "./hooks.js";
import { nameLinkDifferences } from "./name-links.js";
import { nameMapDifferences } from "./name-maps.js";
import { compareRules } from "./rules.js";
import { wantedNow } from "./wanted.js";

export interface CheckReport {
  readonly dataplane: "bpf" | "iptables";
  readonly datastore: {
    readonly description: string;
    /** Why it was not compared with. */
    readonly why?: string;
    /** Of values that can't be understood. */
    readonly problems: readonly Problem[];
  };
  readonly agent: {
    readonly running: boolean;
    /** Why it was not asked, or what it waits for. */
    readonly why?: string;
    /** What the datastore says and the agent has not compiled; only where both are known. */
    readonly behind: readonly DesiredDifference[];
  };
  /** What the kernel was compared with. */
  readonly against: "datastore" | "agent";
  /** Of when that is, ISO 8601, where it is not of now. */
  readonly dataFrom?: string;
  readonly endpoints: number;
  readonly differences: readonly Difference[];
}

/** Nothing to compare with, or nothing enforced. */
export class NothingToCheck extends DataplaneError {}

/** Milliseconds between two looks: a pass of the agent that is under way has ended then. */
const AGAIN = 700;

/** @throws NothingToCheck, ConfigError, DataplaneError */
export async function check(loaded: LoadedConfig): Promise<CheckReport> {
  const first = await look(loaded);
  if (first.differences.length + first.agent.behind.length === 0) return first;
  // What is on its way is no difference: only what is there twice counts.
  await sleep(AGAIN);
  const second = await look(loaded);
  const known = new Set(first.agent.behind.map((one) => JSON.stringify(one)));
  return {
    ...second,
    differences: lasting(first.differences, second.differences),
    agent: { ...second.agent, behind: second.agent.behind.filter((one) => known.has(JSON.stringify(one))) },
  };
}

async function look(loaded: LoadedConfig): Promise<CheckReport> {
  const { config } = loaded;
  const dataplane = enforcing(loaded);
  const running = agentRuns(config.runDir);
  const agent = running ? await askDesired(config.runDir).catch((error: unknown) => error as Error) : undefined;
  const known = agent === undefined || agent instanceof Error ? undefined : agent;
  const moves =
    known &&
    new Map(
      [...known.desired.endpoints].flatMap(([id, { move }]) => (move === undefined ? [] : [[id, move] as const])),
    );
  const wanted = await wantedNow(loaded, readStatus(config.runDir)?.cluster, moves);
  const desired = wanted.readable ? wanted.desired : known?.desired;
  if (desired === undefined) {
    const why = wanted.readable ? "" : wanted.why;
    const other =
      agent instanceof Error ? agent.message : "no agent runs on this host that would remember what it said last";
    throw new NothingToCheck(
      "NOTHING_TO_COMPARE",
      `${wanted.description} can't be compared with: ${why}; and ${other}. What is enforced stays enforced: torbie endpoint list, policy show`,
    );
  }
  const differences = await inKernel(loaded, dataplane, desired);
  const waits = known?.held ?? (agent instanceof Error ? agent.message : undefined);
  return {
    dataplane,
    datastore: wanted.readable
      ? { description: wanted.description, problems: wanted.problems }
      : { description: wanted.description, why: wanted.why, problems: [] },
    agent: {
      running,
      ...(waits === undefined ? {} : { why: waits }),
      behind: wanted.readable && known !== undefined ? behind(known.desired, wanted.desired) : [],
    },
    against: wanted.readable ? "datastore" : "agent",
    ...(wanted.readable || known?.dataFrom === undefined ? {} : { dataFrom: known.dataFrom }),
    endpoints: desired.endpoints.size,
    differences,
  };
}

/** @throws NothingToCheck when neither programs nor rules of ours are there */
function enforcing({ config }: LoadedConfig): "bpf" | "iptables" {
  try {
    if (readInventory(config.runDir) !== undefined) return "iptables";
  } catch (error) {
    throw error instanceof DataplaneError ? new NothingToCheck("OTHER_LAYOUT", error.message) : error;
  }
  if (existsSync(mapsDir(pinsIn(config.pinDir)))) return "bpf";
  const [other] = formerPins(config);
  throw new NothingToCheck(
    other === undefined ? "NO_PINNED_STATE" : "OTHER_LAYOUT",
    other === undefined
      ? `nothing is pinned at ${config.pinDir}, and iptables enforces nothing: no agent has run on this host since it booted, or it was cleaned up (torbie agent)`
      : `what is pinned at ${other} is of another version of Torbie: check it with that one, or start this one's agent, which takes over from it`,
  );
}

async function inKernel(
  loaded: LoadedConfig,
  dataplane: CheckReport["dataplane"],
  desired: DesiredState,
): Promise<Difference[]> {
  const { config } = loaded;
  const links = openLinks(config, dataplane);
  try {
    await links.start(() => undefined);
    const interfaces = links.interfaces();
    const bpf = dataplane === "bpf";
    const enforced = new Set<EndpointId>(assignTaps(desired, interfaces).keys());
    const taps = [...enforced].flatMap((id) => desired.endpoints.get(id)?.interfaceName ?? []);
    return [
      ...(bpf
        ? await inMaps(loaded, desired, links)
        : await compareRules(
            {
              prefixes: config.interfacePrefix,
              excluded: config.interfaceExclude,
              markShift: config.markShift,
              hostToGuest: config.hostToGuest,
              served: servedOf(config),
            },
            desired,
            interfaces,
          )),
      ...(await compareGuard(guardOptions(config), {
        wanted: config.guard,
        judgedBy: bpf ? "programs" : "rules",
        taps,
        uplinks: interfaces.uplinks.map(({ name }) => name),
      })),
      ...(await compareServices(servicesWish(config, desired))),
      ...(await inLinks(links, desired, enforced, config.routeProtocol)),
    ];
  } finally {
    links.close();
  }
}

async function inMaps({ config }: LoadedConfig, desired: DesiredState, links: Links): Promise<Difference[]> {
  const pinDir = pinsIn(config.pinDir);
  const interfaces = links.interfaces();
  const names = new Map(links.links().map(({ ifindex, name }) => [ifindex, name]));
  const state = openPinned(pinDir);
  try {
    const ports = new Map(
      state.endpoints().map(({ number, id, ifindex }) => [number, names.get(ifindex) ?? id ?? String(number)]),
    );
    const settings = {
      flowLimit: state.flows().limit,
      hz: (await findHz()).hz,
      timeouts: flowTimeouts(config),
      hostToGuest: config.hostToGuest,
      served: servedOf(config),
    };
    const found = nameMapDifferences(compareMaps(state.kernel, settings, desired, interfaces), {
      name: (kind, number) => state.name(kind, number),
      port: (number) => ports.get(number),
      interface: (ifindex) => names.get(ifindex),
    });
    return [...found, ...compareHooks(pinnedPrograms(pinDir), interfaces, names)];
  } finally {
    state.close();
  }
}

async function inLinks(
  links: Links,
  desired: DesiredState,
  enforced: ReadonlySet<EndpointId>,
  protocol: number,
): Promise<Difference[]> {
  const due = links.due(desired, enforced);
  const names = new Map(links.links().map(({ ifindex, name }) => [ifindex, name]));
  const missing = due.routes.add.length > 0;
  const others = missing ? (await readAllRoutes()).filter((route) => route.protocol !== protocol) : [];
  return nameLinkDifferences(due, (ifindex) => names.get(ifindex) ?? `interface ${ifindex}`, others);
}
