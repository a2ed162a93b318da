/** `route list`: how guests' addresses lead to their taps: in the kernel's routing table and in the programs' own. */
import { LocalFlag } from "../abi/layout.gen.js";
import type { Route } from "../links/types.js";
import { addressToPrefix, parsePrefix } from "../model/cidr.js";
import type { Address } from "../model/types.js";
import { EXIT, type Command } from "./command.js";
import { STATE_SETTINGS, withMaps } from "./endpoint.js";
import { namesOf } from "./names.js";
import { columns, json, style } from "./output.js";

export interface RouteRow {
  readonly prefix: string;
  /** Interfaces that the kernel's routes lead to. */
  readonly interfaces: readonly string[];
  readonly metric: number | null;
  /** The port to which the programs deliver. */
  readonly port: string | null;
  readonly shared: boolean;
  readonly known: "both" | "kernel only" | "programs only";
}

interface Local {
  readonly prefix: string;
  readonly port: string;
  readonly shared: boolean;
}

const canonical = (text: string): string => {
  const prefix = parsePrefix(text);
  return prefix ?? addressToPrefix(text as Address);
};

/** Pure. */
export function routeRows(
  routes: readonly Route[],
  locals: readonly Local[],
  interfaceOf: (ifindex: number) => string,
): RouteRow[] {
  const rows = new Map<string, RouteRow>();
  for (const { prefix, metric, links } of routes)
    rows.set(prefix, {
      prefix,
      interfaces: links.map(interfaceOf),
      metric,
      port: null,
      shared: false,
      known: "kernel only",
    });
  for (const { prefix, port, shared } of locals) {
    const row = rows.get(prefix);
    rows.set(prefix, {
      prefix,
      interfaces: row?.interfaces ?? [],
      metric: row?.metric ?? null,
      port,
      shared,
      known: row === undefined ? "programs only" : "both",
    });
  }
  return [...rows.values()].sort((a, b) => (a.prefix < b.prefix ? -1 : 1));
}

export const routeList: Command = {
  name: "route list",
  summary: "Print where each guest's address leads: the kernel's route and the programs' own entry.",
  detail: [
    "KNOWN TO says both where all is well. Kernel only: a stale route, or the port has not been written. Programs only: its tap is not up,",
    "somebody else's route is in the way, or the route is gone; guests of this host reach it, others do not.",
  ],
  arguments: [],
  flags: [],
  settings: [...STATE_SETTINGS, "route-protocol"],
  examples: ["torbie route list", "torbie route list --json"],
  run: async (invocation) => {
    const { context, config } = invocation;
    const { routeProtocol } = config().config;
    const rows = await withMaps(invocation, async (state, interfaces) => {
      const names = namesOf(state, interfaces);
      const locals = state.locals().map(({ prefix, endpoint, flags }) => ({
        prefix: canonical(prefix),
        port: names.port(endpoint) ?? `endpoint ${endpoint}`,
        shared: (flags & LocalFlag.LOCAL_SHARED) !== 0,
      }));
      const routes = await context.routes(routeProtocol);
      return routeRows(routes, locals, (ifindex) => interfaces.get(ifindex) ?? `ifindex ${ifindex}`);
    });
    const { good, bad } = style(context.colours);
    context.out(
      invocation.json
        ? json({ routes: rows })
        : columns(
            ["PREFIX", "INTERFACE", "METRIC", "PORT", "KNOWN TO"],
            rows.map((row) => [
              row.prefix,
              row.interfaces.join(" ") || "-",
              row.metric === null ? "-" : String(row.metric),
              `${row.port ?? "-"}${row.shared ? " (shared)" : ""}`,
              row.known,
            ]),
            (cell, column) => (column === 4 ? (cell === "both" ? good(cell) : bad(cell)) : cell),
          ),
    );
    return EXIT.ok;
  },
};
