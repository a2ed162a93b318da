/** Status into etcd, where the datastore is one. */
import { etcdSettings } from "../../config/etcd.js";
import type { LoadedConfig } from "../../config/load.js";
import { readCredentials } from "../../datastore/etcd-credentials.js";
import { EtcdSession } from "../../datastore/etcd-session.js";
import { StatusReporter, type ReporterParts } from "../../status/reporter.js";
import { EtcdStatusStore } from "../../status/store.js";

/**
 * Undefined: there is no etcd, or it is not to be told. A connection of its own, made when there is something to say: what is slow here
 * does not slow down the watch.
 * @throws ConfigError when the settings of etcd contradict each other
 */
export function openReporter(loaded: LoadedConfig, parts: Omit<ReporterParts, "store">): StatusReporter | undefined {
  const { config } = loaded;
  if (config.datastore !== "etcd" || !config.status) return undefined;
  const settings = etcdSettings(loaded);
  let turn = 0;
  const store = new EtcdStatusStore(async () => {
    const endpoint = settings.endpoints[turn++ % settings.endpoints.length] ?? "";
    return EtcdSession.open(endpoint, await readCredentials(settings));
  });
  return new StatusReporter(
    { ...parts, store },
    {
      hostname: config.hostname,
      region: config.region,
      ttl: config.statusTtl,
      interval: config.statusInterval,
      endpoints: config.endpointStatus,
    },
  );
}
