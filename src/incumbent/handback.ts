/**
 * The reverse of a takeover. Who starts Felix first leaves no moment in which nobody guards:
 *
 *   1. the operator stops Torbie's agent, which leaves what it enforces, and starts Felix, which writes its rules beside ours
 *   2. this waits until Felix's rules judge every tap that ours lets pass
 *   3. flows go back into the kernel's conntrack; the guard knows the taps as judged by rules; routes and sysctls become Felix's
 *   4. ours comes off, and what began since 3 is handed over; pins, chains, sets, guard and NAT go
 *
 * Whenever it is cut short, it may be run again from the start.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { AgentLock } from "../agent/lock.js";
import { readStatus } from "../agent/status.js";
import { formerPins } from "../agent/wire/former.js";
import { guardOptions } from "../agent/wire/guard.js";
import { wantedNow } from "../check/wanted.js";
import type { DesiredState } from "../compile/desired.js";
import type { LoadedConfig } from "../config/load.js";
import type { Config } from "../config/schema.js";
import { isOurs as isOurProgram, queryHook } from "../dataplane/bpf/attach.js";
import { mapsDir } from "../dataplane/bpf/pins.js";
import { Conntrack } from "../dataplane/conntrack/conntrack.js";
import { hostAddresses } from "../dataplane/conntrack/host-addresses.js";
import { guardStatus, removeGuard, setClaimed } from "../dataplane/guard.js";
import { removeRules } from "../dataplane/iptables/remove.js";
import { forgetInventory } from "../dataplane/iptables/inventory.js";
import { readTable } from "../dataplane/iptables/read-back.js";
import { run } from "../dataplane/run.js";
import { removeServices } from "../dataplane/services/services.js";
import { forgetOutdated } from "../dataplane/switch/from-conntrack.js";
import { FormerPrograms } from "../dataplane/switch/from-programs.js";
import { DataplaneError } from "../errors.js";
import type { Link } from "../links/types.js";
import { quote } from "../text.js";
import { giveLinks } from "./give-links.js";
import { readIncumbent, type Found } from "./read.js";
import { felixRuns } from "./running.js";
import type { Step } from "./steps.js";

export interface HandbackOptions {
  readonly dryRun: boolean;
  /** Although nothing of Felix's judges the taps, or the datastore can't be read. */
  readonly force: boolean;
  /** Seconds to wait for Felix's rules. */
  readonly wait: number;
  readonly say: (step: Step) => void;
}

export interface HandbackReport {
  /** Nothing of ours is here. */
  readonly nothing: boolean;
  readonly steps: readonly Step[];
  /** Taps that ours lets pass and Felix does not judge: with --force they are open. */
  readonly uncovered: readonly string[];
  readonly left: readonly string[];
}

interface Ours {
  readonly pinDirs: readonly string[];
  readonly rules: boolean;
  /** Taps that pass. */
  readonly claimed: readonly string[];
  readonly guard: boolean;
  /** Programs are on hooks. */
  readonly attached: boolean;
}

/** @throws DataplaneError AGENT_RUNNING, NOT_COVERED, NO_DATASTORE, HANDBACK: what could not be done */
export async function handback(loaded: LoadedConfig, options: HandbackOptions): Promise<HandbackReport> {
  const { config } = loaded;
  const lock = new AgentLock(config.runDir, config.pinDir);
  try {
    const ours = await readOurs(config, (await readIncumbent(run, config)).taps);
    if (!isHere(ours)) return { nothing: true, steps: [], uncovered: [], left: [] };
    const desired = await readDesired(loaded, options.force);
    const { found, uncovered } = await waitForCover(config, ours, options);
    if (options.dryRun) return { nothing: false, steps: ahead(ours, found), uncovered, left: leftOf(ours) };
    if (uncovered.length > 0 && !options.force) throw notCovered(uncovered, options.wait);
    const steps: Step[] = [];
    await letGo(config, ours, found, desired, (step) => {
      steps.push(step);
      options.say(step);
    });
    return { nothing: false, steps, uncovered, left: leftOf(ours) };
  } finally {
    lock.release();
  }
}

const isHere = ({ pinDirs, rules, guard }: Ours): boolean => pinDirs.length > 0 || rules || guard;

async function readOurs(config: Config, taps: readonly Link[]): Promise<Ours> {
  const { claimed, means } = await guardStatus(guardOptions(config));
  const stands = async (family: 4 | 6): Promise<boolean> =>
    (await readTable(run, family, "raw").catch(() => new Map<string, unknown>())).has("TRB-raw");
  const ways = ["ingress", "egress"] as const;
  const has = ({ ifindex }: Link): boolean =>
    ways.some((way) => queryHook(ifindex, way).some(({ name }) => isOurProgram(name)));
  const attached = taps.filter(has);
  const rules = (await stands(4)) || (await stands(6));
  return {
    pinDirs: formerPins(config),
    rules,
    // Without a guard every tap that has a program may pass.
    claimed: means === "none" ? (rules ? taps : attached).map(({ name }) => name) : claimed,
    guard: means !== "none",
    attached: attached.length > 0,
  };
}

async function readDesired(loaded: LoadedConfig, force: boolean): Promise<DesiredState | undefined> {
  const wanted = await wantedNow(loaded, readStatus(loaded.config.runDir)?.cluster);
  if (wanted.readable) return wanted.desired;
  if (force) return undefined;
  throw new DataplaneError(
    "NO_DATASTORE",
    `nothing was changed: ${wanted.description}: ${wanted.why}. It says which flows are still allowed; with --force all of them go on`,
    { retryable: true },
  );
}

async function waitForCover(
  config: Config,
  { claimed }: Ours,
  { wait, dryRun, force }: HandbackOptions,
): Promise<{ readonly found: Found; readonly uncovered: readonly string[] }> {
  const until = performance.now() + (dryRun || force ? 0 : wait * 1000);
  for (;;) {
    const found = await readIncumbent(run, config);
    const covered = new Set(found.covered.values());
    const present = new Set(found.taps.map(({ name }) => name));
    const uncovered = claimed.filter((name) => present.has(name) && !covered.has(name));
    if (uncovered.length === 0 || performance.now() >= until) return { found, uncovered };
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function notCovered(uncovered: readonly string[], wait: number): DataplaneError {
  const felix = felixRuns();
  const which = `${uncovered
    .slice(0, 5)
    .map((name) => quote(name))
    .join(", ")}${uncovered.length > 5 ? ` and ${uncovered.length - 5} more` : ""}`;
  return new DataplaneError(
    "NOT_COVERED",
    `nothing was changed: after ${wait} s no rules of Felix's judge ${which} in both families, and they would be open. ${
      felix === undefined
        ? "Felix does not run here: start it (systemctl enable --now calico-felix) and run this again"
        : `Felix runs (pid ${felix}): see its log for why it does not know them`
    }; --force lets go all the same`,
    { retryable: true },
  );
}

async function letGo(
  config: Config,
  ours: Ours,
  found: Found,
  desired: DesiredState | undefined,
  done: (step: Step) => void,
): Promise<void> {
  const taps = new Map(found.taps.map(({ ifindex, name }) => [ifindex, name]));
  const claimed = new Map([...taps].filter(([, name]) => ours.claimed.includes(name)));
  const conntrack = new Conntrack();
  const programs = new FormerPrograms({ pinDirs: ours.pinDirs, conntrack });
  try {
    if (ours.attached && desired !== undefined) await forgetOutdated(conntrack, desired, hostAddresses());
    await programs.copyFlows(desired);
    await programs.copyFlows(desired);
    if (ours.guard) await setClaimed(claimed, { ...guardOptions(config), judgedBy: "rules", forward: false });
    const { routes, neighbours } = await giveLinks(config, found.taps);
    done(step(`Routes to guests are as Felix has them: ${routes}; permanent neighbours: ${neighbours}`, routes));
    const hooks = programs.detach(found.links.map(({ ifindex }) => ifindex));
    await programs.copyFlows(desired);
    const { created, leftOut, failed, unreadable } = programs.finish(0);
    if (ours.pinDirs.length > 0)
      done(
        step(
          `The programs are off ${hooks} hooks; the kernel tracks ${created} connections that they tracked, ${leftOut} are no longer allowed or can't be said to it`,
          created,
          [...failed, ...unreadable.map(({ pinDir, why }) => `${pinDir}: ${why}`)],
        ),
      );
  } finally {
    programs.close();
    conntrack.close();
  }
  const removed = await removeRules();
  if (removed.length > 0)
    done(
      step(
        "Torbie's chains and sets are removed",
        removed.length,
        removed.map(({ what, count }) => `${count} ${what}`),
      ),
    );
  forgetInventory(config.runDir);
  const services = await removeServices();
  // Last: as long as it is there, another call finds something to do.
  const guard = await removeGuard(guardOptions(config));
  rmSync(join(config.runDir, "status.json"), { force: true });
  if (guard.length + services.length > 0)
    done(step("The guard and the metadata service's NAT are removed", guard.length, [...guard, ...services]));
}

const step = (what: string, count = 0, names: readonly string[] = []): Step => ({ what, count, names });

function ahead(ours: Ours, { routes }: Found): readonly Step[] {
  const flows = ours.pinDirs.filter((directory) => existsSync(mapsDir(directory)));
  return [
    ...(flows.length > 0 ? [step(`Flows of ${flows.join(", ")} go into the kernel's conntrack`, flows.length)] : []),
    step(
      `The guard lets pass ${ours.claimed.length} taps, as judged by Felix's rules`,
      ours.claimed.length,
      ours.claimed,
    ),
    step(`Routes to guests become as Felix has them (${routes.length} are)`, routes.length),
    ...(ours.attached ? [step("The programs come off taps and uplinks, and their pins go")] : []),
    ...(ours.rules ? [step("Torbie's chains and sets go")] : []),
    step("The guard and the metadata service's NAT go"),
  ];
}

function leftOf(ours: Ours): readonly string[] {
  return [
    ...(ours.attached
      ? ["an empty clsact qdisc stays on the taps: to take it off would drop packets (tc qdisc del dev TAP clsact)"]
      : []),
    ...(ours.rules
      ? [
          "sysctls nf_conntrack_tcp_be_liberal and nf_conntrack_checksum stay, which connections that were handed over need",
        ]
      : []),
  ];
}
