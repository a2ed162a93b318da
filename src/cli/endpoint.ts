/** `endpoint list` and `endpoint show`: what the kernel enforces per port, read from the pinned maps. */
import { NameKind } from "../abi/layout.gen.js";
import type { Config } from "../config/schema.js";
import type { PinnedDrop, PinnedState } from "../dataplane/bpf/read.js";
import { escape } from "../text.js";
import { CommandError, EXIT, type Command, type Invocation } from "./command.js";
import type { Context, KernelState } from "./context.js";
import { columns, json, style } from "./output.js";
import { policyNames } from "../dataplane/bpf/policy-names.js";
import { findPort, portsOf, type Port } from "./ports.js";

export const STATE_SETTINGS = ["pin-dir", "run-dir"] as const;

/** Opens the pinned state for the time of `read`. */
export async function withState<T>(
  { context, config }: Pick<Invocation, "context" | "config">,
  read: (state: KernelState, interfaces: ReadonlyMap<number, string>, settings: Config) => T,
): Promise<T> {
  const settings = config().config;
  const state = await context.openState(settings.pinDir, settings.runDir);
  try {
    return read(state, await context.interfaceNames(), settings);
  } finally {
    state.close();
  }
}

/** Opens the pinned maps for the time of `read`. */
export async function withMaps<T>(
  { context, config }: Pick<Invocation, "context" | "config">,
  read: (state: PinnedState, interfaces: ReadonlyMap<number, string>, settings: Config) => T | Promise<T>,
): Promise<T> {
  const settings = config().config;
  const state = await context.openMaps(settings.pinDir, settings.runDir);
  try {
    return await read(state, await context.interfaceNames(), settings);
  } finally {
    state.close();
  }
}

/** What passes, in one word, and why not more. */
function stateOf(port: Port, agentWhy: ReadonlyMap<string, string>): { readonly state: string; readonly why?: string } {
  const why = (fallback: string): string => agentWhy.get(port.id) ?? fallback;
  if (port.blocked) return { state: "blocked", why: why("its description could not be understood") };
  if (!port.adminUp) return { state: "down", why: "its admin state is down" };
  if (port.interface === "") return { state: "absent", why: "its interface is not there" };
  if (!port.portSecurity) return { state: "open", why: "port security is off: no source checks, no groups" };
  if (port.policySet === 0) return { state: "closed", why: "no policy applies: nothing is allowed" };
  return { state: "enforced" };
}

function whys(context: Context, config: Config): ReadonlyMap<string, string> {
  const status = context.readStatus(config.runDir);
  return new Map(status?.endpoints.flatMap(({ id, why }) => (why === undefined ? [] : [[id, why] as const])));
}

/** ARP and ND that needs no answer is dropped all the same, and no fault. */
export const isHarmless = (reason: string): boolean => reason === "ARP_ABSORBED" || reason === "ND_ABSORBED";
const dropTotal = (drops: readonly PinnedDrop[]): bigint =>
  drops.reduce((sum, { packets, reason }) => (isHarmless(reason) ? sum : sum + packets), 0n);
const dropsOf = (port: Port, drops: readonly PinnedDrop[]): readonly PinnedDrop[] =>
  drops.filter(({ endpoint }) => endpoint === port.number);

function summary(port: Port, drops: readonly PinnedDrop[], agentWhy: ReadonlyMap<string, string>) {
  return {
    interface: port.interface || null,
    ifindex: port.ifindex,
    workload: port.workload,
    port: port.port,
    id: port.id,
    ...stateOf(port, agentWhy),
    mac: port.mac ?? null,
    addresses: port.sources.map(({ prefix }) => prefix),
    flows: port.flows.count,
    drops: dropTotal(dropsOf(port, drops)),
  };
}

export const endpointList: Command = {
  name: "endpoint list",
  summary: "Print the ports of this host as the kernel has them.",
  arguments: [],
  flags: [],
  settings: STATE_SETTINGS,
  examples: ["torbie endpoint list", "torbie endpoint list --json"],
  run: async (invocation) => {
    const { context } = invocation;
    const rows = await withState(invocation, (state, interfaces, config) => {
      const agentWhy = whys(context, config);
      const drops = state.drops();
      return portsOf(state.endpoints(), interfaces).map((port) => summary(port, drops, agentWhy));
    });
    rows.sort((a, b) => ((a.interface ?? "~") < (b.interface ?? "~") ? -1 : 1));
    if (invocation.json) {
      context.out(json({ endpoints: rows }));
    } else {
      const { good, bad } = style(context.colours);
      context.out(
        columns(
          ["INTERFACE", "WORKLOAD", "PORT", "ADDRESSES", "FLOWS", "DROPS", "STATE"],
          rows.map((row) => [
            row.interface ?? "-",
            row.workload || row.id,
            row.port,
            row.addresses.join(" ") || "-",
            String(row.flows),
            String(row.drops),
            row.state,
          ]),
          (cell, column) => (column === 6 ? (cell === "enforced" ? good(cell) : bad(cell)) : cell),
        ),
      );
    }
    return EXIT.ok;
  },
};

function details(port: Port, state: KernelState, config: Config, context: Context) {
  const drops = state.drops();
  const told = context.readStatus(config.runDir)?.endpoints.find(({ id }) => id === port.id);
  return {
    ...summary(port, drops, whys(context, config)),
    number: port.number,
    mtu: port.mtu,
    portSecurity: port.portSecurity,
    adminUp: port.adminUp,
    sources: port.sources.map(({ prefix, mac }) => ({ prefix, mac: mac ?? port.mac ?? null })),
    policySet:
      port.policySet === 0
        ? null
        : {
            number: port.policySet,
            policies: policyNames(state.name(NameKind.NAME_POLICY_SET, port.policySet), state.policy(port.number)),
          },
    flowTable: port.flows,
    dropsByReason: dropsOf(port, drops).map(({ reason, sentence, packets }) => ({
      reason,
      count: packets,
      harmless: isHarmless(reason),
      sentence,
    })),
    held: told?.held ?? false,
    floating: told?.floating ?? [],
    notEnforced: told?.notEnforced ?? [],
  };
}

function render(of: ReturnType<typeof details>, colours: boolean): string {
  const { bold, good, bad, dim } = style(colours);
  const state = of.state === "enforced" ? good(of.state) : bad(of.state);
  const lines: [string, string][] = [
    ["state", of.why === undefined ? state : `${state}: ${escape(of.why)}`],
    ["workload", escape(of.workload)],
    ["port", escape(of.port)],
    ["id", escape(of.id)],
    [
      "interface",
      of.interface === null
        ? "not there"
        : `${escape(of.interface)} (ifindex ${of.ifindex}, MTU ${of.mtu || "unknown"})`,
    ],
    ["MAC", of.mac ?? "none"],
    ...of.sources.map(({ prefix, mac }, i): [string, string] => [
      i === 0 ? "may send from" : "",
      `${prefix}${mac === of.mac ? "" : ` as ${mac}`}`,
    ]),
    ...(of.held
      ? [
          ["live migration", bad("nothing leads here until its guest speaks, or the migration is complete")] as [
            string,
            string,
          ],
        ]
      : []),
    ...of.floating.map(({ external, internal }): [string, string] => ["floating IP", `${external} for ${internal}`]),
    ["port security", of.portSecurity ? "on" : bad("off")],
    [
      "policies",
      of.policySet === null
        ? bad("none: nothing is allowed")
        : `${of.policySet.policies.map(escape).join(", ") || "none"} ${dim(`(set ${of.policySet.number})`)}`,
    ],
    [
      "flows",
      `${of.flowTable.count} (${of.flowTable.halfOpen} half open), ${of.flowTable.opened} ever, ${of.flowTable.refused} refused for lack of room`,
    ],
    ...of.notEnforced.map((what): [string, string] => ["not enforced", bad(escape(what))]),
  ];
  const drops = of.dropsByReason.map(({ reason, count, sentence }) => [String(count), reason, sentence]);
  return [
    bold(escape(of.interface ?? of.workload)),
    ...lines.map(([name, value]) => `  ${name.padEnd(16)}${value}`),
    "",
    ...(drops.length > 0 ? [columns(["DROPPED", "REASON", "WHAT IT MEANS"], drops)] : ["Nothing was dropped.\n"]),
  ].join("\n");
}

export const endpointShow: Command = {
  name: "endpoint show",
  summary: "Print one port: addresses, MAC, flags, policies, and what was dropped and why.",
  detail: ["PORT is an interface, a port id, a workload, an endpoint's id, or a beginning of one that fits no other."],
  arguments: ["PORT"],
  flags: [],
  settings: STATE_SETTINGS,
  examples: ["torbie endpoint show tap1a2b3c4d-5e", "torbie endpoint show web1 --json"],
  run: async (invocation) => {
    const { context, positionals } = invocation;
    const found = await withState(invocation, (state, interfaces, config) => {
      const port = findPort(portsOf(state.endpoints(), interfaces), positionals[0] ?? "");
      return details(port, state, config, context);
    });
    context.out(invocation.json ? json(found) : render(found, context.colours));
    return EXIT.ok;
  },
};

export const nothingPinned = (pinDir: string): CommandError =>
  new CommandError(
    EXIT.absent,
    "NO_PINNED_STATE",
    `nothing is pinned at ${pinDir}: no agent has run on this host since it booted, or it was cleaned up (torbie agent; --pin-dir names another place)`,
  );
