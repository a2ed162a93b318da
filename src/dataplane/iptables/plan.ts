/**
 * From what stands to what must stand, as input for ipset restore, iptables-restore and nft, in an order that never opens a gap: sets
 * first, then what each tap may send at all, then filter, then raw, one transaction a table. What is no longer allowed ends with the
 * first of them; what is new is dropped by the later ones until they know it. Pure.
 */
import type { Family } from "../../model/types.js";
import { linkText } from "./link-rules.js";
import {
  FAMILIES,
  sameChain,
  TABLES,
  type Chain,
  type Rendered,
  type RenderedSet,
  type RenderedTable,
  type TableName,
  type Touched,
} from "./types.js";

/** What is known to stand. */
export interface StandingTable {
  readonly chains: Map<string, Chain>;
  readonly hooks: Map<string, Chain>;
  /** Of the kernel's chains, those where somebody's rules came before ours: ours have to be put first again. */
  readonly displaced: Set<string>;
}

export interface Standing {
  readonly sets: Map<string, RenderedSet>;
  readonly tables: Record<Family, Record<TableName, StandingTable>>;
  readonly links: Map<string, readonly string[]>;
}

export const nothingStands = (): Standing => {
  const table = (): StandingTable => ({ chains: new Map(), hooks: new Map(), displaced: new Set() });
  return {
    sets: new Map(),
    tables: { 4: { raw: table(), filter: table() }, 6: { raw: table(), filter: table() } },
    links: new Map(),
  };
};

export type Step =
  | { readonly tool: "ipset"; readonly text: string; readonly writes: number }
  | {
      readonly tool: "iptables";
      readonly family: Family;
      readonly table: TableName;
      readonly text: string;
      readonly writes: number;
    }
  | { readonly tool: "nft"; readonly text: string; readonly writes: number };

/** @param only all in which what stands may differ from what is wanted; absent: anything */
export function planSteps(standing: Standing, wanted: Rendered, only?: Touched): Step[] {
  const touched =
    only === undefined ? wanted.sets.values() : [...only.sets].flatMap((name) => wanted.sets.get(name) ?? []);
  const before = [...touched].flatMap((set) => setLines(set, standing.sets.get(set.name)));
  const steps: Step[] = [];
  const ipset = (lines: readonly string[]): void => {
    if (lines.length > 0) steps.push({ tool: "ipset", text: `${lines.join("\n")}\n`, writes: lines.length });
  };
  ipset(before);
  const links = only === undefined ? [...wanted.links] : [];
  const put = new Map(links.filter(([tap, rules]) => !sameChain(standing.links.get(tap), rules)));
  const gone = only === undefined ? [...standing.links.keys()].filter((tap) => !wanted.links.has(tap)) : [];
  if (put.size > 0 || gone.length > 0)
    steps.push({
      tool: "nft",
      text: linkText(put, gone),
      writes: gone.length + [...put.values()].reduce((sum, rules) => sum + rules.length, 0),
    });
  for (const table of only === undefined ? [...TABLES].reverse() : (["filter"] as const))
    for (const family of FAMILIES) {
      const [stands, wants] = [standing.tables[family][table], wanted.tables[family][table]];
      const lines =
        only === undefined
          ? tableLines(stands, wants)
          : tableLines(part(stands, only.chains[family]), part(wants, only.chains[family]));
      if (lines.length > 0)
        steps.push({
          tool: "iptables",
          family,
          table,
          text: `*${table}\n${lines.join("\n")}\nCOMMIT\n`,
          writes: lines.filter((line) => /^-[AI]/.test(line)).length,
        });
    }
  const former = only === undefined ? standing.sets.keys() : [...only.sets].filter((name) => standing.sets.has(name));
  ipset([...former].filter((name) => !wanted.sets.has(name)).map((name) => `destroy ${name}`));
  return steps;
}

/** These chains, and what else is not looked at. */
function part<T extends RenderedTable>(table: T, names: ReadonlySet<string>): T {
  const chains = [...names].flatMap((name): [string, Chain][] => {
    const chain = table.chains.get(name);
    return chain === undefined ? [] : [[name, chain]];
  });
  return { ...table, chains: new Map(chains), hooks: new Map() };
}

const MOST_MEMBERS = 1_048_576;

function create(name: string, { type, family }: RenderedSet): string {
  if (type === "bitmap:port") return `create ${name} bitmap:port range 0-65535 -exist`;
  return `create ${name} ${type} family ${family === 4 ? "inet" : "inet6"} maxelem ${MOST_MEMBERS} -exist`;
}

/** Few changes, or changes of one kind, in place; others in a set that is filled aside and swapped, so that no packet sees half. */
function setLines(set: RenderedSet, old: RenderedSet | undefined): string[] {
  if (set === old) return [];
  const add = [...set.members].filter((one) => old?.members.has(one) !== true);
  const gone = [...(old?.members ?? [])].filter((one) => !set.members.has(one));
  const lines = old === undefined ? [create(set.name, set)] : [];
  const fill = (name: string, members: readonly string[]): string[] =>
    (set.type === "bitmap:port" ? ranges(members) : members).map((one) => `add ${name} ${one}`);
  if (old === undefined || gone.length === 0 || add.length === 0)
    return [...lines, ...gone.map((one) => `del ${set.name} ${elementOf(one)}`), ...fill(set.name, add)];
  const aside = `${set.name}-t`;
  return [
    create(aside, set),
    `flush ${aside}`,
    ...fill(aside, [...set.members]),
    `swap ${aside} ${set.name}`,
    `destroy ${aside}`,
  ];
}

const elementOf = (member: string): string => member.split(" ")[0] ?? member;

function ranges(ports: readonly string[]): string[] {
  const sorted = ports.map(Number).sort((a, b) => a - b);
  const result: string[] = [];
  for (let i = 0; i < sorted.length;) {
    let j = i;
    while (j + 1 < sorted.length && sorted[j + 1] === (sorted[j] ?? 0) + 1) j++;
    result.push(i === j ? String(sorted[i]) : `${sorted[i]}-${sorted[j]}`);
    i = j + 1;
  }
  return result;
}

function tableLines(old: Standing["tables"][Family][TableName], wanted: RenderedTable): string[] {
  const changed = [...wanted.chains].filter(([name, chain]) => !sameChain(old.chains.get(name), chain));
  const gone = [...old.chains.keys()].filter((name) => !wanted.chains.has(name));
  const hooked = [...wanted.hooks].filter(
    ([name, chain]) => old.displaced.has(name) || !sameChain(old.hooks.get(name), chain),
  );
  return [
    // A chain that is declared is emptied. iptables (1.8.9) keeps them sorted by walking its list from the front: the last come first.
    ...changed
      .map(([name]) => `:${name} - [0:0]`)
      .sort()
      .reverse(),
    ...gone.map((name) => `:${name} - [0:0]`),
    ...changed.flatMap(([name, chain]) => chain.map((rule) => `-A ${name} ${rule}`)),
    ...hooked.flatMap(([name, chain]) => [
      ...(old.hooks.get(name) ?? []).map((rule) => `-D ${name} ${rule}`),
      ...chain.map((rule, i) => `-I ${name} ${i + 1} ${rule}`),
    ]),
    ...gone.map((name) => `-X ${name}`),
  ];
}

/** The whole as text for files and people: what a host that has nothing yet is given. */
export function wholeText(wanted: Rendered): { readonly name: string; readonly text: string }[] {
  return planSteps(nothingStands(), wanted).map((step, i) => ({
    name: `${i + 1}-${step.tool === "iptables" ? `${step.family === 4 ? "iptables" : "ip6tables"}-${step.table}` : step.tool}`,
    text: step.text,
  }));
}
