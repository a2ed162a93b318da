/** What the datastore says now, compiled for this host: as an agent that starts would, and without writing anything anywhere. */
import { CompilerAdapter, ModelAdapter } from "../agent/wire/pure.js";
import { Gate } from "../agent/gate.js";
import { Migrations } from "../agent/migrations.js";
import type { DesiredState, Move } from "../compile/desired.js";
import { checkDatastore, etcdSettings } from "../config/etcd.js";
import type { LoadedConfig } from "../config/load.js";
import { IdentityFile, judge } from "../datastore/etcd-identity.js";
import { EtcdError, EtcdStore } from "../datastore/transfer/etcd-store.js";
import type { DatastoreEvent, KeyChange } from "../datastore/types.js";
import { YamlDirectory } from "../datastore/yaml-directory.js";
import { speakers } from "../links/speakers.js";
import type { EndpointId, Model } from "../model/types.js";
import type { Problem } from "../problems.js";
import { printable } from "../text.js";

export type Wanted =
  | {
      readonly readable: true;
      readonly description: string;
      readonly model: Model;
      readonly desired: DesiredState;
      /** Of values and files that could not be understood: a running agent keeps their last good version, and this does not know one. */
      readonly problems: readonly Problem[];
    }
  /** It can't be read, or nothing of it may be applied. */
  | { readonly readable: false; readonly description: string; readonly why: string };

/** Milliseconds for a directory to be read. */
const PATIENCE = 15_000;

/**
 * @param cluster guid of the cluster whose policy the last agent applied, if one is known
 * @param moves what the running agent makes of live migrations; undefined: as an agent that starts would see them
 * @throws ConfigError
 */
export async function wantedNow(
  loaded: LoadedConfig,
  cluster: string | undefined,
  moves?: ReadonlyMap<EndpointId, Move>,
): Promise<Wanted> {
  checkDatastore(loaded);
  const { config } = loaded;
  const description =
    config.datastore === "etcd"
      ? `etcd ${etcdSettings(loaded).endpoints.join(", ")}`
      : `directory ${printable(config.policyDir)}`;
  const model = new ModelAdapter(config.hostname);
  const gate = new Gate(cluster, config.datastore === "etcd");
  const own: Problem[] = [];
  const take = (event: DatastoreEvent): void => {
    gate.follow(event);
    model.handle(event);
    if (event.type === "problems") own.splice(0, own.length, ...event.problems);
  };
  const fault = config.datastore === "etcd" ? await readEtcd(loaded, take) : await readYaml(loaded, take, own);
  const closed = gate.closed(model.model.cluster);
  const why =
    fault ??
    (closed === undefined
      ? undefined
      : closed === "too early"
        ? (own[0]?.what ?? "it has not been read")
        : `${closed.where}: ${closed.what}`);
  if (why !== undefined) return { readable: false, description, why };
  const compiler = new CompilerAdapter();
  const { desired } = await compiler.compile(model.model, undefined, moves ?? movesNow(model.model));
  return {
    readable: true,
    description,
    model: model.model,
    desired,
    problems: [...model.problems(), ...compiler.problems()],
  };
}

function movesNow(model: Model): ReadonlyMap<EndpointId, Move> {
  const migrations = new Migrations();
  migrations.update(model, (name) => speakers().has(name), 0);
  return migrations.moves;
}

async function readEtcd(loaded: LoadedConfig, take: (event: DatastoreEvent) => void): Promise<string | undefined> {
  const known = await new IdentityFile(loaded.config.stateDir).read().catch(() => undefined);
  try {
    return await EtcdStore.use(etcdSettings(loaded), async (store) => {
      const held = judge(known, await store.found());
      if (held !== undefined) return `${held.where}: ${held.what}`;
      const changes = [...(await store.readAll())].map(([key, { text, modRevision }]): KeyChange => ({
        op: "put",
        key,
        value: { text },
        origin: `etcd revision ${modRevision}`,
      }));
      take({ type: "snapshot-begin" });
      take({ type: "changes", changes });
      take({ type: "in-sync" });
      return undefined;
    });
  } catch (error) {
    if (error instanceof EtcdError) return error.message;
    throw error;
  }
}

async function readYaml(
  { config }: LoadedConfig,
  take: (event: DatastoreEvent) => void,
  own: readonly Problem[],
): Promise<string | undefined> {
  const directory = new YamlDirectory({ path: config.policyDir, hostname: config.hostname });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<string | undefined>((resolve, reject) => {
      timer = setTimeout(() => resolve(own[0]?.what ?? `it took more than ${PATIENCE / 1000} s to read`), PATIENCE);
      directory
        .start((event) => {
          take(event);
          const stuck = own.find(({ code }) => STUCK.has(code));
          if (event.type === "in-sync") resolve(undefined);
          else if (event.type === "problems" && stuck !== undefined) resolve(`${stuck.where}: ${stuck.what}`);
        })
        .catch(reject);
    });
  } finally {
    clearTimeout(timer);
    await directory.stop();
  }
}

/** After these nothing more comes before somebody changes a file. */
const STUCK: ReadonlySet<string> = new Set(["NO_DIRECTORY", "EMPTY_DIRECTORY", "NOT_IN_SYNC"]);
