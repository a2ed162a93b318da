/** The status file's parts, from what the agent holds. Pure. */
import type { DesiredState } from "../compile/desired.js";
import type { Interfaces } from "../dataplane/backend.js";
import type { EndpointId, Model, PolicyId } from "../model/types.js";
import type { AgentStatus, EndpointStatus, PolicyStatus } from "./status.js";

export function interfacesStatus({ taps, uplinks }: Interfaces): AgentStatus["interfaces"] {
  return {
    taps: [...taps.values()].map(({ name, ifindex, mac, mtu, up }) => ({ name, ifindex, mac, mtu, up })),
    uplinks: uplinks.map(({ name, ifindex }) => ({ name, ifindex })),
  };
}

export function endpointsStatus(
  desired: DesiredState | undefined,
  { taps }: Interfaces,
  enforced: ReadonlySet<EndpointId>,
): readonly EndpointStatus[] {
  return [...(desired?.endpoints.values() ?? [])].map(
    ({ id, interfaceName, workload, blocked, adminUp, floating, move }) => {
      const why =
        blocked ??
        (!taps.has(interfaceName)
          ? "its interface is not there"
          : taps.get(interfaceName)?.fresh === true
            ? "its interface has not been switched on yet"
            : !enforced.has(id)
              ? "could not be written; see problems"
              : !adminUp
                ? "its admin state is down: nothing passes"
                : move === "held"
                  ? "live migration: nothing leads here until its guest speaks, or the migration is complete"
                  : undefined);
      return {
        id,
        workload: workload.workload,
        endpoint: workload.endpoint,
        interface: interfaceName,
        enforced: enforced.has(id),
        ...(why === undefined ? {} : { why }),
        notEnforced: workload.notEnforced,
        ...(floating === undefined ? {} : { floating }),
        ...(move === "held" ? { held: true as const } : {}),
      };
    },
  );
}

/** Policies only: profiles have no origin of their own. A key may be that of a variant, "<policy id>~…". */
export function policiesStatus(desired: DesiredState | undefined, model: Model): readonly PolicyStatus[] {
  const ids = new Set([...(desired?.policies.keys() ?? [])].map((key) => key.split("~")[0] as PolicyId));
  return [...ids].flatMap((id) => {
    const policy = model.policies.get(id);
    return policy === undefined ? [] : [{ id, name: policy.name, origin: policy.origin }];
  });
}
