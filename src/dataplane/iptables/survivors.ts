/**
 * What of that which we left still stands as we left it. Programs print rules otherwise than they were written: what a chain's print was
 * right after it was written is what it is compared with. Pure.
 */
import type { Family } from "../../model/types.js";
import { chainOf } from "./link-rules.js";
import { nothingStands, type Standing, type StandingTable } from "./plan.js";
import type { Printed } from "./read-back.js";
import type { Reading, Written } from "./reading.js";
import { FAMILIES, sameChain, TABLES, type TableName } from "./types.js";

/** By "family table chain" or "link chain". */
export type Prints = ReadonlyMap<string, readonly string[]>;

/** Of the kernel's own chains, what leads to ours. */
export const isJump = (rule: string): boolean => / -[jg] TRB-/.test(` ${rule}`);
const isOurs = (chain: string): boolean => chain.startsWith("TRB-");

/** What is otherwise than it was left counts as not there, and is written again; `drifts` says how much that is. */
export function survivors(left: Standing, prints: Prints, reading: Reading): { standing: Standing; drifts: number } {
  const { sets, links, written } = reading;
  const standing: Standing = { ...nothingStands(), sets: new Map(sets) };
  let drifts = 0;
  for (const [name, set] of left.sets) {
    if (written.sets.has(name)) continue;
    if (!sameMembers(set.members, sets.get(name)?.members)) drifts++;
  }
  for (const name of written.sets) {
    const set = left.sets.get(name);
    if (set === undefined) standing.sets.delete(name);
    else standing.sets.set(name, set);
  }
  for (const family of FAMILIES)
    for (const table of TABLES) {
      const print = (chain: string): readonly string[] | undefined => prints.get(`${family} ${table} ${chain}`);
      const found = surviving(left.tables[family][table], reading.tables[family][table], print, (chain) =>
        wasWritten(written, family, table, chain),
      );
      standing.tables[family][table] = found.table;
      drifts += found.drifts;
    }
  for (const [tap, rules] of left.links) {
    const print = prints.get(`link ${chainOf(tap)}`);
    if (print !== undefined && sameChain(links.get(chainOf(tap)), print)) standing.links.set(tap, rules);
    else if (print !== undefined) drifts++;
  }
  // Chains of taps that are gone, which a former agent made.
  for (const chain of links.keys()) {
    const tap = tapOf(chain);
    if (tap !== undefined && !standing.links.has(tap)) standing.links.set(tap, []);
  }
  return { standing, drifts };
}

function surviving(
  left: StandingTable,
  printed: Printed,
  print: (chain: string) => readonly string[] | undefined,
  written: (chain: string) => boolean,
): { table: StandingTable; drifts: number } {
  const table: StandingTable = { chains: new Map(), hooks: new Map(), displaced: new Set() };
  let drifts = 0;
  for (const [name, rules] of printed) {
    if (written(name)) continue;
    if (!isOurs(name)) {
      const ours = rules.filter(isJump);
      const first = rules.slice(0, ours.length).every((rule) => ours.includes(rule));
      const hook = left.hooks.get(name);
      const same = first && sameChain(print(name), ours);
      if (same && hook !== undefined) table.hooks.set(name, hook);
      // As printed, so that they can be taken out.
      else if (ours.length > 0) table.hooks.set(name, ours);
      if (!first) table.displaced.add(name);
      if (!same && hook !== undefined && print(name) !== undefined) drifts++;
      continue;
    }
    const same = sameChain(print(name), rules);
    if (print(name) !== undefined && !same) drifts++;
    // A rule that nobody writes: it differs from whatever is wanted.
    table.chains.set(name, same ? (left.chains.get(name) ?? [UNKNOWN]) : [UNKNOWN]);
  }
  for (const [name, chain] of left.chains) {
    if (written(name)) table.chains.set(name, chain);
    else if (!table.chains.has(name) && print(name) !== undefined) drifts++;
  }
  return { table, drifts };
}

/**
 * What stands is taken for what was written, but for a chain of iptables that has more or fewer rules, and one of nft that has fewer lines
 * than its rules and its own: somebody was faster than the reading. It is written again by the next one.
 */
export function printsOf({ tables, links }: Standing, reading: Reading): Map<string, readonly string[]> {
  const prints = new Map<string, readonly string[]>();
  for (const family of FAMILIES)
    for (const table of TABLES) {
      const { chains, hooks } = tables[family][table];
      for (const [name, rules] of reading.tables[family][table]) {
        const ours = isOurs(name) ? rules : rules.filter(isJump);
        const left = (isOurs(name) ? chains : hooks).get(name) ?? [];
        if (!wasWritten(reading.written, family, table, name) && ours.length === left.length)
          prints.set(`${family} ${table} ${name}`, ours);
      }
    }
  for (const [tap, rules] of links) {
    const printed = reading.links.get(chainOf(tap));
    // A long set takes several lines, so that more say nothing.
    if (printed !== undefined && printed.length > rules.length) prints.set(`link ${chainOf(tap)}`, printed);
  }
  return prints;
}

const wasWritten = ({ chains }: Written, family: Family, table: TableName, chain: string): boolean =>
  table === "filter" && chains[family].has(chain);

const UNKNOWN = "# not as it was left";

function sameMembers(a: ReadonlySet<string>, b: ReadonlySet<string> | undefined): boolean {
  if (b?.size !== a.size) return false;
  for (const one of a) if (!b.has(one)) return false;
  return true;
}

/** The inverse of chainOf(). */
function tapOf(chain: string): string | undefined {
  return chain.startsWith("t_") ? chain.slice(2).replaceAll("/d", ".").replaceAll("/m", "-") : undefined;
}
