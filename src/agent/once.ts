/** The agent for one pass: puts right what differs, and ends. For `torbie check --repair` while no agent runs. */
import type { LoadedConfig } from "../config/load.js";
import { DataplaneError } from "../errors.js";
import { composeAgent } from "./compose.js";
import { AgentLock } from "./lock.js";
import type { AgentLog } from "./parts.js";
import { StatusWriter } from "./status-writer.js";
import type { ApplyEvent } from "./status.js";
import { openBackend } from "./wire/backend.js";
import { openDatastore } from "./wire/datastore.js";

export type OnceReport = Pick<ApplyEvent, "writes" | "totalWrites" | "failures">;

/** Milliseconds for the datastore to be in sync and the first pass with policy to end: a thousand taps take seconds. */
const PATIENCE = 120_000;

/**
 * Takes the lock, so that no agent starts meanwhile.
 * @throws as runAgent(), and DataplaneError NOT_IN_SYNC when the datastore has nothing that may be applied: nothing was changed then but
 * unknown taps, which are blocked
 */
export async function runOnce(loaded: LoadedConfig, version: string, log: AgentLog): Promise<OnceReport> {
  const { config } = loaded;
  const lock = new AgentLock(config.runDir, config.pinDir);
  try {
    const datastore = openDatastore(loaded);
    const opened = await openBackend(config, log);
    lock.holdPins();
    const writer = new StatusWriter(config.runDir, (err) => log.warn({ err }, "the status file cannot be written"));
    let passed: () => void = () => undefined;
    const first = new Promise<void>((resolve) => (passed = resolve));
    const agent = composeAgent(loaded, version, opened, {
      datastore,
      log,
      onStatus: (status) => writer.put(status),
      onPass: () => passed(),
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
        throw new DataplaneError("NOT_IN_SYNC", `nothing was repaired: ${why}`, { retryable: true });
      await agent.idle();
      const failures = agent.health().failing;
      return {
        writes,
        totalWrites: Object.values(writes).reduce((sum, count) => sum + count, 0),
        failures: agent.status().lastApply?.failures ?? failures.map((what) => ({ where: "pass", what })),
      };
    } finally {
      clearInterval(timer);
      await agent.stop();
      writer.flush();
    }
  } finally {
    lock.release();
  }
}

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
