/** The datastore that the configuration names. */
import { checkDatastore, etcdSettings } from "../../config/etcd.js";
import type { LoadedConfig } from "../../config/load.js";
import { EtcdDatastore } from "../../datastore/etcd.js";
import { YamlDirectory } from "../../datastore/yaml-directory.js";
import type { Datastore } from "../../datastore/types.js";

/** @throws ConfigError when settings of the datastore are missing, or contradict each other */
export function openDatastore(loaded: LoadedConfig): Datastore {
  const { config } = loaded;
  checkDatastore(loaded);
  return config.datastore === "etcd"
    ? new EtcdDatastore({ settings: etcdSettings(loaded), stateDir: config.stateDir })
    : new YamlDirectory({ path: config.policyDir, hostname: config.hostname });
}
