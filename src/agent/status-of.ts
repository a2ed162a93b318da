/** The status file's parts, from what the agent holds. Pure. */
import type { DesiredState } from "../compile/desired.js";
import type { Interfaces } from "../dataplane/backend.js";
import type { EndpointId } from "../model/types.js";
import type { AgentStatus, EndpointStatus } from "./status.js";

export function interfacesStatus({ taps, uplinks }: Interfaces): AgentStatus["interfaces"] {
  return {
    taps: [...taps.values()].map(({ name, ifindex, mac, mtu, up }) => ({ name, ifindex, mac, mtu, up })),
    uplinks: uplinks.map(({ name, ifindex }) => ({ name, ifindex })),
  };
}

export function endpointsStatus(desired: DesiredState | undefined, { taps }: Interfaces, enforced: ReadonlySet<EndpointId>): readonly EndpointStatus[] {
  return [...(desired?.endpoints.values() ?? [])].map(({ id, interfaceName, workload, blocked, adminUp }) => {
    const why =
      blocked ??
      (!taps.has(interfaceName)
        ? "its interface is not there"
        : !enforced.has(id)
          ? "could not be written; see problems"
          : !adminUp
            ? "its admin state is down: nothing passes"
            : undefined);
    return {
      id,
      workload: workload.workload,
      endpoint: workload.endpoint,
      interface: interfaceName,
      enforced: enforced.has(id),
      ...(why === undefined ? {} : { why }),
      notEnforced: workload.notEnforced,
    };
  });
}
