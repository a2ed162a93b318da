/**
 * What the rules in the kernel mean, for the CLI: a file beside the status file, since rules can't be read back into what was asked
 * for. Written after they are, so it holds while the agent is down.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DesiredRule, DesiredState, PlaneShape, PolicyKey, PolicySetKey } from "../../compile/desired.js";
import { DataplaneError } from "../../errors.js";
import { quote } from "../../text.js";
import type { Interfaces } from "../backend.js";
import type { PinnedEndpoint } from "../bpf/read.js";
import { ruleText } from "../bpf/rule-text.js";
import type { PinnedPlane, PinnedPolicy } from "../bpf/read-policy.js";

/** Counters are added when it is read. */
export interface InventoryEndpoint extends Omit<PinnedEndpoint, "flows"> {
  readonly tap: string;
}
type Rule = Omit<PinnedPlane["rules"][number], "hits">;
/** Numbered by the plane that holds it. */
type UnplacedRule = Omit<Rule, "number" | "order">;
type Policy = Omit<PinnedPolicy, "ingress" | "egress"> & {
  readonly ingress: readonly (Omit<PinnedPlane, "rules"> & { readonly rules: readonly Rule[] })[];
  readonly egress: readonly (Omit<PinnedPlane, "rules"> & { readonly rules: readonly Rule[] })[];
};

export interface Inventory {
  readonly endpoints: readonly InventoryEndpoint[];
  readonly policies: readonly Policy[];
}

interface Plane {
  readonly end: PlaneShape["end"];
  readonly policies: readonly PolicyKey[];
}

const FILE = "iptables.json";
const FORMAT = 2;

/** The file: each policy's rules once, however many sets hold it. */
interface Contents {
  readonly format: typeof FORMAT;
  readonly endpoints: readonly InventoryEndpoint[];
  readonly sets: readonly {
    readonly set: number;
    readonly name: PolicySetKey;
    readonly ingress: readonly Plane[];
    readonly egress: readonly Plane[];
  }[];
  readonly policies: Readonly<Record<PolicyKey, Readonly<Record<"ingress" | "egress", readonly UnplacedRule[]>>>>;
}

export function writeInventory(runDir: string, desired: DesiredState, interfaces: Pick<Interfaces, "taps">): void {
  write(runDir, JSON.stringify(contentsOf(desired, interfaces)));
}

export const inventoryOf = (desired: DesiredState, interfaces: Pick<Interfaces, "taps">): Inventory =>
  expanded(contentsOf(desired, interfaces));

function contentsOf(desired: DesiredState, interfaces: Pick<Interfaces, "taps">): Contents {
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
  const policies: Record<PolicyKey, Contents["policies"][PolicyKey]> = {};
  const planes = (shapes: readonly PlaneShape[] = []): Plane[] =>
    shapes.map(({ end, policies: keys }) => {
      for (const key of keys) {
        const policy = desired.policies.get(key);
        if (policy === undefined || policies[key] !== undefined) continue;
        const rules = (side: "ingress" | "egress"): UnplacedRule[] =>
          policy[side].map((rule) => ruleOf(rule, ruleText(rule, policy, side)));
        policies[key] = { ingress: rules("ingress"), egress: rules("egress") };
      }
      return { end, policies: keys };
    });
  const sets = [...numbers].map(([name, set]) => {
    const shape = desired.sets.get(name);
    return { set, name, ingress: planes(shape?.ingress), egress: planes(shape?.egress) };
  });
  return { format: FORMAT, endpoints, sets, policies };
}

function expanded({ endpoints, sets, policies }: Contents): Inventory {
  const side = (planes: readonly Plane[], direction: "ingress" | "egress"): Policy["ingress"] =>
    planes.map(({ end, policies: keys }, number) => {
      const rules = keys.flatMap((key) => policies[key]?.[direction] ?? []);
      return {
        number,
        end,
        allowOnly: rules.every(({ action }) => action === "allow"),
        rules: rules.map((rule, index) => ({ ...rule, number: index, order: index })),
      };
    });
  return {
    endpoints,
    policies: sets.map(({ ingress, egress, ...set }) => ({
      ...set,
      ingress: side(ingress, "ingress"),
      egress: side(egress, "egress"),
    })),
  };
}

const ruleOf = (rule: DesiredRule, text: string): UnplacedRule => ({
  text,
  action: rule.action,
  stateless: rule.stateless,
  families: rule.families,
  ...(rule.protocols === undefined ? {} : { protocols: rule.protocols }),
  ...(rule.ports === undefined ? {} : { ports: rule.ports }),
  ...(rule.sourcePorts === undefined ? {} : { sourcePorts: rule.sourcePorts }),
  remotes: [rule.remote],
});

function write(runDir: string, text: string): void {
  mkdirSync(runDir, { recursive: true });
  const path = join(runDir, FILE);
  writeFileSync(`${path}.new`, text, { mode: 0o644 });
  renameSync(`${path}.new`, path);
}

/**
 * Undefined: iptables enforces nothing here, as far as is known.
 *
 * @throws DataplaneError OTHER_LAYOUT: it does, but another version of Torbie has said what
 */
export function readInventory(runDir: string): Inventory | undefined {
  if (!isInventory(runDir)) return undefined;
  const path = join(runDir, FILE);
  let contents: Contents;
  try {
    contents = JSON.parse(readFileSync(path, "utf8")) as Contents;
    if ((contents.format as number) === FORMAT) return expanded(contents);
  } catch (error) {
    throw unreadable(path, "can't be read", error);
  }
  throw unreadable(path, `has format ${String(contents.format).slice(0, 20)}, not ${FORMAT}`);
}

/** Whether iptables enforces here, as far as is known. */
export const isInventory = (runDir: string): boolean => existsSync(join(runDir, FILE));

const unreadable = (path: string, why: string, cause?: unknown): DataplaneError =>
  new DataplaneError(
    "OTHER_LAYOUT",
    `iptables enforces here, but ${quote(path)}, which says what its rules mean, ${why}: it is of another version of Torbie, or damaged; the rules go on enforcing, and an agent of this version writes it anew when it starts`,
    { cause },
  );

export const forgetInventory = (runDir: string): void => rmSync(join(runDir, FILE), { force: true });
