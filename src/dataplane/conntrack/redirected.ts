/** Connections to a floating IP that leads elsewhere now: the kernel asks its NAT at the first packet only, so what is tracked goes on to where it led. */
import type { Address } from "../../model/types.js";
import type { Conntrack } from "./conntrack.js";
import type { ConntrackEntry } from "./entry.js";

/** @param leads floating IP → the guest's address; one that is not here is an address like any other */
export function isRedirected(
  { original, reply }: ConntrackEntry,
  changed: ReadonlySet<Address>,
  leads: ReadonlyMap<Address, Address>,
): boolean {
  const { destination } = original;
  return changed.has(destination) && reply.source !== (leads.get(destination) ?? destination);
}

/** How many were deleted; their next packet is a first one. @throws NetlinkError; what the kernel refused to delete */
export async function forgetRedirected(
  conntrack: Pick<Conntrack, "list" | "deleteAll">,
  changed: ReadonlySet<Address>,
  leads: ReadonlyMap<Address, Address>,
): Promise<number> {
  const { done, failed } = await conntrack.deleteAll(
    await conntrack.list((entry) => isRedirected(entry, changed, leads)),
  );
  if (failed[0] !== undefined) throw failed[0].error;
  return done;
}
