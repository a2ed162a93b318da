/**
 * What the rules in the kernel mean, for the CLI: a file beside the status file, since rules can't be read back into what was asked
 * for. Written whenever they are, so it holds while the agent is down.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DesiredRule, DesiredState, PlaneShape, PolicySetKey } from "../../compile/desired.js";
import type { Interfaces } from "../backend.js";
import type { PinnedEndpoint } from "../bpf/read.js";
import { ruleText } from "../bpf/rule-text.js";
import type { PinnedPlane, PinnedPolicy } from "../bpf/read-policy.js";

/** Counters are added when it is read. */
export interface InventoryEndpoint extends Omit<PinnedEndpoint, "flows"> {
  readonly tap: string;
}
type Rule = Omit<PinnedPlane["rules"][number], "hits">;
type Policy = Omit<PinnedPolicy, "ingress" | "egress"> & {
  readonly ingress: readonly (Omit<PinnedPlane, "rules"> & { readonly rules: readonly Rule[] })[];
  readonly egress: readonly (Omit<PinnedPlane, "rules"> & { readonly rules: readonly Rule[] })[];
};

export interface Inventory {
  readonly format: 1;
  readonly endpoints: readonly InventoryEndpoint[];
  readonly policies: readonly Policy[];
}

const FILE = "iptables.json";

export function writeInventory(runDir: string, desired: DesiredState, interfaces: Interfaces): void {
  write(runDir, JSON.stringify(inventoryOf(desired, interfaces)));
}

export function inventoryOf(desired: DesiredState, interfaces: Pick<Interfaces, "taps">): Inventory {
  const numbers = new Map<PolicySetKey, number>();
  const numberOf = (key: PolicySetKey): number => {
    let number = numbers.get(key);
    if (number === undefined) numbers.set(key, (number = numbers.size + 1));
    return number;
  };
  const endpoints = [...desired.endpoints.values()].map((endpoint, i): InventoryEndpoint => {
    const tap = interfaces.taps.get(endpoint.interfaceName);
    return {
      number: i + 1,
      id: endpoint.id,
      tap: endpoint.interfaceName,
      ifindex: tap?.ifindex ?? 0,
      mac: endpoint.mac,
      mtu: tap?.mtu ?? 0,
      policySet: numberOf(endpoint.set),
      generation: 0,
      adminUp: endpoint.adminUp,
      portSecurity: endpoint.portSecurity,
      blocked: endpoint.blocked !== undefined,
      sources: endpoint.owned.map(({ prefix, mac, set }) => ({
        prefix,
        policySet: set === undefined ? 0 : numberOf(set),
        ...(mac === undefined ? {} : { mac }),
      })),
    };
  });
  const policies = [...numbers].map(([key, set]): Policy => {
    const shape = desired.sets.get(key);
    const side = (planes: readonly PlaneShape[] = [], direction: "ingress" | "egress"): Policy["ingress"] =>
      planes.map(({ end, policies: some }, number) => {
        const rules = some.flatMap((one) => {
          const policy = desired.policies.get(one);
          return policy === undefined
            ? []
            : policy[direction].map((rule) => ({ ...rule, text: ruleText(rule, policy, direction) }));
        });
        return {
          number,
          end,
          allowOnly: rules.every(({ action }) => action === "allow"),
          rules: rules.map(ruleOf),
        };
      });
    return { set, name: key, ingress: side(shape?.ingress, "ingress"), egress: side(shape?.egress, "egress") };
  });
  return { format: 1, endpoints, policies };
}

const ruleOf = (rule: DesiredRule & { readonly text: string }, index: number): Rule => ({
  number: index,
  text: rule.text,
  action: rule.action,
  stateless: rule.stateless,
  families: rule.families,
  ...(rule.protocols === undefined ? {} : { protocols: rule.protocols }),
  ...(rule.ports === undefined ? {} : { ports: rule.ports }),
  ...(rule.sourcePorts === undefined ? {} : { sourcePorts: rule.sourcePorts }),
  remotes: [rule.remote],
  order: index,
});

function write(runDir: string, text: string): void {
  mkdirSync(runDir, { recursive: true });
  const path = join(runDir, FILE);
  writeFileSync(`${path}.new`, text, { mode: 0o644 });
  renameSync(`${path}.new`, path);
}

/** Undefined: iptables enforces nothing here, as far as is known. */
export function readInventory(runDir: string): Inventory | undefined {
  try {
    const inventory = JSON.parse(readFileSync(join(runDir, FILE), "utf8")) as Inventory;
    return (inventory.format as number) === 1 ? inventory : undefined;
  } catch {
    return undefined;
  }
}

export const forgetInventory = (runDir: string): void => rmSync(join(runDir, FILE), { force: true });
