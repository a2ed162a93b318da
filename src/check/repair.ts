/** Puts right what differs: through the agent where one runs, since it holds the lock, else by a pass of our own under the lock. */
import { agentRuns } from "../agent/lock.js";
import { runOnce, type OnceReport } from "../agent/once.js";
import type { AgentLog } from "../agent/parts.js";
import type { LoadedConfig } from "../config/load.js";
import { askResync } from "./agent-client.js";

export interface RepairReport extends OnceReport {
  readonly by: "the agent" | "this command";
}

/** @throws DataplaneError when the agent does not answer, another one starts meanwhile, or the datastore has nothing that may be applied */
export async function repair(loaded: LoadedConfig, version: string, log: AgentLog): Promise<RepairReport> {
  return agentRuns(loaded.config.runDir)
    ? { by: "the agent", ...(await askResync(loaded.config.runDir)) }
    : { by: "this command", ...(await runOnce(loaded, version, log)) };
}
