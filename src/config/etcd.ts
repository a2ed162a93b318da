/** What the settings say about etcd, checked together. Pure: no file is opened. */
import { ConfigError } from "../errors.js";
import type { LoadedConfig } from "./load.js";
import { fileKey, type SettingKey } from "./schema.js";

export interface EtcdSettings {
  /** "http://host:port" or "https://host:port", at least one, all of one kind. */
  readonly endpoints: readonly string[];
  /** Present with https. Paths of PEM files. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly login?: { readonly username: string; readonly passwordFile: string };
  /** As in keys: "no-region" or "region-<name>". */
  readonly region: string;
  /** Of networking-calico: "openstack" or "openstack-region-<name>". */
  readonly namespace: string;
}

const ETCD_KEYS: readonly SettingKey[] = [
  "etcdEndpoints",
  "etcdCa",
  "etcdCert",
  "etcdKey",
  "etcdUsername",
  "etcdPasswordFile",
];

/** @throws ConfigError naming the setting that is missing or contradicts another */
export function etcdSettings({ config, sources }: LoadedConfig): EtcdSettings {
  const refuse = (key: SettingKey, what: string): never => {
    throw new ConfigError("BAD_SETTING", `${sources[key].where || fileKey(key)}: ${fileKey(key)}: ${what}`);
  };
  const { etcdEndpoints, etcdCa: ca, etcdCert: cert, etcdKey: key, etcdUsername, etcdPasswordFile, region } = config;
  const endpoints = etcdEndpoints.map((endpoint) => endpoint.replace(/\/$/, ""));
  if (endpoints.length === 0) refuse("etcdEndpoints", "must name at least one, such as http://127.0.0.1:2379");
  const secure = endpoints.filter((endpoint) => endpoint.startsWith("https:")).length;
  if (secure > 0 && secure < endpoints.length) refuse("etcdEndpoints", "must be all http or all https");
  if (secure === 0 && ca + cert + key !== "")
    refuse(ca ? "etcdCa" : cert ? "etcdCert" : "etcdKey", "has no use with http endpoints; write https://…");
  if ((cert === "") !== (key === "")) refuse(cert ? "etcdCert" : "etcdKey", "etcd-cert and etcd-key go together");
  if ((etcdUsername === "") !== (etcdPasswordFile === ""))
    refuse(etcdUsername ? "etcdUsername" : "etcdPasswordFile", "etcd-username and etcd-password-file go together");
  return {
    endpoints,
    ...(secure > 0 && { tls: { ...(ca && { ca }), ...(cert && { cert, key }) } }),
    ...(etcdUsername && { login: { username: etcdUsername, passwordFile: etcdPasswordFile } }),
    region: region === "" ? "no-region" : `region-${region}`,
    namespace: region === "" ? "openstack" : `openstack-region-${region}`,
  };
}

/**
 * For the agent, which has one datastore: flags and environment must not speak of the other one. The file may, as hosts share it.
 * @throws ConfigError
 */
export function checkDatastore({ config, sources }: LoadedConfig): void {
  const stray: readonly SettingKey[] = config.datastore === "etcd" ? ["policyDir"] : ETCD_KEYS;
  for (const key of stray) {
    const { from, where } = sources[key];
    if (from !== "flag" && from !== "environment") continue;
    const other = config.datastore === "etcd" ? "yaml" : "etcd";
    throw new ConfigError(
      "BAD_SETTING",
      `${where}: the datastore is ${config.datastore} (${sources.datastore.where || "default"}), which has no use for ${fileKey(key)}: leave it out, or say --datastore ${other}`,
    );
  }
}
