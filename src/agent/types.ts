/** What the agent's loop is told, and what it tells those who watch it. */
import type { DesiredState } from "../compile/desired.js";
import type { Interfaces } from "../dataplane/backend.js";
import type { EndpointId, FelixSettings } from "../model/types.js";
import type { Problem } from "../problems.js";
import type { SyncState } from "./gate.js";
import type { Backoff } from "./loop.js";
import type { AgentStatus } from "./status.js";

export interface AgentOptions {
  readonly version: string;
  readonly hostname: string;
  readonly pinDir: string;
  /** Which dataplane, and why that one. */
  readonly dataplane: { readonly name: string; readonly why: string };
  readonly resyncMilliseconds: number;
  readonly backoff?: Backoff;
  /** Of the cluster whose policy is pinned, if a former agent knew it. */
  readonly clusterGuid?: string;
  /** The datastore tells one cluster from another itself. */
  readonly clusterJudged?: boolean;
  /** Of when the pinned policy is, if a former agent knew it. */
  readonly dataFrom?: string;
  /** Called after every pass, and when the agent has stopped. */
  readonly onStatus?: (status: () => AgentStatus) => void;
  /** Called after every pass that had policy to write, also while the datastore is lost. */
  readonly onPass?: (pass: FinishedPass) => void;
  /** Present problems of those who are told, not of a part of the loop. */
  readonly problems?: () => Iterable<Problem>;
}

export interface FinishedPass {
  readonly desired: DesiredState;
  /** As they were in this pass. */
  readonly interfaces: Interfaces;
  readonly enforced: ReadonlySet<EndpointId>;
  readonly felix: FelixSettings | undefined;
}

/** What liveness, readiness and the watchdog go by. */
export interface AgentHealth {
  /** How long the present pass has been running, in milliseconds; 0: none runs. */
  readonly busy: number;
  readonly state: SyncState;
  /** Why what the datastore says is not put in force. */
  readonly held?: string;
  /** A policy of the datastore has been put in force by this process. */
  readonly inForce: boolean;
  readonly dataFrom?: string;
  /** What failed in the last pass, other than single interfaces. */
  readonly failing: readonly string[];
  /** What is in force is what the datastore says now. */
  readonly current: boolean;
  /** How many endpoints. */
  readonly wanted: number;
  readonly enforced: number;
  /** How many. */
  readonly problems: number;
  readonly guard: AgentStatus["guard"];
}
