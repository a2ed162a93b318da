/** What the running agent leaves in its run directory for `torbie status`: one JSON file, replaced atomically. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Problem } from "../problems.js";
import type { Step } from "../steps.js";
import type { Change } from "./delta.js";
import type { Nat } from "../model/types.js";
import type { SyncState } from "./gate.js";

/** One pass of the loop that wrote something, failed or had something to say. Plain JSON. */
export interface ApplyEvent {
  /** ISO 8601. */
  readonly at: string;
  /** The kernel's state was read back and compared in full. */
  readonly full: boolean;
  /** At most 50 of `totalChanges`. */
  readonly changes: readonly Change[];
  readonly totalChanges: number;
  /** Map writes by map; routes, neighbours and sysctls together as "links". */
  readonly writes: Readonly<Record<string, number>>;
  readonly totalWrites: number;
  /** Of the pass, and from the first event that it answers to its end. */
  readonly milliseconds: number;
  readonly sinceEvent: number;
  /** Where the time went, the longest first: at most 8 of a millisecond or more. */
  readonly steps: readonly Step[];
  readonly failures: readonly { readonly where: string; readonly what: string }[];
  /** Endpoints in force. */
  readonly enforced: number;
}

export interface EndpointStatus {
  readonly id: string;
  readonly workload: string;
  readonly endpoint: string;
  readonly interface: string;
  readonly enforced: boolean;
  /** Why it is not enforced, or passes nothing. */
  readonly why?: string;
  /** What its description asks for and this version does not do. */
  readonly notEnforced: readonly string[];
  /** Target of a live migration whose guest has not come yet: nothing leads to it. */
  readonly held?: true;
  /** Floating IPs that lead to it; absent: none. */
  readonly floating?: readonly Nat[];
}

/** A policy that applies to a port of this host, and where a person finds it. */
export interface PolicyStatus {
  /** As in the names of rules: "np:openstack/web". */
  readonly id: string;
  readonly name: string;
  readonly origin: string;
}

export interface AgentStatus {
  readonly format: 1;
  readonly version: string;
  readonly pid: number;
  readonly started: string;
  readonly updated: string;
  /** Set when the agent ended in an orderly way. */
  readonly stopped?: string;
  readonly hostname: string;
  readonly pinDir: string;
  readonly dataplane: { readonly name: string; readonly why: string };
  readonly guard: "on" | "off" | "failed";
  readonly datastore: { readonly description: string; readonly state: SyncState; readonly held?: string };
  readonly cluster?: string;
  /** Of when the policy in force is, ISO 8601: now while in sync, else the moment when the datastore was lost. Absent: nobody knows. */
  readonly dataFrom?: string;
  readonly applies: number;
  readonly totalWrites: number;
  readonly lastApply?: ApplyEvent;
  readonly problems: readonly Problem[];
  readonly interfaces: {
    readonly taps: readonly {
      readonly name: string;
      readonly ifindex: number;
      readonly mac: string;
      readonly mtu: number;
      readonly up: boolean;
    }[];
    readonly uplinks: readonly { readonly name: string; readonly ifindex: number }[];
  };
  readonly endpoints: readonly EndpointStatus[];
  readonly policies: readonly PolicyStatus[];
}

const FILE = "status.json";

/** @throws Error (errno) when the directory cannot be made or written */
export function writeStatus(runDir: string, status: AgentStatus): void {
  mkdirSync(runDir, { recursive: true, mode: 0o755 });
  const temporary = join(runDir, `.${FILE}.${process.pid}`);
  writeFileSync(temporary, `${JSON.stringify(status)}\n`, { mode: 0o644 });
  renameSync(temporary, join(runDir, FILE));
}

/** Undefined: there is none, or it is not one of ours. */
export function readStatus(runDir: string): AgentStatus | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(runDir, FILE), "utf8"));
    return isStatus(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isStatus(value: unknown): value is AgentStatus {
  if (typeof value !== "object" || value === null) return false;
  const status = value as Record<string, unknown>;
  return (
    status["format"] === 1 &&
    typeof status["pid"] === "number" &&
    Array.isArray(status["endpoints"]) &&
    Array.isArray(status["problems"]) &&
    Array.isArray(status["policies"])
  );
}
