/** What iptables enforces, for the commands that otherwise read maps. */
import type { Bytes } from "../abi/records.js";
import type { Config } from "../config/schema.js";
import { flowOfConnection } from "../dataplane/conntrack/as-flow.js";
import { Conntrack } from "../dataplane/conntrack/conntrack.js";
import type { ConntrackEntry } from "../dataplane/conntrack/entry.js";
import { hostAddresses } from "../dataplane/conntrack/host-addresses.js";
import type { PinnedFlow } from "../dataplane/bpf/read-flows.js";
import { sentenceOf } from "../dataplane/bpf/reasons.js";
import { connectionCounts, dropCounters } from "../dataplane/iptables/counters.js";
import { readSets } from "../dataplane/iptables/read-back.js";
import { readRuleCounts, readSetInfos } from "../dataplane/iptables/read-state.js";
import { readStanding } from "../dataplane/iptables/standing.js";
import { bitsOf } from "../dataplane/iptables/types.js";
import { run } from "../dataplane/run.js";
import type { Address } from "../model/types.js";
import { CommandError, EXIT } from "./command.js";
import type { RulesView } from "./context.js";
import { inventoryIn, openInventory } from "./open-inventory.js";
import { ownerOf } from "./owner.js";

/** Undefined: iptables enforces nothing here, as far as is known. @throws CommandError notPermitted; absent: another version's */
export async function openRules({ runDir, markShift }: Config): Promise<RulesView | undefined> {
  const inventory = inventoryIn(runDir);
  if (inventory === undefined) return undefined;
  if (process.geteuid?.() !== 0)
    throw new CommandError(
      EXIT.notPermitted,
      "NOT_ROOT",
      "reading rules and connections needs root: run as root (sudo torbie …)",
    );
  const state = await openInventory(runDir);
  if (state === undefined) return undefined;
  const { opener, other } = bitsOf(markShift);
  const entries = new Map<Bytes, ConntrackEntry>();
  const owner = ownerOf(inventory.endpoints);
  return {
    endpoints: () => state.endpoints(),
    drops: () => state.drops(),
    dropCounts: async () => {
      const numbers = new Map(inventory.endpoints.map(({ tap, number }) => [tap, number]));
      return (await dropCounters()).map(({ tap, ...count }) => ({
        ...count,
        endpoint: numbers.get(tap ?? "") ?? 0,
        sentence: sentenceOf(count.reason),
      }));
    },
    standing: (family) => readStanding(run, family),
    policy: (number) => state.policy(number),
    name: (kind, number) => state.name(kind, number),
    room: connectionCounts,
    connections: async (name) => {
      const hosts = hostAddresses();
      const flows: PinnedFlow[] = [];
      entries.clear();
      const ends = { owner, name, isHost: (address: Address) => hosts.has(address), stateless: (opener | other) >>> 0 };
      await using(async (conntrack) =>
        conntrack.each((entry) => {
          const flow = flowOfConnection(entry, ends);
          // One may come twice while the table changes.
          if (flow === undefined || entries.has(flow.key)) return;
          entries.set(flow.key, entry);
          flows.push(flow);
        }),
      );
      return flows;
    },
    forget: (keys) =>
      using(async (conntrack) => {
        const { done, failed } = await conntrack.deleteAll(keys.flatMap((key) => entries.get(key) ?? []));
        const [first] = failed;
        if (first !== undefined) throw first.error;
        return done;
      }),
    ruleCounts: () => readRuleCounts(run, inventory),
    sets: () => readSetInfos(run, inventory),
    members: async (set) => {
      const found = (await readSets(run)).get(set);
      return found === undefined ? undefined : [...found.members];
    },
    close: () => state.close(),
  };
}

async function using<T>(work: (conntrack: Conntrack) => Promise<T>): Promise<T> {
  const conntrack = new Conntrack();
  try {
    return await work(conntrack);
  } finally {
    conntrack.close();
  }
}
