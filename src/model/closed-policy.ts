/** What stands in for a policy that cannot be read and has no last good version (D5): it allows nothing, and denies if it may have. */
import { displayName, mayDeny, policySelector, policyTypes, tierOfName, type PolicyPlace } from "./policy-parts.js";
import { EMPTY_SIDE } from "./parse-side.js";
import { escape } from "../text.js";
import { policyId } from "./keys.js";
import { get, type RawObject } from "./raw.js";
import { Report } from "./report.js";
import { allOf, hasLabel, inNamespace, type Selector } from "./selector.js";
import type { Policy, Rule } from "./types.js";

/** The driver's policies: their names tell whom they select, and they hold Allow rules only (networking-calico.md §2.1). */
const SECURITY_GROUP = /^ossg\.default\.([A-Za-z0-9_.-]{1,200})$/;

/** @param spec of the resource, as far as it could be read */
export function closedPolicy(
  place: PolicyPlace,
  spec: RawObject | undefined,
): { readonly closed: Policy; readonly closedMeans: string } {
  const quiet = new Report(place.key, place.origin);
  const group = place.namespace === undefined ? undefined : SECURITY_GROUP.exec(place.name)?.[1];
  const denies =
    spec === undefined ? group === undefined : mayDeny(get(spec, "ingress")) || mayDeny(get(spec, "egress"));
  const selector = (spec && policySelector(place, spec, quiet)) ?? widestSelector(place, group);
  const types = (spec && policyTypes(get(spec, "types"), quiet)) ?? { ingressApplies: true, egressApplies: true };
  const tier = spec && get(spec, "tier");
  const order = spec && get(spec, "order");
  const closed: Policy = {
    id: policyId(place.name, place.namespace),
    key: place.key,
    origin: place.origin,
    name: displayName(place.name),
    tier: typeof tier === "string" && tier !== "" ? tier : tierOfName(place.name),
    order:
      typeof order === "number" && !Number.isNaN(order)
        ? order
        : denies
          ? Number.NEGATIVE_INFINITY
          : Number.POSITIVE_INFINITY,
    selector: selector.text,
    ...types,
    ingress: denies ? [denyAll("ingress/0")] : [],
    egress: denies ? [denyAll("egress/0")] : [],
    stateful: true,
  };
  const whom = selector.text.length > 200 ? "what it selects" : escape(selector.text);
  return {
    closed,
    closedMeans: denies
      ? `it denies everything to and from ${whom}, as it may hold a Deny`
      : `it allows nothing to ${whom}`,
  };
}

function widestSelector(place: PolicyPlace, group: string | undefined): Selector {
  if (place.namespace === undefined) return allOf();
  const namespace = inNamespace(place.namespace);
  return group === undefined ? namespace : allOf(hasLabel(`sg.projectcalico.org/openstack-${group}`), namespace);
}

function denyAll(index: string): Rule {
  return {
    index,
    action: "deny",
    source: EMPTY_SIDE,
    destination: EMPTY_SIDE,
    inexpressible: "the policy could not be read",
  };
}
