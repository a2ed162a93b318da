/** What etcd asks for, read from the files that the settings name; read anew for every session, as certificates are renewed in place. */
import { readFile } from "node:fs/promises";
import type { EtcdSettings } from "../config/etcd.js";
import { ConfigError } from "../errors.js";
import { quote } from "../text.js";

export interface EtcdCredentials {
  readonly tls?: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
  readonly login?: { readonly username: string; readonly password: string };
}

/** @throws ConfigError naming the file that cannot be read or is empty */
export async function readCredentials({ tls, login }: EtcdSettings): Promise<EtcdCredentials> {
  const ca = tls?.ca === undefined ? undefined : await read("etcd-ca", tls.ca);
  const cert = tls?.cert === undefined ? undefined : await read("etcd-cert", tls.cert);
  const key = tls?.key === undefined ? undefined : await read("etcd-key", tls.key);
  const password =
    login === undefined
      ? undefined
      : (await read("etcd-password-file", login.passwordFile)).toString("utf8").replace(/\r?\n$/, "");
  return {
    ...(tls && { tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) } }),
    ...(login && password !== undefined && { login: { username: login.username, password } }),
  };
}

async function read(setting: string, path: string): Promise<Buffer> {
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ConfigError("BAD_SETTING", `${setting}: ${quote(path)} cannot be read: ${why}`, { cause: error });
  }
  if (content.toString("latin1").trim() === "")
    throw new ConfigError("BAD_SETTING", `${setting}: ${quote(path)} is empty`);
  return content;
}
