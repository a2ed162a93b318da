/**
 * Whether an etcd is the one whose policy is enforced (D5). What was applied last is remembered in a small file in the state directory: it
 * survives a reboot, as a backup that was restored during one must not be taken for the present.
 */
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { parseCluster } from "../model/parse-settings.js";
import type { ClusterInfo } from "../model/types.js";
import type { Problem } from "../problems.js";
import { quote } from "../text.js";
import { CLUSTER_KEY } from "./etcd-keys.js";

export interface Identity {
  /** clusterGUID of ClusterInformation. */
  readonly guid?: string;
  /** etcd's own id of its cluster, decimal; equal for a backup that was restored in place. */
  readonly clusterId: string;
  /** Newest revision that was handed on. */
  readonly revision: bigint;
  /** ISO 8601: when what was handed on was known to be complete last. */
  readonly at: string;
  /** Set once an older state was seen under the same name: from then on revisions prove nothing, until a person accepts it. */
  readonly restored?: string;
}

/** What an etcd says of itself now. */
export interface Found {
  readonly clusterId: string;
  readonly revision: bigint;
  readonly cluster: ClusterInfo | undefined;
  /** Why its ClusterInformation cannot be read, when it cannot. */
  readonly fault?: string;
}

/** @param text of the key ClusterInformation default; undefined: it is not there. Pure. */
export function clusterOf(text: string | undefined): Pick<Found, "cluster" | "fault"> {
  if (text === undefined) return { cluster: undefined };
  const { value, closed, faults } = parseCluster(CLUSTER_KEY, "etcd", "default", { text });
  const fault = faults[0]?.what;
  return { cluster: value ?? closed, ...(fault !== undefined && { fault }) };
}

const WHERE = "ClusterInformation default";
const KEPT = "what is enforced stays as it is, and unknown taps pass nothing";
const ACCEPT = `${KEPT}; if this is meant: torbie datastore accept`;

/** Why nothing of it may be applied; undefined: it may. Pure. */
export function judge(
  known: Identity | undefined,
  { clusterId, revision, cluster, fault }: Found,
): Problem | undefined {
  if (cluster === undefined)
    return {
      where: WHERE,
      code: "CLUSTER_UNKNOWN",
      what: "this etcd holds no ClusterInformation: it is empty, or nobody has set it up yet",
      consequence: `${KEPT}; restore its data, or let the Neutron driver's resync write it`,
    };
  if (!cluster.ready)
    return {
      where: WHERE,
      code: "DATASTORE_NOT_READY",
      what: fault ?? "datastoreReady is not true",
      consequence: KEPT,
    };
  if (known === undefined) return undefined;
  if (known.guid !== undefined && cluster.guid !== known.guid)
    return {
      where: WHERE,
      code: "OTHER_CLUSTER",
      what: `this etcd is of cluster ${quote(cluster.guid ?? "without a GUID")}, what is enforced is of ${quote(known.guid)}`,
      consequence: ACCEPT,
    };
  const older = known.restored ?? (revision < known.revision ? olderState(known, clusterId, revision) : undefined);
  return older === undefined ? undefined : { where: WHERE, code: "RESTORED_BACKUP", what: older, consequence: ACCEPT };
}

function olderState(known: Identity, clusterId: string, revision: bigint): string {
  const which =
    clusterId === known.clusterId ? "the same etcd cluster" : "another etcd cluster of the same clusterGUID";
  return `${which} was at revision ${revision}, and ${known.revision} had been applied at ${known.at}: it holds an older state, such as a backup that was restored`;
}

const FILE = "datastore.json";

/** The file, and what it held last: should it not be writable, memory serves until the agent ends. */
export class IdentityFile {
  readonly path: string;
  private text: string | undefined;
  private known: Identity | undefined;

  constructor(private readonly directory: string) {
    this.path = join(directory, FILE);
  }

  /** Undefined: nothing was ever applied. @throws Error when there is a file that cannot be read or understood */
  async read(): Promise<Identity | undefined> {
    let text: string | undefined;
    try {
      text = await readFile(this.path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    // Someone else may have written it, or removed it: torbie datastore accept, an operator.
    if (text !== this.text) {
      this.known = text === undefined ? undefined : parse(text);
      this.text = text;
    }
    return this.known;
  }

  /** Replaces it in one step. @throws Error (errno); what it says is remembered nevertheless */
  async write(identity: Identity): Promise<void> {
    this.known = identity;
    const text = `${JSON.stringify({ format: 1, ...identity, revision: String(identity.revision) })}\n`;
    await mkdir(this.directory, { recursive: true, mode: 0o755 });
    const temporary = `${this.path}.${process.pid}`;
    const file = await open(temporary, "w", 0o644);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.path);
    this.text = text;
  }
}

function parse(text: string): Identity {
  const value: unknown = JSON.parse(text);
  const { format, guid, clusterId, revision, at, restored } = (value ?? {}) as Record<string, unknown>;
  const optional = [guid, restored].every((one) => one === undefined || typeof one === "string");
  if (format !== 1 || typeof clusterId !== "string" || typeof at !== "string" || !optional)
    throw new Error("it is not a file that Torbie wrote");
  if (typeof revision !== "string" || !/^\d{1,19}$/.test(revision)) throw new Error("it holds no revision");
  return {
    ...(guid !== undefined && { guid: guid as string }),
    clusterId,
    revision: BigInt(revision),
    at,
    ...(restored !== undefined && { restored: restored as string }),
  };
}
