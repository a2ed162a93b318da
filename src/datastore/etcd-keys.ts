/** Ranges of etcd keys. Pure. */
import { keyOf } from "../model/keys.js";

export const CLUSTER_KEY = keyOf("ClusterInformation", "default");

/** Keys from `start` up to, without, `end`; as etcd compares them, byte by byte. */
export interface KeyRange {
  readonly start: Buffer;
  readonly end: Buffer;
}

/** All keys that begin with a prefix, which is not empty and ends in a character below U+007F. */
export function rangeOf(prefix: string): KeyRange {
  const start = Buffer.from(prefix);
  const end = Buffer.from(start);
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1;
  return { start, end };
}

/** The key that comes right after this one. */
export function after(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.from([0])]);
}
