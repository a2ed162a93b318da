/** Why etcd cannot be read, in a sentence that says what to do. Pure. */
import {
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  EtcdPermissionDeniedError,
  GRPCDeadlineExceededError,
} from "etcd3";
import { ConfigError } from "../errors.js";
import { escape, printable } from "../text.js";

/** OpenSSL's and Node's words for a connection that failed because of certificates. */
const TLS = /certificate|self.signed|\bSSL\b|\bTLS\b|alert|ERR_TLS|ERR_SSL|EPROTO|altnames|unable to (get|verify)/i;

/** @param endpoint whom it was asked of @param username who asked */
export function describeEtcdError(error: unknown, endpoint: string, username: string | undefined): string {
  const at = escape(endpoint);
  const raw = error instanceof Error ? error.message : String(error);
  const said = printable(raw.replace(/^\w*Error: /, "").replace(/^\d+ [A-Z_]+: /, "")).slice(0, 500);
  if (error instanceof ConfigError) return printable(raw);
  if (error instanceof EtcdAuthenticationFailedError)
    return `${at} refuses the user ${escape(username ?? "")} or the password: see etcd-username and etcd-password-file`;
  if (error instanceof EtcdInvalidAuthTokenError) return `${at} no longer accepts the login token (${said})`;
  if (/user name is empty/.test(raw)) return `${at} wants a user: set etcd-username and etcd-password-file`;
  if (/authentication is not enabled/.test(raw))
    return `${at} has no users (authentication is not enabled): leave out etcd-username and etcd-password-file`;
  if (error instanceof EtcdPermissionDeniedError)
    return `${at} does not let ${username === undefined ? "us" : `the user ${escape(username)}`} read: grant the role read on the prefix /calico/ (${said})`;
  if (error instanceof GRPCDeadlineExceededError) return `${at} did not answer in time`;
  if (endpoint.startsWith("https:") && TLS.test(raw))
    return `the TLS connection to ${at} failed: see etcd-ca, etcd-cert and etcd-key (${said})`;
  return `${at}: ${said}`;
}
