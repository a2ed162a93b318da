/** What the datastore says now, read once, whether or not an agent runs. */
import type { LoadedConfig } from "../config/load.js";
import { readDirectory } from "../datastore/transfer/directory.js";
import type { KeyChange } from "../datastore/types.js";
import { ModelStore } from "../model/store.js";
import type { Model } from "../model/types.js";
import type { Problem } from "../problems.js";
import { escape, quote } from "../text.js";
import { CommandError, EXIT } from "./command.js";
import { datastoreAccess } from "./datastore-access.js";

export interface DatastoreModel {
  /** For people. */
  readonly description: string;
  readonly model: Model;
  /** What of it could not be read or understood. */
  readonly problems: readonly Problem[];
}

/** @throws CommandError absent when it can't be read, ConfigError when the settings name none */
export async function readModel(loaded: LoadedConfig): Promise<DatastoreModel> {
  const { datastore, hostname, policyDir } = loaded.config;
  const { description, changes, problems } =
    datastore === "etcd" ? await fromEtcd(loaded) : await fromDirectory(policyDir, hostname);
  const store = new ModelStore(hostname);
  store.apply({ type: "snapshot-begin" });
  store.apply({ type: "changes", changes });
  store.apply({ type: "in-sync" });
  return { description, model: store.model, problems: [...problems, ...store.problems()] };
}

interface Contents {
  readonly description: string;
  readonly changes: readonly KeyChange[];
  readonly problems: readonly Problem[];
}

async function fromEtcd(loaded: LoadedConfig): Promise<Contents> {
  const entries = await datastoreAccess(loaded).readEtcd();
  const changes = [...entries].map(
    ([key, { text, modRevision }]): KeyChange => ({
      op: "put",
      key,
      value: { text },
      origin: `etcd revision ${modRevision}`,
    }),
  );
  return { description: `etcd ${loaded.config.etcdEndpoints.join(",")}`, changes, problems: [] };
}

async function fromDirectory(path: string, hostname: string): Promise<Contents> {
  try {
    const { resources, problems } = await readDirectory(path, hostname, "no-region");
    const changes = [...resources.values()].map(
      ({ key, object, origin }): KeyChange => ({ op: "put", key, value: { object }, origin }),
    );
    return { description: `directory ${escape(path)}`, changes, problems };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CommandError(EXIT.absent, "NO_DIRECTORY", `${quote(path)} cannot be read: ${escape(why)}`, error);
  }
}
