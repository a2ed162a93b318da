/**
 * A host on which Felix enforces becomes one on which Torbie does, with no moment of open policy and without cutting established flows:
 *
 *   1. the guard stands, and knows the taps that Felix's rules judge
 *   2. one pass of the agent: ours is in force beside theirs, with what the kernel tracks; routes to guests change hands in place
 *   3. Felix's rules go, then its sets, routes, programs, pins
 *   4. looked at again: nothing of it is left, and nobody writes it again
 *
 * Until 3 a packet has to pass both. Whenever it is cut short, it may be run again from the start.
 */
import { AgentLock } from "../agent/lock.js";
import { onePass, type PassReport } from "../agent/once.js";
import type { AgentLog } from "../agent/parts.js";
import { readStatus } from "../agent/status.js";
import { guardOptions } from "../agent/wire/guard.js";
import { wantedNow } from "../check/wanted.js";
import type { DesiredState } from "../compile/desired.js";
import type { LoadedConfig } from "../config/load.js";
import type { Config } from "../config/schema.js";
import { removeForward } from "../dataplane/forward-accept.js";
import { ensureAccepted, ensureGuard, guardStatus, removeGuard } from "../dataplane/guard.js";
import { run } from "../dataplane/run.js";
import { DataplaneError } from "../errors.js";
import { DEFAULT_TAP_RULE } from "../links/ours.js";
import { printable, quote } from "../text.js";
import { isItsRoute } from "./names.js";
import { bpffsOf, isEmpty, readIncumbent, type Found } from "./read.js";
import { hindrances, type Hindrance } from "./refuse.js";
import {
  removeLimiters,
  removePins,
  removePrograms,
  removeRoutes,
  removeRules,
  removeSets,
  removeTables,
} from "./remove.js";
import { felixRuns } from "./running.js";
import { describeFound, removals, type Step } from "./steps.js";

export interface TakeoverOptions {
  readonly dryRun: boolean;
  /** Although taps are unknown to the datastore. */
  readonly force: boolean;
  /** Called with each step as it has been done. */
  readonly say: (step: Step) => void;
}

export interface TakeoverReport {
  /** Nothing of Felix's is here. */
  readonly nothing: boolean;
  readonly steps: readonly Step[];
  /** Absent: nothing was enforced by this call. */
  readonly enforced?: { readonly by: string; readonly taps: readonly string[]; readonly problems: number };
  readonly hindrances: readonly Hindrance[];
  /** What has no name of Felix's, and may be its all the same: for people. */
  readonly left: readonly string[];
}

/** Milliseconds after which somebody who writes again has done so: it looks at its rules when they change, after 50 ms at the earliest. */
const SETTLE = 1_500;

/**
 * @throws DataplaneError AGENT_RUNNING, NO_DATASTORE, HINDERED (see `hindrances`), NOT_ENFORCED: theirs still enforces; LEFT: ours enforces,
 * and something of theirs is still there
 */
export async function takeover(
  loaded: LoadedConfig,
  version: string,
  log: AgentLog,
  options: TakeoverOptions,
): Promise<TakeoverReport> {
  const { config } = loaded;
  const lock = new AgentLock(config.runDir, config.pinDir);
  try {
    const found = await readIncumbent(run, config);
    if (isEmpty(found)) return { nothing: true, steps: [], hindrances: [], left: [] };
    const desired = await readDesired(loaded);
    const all = hindrances(found, config, felixRuns(), desired);
    const inTheWay = all.filter(({ code }) => !(options.force && code === "UNKNOWN_TAPS"));
    if (options.dryRun) {
      const steps = [...ahead(found, config, desired), ...removals(found, bpffsOf(config)).map(toCome)];
      return { nothing: false, steps, hindrances: inTheWay, left: describeFound(found).left };
    }
    if (inTheWay.length > 0) throw hindered(inTheWay);
    return await carryOut(loaded, version, log, lock, found, options);
  } finally {
    lock.release();
  }
}

function hindered(list: readonly Hindrance[]): DataplaneError {
  const lines = list.map(({ what, how }) => `${what}\n  ${how}`);
  return new DataplaneError("HINDERED", `nothing was changed:\n${lines.join("\n")}`);
}

async function readDesired(loaded: LoadedConfig): Promise<DesiredState> {
  const wanted = await wantedNow(loaded, readStatus(loaded.config.runDir)?.cluster);
  if (wanted.readable) return wanted.desired;
  throw new DataplaneError("NO_DATASTORE", `nothing was changed: ${wanted.description}: ${wanted.why}`, {
    retryable: true,
  });
}

async function carryOut(
  loaded: LoadedConfig,
  version: string,
  log: AgentLog,
  lock: AgentLock,
  found: Found,
  { say }: TakeoverOptions,
): Promise<TakeoverReport> {
  const { config } = loaded;
  const steps: Step[] = [];
  const done = (step: Step): void => {
    steps.push(step);
    say(step);
  };
  const fresh = await letJudgedPass(config, found);
  done(guarded(found, config));
  const pass = await enforce(loaded, version, log, lock, found, fresh);
  done(enforcedStep(pass));
  const felix = felixRuns();
  if (felix !== undefined)
    throw new DataplaneError(
      "LEFT",
      `Felix was started meanwhile (pid ${felix}): both enforce now, and a packet has to pass both. Stop it and run this again`,
    );
  for (const step of await removeAll(found, config)) done(step);
  await new Promise((resolve) => setTimeout(resolve, SETTLE));
  const again = await readIncumbent(run, config);
  if (!isEmpty(again))
    throw new DataplaneError(
      "LEFT",
      `Torbie enforces, and what was removed is there again (${describeFound(again).summary.join(", ")}): somebody writes it. Stop Felix, and whatever starts it, and run this again`,
    );
  done({ what: "Looked again: nothing of Felix's is left", count: 0, names: [] });
  return {
    nothing: false,
    steps,
    enforced: { by: pass.dataplane.name, taps: pass.enforced, problems: pass.problems.length },
    hindrances: [],
    left: describeFound(found).left,
  };
}

/**
 * The guard drops what passes a tap that nobody has vouched for: it is told of those that Felix judges as it is put there.
 * @returns whether it was put there
 */
async function letJudgedPass(config: Config, { judged }: Found): Promise<boolean> {
  const options = guardOptions(config);
  const { standing, means, claimed } = await guardStatus(options);
  const before = means !== "none";
  const forward = config.dataplane !== "iptables";
  if (!config.guard) {
    // What the programs will have judged must pass Felix's rules as well.
    if (forward) await ensureAccepted(run, { markShift: config.markShift, taps: options.taps ?? DEFAULT_TAP_RULE });
    return false;
  }
  // Those that ours has claimed are under ours: a takeover that was cut short.
  if (!standing || claimed.length === 0) await ensureGuard({ ...options, forward, claimed: judged, judgedBy: "rules" });
  return !before;
}

async function enforce(
  loaded: LoadedConfig,
  version: string,
  log: AgentLog,
  lock: AgentLock,
  found: Found,
  fresh: boolean,
): Promise<PassReport> {
  const taps = new Set(found.taps.map(({ ifindex }) => ifindex));
  let pass: PassReport;
  try {
    pass = await onePass(loaded, version, log, lock, {
      whose: "Felix",
      inherits: (route) => isItsRoute(route, taps),
    });
  } catch (error) {
    // Felix enforces as before: a guard that knows only today's taps would cut off tomorrow's.
    if (fresh) await removeGuard(guardOptions(loaded.config)).catch(() => undefined);
    throw error;
  }
  const missing = [...found.judged.values()].filter((name) => !pass.enforced.includes(name));
  const hindering = pass.failures.filter(({ where }) => !SERVICES.has(where));
  if (hindering.length > 0)
    throw new DataplaneError(
      "NOT_ENFORCED",
      `not everything could be put in force, so that Felix's rules stay and a packet has to pass both; put it right and run this again:\n${hindering.map(({ where, what }) => `${printable(where)}: ${printable(what)}`).join("\n")}`,
      { retryable: true },
    );
  if (pass.dataplane.name === "iptables") await removeForward(run);
  if (missing.length > 0)
    log.warn(
      { taps: missing },
      `cut off, since the datastore knows no endpoint of theirs: ${missing.map((name) => quote(name)).join(", ")}`,
    );
  return pass;
}

/** A metadata service that can't be reached is no reason to keep two sets of rules. */
const SERVICES = new Set(["services"]);

async function removeAll(found: Found, config: Config): Promise<readonly Step[]> {
  const { rules, tables, sets, programs, limiters, taps } = found;
  await removeRules(run, rules);
  await removeTables(run, tables);
  await removeSets(run, sets);
  // Those that ours have replaced are no longer its.
  const now = await readIncumbent(run, config);
  await removeRoutes(now.routes);
  removePrograms(programs);
  await removeLimiters(
    run,
    limiters,
    taps.map(({ name }) => name),
  );
  removePins(found.pins);
  return removals(found, bpffsOf(config), found.routes.length - now.routes.length);
}

const guarded = ({ judged, taps }: Found, { guard }: Config): Step => ({
  what: guard
    ? `The guard stands: it lets pass ${judged.size} of ${taps.length} taps, which Felix's rules judge`
    : "No guard, by configuration",
  count: judged.size,
  names: [...judged.values()],
});

const enforcedStep = ({ dataplane, enforced, totalWrites }: PassReport): Step => ({
  what: `Torbie enforces ${enforced.length} endpoint${enforced.length === 1 ? "" : "s"} by ${dataplane.name === "bpf" ? "BPF, with the connections that the kernel tracks" : "iptables, on the kernel's tracking of connections"} (${totalWrites} writes)`,
  count: enforced.length,
  names: enforced,
});

const toCome = ({ what, ...step }: Step): Step => ({ ...step, what: what.replace(/^Removed/, "Remove") });

/** What comes before anything is removed, for people who want to know. */
function ahead(found: Found, config: Config, { endpoints }: DesiredState): readonly Step[] {
  const present = new Set(found.taps.map(({ name }) => name));
  const able = [...endpoints.values()].filter(({ blocked }) => blocked === undefined);
  const names = able.map(({ interfaceName }) => interfaceName).filter((name) => present.has(name));
  return [
    guarded(found, config),
    {
      what: `Torbie enforces ${names.length} endpoint${names.length === 1 ? "" : "s"} (dataplane ${config.dataplane}), with the connections that the kernel tracks; of ${found.routes.length} routes those to guests change hands in place, others go`,
      count: names.length,
      names,
    },
  ];
}
