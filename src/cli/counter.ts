/** `counter list`: what the programs count: drops by port and reason, and rules by hits. */
import { NameKind } from "../abi/layout.gen.js";
import { fromBytes, readU32 } from "../abi/records.js";
import { EXIT, type Command } from "./command.js";
import { countOf } from "./count.js";
import { isHarmless, STATE_SETTINGS, withMaps } from "./endpoint.js";
import type { RulesView } from "./context.js";
import { namesOf, portNames, type PortNames } from "./names.js";
import type { PinnedDrop, PinnedState } from "../dataplane/bpf/read.js";
import { columns, json } from "./output.js";
import { findPort } from "./ports.js";

export const counterList: Command = {
  name: "counter list",
  summary: "Print what was dropped, by port and reason, and how often each rule decided.",
  detail: [
    "Counted since the maps were made. ARP and ND that needs no answer is left out; --all has it. Where iptables enforces: the packets that",
    "each rule of a policy's chain matched since it was written.",
  ],
  arguments: [],
  flags: [
    { name: "port", value: "PORT", doc: "Only drops of this port; as for endpoint show." },
    { name: "all", doc: "Harmless drops too." },
    { name: "top", value: "COUNT", doc: "How many rules (default 20)." },
  ],
  settings: STATE_SETTINGS,
  examples: ["torbie counter list", "torbie counter list --port web1 --all --json"],
  run: async (invocation) => {
    const { context, flags } = invocation;
    const top = countOf(invocation, "counter list", "top") ?? 20;
    const shape = (names: Pick<PortNames, "ports" | "port">, drops: readonly PinnedDrop[]): Drop[] => {
      const only = flags.has("port") ? findPort(names.ports, flags.get("port") ?? "").number : undefined;
      return dropsOf(names, drops, only, flags.has("all"));
    };
    const rules = await context.openRules(invocation.config().config);
    const found = await (rules === undefined
      ? withMaps(invocation, (state, interfaces) => {
          const names = namesOf(state, interfaces);
          return { drops: shape(names, state.drops()), rules: hitsOf(state).slice(0, top) };
        })
      : ofRules(rules, await context.interfaceNames(), shape, top));
    if (invocation.json) {
      context.out(json(found));
      return EXIT.ok;
    }
    context.out(
      found.drops.length === 0
        ? "Nothing was dropped.\n"
        : columns(
            ["DROPPED", "PORT", "REASON", "WHAT IT MEANS"],
            found.drops.map(({ packets, port, reason, sentence }) => [
              String(packets),
              port ?? "(no port known)",
              reason,
              sentence,
            ]),
          ),
    );
    if (found.rules.length > 0)
      context.out(
        `\n${columns(
          ["HITS", "RULE"],
          found.rules.map(({ hits, number, rule }) => [String(hits), rule ?? `rule ${number ?? 0} (gone)`]),
        )}`,
      );
    return EXIT.ok;
  },
};

interface Drop extends Omit<PinnedDrop, "endpoint"> {
  readonly port: string | null;
}
interface Hits {
  /** Null: iptables numbers no rules. */
  readonly number: number | null;
  readonly hits: bigint;
  readonly rule: string | null;
}

const most = (a: bigint, b: bigint): number => (a < b ? 1 : a > b ? -1 : 0);

function dropsOf(
  names: Pick<PortNames, "port">,
  drops: readonly PinnedDrop[],
  only: number | undefined,
  all: boolean,
): Drop[] {
  return drops
    .filter(({ endpoint, reason }) => (only === undefined || endpoint === only) && (all || !isHarmless(reason)))
    .map(({ endpoint, ...drop }) => ({
      port: endpoint === 0 ? null : (names.port(endpoint) ?? `endpoint ${endpoint} (gone)`),
      ...drop,
    }))
    .sort((a, b) => most(a.packets, b.packets));
}

function hitsOf(state: PinnedState): Hits[] {
  return [...state.tables.entries("rule_hit")]
    .map(([key, value]) => {
      const number = readU32(key);
      const text = state.name(NameKind.NAME_RULE, number) ?? null;
      return { number, hits: fromBytes(value).readBigUInt64LE(), rule: text };
    })
    .filter(({ number }) => number > 0)
    .sort((a, b) => most(a.hits, b.hits));
}

/** By rule of a policy's chain: one of ours may be several there, and many ports share it. */
async function ofRules(
  rules: RulesView,
  interfaces: ReadonlyMap<number, string>,
  shape: (names: Pick<PortNames, "ports" | "port">, drops: readonly PinnedDrop[]) => Drop[],
  top: number,
): Promise<{ drops: Drop[]; rules: Hits[] }> {
  try {
    const drops = shape(portNames(rules.endpoints(), interfaces), rules.drops());
    const hits = (await rules.ruleCounts())
      .filter(({ packets }) => packets > 0n)
      .map(({ packets, policy, direction, chain, family, rule }) => ({
        number: null,
        hits: packets,
        rule: `${policy === undefined ? chain : `${policy} ${direction ?? ""}`} IPv${family}: ${rule}`,
      }))
      .sort((a, b) => most(a.hits, b.hits));
    return { drops, rules: hits.slice(0, top) };
  } finally {
    rules.close();
  }
}
