/** The files of a directory put together, and what differs between two such states. Pure. */
import { keyOf } from "../model/keys.js";
import type { Problem } from "../problems.js";
import { escape, quote } from "../text.js";
import type { KeyChange } from "./types.js";
import type { FileResource } from "./yaml-parse.js";

export type Resources = ReadonlyMap<string, FileResource>;

const CLUSTER_KEY = keyOf("ClusterInformation", "default");

/**
 * All resources by key. Where several define one key, the first counts, in the order of file names and then of lines, and each
 * other is a problem. A directory has no cluster whose readiness could be asked, so it is ready unless a ClusterInformation in it
 * says otherwise.
 * @param files resources in force of each file, in the order of their names
 * @param path of the directory, for people
 */
export function mergeFiles(
  files: readonly (readonly FileResource[])[],
  path: string,
): { readonly resources: Resources; readonly problems: readonly Problem[] } {
  const resources = new Map<string, FileResource>();
  const problems: Problem[] = [];
  for (const resource of files.flat()) {
    const first = resources.get(resource.key);
    if (first === undefined) resources.set(resource.key, resource);
    else problems.push(duplicate(resource, first));
  }
  if (!resources.has(CLUSTER_KEY)) resources.set(CLUSTER_KEY, readyCluster(path));
  return { resources, problems };
}

/** What turns `former` into `next`: first what is new or different, then what is gone. */
export function diffResources(former: Resources, next: Resources): readonly KeyChange[] {
  const changes: KeyChange[] = [];
  for (const { key, object, origin, text } of next.values()) {
    const known = former.get(key);
    if (known?.text !== text || known.origin !== origin) changes.push({ op: "put", key, value: { object }, origin });
  }
  for (const key of former.keys()) if (!next.has(key)) changes.push({ op: "delete", key });
  return changes;
}

function duplicate(resource: FileResource, first: FileResource): Problem {
  return {
    where: escape(resource.origin),
    code: "DUPLICATE",
    what: `${quote(resource.key)} is defined at ${escape(first.origin)} already`,
    consequence: "the first definition counts, this one has no effect",
  };
}

function readyCluster(path: string): FileResource {
  const object = {
    kind: "ClusterInformation",
    metadata: { name: "default" },
    spec: { clusterType: "openstack", datastoreReady: true },
  };
  return { key: CLUSTER_KEY, object, origin: `directory ${path}`, text: JSON.stringify(object) };
}
