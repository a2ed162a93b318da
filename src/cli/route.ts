/** `route list`: how guests' addresses lead to their taps: in the kernel's routing table and in the programs' own. */
import { LocalFlag } from "../abi/layout.gen.js";
import type { Route } from "../links/types.js";
import { addressToPrefix, parsePrefix } from "../model/cidr.js";
import type { Address } from "../model/types.js";
import { EXIT, type Command, type Invocation } from "./command.js";
import type { RulesView } from "./context.js";
import { STATE_SETTINGS, withMaps } from "./endpoint.js";
import { namesOf, portNames } from "./names.js";
import { columns, json, style } from "./output.js";

export interface RouteRow {
  readonly prefix: string;
  /** Interfaces that the kernel's routes lead to. */
  readonly interfaces: readonly string[];
  readonly metric: number | null;
  /** The port to which the programs deliver. */
  readonly port: string | null;
  readonly shared: boolean;
  readonly known: "both" | "kernel only" | "programs only" | "rules only";
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
  only: "programs only" | "rules only" = "programs only",
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
      known: row === undefined ? only : "both",
    });
  }
  return [...rows.values()].sort((a, b) => (a.prefix < b.prefix ? -1 : 1));
}

export const routeList: Command = {
  name: "route list",
  summary: "Print where each guest's address leads: the kernel's route and the programs' own entry.",
  detail: [
    "KNOWN TO says both where all is well (rules take the programs' place where iptables enforces). Kernel only: a stale route, or the port has not been written. Programs only: its tap is not up,",
    "somebody else's route is in the way, or the route is gone; guests of this host reach it, others do not.",
  ],
  arguments: [],
  flags: [],
  settings: [...STATE_SETTINGS, "route-protocol"],
  examples: ["torbie route list", "torbie route list --json"],
  run: async (invocation) => {
    const { context, config } = invocation;
    const { routeProtocol } = config().config;
    const interfaces = await context.interfaceNames();
    const interfaceOf = (ifindex: number): string => interfaces.get(ifindex) ?? `ifindex ${ifindex}`;
    const rules = await context.openRules(config().config);
    const locals = rules === undefined ? await ofMaps(invocation) : ofRules(rules, interfaces);
    const routes = await context.routes(routeProtocol);
    const rows = routeRows(routes, locals, interfaceOf, rules === undefined ? "programs only" : "rules only");
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

const ofMaps = (invocation: Invocation): Promise<Local[]> =>
  withMaps(invocation, (state, interfaces) => {
    const names = namesOf(state, interfaces);
    return state.locals().map(({ prefix, endpoint, flags }) => ({
      prefix: canonical(prefix),
      port: names.port(endpoint) ?? `endpoint ${endpoint}`,
      shared: (flags & LocalFlag.LOCAL_SHARED) !== 0,
    }));
  });

/** What ports may send from is what is delivered to them. */
function ofRules(rules: RulesView, interfaces: ReadonlyMap<number, string>): Local[] {
  try {
    const endpoints = rules.endpoints();
    const names = portNames(endpoints, interfaces);
    const owners = new Map<string, string[]>();
    for (const { number, sources } of endpoints)
      for (const { prefix } of sources)
        owners.set(canonical(prefix), [
          ...(owners.get(canonical(prefix)) ?? []),
          names.port(number) ?? `endpoint ${number}`,
        ]);
    return [...owners].map(([prefix, [port = "", ...others]]) => ({ prefix, port, shared: others.length > 0 }));
  } finally {
    rules.close();
  }
}
