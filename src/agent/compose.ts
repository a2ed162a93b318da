/** The agent's loop from its real parts, but for what is told to others. */
import { Agent } from "../agent.js";
import type { AgentOptions } from "./types.js";
import type { LoadedConfig } from "../config/load.js";
import type { Datastore } from "../datastore/types.js";
import type { Route } from "../links/types.js";
import { realClock, type AgentLog, type CompilerPart, type ModelPart } from "./parts.js";
import { readStatus } from "./status.js";
import type { OpenedBackend } from "./wire/backend.js";
import { GuardAdapter } from "./wire/guard.js";
import { LinksAdapter, openLinks } from "./wire/links.js";
import { CompilerAdapter, ModelAdapter } from "./wire/pure.js";
import { ServicesAdapter } from "./wire/services.js";

export interface ComposeParts extends Pick<AgentOptions, "onStatus" | "onPass" | "problems"> {
  readonly datastore: Datastore;
  /** Of what the datastore says; absent: a new one. */
  readonly model?: ModelPart;
  /** Of that model; absent: a new one. */
  readonly compiler?: CompilerPart;
  readonly log: AgentLog;
  /** Somebody's routes that ours take the place of. */
  readonly inherits?: (holder: Route) => boolean;
}

/** The caller holds the lock. */
export function composeAgent(
  { config }: LoadedConfig,
  version: string,
  { backend, adopted, why }: OpenedBackend,
  { datastore, model, compiler, log, inherits, ...told }: ComposeParts,
): Agent {
  const { cluster: clusterGuid, dataFrom } = readStatus(config.runDir) ?? {};
  return new Agent(
    {
      datastore,
      model: model ?? new ModelAdapter(config.hostname),
      compiler: compiler ?? new CompilerAdapter(),
      backend,
      links: new LinksAdapter(openLinks(config, backend.name, inherits)),
      guard: new GuardAdapter(config, () => backend.judge()),
      services: new ServicesAdapter(config),
      clock: realClock,
      log,
    },
    {
      version,
      hostname: config.hostname,
      pinDir: config.pinDir,
      dataplane: { name: backend.name, why },
      resyncMilliseconds: config.resync * 1000,
      ...(clusterGuid === undefined ? {} : { clusterGuid }),
      clusterJudged: config.datastore === "etcd",
      ...(dataFrom === undefined || !adopted ? {} : { dataFrom }),
      ...told,
    },
  );
}
