/** `counter list`: what the programs count: drops by port and reason, and rules by hits. */
import { NameKind } from "../abi/layout.gen.js";
import { fromBytes, readU32 } from "../abi/records.js";
import { EXIT, type Command } from "./command.js";
import { countOf } from "./count.js";
import { isHarmless, STATE_SETTINGS, withMaps } from "./endpoint.js";
import { namesOf } from "./names.js";
import { columns, json } from "./output.js";
import { findPort } from "./ports.js";

export const counterList: Command = {
  name: "counter list",
  summary: "Print what was dropped, by port and reason, and how often each rule decided.",
  detail: ["Counted since the maps were made. ARP and ND that needs no answer is left out; --all has it."],
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
    const found = await withMaps(invocation, (state, interfaces) => {
      const names = namesOf(state, interfaces);
      const only = flags.has("port") ? findPort(names.ports, flags.get("port") ?? "").number : undefined;
      const drops = state
        .drops()
        .filter(
          ({ endpoint, reason }) =>
            (only === undefined || endpoint === only) && (flags.has("all") || !isHarmless(reason)),
        )
        .map(({ endpoint, ...drop }) => ({
          port: endpoint === 0 ? null : (names.port(endpoint) ?? `endpoint ${endpoint} (gone)`),
          ...drop,
        }))
        .sort((a, b) => (a.packets < b.packets ? 1 : a.packets > b.packets ? -1 : 0));
      const rules = [...state.tables.entries("rule_hit")]
        .map(([key, value]) => {
          const number = readU32(key);
          const text = state.name(NameKind.NAME_RULE, number) ?? null;
          return { number, hits: fromBytes(value).readBigUInt64LE(), rule: text };
        })
        .filter(({ number }) => number > 0)
        .sort((a, b) => (a.hits < b.hits ? 1 : a.hits > b.hits ? -1 : 0))
        .slice(0, top);
      return { drops, rules };
    });
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
          found.rules.map(({ hits, number, rule }) => [String(hits), rule ?? `rule ${number} (gone)`]),
        )}`,
      );
    return EXIT.ok;
  },
};
