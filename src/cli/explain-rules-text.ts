/** The way through chains in lines for people. Pure. */
import { NameKind } from "../abi/layout.gen.js";
import type { PinnedEndpoint } from "../dataplane/bpf/read.js";
import { policyKeys } from "../dataplane/iptables/read-state.js";
import { policyChain, setChain } from "../dataplane/iptables/names.js";
import type { RulesWalk } from "../dataplane/iptables/walk-rules.js";
import { escape } from "../text.js";
import type { RulesView } from "./context.js";
import type { Section } from "./explain-text.js";

/** Chain → the policy, or the policy set, that it is. */
export function policiesOfChains(
  endpoints: readonly Pick<PinnedEndpoint, "policySet">[],
  { name }: Pick<RulesView, "name">,
): ReadonlyMap<string, string> {
  const names = [...new Set(endpoints.map(({ policySet }) => policySet))].flatMap(
    (set) => name(NameKind.NAME_POLICY_SET, set) ?? [],
  );
  const chains = new Map<string, string>();
  for (const direction of ["ingress", "egress"] as const) {
    for (const key of names) chains.set(setChain(key, direction), `the policies of the port, ${direction}`);
    for (const key of policyKeys({ policies: names.map((key, set) => ({ set, name: key, ingress: [], egress: [] })) }))
      chains.set(policyChain(key, direction), `${key} ${direction}`);
  }
  return chains;
}

/** Marks that are set and cleared say nothing to a person. */
const SILENT = /-j (?:MARK|CONNMARK) /;

export function rulesSection({ passed, verdict }: RulesWalk, chains: ReadonlyMap<string, string>): Section {
  const last = passed.length - 1;
  const lines = passed.flatMap(({ table, chain, rule }, i): Section["lines"] => {
    if (SILENT.test(rule) && i !== last) return [];
    const of = chains.get(chain);
    const tone = i === last && verdict === "drop" ? "bad" : i === last && verdict === "accept" ? "good" : undefined;
    const text = `${table} ${chain}${of === undefined ? "" : ` (${of})`}: ${rule}`;
    return [{ text: escape(text), ...(tone === undefined ? {} : { tone }) }];
  });
  return {
    title: "Rules that it meets, as they stand in the kernel",
    lines:
      lines.length > 0 && verdict !== "on"
        ? lines
        : [
            ...lines,
            { text: "no rule of ours decides: what others' rules and the chain's policy say was not looked at" },
          ],
  };
}
