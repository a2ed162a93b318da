/** `flow watch`: flows that begin and end, from looking at the table every so often. Costs the programs nothing. */
import type { Bytes } from "../abi/records.js";
import type { PinnedFlow } from "../dataplane/bpf/read-flows.js";
import { EXIT, type Command } from "./command.js";
import { countOf } from "./count.js";
import { STATE_SETTINGS } from "./endpoint.js";
import { endText, flowShape, protocolText, withFlows } from "./flow.js";
import { FILTER_FLAGS, flowFilter } from "./flow-filter.js";
import { bytesText, jsonLine } from "./output.js";
import { escape } from "../text.js";

export type FlowChange =
  | { readonly what: "new"; readonly flow: PinnedFlow }
  /** `how`: the state that it ended in, or "revoked or forgotten" when its entry is gone. */
  | { readonly what: "ended"; readonly flow: PinnedFlow; readonly how: string };

const OVER: ReadonlySet<string> = new Set(["closed", "closing", "expired"]);

/** What is different from the last look. Pure but for `known`, which becomes what is there now. */
export function changesOf(known: Map<Bytes, PinnedFlow>, now: Iterable<PinnedFlow>): FlowChange[] {
  const changes: FlowChange[] = [];
  const seen = new Map<Bytes, PinnedFlow>();
  for (const flow of now) {
    seen.set(flow.key, flow);
    const before = known.get(flow.key);
    const over = OVER.has(flow.state);
    const anew = before !== undefined && flow.from.packets + flow.to.packets < before.from.packets + before.to.packets;
    if (anew && !OVER.has(before.state)) changes.push({ what: "ended", flow: before, how: "opened anew" });
    if (before === undefined || anew || (OVER.has(before.state) && !over)) changes.push({ what: "new", flow });
    if (over && (before === undefined || anew || !OVER.has(before.state)))
      changes.push({ what: "ended", flow, how: flow.state });
  }
  for (const [key, flow] of known)
    if (!seen.has(key) && !OVER.has(flow.state)) changes.push({ what: "ended", flow, how: "revoked or forgotten" });
  known.clear();
  for (const [key, flow] of seen) known.set(key, flow);
  return changes;
}

export const flowWatch: Command = {
  name: "flow watch",
  summary: "Print flows as they begin and end, until Ctrl-C.",
  detail: [
    "Looks at the flow table every so often: the programs do nothing for it. A flow that begins and whose entry is reclaimed between two",
    "looks is not seen. --json prints an object a line.",
  ],
  arguments: [],
  flags: [
    ...FILTER_FLAGS,
    { name: "interval", value: "SECONDS", doc: "Between two looks (default 1)." },
    { name: "count", value: "COUNT", doc: "End after so many lines." },
  ],
  settings: STATE_SETTINGS,
  jsonLines: true,
  examples: ["torbie flow watch --port web1", "torbie flow watch --protocol tcp --json"],
  run: async (invocation) => {
    const { context, json } = invocation;
    const pause = (countOf(invocation, "flow watch", "interval") ?? 1) * 1000;
    let left = countOf(invocation, "flow watch", "count") ?? Infinity;
    const known = new Map<Bytes, PinnedFlow>();
    let first = true;
    do {
      const changes = await withFlows(invocation, (view) => {
        const fits = flowFilter(invocation, "flow watch", view.names.ports);
        return changesOf(known, [...view.flows].filter(fits));
      });
      if (!first)
        for (const change of changes.slice(0, left)) {
          left--;
          context.out(json ? jsonLine({ ...change, flow: flowShape(change.flow) }) : line(change));
        }
      first = false;
    } while (left > 0 && (await context.pause(pause)));
    return EXIT.ok;
  },
};

function line(change: FlowChange): string {
  const { flow } = change;
  const time = new Date().toISOString().slice(11, 19);
  const ends = `${protocolText(flow)} ${endText(flow.from)} -> ${endText(flow.to)}`;
  const how =
    change.what === "new"
      ? (flow.rule ?? "")
      : `${change.how}, ${flow.from.packets}+${flow.to.packets} packets, ${bytesText(flow.from.bytes + flow.to.bytes)}`;
  return `${time} ${change.what.padEnd(5)} ${escape(`${ends}  ${how}`)}\n`;
}
