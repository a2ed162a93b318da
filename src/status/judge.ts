/**
 * What is to be said of each endpoint of this host, pass by pass. An endpoint is `up` only when the kernel has been read back for the
 * interface that it has now; nothing is said of one that is still being looked at. Pure.
 */
import type { DesiredEndpoint, DesiredState } from "../compile/desired.js";
import type { Interfaces, Tap } from "../dataplane/backend.js";
import type { EndpointId } from "../model/types.js";
import type { EndpointState } from "./keys.js";

/** What a pass of the agent left behind. */
export interface Pass {
  readonly desired: DesiredState;
  /** As they were in that pass. */
  readonly interfaces: Interfaces;
  readonly enforced: ReadonlySet<EndpointId>;
}

export interface Change {
  readonly endpoint: DesiredEndpoint;
  /** Undefined: the endpoint is gone, and its key goes too. */
  readonly state: EndpointState | undefined;
}

export interface Candidate {
  readonly endpoint: DesiredEndpoint;
  readonly tap: Tap;
}

/** Failures in a row before one is told: an interface that vanishes under a pass is no error. */
const PATIENCE = 2;

/** `ready`: everything was written; whether the kernel has it is to be read back. `failed`: it could not be, this time. */
export function judge(
  endpoint: Pick<DesiredEndpoint, "adminUp" | "blocked">,
  tap: Pick<Tap, "up"> | undefined,
  enforced: boolean,
): "down" | "error" | "failed" | "ready" {
  if (tap === undefined || !tap.up || !endpoint.adminUp) return "down";
  if (endpoint.blocked !== undefined) return "error";
  return enforced ? "ready" : "failed";
}

interface Known {
  endpoint: DesiredEndpoint;
  told: EndpointState | undefined;
  /** Interface on which it was read back. */
  ifindex: number | undefined;
  /** What the kernel is being asked about. */
  candidate: Candidate | undefined;
  failures: number;
}

export class Judgement {
  readonly #known = new Map<EndpointId, Known>();

  /** What can be told at once, in order, and which endpoints the kernel must be asked about now. */
  pass({ desired, interfaces, enforced }: Pass): {
    readonly changes: readonly Change[];
    readonly candidates: readonly Candidate[];
  } {
    const changes: Change[] = [];
    const candidates: Candidate[] = [];
    for (const [id, known] of this.#known) {
      if (desired.endpoints.has(id)) continue;
      this.#known.delete(id);
      changes.push({ endpoint: known.endpoint, state: undefined });
    }
    for (const [id, endpoint] of desired.endpoints) {
      const known = this.#of(id, endpoint);
      const tap = interfaces.taps.get(endpoint.interfaceName);
      const state = judge(endpoint, tap, enforced.has(id));
      // The guest was rebuilt between two passes: whoever waits for its port to go down and come up must see both.
      if (known.told === "up" && tap !== undefined && tap.ifindex !== known.ifindex) tell(known, "down", changes);
      if (state === "ready" && tap !== undefined) {
        const candidate = ask(known, tap);
        if (candidate !== undefined) candidates.push(candidate);
        continue;
      }
      known.candidate = undefined;
      if (state === "failed") fail(known, changes);
      else if (state !== "ready") tell(known, state, changes);
    }
    return { changes, candidates };
  }

  /** Whether the answer about a candidate is still of interest. */
  awaits(candidate: Candidate): boolean {
    return this.#known.get(candidate.endpoint.id)?.candidate === candidate;
  }

  /**
   * The kernel was asked: `holds` says whether it has the endpoint, whole, on that interface. If not, it has to be asked again: the
   * candidate is awaited as before.
   */
  readBack(candidate: Candidate, holds: boolean): readonly Change[] {
    const changes: Change[] = [];
    const known = this.#known.get(candidate.endpoint.id);
    if (known === undefined || known.candidate !== candidate) return changes;
    if (!holds) fail(known, changes);
    else {
      known.candidate = undefined;
      tell(known, "up", changes);
      known.ifindex = candidate.tap.ifindex;
    }
    return changes;
  }

  #of(id: EndpointId, endpoint: DesiredEndpoint): Known {
    let known = this.#known.get(id);
    if (known === undefined) {
      known = { endpoint, told: undefined, ifindex: undefined, candidate: undefined, failures: 0 };
      this.#known.set(id, known);
    }
    known.endpoint = endpoint;
    return known;
  }
}

/** Undefined: it is up, or being asked about already. */
function ask(known: Known, tap: Tap): Candidate | undefined {
  if (known.told === "up") {
    known.failures = 0;
    return undefined;
  }
  const { candidate } = known;
  if (candidate?.endpoint === known.endpoint && candidate.tap.ifindex === tap.ifindex) return undefined;
  known.candidate = { endpoint: known.endpoint, tap };
  return known.candidate;
}

function fail(known: Known, changes: Change[]): void {
  if (++known.failures >= PATIENCE) tell(known, "error", changes);
}

function tell(known: Known, state: EndpointState, changes: Change[]): void {
  if (state !== "error") known.failures = 0;
  if (known.told === state) return;
  known.told = state;
  if (state !== "up") known.ifindex = undefined;
  changes.push({ endpoint: known.endpoint, state });
}
