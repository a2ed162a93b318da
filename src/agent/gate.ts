/**
 * Whether what the datastore says may reach the kernel (D5): it is in sync, the cluster is ready, and it is the cluster whose policy is
 * in the kernel. Pure; the agent holds the last good desired state while the gate is shut.
 */
import type { DatastoreEvent } from "../datastore/types.js";
import type { ClusterInfo } from "../model/types.js";
import type { Problem } from "../problems.js";

export type SyncState = "connecting" | "in-sync" | "lost" | "held";

const KEPT = "what is enforced stays as it is";

export class Gate {
  #state: SyncState = "connecting";
  #reason: string | undefined;
  #guid: string | undefined;
  #sawCluster: boolean;
  #inSnapshot = false;
  #held: Problem | undefined;
  readonly #judged: boolean;

  /**
   * `guid`: of the cluster whose policy the kernel holds, as the last agent left it in its status file. `judged`: the datastore itself
   * hands nothing on of another cluster than the one that was accepted, so whatever it says is right.
   */
  constructor(guid?: string, judged = false) {
    this.#guid = guid;
    this.#sawCluster = guid !== undefined;
    this.#judged = judged;
  }

  get state(): SyncState {
    return this.#state;
  }
  get guid(): string | undefined {
    return this.#guid;
  }

  follow(event: DatastoreEvent): void {
    if (event.type === "snapshot-begin") {
      this.#inSnapshot = true;
    } else if (event.type === "in-sync") {
      this.#inSnapshot = false;
      this.#state = "in-sync";
      this.#reason = undefined;
    } else if (event.type === "lost") {
      this.#inSnapshot = false;
      this.#state = "lost";
      this.#reason = event.reason;
    } else if (event.type === "held") {
      this.#inSnapshot = false;
      this.#state = "held";
      this.#held = event.problem;
    }
  }

  /** Undefined: the model may be compiled and applied. Else why not; a half-read snapshot is no problem, only too early. */
  closed(cluster: ClusterInfo | undefined): Problem | "too early" | undefined {
    if (this.#state === "lost")
      return { where: "datastore", code: "DATASTORE_LOST", what: this.#reason ?? "connection lost", consequence: KEPT };
    if (this.#state === "held" && !this.#inSnapshot) return this.#held;
    if (this.#state !== "in-sync" || this.#inSnapshot) return "too early";
    const where = "ClusterInformation default";
    if (cluster === undefined && this.#sawCluster)
      return {
        where,
        code: "CLUSTER_UNKNOWN",
        what: "the datastore no longer says which cluster it is",
        consequence: KEPT,
      };
    if (cluster !== undefined && !cluster.ready)
      return { where, code: "DATASTORE_NOT_READY", what: "datastoreReady is not true", consequence: KEPT };
    if (!this.#judged && cluster?.guid !== undefined && this.#guid !== undefined && cluster.guid !== this.#guid)
      return {
        where,
        code: "OTHER_CLUSTER",
        what: `the datastore is of cluster ${JSON.stringify(cluster.guid)}, the kernel holds the policy of ${JSON.stringify(this.#guid)}`,
        consequence: `${KEPT}; if the change is meant: stop the agent, torbie cleanup --open, start it`,
      };
    return undefined;
  }

  /** The model of `cluster` has been applied. */
  applied(cluster: ClusterInfo | undefined): void {
    if (cluster !== undefined) this.#sawCluster = true;
    this.#guid = this.#judged ? cluster?.guid : (this.#guid ?? cluster?.guid);
  }
}
