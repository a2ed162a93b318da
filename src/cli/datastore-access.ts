/** What the datastore commands touch: etcd, directories of YAML, the identity file. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { etcdSettings } from "../config/etcd.js";
import type { LoadedConfig } from "../config/load.js";
import { IdentityFile, type Found, type Identity } from "../datastore/etcd-identity.js";
import type { EtcdEntry, PlannedWrite } from "../datastore/transfer/compare.js";
import { readDirectory, type DirectoryContents } from "../datastore/transfer/directory.js";
import { EtcdError, EtcdStore } from "../datastore/transfer/etcd-store.js";
import { isYamlName, listFiles } from "../datastore/yaml-files.js";
import { CommandError, EXIT } from "./command.js";

export interface DatastoreAccess {
  /** All that agents read, by key, in key order. */
  readonly readEtcd: () => Promise<ReadonlyMap<string, EtcdEntry>>;
  readonly readDirectory: (path: string) => Promise<DirectoryContents>;
  /** Names of YAML files in it; none when there is no such directory. */
  readonly yamlFiles: (path: string) => Promise<readonly string[]>;
  readonly writeFiles: (path: string, files: ReadonlyMap<string, string>) => Promise<void>;
  /** One after the other; which of them somebody else was faster with, and nothing was done. */
  readonly write: (writes: readonly PlannedWrite[]) => Promise<readonly PlannedWrite[]>;
  /** What etcd says of itself. */
  readonly found: () => Promise<Found>;
  readonly identity: {
    readonly path: string;
    /** "unreadable": there is a file, but not one of ours. */
    readonly read: () => Promise<Identity | "unreadable" | undefined>;
    readonly write: (identity: Identity) => Promise<void>;
  };
}

/** @throws ConfigError when the settings name no etcd, or contradict each other */
export function datastoreAccess(loaded: LoadedConfig): DatastoreAccess {
  const { hostname, stateDir } = loaded.config;
  const settings = etcdSettings(loaded);
  const file = new IdentityFile(stateDir);
  // An exit status of its own: for datastore diff, 1 is an answer.
  const use = <T>(work: (store: EtcdStore) => Promise<T>): Promise<T> =>
    EtcdStore.use(settings, work).catch((error: unknown) => {
      if (error instanceof EtcdError) throw new CommandError(EXIT.absent, error.code, error.message, error);
      throw error;
    });
  return {
    readEtcd: () => use((store) => store.readAll()),
    readDirectory: (path) => readDirectory(path, hostname, settings.region),
    yamlFiles: async (path) => {
      try {
        return (await listFiles(path)).map(({ name }) => name).filter(isYamlName);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
        throw error;
      }
    },
    writeFiles: async (path, files) => {
      await mkdir(path, { recursive: true });
      for (const [name, text] of files) await writeFile(join(path, name), text, { flag: "wx" });
    },
    write: (writes) =>
      use(async (store) => {
        const lost: PlannedWrite[] = [];
        for (const write of writes) if (!(await store.write(write))) lost.push(write);
        return lost;
      }),
    found: () => use((store) => store.found()),
    identity: { path: file.path, read: () => file.read().catch(() => "unreadable"), write: (one) => file.write(one) },
  };
}
