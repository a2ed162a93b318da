/** `top`: the busiest ports and how full the flow table is, again and again; once, and plainly, where nobody looks at a terminal. */
import { EXIT, type Command } from "./command.js";
import type { PacketCounts } from "./context.js";
import { countOf } from "./count.js";
import { isHarmless, STATE_SETTINGS, withState } from "./endpoint.js";
import { columns, cut, jsonLine, percentText, style } from "./output.js";
import { callIt, portsOf } from "./ports.js";

/** One look at the kernel. */
export interface Look {
  /** Monotonic milliseconds. */
  readonly at: number;
  readonly limit: number;
  readonly ports: readonly {
    readonly name: string;
    readonly id: string;
    readonly flows: number;
    readonly opened: number;
    readonly refused: number;
    readonly dropped: bigint;
    readonly packets: PacketCounts | undefined;
  }[];
}

export interface PortRates {
  readonly port: string;
  /** A second, seen from the guest; null: its interface is not there, or was not at the last look. */
  readonly sent: number | null;
  readonly received: number | null;
  readonly dropped: number;
  readonly newFlows: number;
  readonly refused: number;
  /** Now. */
  readonly flows: number;
}

/** What happened a second between two looks, the busiest port first. Pure. */
export function ratesBetween(before: Look, now: Look): PortRates[] {
  const seconds = Math.max(0.001, (now.at - before.at) / 1000);
  const known = new Map(before.ports.map((port) => [port.id, port]));
  // A counter that went back began anew: its number or its interface is another's.
  const rate = (was: number | bigint, is: number | bigint): number =>
    Number(is) < Number(was) ? 0 : (Number(is) - Number(was)) / seconds;
  return now.ports
    .map((port) => {
      const was = known.get(port.id) ?? port;
      const [from, to] = [was.packets, port.packets];
      return {
        port: port.name,
        // What the tap receives the guest has sent.
        sent: from && to ? rate(from.received, to.received) : null,
        received: from && to ? rate(from.sent, to.sent) : null,
        dropped: rate(was.dropped, port.dropped),
        newFlows: rate(was.opened, port.opened),
        refused: rate(was.refused, port.refused),
        flows: port.flows,
      };
    })
    .sort(
      (a, b) =>
        (b.sent ?? 0) + (b.received ?? 0) - (a.sent ?? 0) - (a.received ?? 0) ||
        b.dropped - a.dropped ||
        b.flows - a.flows ||
        (a.port < b.port ? -1 : 1),
    );
}

/** @param text of /proc/net/dev: received bytes and packets, six more, sent bytes and packets (proc(5)). Pure. */
export function parsePacketCounts(text: string): ReadonlyMap<string, PacketCounts> {
  const counts = new Map<string, PacketCounts>();
  for (const line of text.split("\n")) {
    const at = line.lastIndexOf(":");
    const fields = line
      .slice(at + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    if (at > 0 && fields.length >= 10)
      counts.set(line.slice(0, at).trim(), { received: fields[1] ?? 0, sent: fields[9] ?? 0 });
  }
  return counts;
}

const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";
/** Lines of a frame that are no ports. */
const AROUND = 4;

export const top: Command = {
  name: "top",
  summary: "Show the busiest ports, drops, new flows and how full the flow table is, until Ctrl-C.",
  detail: [
    "All rates are a second, of the time between two looks. On a terminal the view refreshes in place, and what was there before comes back",
    "at the end; elsewhere each look is printed below the last one. --json prints an object a line. New and refused flows are counted by the",
    "programs only.",
  ],
  arguments: [],
  flags: [
    { name: "interval", value: "SECONDS", doc: "Between two looks (default 2)." },
    { name: "once", doc: "One view, after one interval." },
    { name: "limit", value: "COUNT", doc: "At most so many ports (default: what fits on the terminal, else 20)." },
  ],
  settings: STATE_SETTINGS,
  jsonLines: true,
  examples: ["torbie top", "torbie top --interval 1 --limit 5", "torbie top --once --json"],
  run: async (invocation) => {
    const { context, flags, json } = invocation;
    const interval = (countOf(invocation, "top", "interval") ?? 2) * 1000;
    const most = countOf(invocation, "top", "limit");
    const once = flags.has("once");
    const screen = once || json ? undefined : context.terminal();
    const look = async (): Promise<Look> => {
      const packets = context.packetCounts();
      return withState(invocation, (state, interfaces) => {
        const dropped = new Map<number, bigint>();
        for (const { endpoint, reason, packets: count } of state.drops())
          if (!isHarmless(reason)) dropped.set(endpoint, (dropped.get(endpoint) ?? 0n) + count);
        return {
          at: context.now(),
          limit: state.control().flow_limit,
          ports: portsOf(state.endpoints(), interfaces).map((port) => ({
            name: callIt(port),
            id: port.id,
            flows: port.flows.count,
            opened: port.flows.opened,
            refused: port.flows.refused,
            dropped: dropped.get(port.number) ?? 0n,
            packets: packets.get(port.interface),
          })),
        };
      });
    };
    let before = await look();
    if (screen) context.out(ENTER);
    try {
      while (await context.pause(interval)) {
        const now = await look();
        const rates = ratesBetween(before, now);
        before = now;
        const flows = now.ports.reduce((sum, port) => sum + port.flows, 0);
        const size = context.terminal();
        const fits = most ?? (screen && size ? Math.max(1, size.rows - AROUND) : 20);
        if (json) context.out(jsonLine({ flows, limit: now.limit, ports: rates.slice(0, most) }));
        else {
          const lines = view(rates, fits, flows, now.limit, context.colours);
          context.out(screen && size ? frame(lines, size.columns) : `${lines.join("\n")}\n`);
        }
        if (once) break;
      }
    } finally {
      if (screen) context.out(LEAVE);
    }
    return EXIT.ok;
  },
};

const perSecond = (value: number | null): string =>
  value === null ? "-" : value === 0 ? "0" : value < 10 ? value.toFixed(1) : String(Math.round(value));

function view(rates: readonly PortRates[], most: number, flows: number, limit: number, colours: boolean): string[] {
  const { bold } = style(colours);
  const sum = (of: (one: PortRates) => number | null): string =>
    perSecond(rates.reduce((all, one) => all + (of(one) ?? 0), 0));
  const shown = rates.slice(0, most);
  const table = columns(
    ["PORT", "SENT/s", "RECEIVED/s", "DROPPED/s", "NEW FLOWS/s", "REFUSED/s", "FLOWS", "OF TABLE"],
    shown.map((one) => [
      one.port,
      perSecond(one.sent),
      perSecond(one.received),
      perSecond(one.dropped),
      perSecond(one.newFlows),
      perSecond(one.refused),
      String(one.flows),
      percentText(one.flows, limit),
    ]),
  );
  const left = rates.length - shown.length;
  return [
    `${bold("torbie top")}  ${rates.length} ports, ${sum((one) => one.sent)} packets/s from guests, ${sum((one) => one.received)} to them, ${sum((one) => one.dropped)} dropped/s, ${flows} of ${limit} flows (${percentText(flows, limit)})`,
    ...table.trimEnd().split("\n"),
    ...(left > 0 ? [`… and ${left} more ports`] : []),
  ];
}

/** Over the last frame: each line is cut, and what was behind it and below is cleared. */
function frame(lines: readonly string[], width: number): string {
  return `\u001b[H${lines.map((line) => `${cut(line, width)}\u001b[K`).join("\r\n")}\u001b[J`;
}
