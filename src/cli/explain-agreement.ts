/** What the reference evaluator says of the packet on the datastore's contents, and whether the kernel's verdict is the same. Pure. */
import { Evaluator, type At, type Outcome, type Tap } from "../compile/evaluate.js";
import type { AgentStatus } from "../agent/status.js";
import type { Walk } from "../dataplane/bpf/walk.js";
import type { Link } from "../links/types.js";
import type { Served } from "../model/services.js";
import type { Address, EndpointId, Model } from "../model/types.js";

/** What becomes of a packet, without the details in which two that agree may differ. */
export type Verdict =
  | { readonly what: "drop"; readonly reason: string; readonly endpoint?: EndpointId }
  | { readonly what: "deliver"; readonly endpoint: EndpointId }
  /** Off this host. */
  | { readonly what: "forward" }
  /** For this host itself, or none of its guests'. */
  | { readonly what: "host" }
  /** The kernel has to do something with it first. */
  | { readonly what: "stack" };

export interface Scene {
  readonly links: readonly Link[];
  readonly uplinks: readonly string[];
  readonly hostAddresses: ReadonlySet<string>;
  /** The host's routes lead nowhere for these. */
  readonly unreachable: ReadonlySet<Address>;
  readonly hostToGuest: boolean;
  readonly served: Served;
  readonly announcers: ReadonlyMap<Address, EndpointId>;
  /** Targets of live migrations to which nothing leads yet, as the agent said last. */
  readonly held: ReadonlySet<EndpointId>;
}

export interface Sent {
  readonly at: At;
  readonly frame: Uint8Array;
}

/** From the status file. */
export const heldOf = (status: Pick<AgentStatus, "endpoints"> | undefined): ReadonlySet<EndpointId> =>
  new Set((status?.endpoints ?? []).filter(({ held }) => held === true).map(({ id }) => id as EndpointId));

/** @param before what opened the flow that the kernel knows */
export function evaluate(
  model: Model,
  { links, uplinks, hostAddresses, unreachable, hostToGuest, served, announcers, held }: Scene,
  sent: Sent,
  before?: Sent,
): Outcome {
  const taps = new Map<string, Tap>();
  const claimed = new Set([...model.locals.values()].map(({ interfaceName }) => interfaceName));
  for (const { name, ifindex, mac, mtu } of links)
    if (claimed.has(name)) taps.set(name, { ifindex, hostMac: mac, mtu });
  const evaluator = new Evaluator(
    model,
    { taps, uplinks: new Set(uplinks) },
    {
      fib: (to) => (hostAddresses.has(to) ? "local-host" : unreachable.has(to) ? "none" : "uplink"),
      hostToGuest,
      served,
      announcers,
      held,
    },
  );
  if (before !== undefined) evaluator.receive(before.at, before.frame, 0);
  return evaluator.receive(sent.at, sent.frame, 0);
}

export function verdictOfOutcome(outcome: Outcome): Verdict {
  switch (outcome.verdict) {
    case "drop": {
      const { reason, endpoint } = outcome;
      return { what: "drop", reason, ...(endpoint !== undefined && { endpoint }) };
    }
    case "deliver":
      return { what: "deliver", endpoint: outcome.to };
    case "reply":
      return { what: "host" };
    default:
      return { what: outcome.verdict };
  }
}

/** @param idOf endpoint number → id; @param towards the port whose tap's egress was asked */
export function verdictOfWalk(
  { steps, verdict }: Walk,
  idOf: (endpoint: number) => EndpointId | undefined,
  towards: number | undefined,
): Verdict {
  for (const step of [...steps].reverse()) {
    const endpoint = "endpoint" in step ? idOf(step.endpoint) : undefined;
    if (step.step === "drop" && verdict === "drop")
      return { what: "drop", reason: step.reason, ...(endpoint !== undefined && { endpoint }) };
    if (step.step === "to tap" && endpoint !== undefined) return { what: "deliver", endpoint };
    if (step.step === "to stack") return endpoint === undefined ? { what: "forward" } : { what: "deliver", endpoint };
    if (step.step === "to uplink") return { what: "forward" };
    if (step.step === "to host") return { what: "host" };
  }
  const guest = towards === undefined ? undefined : idOf(towards);
  if (verdict === "drop") return { what: "drop", reason: "UNKNOWN" };
  return guest === undefined ? { what: "host" } : { what: "deliver", endpoint: guest };
}

/** Of the kernel's state alone, about which the datastore says nothing. */
const OF_STATE: ReadonlySet<string> = new Set(["FLOW_TABLE_FULL", "FLOW_RACE"]);
/** bpf_fib_lookup() does not tell a destination of the host's own from one without a route. */
const plain = (reason: string): string => (reason === "HOST_UNREACHABLE_TO_GUEST" ? "NO_ROUTE" : reason);

/** Undefined: there is nothing to compare. */
export function agree(kernel: Verdict, datastore: Verdict): boolean | undefined {
  if (kernel.what === "drop" && OF_STATE.has(kernel.reason)) return undefined;
  if (kernel.what === "drop" && datastore.what === "drop")
    return plain(kernel.reason) === plain(datastore.reason) && kernel.endpoint === datastore.endpoint;
  if (datastore.what === "stack") return kernel.what === "deliver" || kernel.what === "forward";
  if (kernel.what === "deliver" && datastore.what === "deliver") return kernel.endpoint === datastore.endpoint;
  return kernel.what === datastore.what;
}
