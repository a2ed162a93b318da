/**
 * What stands in the kernel, as its programs print it. They print rules otherwise than they were written, so a chain is compared with
 * what was printed right after we wrote it; elements of sets are compared as they are.
 */
import type { Family } from "../../model/types.js";
import type { Runner } from "../run.js";
import { LINK_TABLE } from "./link-rules.js";
import { isOurChain, isOurSet } from "./names.js";
import { IPTABLES, refused } from "./tools.js";
import type { RenderedSet, SetType, TableName } from "./types.js";

/** Chain → its rules as printed; of the kernel's own chains all rules, whosever they are. */
export type Printed = ReadonlyMap<string, readonly string[]>;

const HOOKS = new Set(["PREROUTING", "INPUT", "FORWARD", "OUTPUT"]);

export async function readTable(run: Runner, family: Family, table: TableName): Promise<Printed> {
  const result = await run(`${IPTABLES[family]}-save`, ["-t", table]);
  if (result.status !== 0) throw refused(`read ${IPTABLES[family]} ${table}`, result);
  return parseSave(result.stdout);
}

export function parseSave(text: string): Printed {
  const chains = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [, declared] = /^:(\S+) /.exec(line) ?? [];
    if (declared !== undefined && (isOurChain(declared) || HOOKS.has(declared))) chains.set(declared, []);
    const [, chain, rule] = /^-A (\S+) (.*)$/.exec(line) ?? [];
    if (chain !== undefined && rule !== undefined) chains.get(chain)?.push(rule);
  }
  return chains;
}

export async function readSets(run: Runner): Promise<Map<string, RenderedSet>> {
  const result = await run("ipset", ["save"]);
  if (result.status !== 0) throw refused("read sets", result);
  return parseSets(result.stdout);
}

export function parseSets(text: string): Map<string, RenderedSet> {
  const sets = new Map<string, RenderedSet & { members: Set<string> }>();
  for (const line of text.split("\n")) {
    const [verb, name = "", what = "", ...rest] = line.split(" ");
    if (!isOurSet(name)) continue;
    if (verb === "create")
      sets.set(name, { name, type: what as SetType, family: name.startsWith("trb6") ? 6 : 4, members: new Set() });
    else if (verb === "add") sets.get(name)?.members.add(canonical(what, rest.includes("nomatch")));
  }
  return sets;
}

/** The kernel prints IPv6 with a dotted quad where IPv4 is embedded (::/96, ::ffff:0:0/96); we never do. */
function canonical(element: string, nomatch: boolean): string {
  const text = element.replace(/(?<=:)(\d+)\.(\d+)\.(\d+)\.(\d+)/, (_, ...quad: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = quad.slice(0, 4).map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  return text + (nomatch ? " nomatch" : "");
}

/** nft chain of each tap → its rules as printed, without the numbers that change. */
export async function readLinks(run: Runner): Promise<Printed> {
  const result = await run("nft", ["-n", "list", "table", "netdev", LINK_TABLE]);
  if (result.status !== 0) return new Map();
  const chains = new Map<string, string[]>();
  let chain: string[] | undefined;
  for (const line of result.stdout.split("\n")) {
    const [, name] = /^\tchain (\S+) \{$/.exec(line) ?? [];
    if (name !== undefined) chains.set(name, (chain = []));
    else if (line.startsWith("\t\t")) chain?.push(line.trim());
  }
  return chains;
}
