/** iptables: every chain, set and tap's nft chain that is otherwise than a fresh writing of what is wanted would leave it. */
import type { DesiredState } from "../compile/desired.js";
import type { Interfaces } from "../dataplane/backend.js";
import { IptablesBackend, type IptablesOptions } from "../dataplane/iptables/backend.js";
import { isSayable } from "../dataplane/iptables/names.js";
import { readLinks, readSets, readTable, type Printed } from "../dataplane/iptables/read-back.js";
import { IPTABLES } from "../dataplane/iptables/tools.js";
import { FAMILIES, TABLES, type RenderedSet } from "../dataplane/iptables/types.js";
import { run as hostRun, type Runner } from "../dataplane/run.js";
import { DataplaneError } from "../errors.js";
import type { Difference, DifferenceKind } from "./difference.js";
import { Scratch } from "./scratch.js";

interface Printout {
  readonly tables: ReadonlyMap<string, Printed>;
  readonly sets: ReadonlyMap<string, RenderedSet>;
  readonly links: Printed;
}

/** @throws UnsupportedError, DataplaneError when rules can't be read here, or not be written in the scratch namespace */
export async function compareRules(
  options: Pick<IptablesOptions, "prefixes" | "excluded" | "markShift" | "hostToGuest" | "served">,
  desired: DesiredState,
  interfaces: Interfaces,
): Promise<Difference[]> {
  const scratch = await Scratch.open();
  try {
    const taps = [...interfaces.taps.keys()].filter(isSayable);
    const linked = await scratch.links(taps);
    const backend = await IptablesBackend.open({ ...options, run: linked ? scratch.run : withoutNft(scratch.run) });
    const { failures } = await backend.apply(desired, interfaces);
    const [failure] = failures;
    if (failure !== undefined)
      throw new DataplaneError(
        "NOT_COMPARED",
        `the rules to compare with could not be made: ${failure.error.message}`,
        {
          cause: failure.error,
        },
      );
    const [is, wanted] = [await printout(hostRun), await printout(scratch.run)];
    return comparePrintouts(is, linked ? wanted : { ...wanted, links: is.links });
  } finally {
    await scratch.close();
  }
}

const withoutNft =
  (run: Runner): Runner =>
  (program, args, input) =>
    program === "nft" ? Promise.resolve({ status: undefined, stdout: "", stderr: "" }) : run(program, args, input);

async function printout(run: Runner): Promise<Printout> {
  const tables = new Map<string, Printed>();
  for (const family of FAMILIES)
    for (const table of TABLES) tables.set(`${IPTABLES[family]} ${table}`, await readTable(run, family, table));
  return { tables, sets: await readSets(run), links: await readLinks(run) };
}

/** Pure. */
export function comparePrintouts(is: Printout, wanted: Printout): Difference[] {
  const found: Difference[] = [];
  for (const name of new Set([...wanted.sets.keys(), ...is.sets.keys()]))
    found.push(...compareSets(name, is.sets.get(name), wanted.sets.get(name)));
  for (const [table, chains] of wanted.tables) {
    const there = is.tables.get(table) ?? new Map<string, readonly string[]>();
    for (const chain of new Set([...chains.keys(), ...there.keys()])) {
      const where = `${table} ${chain}`;
      if (chain.startsWith("TRB-")) found.push(...compareChains("chain", where, there.get(chain), chains.get(chain)));
      else {
        const ours = (chains.get(chain) ?? []).filter(isOurs);
        const rules = there.get(chain) ?? [];
        // Ours come first; what others have behind them is theirs.
        found.push(...compareChains("chain", where, leading(rules, ours.length), ours));
      }
    }
  }
  for (const chain of new Set([...wanted.links.keys(), ...is.links.keys()]))
    found.push(
      ...compareChains("tap rules", `nft netdev torbie_link ${chain}`, is.links.get(chain), wanted.links.get(chain)),
    );
  return found;
}

const isOurs = (rule: string): boolean => / -[jg] TRB-/.test(` ${rule}`);

/** As many as we have, and others of ours behind them. */
const leading = (rules: readonly string[], count: number): readonly string[] => [
  ...rules.slice(0, count),
  ...rules.slice(count).filter(isOurs),
];

function compareChains(
  kind: DifferenceKind,
  where: string,
  is: readonly string[] | undefined,
  wanted: readonly string[] | undefined,
): Difference[] {
  if (is === undefined || wanted === undefined) {
    if (is === wanted) return [];
    const rules = (chain: readonly string[]): string => `${chain.length} rule${chain.length === 1 ? "" : "s"}`;
    return [{ kind, where, key: "", is: is ? rules(is) : null, wanted: wanted ? rules(wanted) : null }];
  }
  const found: Difference[] = [];
  const [has, needs] = trimmed(is, wanted);
  for (let i = 0; i < Math.max(has.rules.length, needs.rules.length); i++) {
    const [a, b] = [has.rules[i] ?? null, needs.rules[i] ?? null];
    if (a !== b) found.push({ kind, where, key: `rule ${has.first + i}`, is: a, wanted: b });
  }
  return found;
}

interface Part {
  /** Place of the first rule, from 1. */
  readonly first: number;
  readonly rules: readonly string[];
}

/** Without what is the same at both ends, so that one rule more is one difference. */
function trimmed(a: readonly string[], b: readonly string[]): [Part, Part] {
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const part = (chain: readonly string[]): Part => ({
    first: start + 1,
    rules: chain.slice(start, chain.length - end),
  });
  return [part(a), part(b)];
}

function compareSets(name: string, is: RenderedSet | undefined, wanted: RenderedSet | undefined): Difference[] {
  const members = (set: RenderedSet): string => `${set.type} of ${set.members.size}`;
  if (is === undefined || wanted === undefined || is.type !== wanted.type)
    return [
      { kind: "set", where: name, key: "", is: is ? members(is) : null, wanted: wanted ? members(wanted) : null },
    ];
  const found: Difference[] = [];
  for (const one of wanted.members)
    if (!is.members.has(one)) found.push({ kind: "set", where: name, key: one, is: null, wanted: "a member" });
  for (const one of is.members)
    if (!wanted.members.has(one)) found.push({ kind: "set", where: name, key: one, is: "a member", wanted: null });
  return found;
}
