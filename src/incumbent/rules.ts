/** What of a printed iptables rule set is Felix's, what of others is tied up with it, and which taps it judges. Pure. */
import { isItsChain, isItsRule, isItsSet } from "./names.js";

/** The kernel's own chains. */
const BUILT_IN = new Set(["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]);

/** Of one table, as iptables-save prints it. Rules stand as after "-A ". */
export interface TableFound {
  readonly table: string;
  readonly chains: readonly string[];
  /** Its rules in the kernel's chains. */
  readonly hooks: readonly string[];
  /** Somebody else's rules that lead into its chains. */
  readonly foreignJumps: readonly string[];
  /** Somebody else's rules in its chains. */
  readonly foreignRules: readonly string[];
  /** Somebody else's rules that name its sets. */
  readonly setUsers: readonly string[];
}

export interface ToolFound {
  /** "iptables-nft-save" */
  readonly tool: string;
  /** Those in which something of it was found. */
  readonly tables: readonly TableFound[];
  /** Taps that it judges whole: rules of FORWARD lead from and to each. */
  readonly covered: ReadonlySet<string>;
}

const targetOf = (rule: string): string | undefined => / -[jg] (\S+)/.exec(` ${rule}`)?.[1];
const setsOf = (rule: string): string[] => [...rule.matchAll(/--match-set (\S+)/g)].map(([, name = ""]) => name);

/** Chain → its rules as after "-A CHAIN ". */
type Chains = Map<string, string[]>;

export function parseTables(text: string): Map<string, Chains> {
  const tables = new Map<string, Chains>();
  let chains: Chains = new Map();
  for (const line of text.split("\n")) {
    const [, table] = /^\*(\S+)$/.exec(line) ?? [];
    if (table !== undefined) tables.set(table, (chains = new Map()));
    const [, declared] = /^:(\S+) /.exec(line) ?? [];
    if (declared !== undefined) chains.set(declared, chains.get(declared) ?? []);
    const [, chain, rule] = /^-A (\S+) ?(.*)$/.exec(line) ?? [];
    if (chain === undefined || rule === undefined) continue;
    const rules = chains.get(chain);
    if (rules === undefined) chains.set(chain, [rule]);
    else rules.push(rule);
  }
  return tables;
}

/** @param text of iptables-save */
export function findRules(tool: string, text: string): ToolFound {
  const parsed = parseTables(text);
  const tables = [...parsed].map(([table, chains]) => ofTable(table, chains)).filter(hasAnything);
  return { tool, tables, covered: coveredTaps(parsed.get("filter") ?? new Map<string, string[]>()) };
}

const hasAnything = ({ chains, hooks, setUsers }: TableFound): boolean =>
  chains.length + hooks.length + setUsers.length > 0;

function ofTable(table: string, chains: Chains): TableFound {
  const found = { chains: [] as string[], hooks: [] as string[], foreignJumps: [] as string[] };
  const foreignRules: string[] = [];
  const setUsers: string[] = [];
  // Versions that write no comments can't be told from others by them.
  const comments = [...chains.values()].some((rules) => rules.some(isItsRule));
  for (const [chain, rules] of chains) {
    const its = isItsChain(chain);
    if (its) found.chains.push(chain);
    for (const rule of rules) {
      const whole = `${chain} ${rule}`;
      if (its) {
        if (comments && chain.startsWith("cali-") && !isItsRule(rule)) foreignRules.push(whole);
        continue;
      }
      const leads = isItsChain(targetOf(rule) ?? "");
      const itsOwn = BUILT_IN.has(chain) && (isItsRule(rule) || (leads && /^-[jg] \S+$/.test(rule)));
      if (itsOwn) found.hooks.push(whole);
      else if (leads) found.foreignJumps.push(whole);
      else if (setsOf(rule).some(isItsSet)) setUsers.push(whole);
    }
  }
  return { table, ...found, foreignRules, setUsers };
}

const DISPATCH = { from: "cali-from-wl-dispatch", to: "cali-to-wl-dispatch" } as const;
const ENDPOINT = { from: "cali-fw-", to: "cali-tw-" } as const;
const FORWARD = "cali-FORWARD";

/** Those of which every forwarded packet, either way, comes to the endpoint's own chain. */
function coveredTaps(chains: Chains): ReadonlySet<string> {
  const leadsTo = (from: string, to: string): boolean => (chains.get(from) ?? []).some((rule) => targetOf(rule) === to);
  if (!leadsTo("FORWARD", FORWARD)) return new Set();
  const [from, to] = (["from", "to"] as const).map((way) => {
    const taps = new Set<string>();
    if (leadsTo(FORWARD, DISPATCH[way])) collect(chains, DISPATCH[way], way, taps, 3);
    return taps;
  });
  return new Set([...(from ?? [])].filter((tap) => to?.has(tap)));
}

/** The dispatch is a tree by the first letters of names; its inner rules end in "+". */
function collect(chains: Chains, chain: string, way: "from" | "to", taps: Set<string>, depth: number): void {
  for (const rule of chains.get(chain) ?? []) {
    const target = targetOf(rule) ?? "";
    const [, name = ""] = (way === "from" ? /(?:^| )-i (\S+)/ : /(?:^| )-o (\S+)/).exec(rule) ?? [];
    if (target.startsWith(ENDPOINT[way])) {
      if ((chains.get(target) ?? []).length > 0) taps.add(name);
    } else if (depth > 0 && target.startsWith(DISPATCH[way])) collect(chains, target, way, taps, depth - 1);
  }
}

/** In which tables go: until the first has gone a packet has to pass theirs and ours. */
export const TABLE_ORDER: readonly string[] = ["filter", "mangle", "nat", "raw"];

/** Every table that something is to be removed from, in that order. */
export function tablesInOrder(
  tools: readonly ToolFound[],
): readonly { readonly tool: string; readonly found: TableFound }[] {
  return TABLE_ORDER.flatMap((table) =>
    tools.flatMap(({ tool, tables }) =>
      tables
        .filter((found) => found.table === table && found.chains.length + found.hooks.length > 0)
        .map((found) => ({ tool, found })),
    ),
  );
}

/** Input of iptables-restore --noflush that takes all of it out of one table at once. */
export function removalText({ table, chains, hooks }: TableFound): string {
  return [
    `*${table}`,
    ...chains.map((name) => `:${name} - [0:0]`),
    ...hooks.map((rule) => `-D ${rule}`),
    ...chains.map((name) => `-X ${name}`),
    "COMMIT",
    "",
  ].join("\n");
}

/** What an operator has to take away first, each with the command for it. */
export function entanglements({ tool, tables }: ToolFound): readonly { readonly what: string; readonly how: string }[] {
  const program = tool.replace(/-save$/, "");
  return tables.flatMap(({ table, foreignJumps, foreignRules, setUsers }) => {
    const how = (rule: string): string => `${program} -t ${table} -D ${rule}`;
    return [
      ...foreignJumps.map((rule) => ({
        what: `a rule of somebody else leads into Felix's chains: ${program} -t ${table}, ${rule}`,
        how: how(rule),
      })),
      ...foreignRules.map((rule) => ({
        what: `a rule of somebody else is in one of Felix's chains: ${program} -t ${table}, ${rule}`,
        how: how(rule),
      })),
      ...setUsers.map((rule) => ({
        what: `a rule of somebody else names one of Felix's sets: ${program} -t ${table}, ${rule}`,
        how: how(rule),
      })),
    ];
  });
}
