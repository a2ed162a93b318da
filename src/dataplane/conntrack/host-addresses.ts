/** The host's own addresses, in the network namespace of this process. */
import { networkInterfaces } from "node:os";

export function hostAddresses(): ReadonlySet<string> {
  // A link-local address is "fe80::1%scope" nowhere here: Node gives the scope apart.
  return new Set(Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address)));
}
