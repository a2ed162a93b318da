/** What a group lets in, in the words of an operator. Pure. */
import { NAMESPACE_LABEL, parseSelector } from "../model/selector.js";
import type { Policy, Rule, RuleSide } from "../model/types.js";

const NAMES: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp" };
const ECHO: Readonly<Record<number, number>> = { 1: 8, 58: 128 };

/** "tcp/5432 from group web, nothing else"; "nothing" when no rule lets anything in. */
export function describePolicy(policy: Policy): string {
  const bySource = new Map<string, Set<string>>();
  for (const rule of policy.ingress.filter(
    ({ action, inexpressible }) => action === "allow" && inexpressible === undefined,
  )) {
    const source = describeSource(rule.source);
    bySource.set(source, (bySource.get(source) ?? new Set()).add(describeService(rule)));
  }
  if (bySource.size === 0) return "nothing";
  const parts = [...bySource].map(([source, services]) => `${[...services].join(" and ")} from ${source}`);
  return parts.join("; ") + (bySource.has("anyone") ? "" : ", nothing else");
}

function describeService({ protocol, icmp, destination }: Rule): string {
  if (protocol === undefined) return "all";
  if (icmp?.type !== undefined && icmp.type === ECHO[protocol]) return "ping";
  const name = NAMES[protocol] ?? `protocol ${protocol}`;
  const ports = destination.ports.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
  if (ports.length > 0) return `${name}/${ports.join(",")}`;
  return icmp === undefined ? name : `${name} type ${icmp.type}`;
}

function describeSource({ selector, nets, notSelector, notNets }: RuleSide): string {
  const but = [...notNets, ...(notSelector === undefined ? [] : [describeSelector(notSelector)])];
  const what = [
    ...(selector === undefined ? [] : [describeSelector(selector)]),
    ...(nets.length > 0 ? [nets.join(" or ")] : []),
  ];
  return (what.length === 0 ? "anyone" : what.join(" in ")) + (but.length === 0 ? "" : ` but ${but.join(" or ")}`);
}

/** The namespace, which every selector of a namespaced policy has, goes without saying. */
function describeSelector(text: string): string {
  const { root } = parseSelector(text);
  const terms = (root.op === "&&" ? root.terms : [root]).filter(
    (term) => !("key" in term && term.key === NAMESPACE_LABEL),
  );
  const [only] = terms;
  if (terms.length === 0) return "any guest";
  if (terms.length === 1 && only?.op === "==") return `${only.key} ${only.value}`;
  if (terms.length === 1 && only?.op === "has") return `those with label ${only.key}`;
  return text;
}
