/** What iptables enforces, in the shape of what is pinned: the agent's inventory, with the kernel's counters. */
import { connectionCounts, dropCounters } from "../dataplane/iptables/counters.js";
import { readInventory, type Inventory } from "../dataplane/iptables/inventory.js";
import { sentenceOf } from "../dataplane/bpf/reasons.js";
import type { PinnedDrop, PinnedEndpoint } from "../dataplane/bpf/read.js";
import type { PinnedPlane, PinnedPolicy } from "../dataplane/bpf/read-policy.js";
import { Conntrack } from "../dataplane/conntrack/conntrack.js";
import { DataplaneError } from "../errors.js";
import { CommandError, EXIT } from "./command.js";
import type { KernelState } from "./context.js";

/**
 * Undefined: iptables enforces nothing here, as far as is known.
 *
 * @throws CommandError absent: another version of Torbie wrote it
 */
export function inventoryIn(runDir: string): Inventory | undefined {
  try {
    return readInventory(runDir);
  } catch (error) {
    if (!(error instanceof DataplaneError)) throw error;
    throw new CommandError(EXIT.absent, error.code, error.message, error);
  }
}

/** As inventoryIn(). */
export async function openInventory(runDir: string): Promise<KernelState | undefined> {
  const inventory = inventoryIn(runDir);
  if (inventory === undefined) return undefined;
  const [drops, flows] = await Promise.all([dropsOf(inventory), flowsOf(inventory)]);
  const { limit } = connectionCounts();
  return {
    endpoints: (): PinnedEndpoint[] =>
      inventory.endpoints.map((endpoint) => ({
        ...endpoint,
        flows: { count: flows.get(endpoint.number) ?? 0, halfOpen: 0, opened: 0, refused: 0 },
      })),
    drops: () => drops,
    policy: (number) => policyOf(inventory, number),
    control: () => ({ flow_limit: limit }),
    name: (_, number) => inventory.policies.find(({ set }) => set === number)?.name,
    close: () => undefined,
  };
}

async function dropsOf({ endpoints }: Inventory): Promise<PinnedDrop[]> {
  const numbers = new Map(endpoints.map(({ tap, number }) => [tap, number]));
  const sums = new Map<string, PinnedDrop>();
  for (const { tap, reason, packets } of await dropCounters()) {
    const endpoint = numbers.get(tap ?? "") ?? 0;
    const before = sums.get(`${endpoint} ${reason}`)?.packets ?? 0n;
    sums.set(`${endpoint} ${reason}`, { endpoint, reason, sentence: sentenceOf(reason), packets: before + packets });
  }
  return [...sums.values()];
}

/** Connections that one of the endpoint's addresses is an end of. */
async function flowsOf({ endpoints }: Inventory): Promise<ReadonlyMap<number, number>> {
  const owners = new Map<string, number>();
  for (const { number, sources } of endpoints)
    for (const { prefix } of sources)
      if (/\/(32|128)$/.test(prefix)) owners.set(prefix.slice(0, prefix.lastIndexOf("/")), number);
  const counts = new Map<number, number>();
  const conntrack = new Conntrack();
  try {
    await conntrack.each(({ original }) => {
      for (const number of new Set([owners.get(original.source), owners.get(original.destination)]))
        if (number !== undefined) counts.set(number, (counts.get(number) ?? 0) + 1);
    });
  } finally {
    conntrack.close();
  }
  return counts;
}

/** Rules that decided are not counted one by one: many share a set. */
function policyOf({ endpoints, policies }: Inventory, number: number): PinnedPolicy | undefined {
  const endpoint = endpoints.find((one) => one.number === number);
  const policy = policies.find(({ set }) => set === endpoint?.policySet);
  if (policy === undefined) return undefined;
  const side = (planes: typeof policy.ingress): PinnedPlane[] =>
    planes.map((plane) => ({ ...plane, rules: plane.rules.map((rule) => ({ ...rule, hits: 0n })) }));
  return { set: policy.set, ingress: side(policy.ingress), egress: side(policy.egress) };
}
