/** What differs between a directory of YAML and etcd, key by key, and what would make etcd hold what the directory says. Pure. */
import { parseKey } from "../../model/keys.js";
import { isObject, type RawObject } from "../../model/raw.js";
import type { FileResource } from "../yaml-parse.js";
import { differingPaths, pythonJson } from "./json.js";

/** A key of etcd as it is. */
export interface EtcdEntry {
  readonly text: string;
  /** Decimal. */
  readonly modRevision: string;
}

export type Difference =
  | { readonly kind: "only in the directory"; readonly key: string; readonly resource: FileResource }
  | { readonly kind: "only in etcd"; readonly key: string; readonly entry: EtcdEntry }
  | {
      readonly kind: "different";
      readonly key: string;
      readonly resource: FileResource;
      readonly entry: EtcdEntry;
      /** Where, at most ten. */
      readonly paths: readonly string[];
    };

/** Sorted by key. What only one that writes into etcd knows (uid, creationTimestamp) is no difference where the directory leaves it out. */
export function compare(
  directory: ReadonlyMap<string, FileResource>,
  etcd: ReadonlyMap<string, EtcdEntry>,
): readonly Difference[] {
  const differences: Difference[] = [];
  for (const key of [...new Set([...directory.keys(), ...etcd.keys()])].sort(byCode)) {
    const [resource, entry] = [directory.get(key), etcd.get(key)];
    if (resource === undefined) {
      if (entry !== undefined) differences.push({ kind: "only in etcd", key, entry });
    } else if (entry === undefined) differences.push({ kind: "only in the directory", key, resource });
    else {
      const there = parse(entry.text);
      const paths = differingPaths(withIdentity(resource.object, there), withVersion(there, resource.object));
      if (paths.length > 0) differences.push({ kind: "different", key, resource, entry, paths });
    }
  }
  return differences;
}

/** One write, which happens only if the key is still at `modRevision`; "0": if it is not there. */
export interface PlannedWrite {
  readonly key: string;
  readonly modRevision: string;
  /** Absent: it is deleted. */
  readonly value?: string;
  /** For people. */
  readonly origin: string;
}

export interface Plan {
  readonly writes: readonly PlannedWrite[];
  /** Keys only in etcd that stay. */
  readonly kept: readonly string[];
}

/**
 * In an order that readers of a half-done load can live with: what endpoints refer to before them, endpoints go first when things are
 * deleted, and the ClusterInformation, without which agents apply nothing, is last. It is never deleted.
 * @param prune delete what only etcd has @param fresh makes a uid @param now ISO 8601 with seconds and "Z"
 */
export function plan(
  differences: readonly Difference[],
  prune: boolean,
  { fresh, now }: { readonly fresh: () => string; readonly now: string },
): Plan {
  const writes: PlannedWrite[] = [];
  const kept: string[] = [];
  for (const difference of differences) {
    const { key } = difference;
    if (difference.kind === "only in etcd") {
      if (!prune || kindOf(key) === "ClusterInformation") kept.push(key);
      else writes.push({ key, modRevision: difference.entry.modRevision, origin: "etcd" });
      continue;
    }
    const { resource } = difference;
    const there = difference.kind === "different" ? parse(difference.entry.text) : undefined;
    const complete =
      kindOf(key) === "Subnet" ? resource.object : withNewIdentity(withIdentity(resource.object, there), fresh, now);
    const modRevision = difference.kind === "different" ? difference.entry.modRevision : "0";
    writes.push({ key, modRevision, value: pythonJson(complete), origin: resource.origin });
  }
  return { writes: writes.sort((a, b) => rank(a) - rank(b) || byCode(a.key, b.key)), kept };
}

const AFTER_POLICIES = ["LiveMigration", "WorkloadEndpoint", "ClusterInformation"];

function rank({ key, value }: PlannedWrite): number {
  const place = AFTER_POLICIES.indexOf(kindOf(key));
  // Puts of others, migrations, endpoints; then deletions the other way round; the ClusterInformation.
  if (place === 2) return 10;
  return value === undefined ? 8 - place : place;
}

function kindOf(key: string): string {
  return parseKey(key).kind;
}

/** uid and creationTimestamp of what is there, where the directory says nothing of them. */
function withIdentity(object: RawObject, there: unknown): RawObject {
  const metadata = object["metadata"];
  const known = isObject(there) ? there["metadata"] : undefined;
  if (!isObject(metadata) || !isObject(known)) return object;
  const { uid, creationTimestamp } = known;
  return {
    ...object,
    metadata: {
      ...(uid !== undefined && { uid }),
      ...(creationTimestamp !== undefined && { creationTimestamp }),
      ...metadata,
    },
  };
}

/** An apiVersion that is left out says nothing else than the only one there is. */
function withVersion(there: unknown, { apiVersion }: RawObject): unknown {
  return isObject(there) && apiVersion !== undefined ? { apiVersion, ...there } : there;
}

function withNewIdentity(object: RawObject, fresh: () => string, now: string): RawObject {
  const metadata = object["metadata"];
  if (!isObject(metadata)) return object;
  return { ...object, metadata: { uid: metadata["uid"] ?? fresh(), creationTimestamp: now, ...metadata } };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Whatever the directory says is something else.
    return text;
  }
}

function byCode(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
