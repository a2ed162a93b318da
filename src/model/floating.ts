/**
 * Floating IPs (S8): which external address stands for which address of which endpoint of this host. One that is doubtful is in force for
 * nobody or for one, the same on every run, and never takes an address from whoever has it by itself. Pure.
 */
import type { Problem } from "../problems.js";
import { quote } from "../text.js";
import { addressToPrefix, contains, family, parsePrefix } from "./cidr.js";
import type { Address, EndpointId, LocalWorkload, Nat, Prefix } from "./types.js";

/** What no router forwards (RFC 6890), and so nobody can be reached by. */
const NEVER = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8"].map(
  (range) => parsePrefix(range) as Prefix,
);

export interface Floating {
  /** In force, by endpoint; in the order of their external addresses. */
  readonly byEndpoint: ReadonlyMap<EndpointId, readonly Nat[]>;
  readonly problems: readonly Problem[];
}

type Claimant = Pick<LocalWorkload, "id" | "key" | "fixed" | "pairs" | "nats">;

interface Claim extends Nat {
  readonly claimant: Claimant;
}

/**
 * @param isOwned whether an endpoint of the cloud has the address by itself
 */
export function floatingIps(workloads: Iterable<Claimant>, isOwned: (external: Address) => boolean): Floating {
  const problems: Problem[] = [];
  const claims = new Map<Address, Claim[]>();
  for (const claimant of workloads)
    for (const { internal, external } of claimant.nats) {
      const claim = { internal, external, claimant };
      const refused = whyNot(claim, isOwned);
      if (refused !== undefined) problems.push(problem(claim, ...refused));
      else claims.set(external, [...(claims.get(external) ?? []), claim]);
    }
  const byEndpoint = new Map<EndpointId, Nat[]>();
  for (const [external, all] of [...claims].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [winner, ...others] = [...all].sort(before);
    if (winner === undefined) continue;
    const { internal, claimant } = winner;
    byEndpoint.set(claimant.id, [...(byEndpoint.get(claimant.id) ?? []), { internal, external }]);
    for (const loser of others) {
      if (loser.internal === internal && loser.claimant.id === claimant.id) continue;
      problems.push(
        problem(
          loser,
          "FLOATING_IP_TWICE",
          `it stands for ${internal} of ${quote(claimant.key)} as well`,
          `it leads to ${internal} of ${quote(claimant.key)}, and not here`,
        ),
      );
    }
  }
  return { byEndpoint, problems };
}

/** Of several the lowest internal address as text, as the incumbent has it; then the lowest id. */
function before(a: Claim, b: Claim): number {
  if (a.internal !== b.internal) return a.internal < b.internal ? -1 : 1;
  return a.claimant.id < b.claimant.id ? -1 : a.claimant.id > b.claimant.id ? 1 : 0;
}

function whyNot(
  { internal, external, claimant }: Claim,
  isOwned: (external: Address) => boolean,
): readonly [code: string, what: string, consequence: string] | undefined {
  const consequence = "this floating IP is not in force";
  const own = addressToPrefix(internal);
  if (!claimant.fixed.includes(own) && !claimant.pairs.some(({ prefix }) => prefix === own))
    return [
      "FLOATING_IP_NOT_ITS_OWN",
      `${internal}, for which it is to stand, is no address of this endpoint`,
      consequence,
    ];
  if (NEVER.some((range) => family(range) === family(external) && contains(range, external)))
    return ["FLOATING_IP_IMPOSSIBLE", "it is an address that is never forwarded", consequence];
  if (isOwned(external)) return ["FLOATING_IP_IN_USE", "an endpoint has it as its own address", consequence];
  return undefined;
}

function problem({ external, claimant }: Claim, code: string, what: string, consequence: string): Problem {
  return { where: `${claimant.key} ${external}`, code, what: `floating IP ${external}: ${what}`, consequence };
}
