/** The datastore that the configuration names. */
import type { Config } from "../../config/schema.js";
import { YamlDirectory } from "../../datastore/yaml-directory.js";
import type { Datastore } from "../../datastore/types.js";

export function openDatastore(config: Config): Datastore {
  return new YamlDirectory({ path: config.policyDir, hostname: config.hostname });
}
