/** `drop list`: how much was dropped at each port and why, ever and in the last seconds. */
import { EXIT, type Command, type Invocation } from "./command.js";
import { countOf } from "./count.js";
import { dropsOfChains, grownBy, mostFirst, named, type ChainCount, type DropCount } from "./drop-counts.js";
import { COUNTED_FLAGS } from "./drop-filter.js";
import { dropNames } from "./drop-text.js";
import { STATE_SETTINGS, withMaps } from "./endpoint.js";
import { columns, jsonLine } from "./output.js";

const COMMAND = "drop list";

type Count = DropCount & Partial<ChainCount>;

export const dropList: Command = {
  name: COMMAND,
  summary: "Print how many packets each port had dropped, and why.",
  detail: [
    "Counted since the maps were made; with iptables since the chain was written, by chain and direction. Single packets are kept nowhere:",
    "drop watch shows them as they come. --seconds waits so long and adds what was dropped meanwhile. --json prints an object a line.",
  ],
  arguments: [],
  flags: [
    ...COUNTED_FLAGS,
    { name: "seconds", value: "SECONDS", doc: "Look twice, so far apart, and print what changed between." },
    { name: "limit", value: "COUNT", doc: "At most so many lines (default: all)." },
  ],
  settings: STATE_SETTINGS,
  jsonLines: true,
  examples: ["torbie drop list --seconds 5", "torbie drop list --port web1 --json"],
  run: async (invocation) => {
    const { context, json } = invocation;
    const limit = countOf(invocation, COMMAND, "limit") ?? Infinity;
    const seconds = countOf(invocation, COMMAND, "seconds");
    const looked = await look(invocation);
    let [drops, grown]: [Count[], Count[]] = [looked, []];
    if (seconds !== undefined) {
      await context.pause(seconds * 1000);
      drops = await look(invocation);
      grown = grownBy(looked, drops);
    }
    const added = new Map(grown.map((drop) => [same(drop), drop.packets]));
    const rows = drops
      .map((drop) => ({ ...drop, added: added.get(same(drop)) ?? 0n }))
      .filter(({ added: more }) => seconds === undefined || more > 0n)
      .sort((a, b) => (a.added === b.added ? mostFirst(a, b) : a.added < b.added ? 1 : -1));
    const shown = rows.slice(0, limit);
    if (json)
      context.out(
        shown
          .map(({ added: more, ...drop }) => jsonLine(seconds === undefined ? drop : { ...drop, added: more }))
          .join(""),
      );
    else if (rows.length === 0)
      context.out(seconds === undefined ? "Nothing was dropped.\n" : `Nothing was dropped in ${seconds} s.\n`);
    else context.out(table(shown, seconds));
    if (rows.length > shown.length) context.err(`${rows.length - shown.length} more (--limit)\n`);
    return EXIT.ok;
  },
};

const same = ({ port, id, reason, chain, family }: Count): string =>
  JSON.stringify([id ?? port, reason, chain, family]);

async function look(invocation: Invocation): Promise<Count[]> {
  const { context } = invocation;
  const rules = await context.openRules(invocation.config().config);
  if (rules === undefined)
    return withMaps(invocation, (state, interfaces) =>
      named(invocation, COMMAND, dropNames(state, interfaces), state.drops()),
    );
  try {
    return await dropsOfChains(invocation, COMMAND, rules);
  } finally {
    rules.close();
  }
}

function table(rows: readonly (Count & { readonly added: bigint })[], seconds: number | undefined): string {
  const chains = rows.some(({ chain }) => chain !== undefined);
  return columns(
    [
      "DROPPED",
      ...(seconds === undefined ? [] : [`IN ${seconds} s`]),
      "PORT",
      "REASON",
      ...(chains ? ["DIRECTION", "CHAIN"] : []),
      "GROUPS",
      "WHAT IT MEANS",
    ],
    rows.map(({ packets, added, port, reason, direction, chain, family, groups, sentence }) => [
      String(packets),
      ...(seconds === undefined ? [] : [String(added)]),
      port ?? "(no port known)",
      reason,
      ...(chains ? [direction ?? "-", chain === undefined ? "-" : `${chain} IPv${family ?? 4}`] : []),
      groups.join(" ") || "-",
      sentence,
    ]),
  );
}
