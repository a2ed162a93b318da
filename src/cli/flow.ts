/** `flow list|show|flush`: the flow table, who fills it, and taking flows out of it. */
import { decodeFlow, type FlowClock, type FlowEnd, type PinnedFlow } from "../dataplane/bpf/read-flows.js";
import type { PinnedState } from "../dataplane/bpf/read.js";
import { protocolName } from "../model/protocols.js";
import { CommandError, EXIT, UsageError, type Command, type Invocation } from "./command.js";
import { countOf } from "./count.js";
import { STATE_SETTINGS, withMaps } from "./endpoint.js";
import { FILTER_FLAGS, flowFilter } from "./flow-filter.js";
import { namesOf, portNames, type PortNames } from "./names.js";
import { bytesText, columns, durationText, json, jsonLine, percentText, style } from "./output.js";

/** The programs' flow table, or the connections of guests where iptables enforces. */
export interface FlowView {
  readonly dataplane: "bpf" | "iptables";
  readonly names: Pick<PortNames, "ports" | "port">;
  /** Every live entry. */
  readonly flows: Iterable<PinnedFlow>;
  /** Null: the dataplane has no such share. */
  readonly room: {
    readonly used: number;
    readonly limit: number;
    readonly guaranteed: number | null;
    readonly portLimit: number | null;
    readonly reserve: number | null;
  };
  /** How many were there to go. */
  readonly forget: (flows: readonly PinnedFlow[]) => number | Promise<number>;
}

export async function withFlows<T>(
  { context, config }: Pick<Invocation, "context" | "config">,
  read: (view: FlowView) => T | Promise<T>,
): Promise<T> {
  const rules = await context.openRules(config().config);
  if (rules !== undefined)
    try {
      const names = portNames(rules.endpoints(), await context.interfaceNames());
      const flows = await rules.connections(names.port);
      const room = { ...rules.room(), guaranteed: null, portLimit: null, reserve: null };
      return await read({
        dataplane: "iptables",
        names,
        flows,
        room,
        forget: (gone) => rules.forget(gone.map(({ key }) => key)),
      });
    } finally {
      rules.close();
    }
  return withMaps({ context, config }, async (state, interfaces) => {
    const names = namesOf(state, interfaces);
    const clock = await context.flowClock(state);
    const { flow_limit: limit, guaranteed, port_limit: portLimit, reserve } = state.control();
    return read({
      dataplane: "bpf",
      names,
      flows: { [Symbol.iterator]: () => flowsOf(state, names, clock) },
      room: {
        get used() {
          return state.flows().used;
        },
        limit,
        guaranteed,
        portLimit,
        reserve,
      },
      forget: async (flows) => {
        const count = state.tables.delete(
          "flow",
          flows.map(({ key }) => key),
        );
        await context.sweepFlows(state.tables, new Set(flows.flatMap(({ from, to }) => [from.endpoint, to.endpoint])));
        return count;
      },
    });
  });
}

function* flowsOf({ tables }: PinnedState, names: PortNames, clock: FlowClock): IterableIterator<PinnedFlow> {
  for (const [key, value] of tables.entries("flow")) {
    const flow = decodeFlow(key, value, names, clock);
    if (flow !== undefined) yield flow;
  }
}

/** "tap1 10.0.0.5:443", "[fd00::1]:80". */
export function endText({ address, port, name }: Pick<FlowEnd, "address" | "port" | "name">): string {
  const where = port === 0 ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  return name === null ? where : `${where} (${name})`;
}
export const protocolText = ({ protocol, icmp }: PinnedFlow): string =>
  icmp === null ? protocolName(protocol) : `${protocolName(protocol)} ${icmp.type}/${icmp.code} id ${icmp.identifier}`;

export const flowShape = ({ key: _key, protocol, ...flow }: PinnedFlow) => ({
  protocol: protocolName(protocol),
  ...flow,
});

const stateCell = ({ state, halfOpen, host, stateless }: PinnedFlow): string =>
  [state, ...(halfOpen ? ["half open"] : []), ...(host ? ["host"] : []), ...(stateless ? ["stateless"] : [])].join(
    ", ",
  );

export const FLOW_COLUMNS = [
  "PROTOCOL",
  "FROM",
  "TO",
  "STATE",
  "IDLE",
  "LEFT",
  "SENT",
  "BACK",
  "BYTES",
  "RULE",
] as const;
export const flowCells = (flow: PinnedFlow): string[] => [
  protocolText(flow),
  endText(flow.from),
  endText(flow.to),
  stateCell(flow),
  flow.idle === null ? "-" : durationText(flow.idle),
  flow.left > 0 ? durationText(flow.left) : "-",
  String(flow.from.packets),
  String(flow.to.packets),
  bytesText(flow.from.bytes + flow.to.bytes),
  flow.rule ?? "-",
];

const traffic = ({ from, to }: PinnedFlow): bigint => from.bytes + to.bytes;
const byBytes = (a: PinnedFlow, b: PinnedFlow): number =>
  traffic(a) < traffic(b) ? 1 : traffic(a) > traffic(b) ? -1 : 0;

export const flowList: Command = {
  name: "flow list",
  summary: "Print the flows that are allowed now, busiest first.",
  detail: [
    "FROM sent the first packet. LEFT is how long the entry stays if nothing more comes. An expired entry does no harm: it is taken",
    "away when its place is needed. Where iptables enforces these are the kernel's connections of guests (packets and bytes only with",
    "net.netfilter.nf_conntrack_acct=1; neither idle times nor rules). --json prints an object a line.",
  ],
  arguments: [],
  flags: [...FILTER_FLAGS, { name: "limit", value: "COUNT", doc: "At most so many (default: all)." }],
  settings: STATE_SETTINGS,
  jsonLines: true,
  examples: [
    "torbie flow list --port tap1a2b3c4d-5e --state established",
    "torbie flow list --address 10.65.0.0/24 --protocol tcp --limit 20",
  ],
  run: async (invocation) => {
    const { context } = invocation;
    const limit = countOf(invocation, "flow list", "limit") ?? Infinity;
    await withFlows(invocation, (view) => {
      const fits = flowFilter(invocation, "flow list", view.names.ports);
      const flows = [...view.flows].filter(fits).sort(byBytes);
      const shown = flows.slice(0, limit);
      if (invocation.json) context.out(shown.map((flow) => jsonLine(flowShape(flow))).join(""));
      else context.out(columns(FLOW_COLUMNS, shown.map(flowCells)));
      if (flows.length > shown.length) context.err(`${flows.length - shown.length} more flows (--limit)\n`);
    });
    return EXIT.ok;
  },
};

function usage(view: FlowView, top: number) {
  const { names, room } = view;
  const flows = [...view.flows];
  const byState: Record<string, number> = {};
  for (const { state: name } of flows) byState[name] = (byState[name] ?? 0) + 1;
  const ports = names.ports
    .map((port) => ({ port: names.port(port.number) ?? "", id: port.id, ...port.flows, limit: room.portLimit }))
    .sort((a, b) => b.count - a.count || b.refused - a.refused);
  return {
    dataplane: view.dataplane,
    entries: room.used,
    limit: room.limit,
    live: flows.length - (byState["expired"] ?? 0),
    byState,
    guaranteedPerPort: room.guaranteed,
    limitPerPort: room.portLimit,
    reserve: room.reserve,
    ports: ports.filter(({ count, refused }) => count > 0 || refused > 0).slice(0, top),
    heavy: [...flows].sort(byBytes).slice(0, top),
  };
}

export const flowShow: Command = {
  name: "flow show",
  summary: "Print how full the flow table is, each port's share, and the heavy hitters.",
  detail: [
    "A port may borrow up to its limit; when the table gets scarce it keeps what is guaranteed. REFUSED counts new flows for which it had",
    "no room left: those packets were dropped as FLOW_TABLE_FULL.",
  ],
  arguments: [],
  flags: [{ name: "top", value: "COUNT", doc: "How many ports and flows (default 10)." }],
  settings: STATE_SETTINGS,
  examples: ["torbie flow show", "torbie flow show --top 50 --json"],
  run: async (invocation) => {
    const { context } = invocation;
    const top = countOf(invocation, "flow show", "top") ?? 10;
    const found = await withFlows(invocation, (view) => usage(view, top));
    if (invocation.json) {
      context.out(json({ ...found, heavy: found.heavy.map(flowShape) }));
      return EXIT.ok;
    }
    const { bold } = style(context.colours);
    const states = Object.entries(found.byState).map(([state, count]) => `${count} ${state}`);
    context.out(
      [
        bold(
          found.dataplane === "bpf" ? "Flow table" : "The kernel's connection tracking, of host and guests together",
        ),
        `  ${found.entries} of ${found.limit} entries (${percentText(found.entries, found.limit)}): ${states.join(", ") || "none"}`,
        found.guaranteedPerPort === null
          ? "  no port has a share of its own with iptables: whoever fills it takes from all (net.netfilter.nf_conntrack_max)"
          : `  a port has ${found.guaranteedPerPort} guaranteed and at most ${found.limitPerPort}; the last ${found.reserve} serve guarantees only`,
        "",
        bold("Ports with most entries"),
        columns(
          ["PORT", "ENTRIES", "OF LIMIT", "HALF OPEN", "OPENED", "REFUSED"],
          found.ports.map(({ port, count, halfOpen, opened, refused, limit }) => [
            port,
            String(count),
            percentText(count, limit ?? found.limit),
            String(halfOpen),
            limit === null ? "-" : String(opened),
            limit === null ? "-" : String(refused),
          ]),
        ),
        bold("Flows with most bytes"),
        columns(FLOW_COLUMNS, found.heavy.map(flowCells)),
      ].join("\n"),
    );
    return EXIT.ok;
  },
};

export const flowFlush: Command = {
  name: "flow flush",
  summary: "Forget flows: their next packets are judged as first ones.",
  detail: [
    "Nothing that the rules allow is cut off by this, but a TCP connection whose opener only the rules for the other direction admit is.",
    "The ports' shares of the table are given back at once. Where iptables enforces the kernel's connections are deleted. Needs a filter, or",
    "--all.",
  ],
  arguments: [],
  flags: [
    ...FILTER_FLAGS,
    { name: "all", doc: "Every flow of this host." },
    { name: "dry-run", doc: "Only say how many would go." },
  ],
  settings: STATE_SETTINGS,
  examples: ["torbie flow flush --port web1 --protocol udp", "torbie flow flush --address 198.51.100.7 --dry-run"],
  run: async (invocation) => {
    const { context, flags } = invocation;
    const filtered = FILTER_FLAGS.some(({ name }) => flags.has(name));
    if (filtered === flags.has("all"))
      throw filtered
        ? new UsageError("torbie flow flush: --all and a filter contradict each other")
        : new CommandError(
            EXIT.refused,
            "NO_FILTER",
            "torbie flow flush: this would forget every flow of this host: give a filter, or --all",
          );
    const dry = flags.has("dry-run");
    const count = await withFlows(invocation, (view) => {
      const fits = flowFilter(invocation, "flow flush", view.names.ports);
      const flows = [...view.flows].filter(fits);
      return dry ? flows.length : view.forget(flows);
    });
    context.out(
      invocation.json
        ? json({ flows: count, dryRun: dry })
        : `${count} flow${count === 1 ? "" : "s"} ${dry ? "would be forgotten" : "forgotten"}\n`,
    );
    return EXIT.ok;
  },
};
