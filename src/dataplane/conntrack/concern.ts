/** Whose connections may be allowed no longer after a change: only these are looked at. Pure. */
import type {
  CompiledPolicy,
  DesiredDelta,
  DesiredRule,
  DesiredState,
  PolicyKey,
  PolicySetKey,
} from "../../compile/desired.js";
import type { EndpointId, Prefix } from "../../model/types.js";

/**
 * Endpoints of this host that something was taken from, or may have been. A rule or a member that only joined takes nothing.
 * @param before what the policies were
 */
export function concernedEndpoints(
  desired: DesiredState,
  delta: DesiredDelta,
  before: ReadonlyMap<PolicyKey, CompiledPolicy>,
): Set<EndpointId> {
  const found = new Set(delta.endpoints);
  const policies = new Map<PolicyKey, boolean>();
  const narrowed = (key: PolicyKey): boolean => {
    let is = policies.get(key);
    if (is === undefined) {
      const now = desired.policies.get(key);
      is = (delta.policies.has(key) && narrows(before.get(key), now)) || names(now, delta.narrowed);
      policies.set(key, is);
    }
    return is;
  };
  const sets = new Map<PolicySetKey, boolean>();
  const concerned = (key: PolicySetKey): boolean => {
    let is = sets.get(key);
    if (is === undefined) {
      const shape = desired.sets.get(key);
      const planes = [...(shape?.ingress ?? []), ...(shape?.egress ?? [])];
      is = delta.sets.has(key) || planes.some((plane) => plane.policies.some(narrowed));
      sets.set(key, is);
    }
    return is;
  };
  if (delta.sets.size === 0 && delta.policies.size === 0 && delta.narrowed.size === 0) return found;
  for (const { id, set, owned } of desired.endpoints.values())
    if (concerned(set) || owned.some((one) => one.set !== undefined && concerned(one.set))) found.add(id);
  return found;
}

/** Whether anything that the policy allowed might not be allowed any more; false where rules that allow were added, or nothing changed. */
export function narrows(before: CompiledPolicy | undefined, now: CompiledPolicy | undefined): boolean {
  if (before === undefined || now === undefined) return true;
  return (["ingress", "egress"] as const).some((direction) => {
    const meanings = new Set(now[direction].map(meaning));
    return (
      [...before[direction], ...now[direction]].some(({ action }) => action === "deny" || action === "pass") ||
      before[direction].some((rule) => !meanings.has(meaning(rule))) ||
      now[direction].some(({ stateless }) => stateless)
    );
  });
}

function meaning({ action, stateless, families, protocols, remote, ports, sourcePorts }: DesiredRule): string {
  return JSON.stringify([action, stateless, families, protocols, remote, ports, sourcePorts]);
}

function names(policy: CompiledPolicy | undefined, classes: ReadonlySet<string>): boolean {
  if (policy === undefined || classes.size === 0) return false;
  return [...policy.ingress, ...policy.egress].some(({ remote }) => classes.has(remote));
}

/** Prefixes that an endpoint had and has no longer. */
export function lostPrefixes(
  had: readonly { readonly prefix: Prefix }[],
  has: readonly { readonly prefix: Prefix }[] | undefined,
): Prefix[] {
  const now = new Set((has ?? []).map(({ prefix }) => prefix));
  return had.map(({ prefix }) => prefix).filter((prefix) => !now.has(prefix));
}
