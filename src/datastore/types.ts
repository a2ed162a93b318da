/**
 * What a datastore hands on: keys and values as they are in etcd (Calico's v3 model), in batches.
 * Every implementation speaks the same language, so that the model does not know where a key came from.
 */
import type { Problem } from "../problems.js";

/** A value as it came: text still to be parsed as JSON, or an object that a YAML file gave. */
export type RawValue = { readonly text: string } | { readonly object: unknown };

export interface KeyPut {
  readonly op: "put";
  /** etcd key, e.g. "/calico/resources/v3/projectcalico.org/networkpolicies/openstack/ossg.default.web". */
  readonly key: string;
  readonly value: RawValue;
  /** Where a person finds it: "examples/groups.yaml:14" or "etcd revision 1234". */
  readonly origin: string;
}

export interface KeyDelete {
  readonly op: "delete";
  readonly key: string;
}

export type KeyChange = KeyPut | KeyDelete;

/**
 * State machine: snapshot-begin, changes*, in-sync, changes*, (lost, snapshot-begin, …).
 * Between snapshot-begin and in-sync only puts come; at in-sync whatever was not put since snapshot-begin is gone.
 * After lost, in-sync may come without a snapshot-begin: the changes since then were, or will be, made up for one by one.
 */
export type DatastoreEvent =
  | { readonly type: "snapshot-begin" }
  | { readonly type: "changes"; readonly changes: readonly KeyChange[] }
  | { readonly type: "in-sync" }
  | { readonly type: "lost"; readonly reason: string }
  /** It is there, but nothing of it may be applied, and nothing of it comes until the next snapshot-begin. */
  | { readonly type: "held"; readonly problem: Problem }
  /** All present problems of the source itself (unreadable file, refused connection); replaces the former list. */
  | { readonly type: "problems"; readonly problems: readonly Problem[] };

export interface Datastore {
  /** For people: "directory /etc/torbie/policy", "etcd http://…". */
  readonly description: string;
  /** Begins; events come asynchronously, in order, one call at a time. Throws only on what can never work (ConfigError). */
  start(onEvent: (event: DatastoreEvent) => void): Promise<void>;
  stop(): Promise<void>;
}
