/** What the datastore says now, read once, whether or not an agent runs. */
import { readStatus } from "../agent/status.js";
import { wantedNow } from "../check/wanted.js";
import type { LoadedConfig } from "../config/load.js";
import type { Model } from "../model/types.js";
import type { Problem } from "../problems.js";
import { CommandError, EXIT } from "./command.js";

export interface DatastoreModel {
  /** For people. */
  readonly description: string;
  readonly model: Model;
  /** What of it could not be understood. */
  readonly problems: readonly Problem[];
}

/** @throws CommandError absent when it can't be read or nothing of it may be applied, ConfigError when the settings name none */
export async function readModel(loaded: LoadedConfig): Promise<DatastoreModel> {
  const wanted = await wantedNow(loaded, readStatus(loaded.config.runDir)?.cluster);
  if (wanted.readable) return wanted;
  throw new CommandError(EXIT.absent, "NO_DATASTORE", `${wanted.description}: ${wanted.why}`);
}
