/** The agent for one pass: puts right what differs, and ends. For `torbie check --repair` and `torbie takeover`, while no agent runs. */
import type { LoadedConfig } from "../config/load.js";
import { DataplaneError } from "../errors.js";
import type { Route } from "../links/types.js";
import type { Problem } from "../problems.js";
import { composeAgent } from "./compose.js";
import { AgentLock } from "./lock.js";
import type { AgentLog } from "./parts.js";
import { QuietWriter } from "./quiet-writer.js";
import { writeStatus, type AgentStatus, type ApplyEvent } from "./status.js";
import { openBackend } from "./wire/backend.js";
import { openDatastore } from "./wire/datastore.js";

export type OnceReport = Pick<ApplyEvent, "writes" | "totalWrites" | "failures">;

export interface PassReport extends OnceReport {
  readonly dataplane: AgentStatus["dataplane"];
  /** Names of the interfaces whose endpoint is in force. */
  readonly enforced: readonly string[];
  readonly problems: readonly Problem[];
}

/** Another agent's rules that enforce now, and are about to be replaced by ours. */
export interface Beside {
  readonly whose: string;
  /** Its routes. */
  readonly inherits: (holder: Route) => boolean;
}

/** Milliseconds for the datastore to be in sync and the first pass with policy to end: a thousand taps take seconds. */
const PATIENCE = 120_000;
/** Milliseconds in which a pass beside another agent's rules is repeated after failures. */
const AGAIN = 15_000;

/**
 * Takes the lock, so that no agent starts meanwhile.
 * @throws as runAgent(), and DataplaneError NOT_IN_SYNC when the datastore has nothing that may be applied: nothing was changed then but
 * unknown taps, which are blocked
 */
export async function runOnce(loaded: LoadedConfig, version: string, log: AgentLog): Promise<OnceReport> {
  const lock = new AgentLock(loaded.config.runDir, loaded.config.pinDir);
  try {
    const { writes, totalWrites, failures } = await onePass(loaded, version, log, lock);
    return { writes, totalWrites, failures };
  } finally {
    lock.release();
  }
}

/** The same under a lock that the caller holds; `beside` another agent, what fails is tried again for a while. @throws as runOnce() */
export async function onePass(
  loaded: LoadedConfig,
  version: string,
  log: AgentLog,
  lock: AgentLock,
  beside?: Beside,
): Promise<PassReport> {
  const { config } = loaded;
  const datastore = openDatastore(loaded);
  const opened = await openBackend(config, log, beside?.whose);
  lock.holdPins();
  const writer = new QuietWriter((err) => log.warn({ err }, "the status file cannot be written"));
  let passed: () => void = () => undefined;
  const first = new Promise<void>((resolve) => (passed = resolve));
  const agent = composeAgent(loaded, version, opened, {
    datastore,
    log,
    onStatus: (status) => writer.put(() => writeStatus(config.runDir, status())),
    onPass: () => passed(),
    ...(beside === undefined ? {} : { inherits: beside.inherits }),
  });
  const writes: Record<string, number> = {};
  agent.onApply((event) => {
    for (const [map, count] of Object.entries(event.writes)) writes[map] = (writes[map] ?? 0) + count;
  });
  const { held, timer } = heldOr(() => agent.health().held);
  try {
    await agent.start();
    const why = await Promise.race([first, held]);
    if (typeof why === "string")
      throw new DataplaneError("NOT_IN_SYNC", `nothing was written: ${why}`, { retryable: true });
    const until = performance.now() + (beside === undefined ? 0 : AGAIN);
    do await agent.idle();
    while (agent.health().failing.length > 0 && performance.now() < until && (await pause()));
    const failures = agent.health().failing;
    const { dataplane, endpoints, problems } = agent.status();
    return {
      dataplane,
      enforced: [...new Set(endpoints.filter(({ enforced }) => enforced).map((one) => one.interface))],
      problems,
      writes,
      totalWrites: Object.values(writes).reduce((sum, count) => sum + count, 0),
      failures: agent.status().lastApply?.failures ?? failures.map((what) => ({ where: "pass", what })),
    };
  } finally {
    clearInterval(timer);
    await agent.stop();
    writer.flush();
  }
}

const pause = (): Promise<true> => new Promise((resolve) => setTimeout(() => resolve(true), 200));

/** Resolves with why nothing may be applied, once that has lasted, or when all patience is gone. */
function heldOr(why: () => string | undefined): { readonly held: Promise<string>; readonly timer: NodeJS.Timeout } {
  let timer: NodeJS.Timeout = setTimeout(() => undefined);
  const began = performance.now();
  let since: number | undefined;
  const held = new Promise<string>((resolve) => {
    timer = setInterval(() => {
      const now = performance.now();
      const reason = why();
      since = reason === undefined ? undefined : (since ?? now);
      if (reason !== undefined && since !== undefined && now - since > HELD) resolve(reason);
      else if (now - began > PATIENCE) resolve(`the datastore was not in sync within ${PATIENCE / 1000} s`);
    }, 100);
  });
  return { held, timer };
}

/** Milliseconds: one member of etcd may refuse while the next one answers. */
const HELD = 5_000;
