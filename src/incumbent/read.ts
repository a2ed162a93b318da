/** Everything of Felix's that is on this host, looked at. Changes nothing. */
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BpfError, BpfLink } from "#libbpf";
import type { Config } from "../config/schema.js";
import { queryHook } from "../dataplane/bpf/attach.js";
import type { Runner } from "../dataplane/run.js";
import { isOurs } from "../links/ours.js";
import { readAllRoutes, readLinks } from "../links/read-links.js";
import type { Link, Route } from "../links/types.js";
import { isItsPin, isItsProgram, isItsRoute, isItsSet, LIMITER } from "./names.js";
import { coveredByMaps, itsTables, type NftTable } from "./nft.js";
import { findRules, type ToolFound } from "./rules.js";

export interface ItsProgram {
  readonly name: string;
  /** "tap1" */
  readonly link: string;
  readonly ifindex: number;
  readonly direction: "ingress" | "egress";
  /** Of a filter of clsact. */
  readonly place?: { readonly priority: number; readonly handle: number };
  /** Of tcx. */
  readonly linkId?: number;
}

export interface Found {
  readonly rules: readonly ToolFound[];
  readonly tables: readonly NftTable[];
  readonly sets: readonly string[];
  /** To guests, by our taps. */
  readonly routes: readonly Route[];
  readonly programs: readonly ItsProgram[];
  /** Paths in the BPF file system. */
  readonly pins: readonly string[];
  /** Devices that limit what guests send. */
  readonly limiters: readonly string[];
  /** Our taps, by ifindex, that it judges in both families. */
  readonly covered: ReadonlyMap<number, string>;
  /** In one at least. */
  readonly judged: ReadonlyMap<number, string>;
  /** All of our taps. */
  readonly taps: readonly Link[];
  /** Every interface. */
  readonly links: readonly Link[];
}

const SAVE = ["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"] as const;
/** Where a kernel says which tables of the legacy back end there are: listing would make them. */
const LEGACY: Readonly<Record<string, string>> = {
  "iptables-legacy-save": "/proc/net/ip_tables_names",
  "ip6tables-legacy-save": "/proc/net/ip6_tables_names",
};

/** Texts by the program that printed them: of every back end that is installed. */
export async function readRuleTexts(run: Runner): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>();
  for (const tool of SAVE) {
    const tables = LEGACY[tool];
    if (tables !== undefined && (!existsSync(tables) || readFileSync(tables, "utf8").trim() === "")) continue;
    const { status, stdout } = await run(tool, []);
    if (status === 0) texts.set(tool, stdout);
  }
  // Where there is one back end only the long names may be missing.
  if (texts.size > 0) return texts;
  for (const tool of ["iptables-save", "ip6tables-save"]) {
    const { status, stdout } = await run(tool, []);
    if (status === 0) texts.set(tool, stdout);
  }
  return texts;
}

export async function readSetNames(run: Runner): Promise<readonly string[]> {
  const { status, stdout } = await run("ipset", ["list", "-n"]);
  return status === 0 ? stdout.split("\n").filter(isItsSet) : [];
}

/** The BPF file system in which our pins are, or would be. */
export const bpffsOf = ({ pinDir }: Pick<Config, "pinDir">): string => dirname(pinDir);

/** @throws NetlinkError when interfaces or routes can't be read */
export async function readIncumbent(run: Runner, config: Config): Promise<Found> {
  const links = await readLinks();
  const rule = { prefixes: config.interfacePrefix, excluded: config.interfaceExclude };
  const taps = links.filter((link) => isOurs(link, rule));
  const ifindexes = new Set(taps.map(({ ifindex }) => ifindex));
  const rules = [...(await readRuleTexts(run))].map(([tool, text]) => findRules(tool, text));
  const listing = await run("nft", ["-j", "list", "tables"]);
  const tables = listing.status === 0 ? itsTables(listing.stdout) : [];
  const programs = links.flatMap(programsOn);
  const judged = [4, 6].map((of) => new Set(rules.filter(isOf(of)).flatMap(({ covered }) => [...covered])));
  for (const [at, family] of ["ip", "ip6"].entries()) {
    if (!tables.some((table) => table.family === family)) continue;
    const shown = await run("nft", ["-j", "list", "table", family, "calico"]);
    if (shown.status === 0) for (const tap of coveredByMaps(shown.stdout)) judged[at]?.add(tap);
  }
  const programmed = (ifindex: number): boolean =>
    ["ingress", "egress"].every((way) => programs.some((one) => one.ifindex === ifindex && one.direction === way));
  const those = (fits: (tap: Link) => boolean): ReadonlyMap<number, string> =>
    new Map(taps.filter(fits).map(({ ifindex, name }) => [ifindex, name]));
  return {
    rules: rules.filter((one) => one.tables.length > 0),
    tables,
    sets: await readSetNames(run),
    routes: (await readAllRoutes()).filter((route) => isItsRoute(route, ifindexes)),
    programs,
    pins: itsPins(bpffsOf(config)),
    limiters: links.map(({ name }) => name).filter((name) => LIMITER.test(name)),
    covered: those(({ name, ifindex }) => judged.every((names) => names.has(name)) || programmed(ifindex)),
    judged: those(({ name, ifindex }) => judged.some((names) => names.has(name)) || programmed(ifindex)),
    taps,
    links,
  };
}

const isOf =
  (family: number) =>
  ({ tool }: ToolFound): boolean =>
    tool.startsWith("ip6") === (family === 6);

function programsOn({ ifindex, name: link }: Link): ItsProgram[] {
  const found: ItsProgram[] = [];
  for (const direction of ["ingress", "egress"] as const) {
    try {
      for (const { name, linkId, priority, handle } of queryHook(ifindex, direction)) {
        if (!isItsProgram(name)) continue;
        const place = priority === undefined || handle === undefined ? undefined : { priority, handle };
        found.push({
          ...{ name, link, ifindex, direction },
          ...(place === undefined ? {} : { place }),
          ...(linkId === undefined ? {} : { linkId }),
        });
      }
    } catch (error) {
      if (!(error instanceof BpfError)) throw error; // gone meanwhile, or no such hook in this kernel
    }
  }
  return found;
}

/** Deepest first. Links below tcx/ carry an interface's name, and are its where their program is. */
function itsPins(root: string): string[] {
  const found: string[] = [];
  const visit = (directory: string, depth: number, its: boolean): void => {
    let names: string[];
    try {
      names = readdirSync(directory);
    } catch {
      return; // it is not there, or not to be read
    }
    for (const name of names) {
      const path = join(directory, name);
      const mine = its || isItsPin(name);
      if (isDirectory(path)) {
        if (depth < 4 && name !== "torbie") visit(path, depth + 1, mine);
        if (mine) found.push(path);
      } else if (mine || (directory.endsWith("/tcx") && holdsItsProgram(path))) found.push(path);
    }
  };
  if (root.startsWith("/")) visit(root, 0, false);
  return found;
}

function isDirectory(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch {
    return false;
  }
}

function holdsItsProgram(path: string): boolean {
  try {
    const link = BpfLink.open(path);
    try {
      const { ifindex, direction, programId } = link.info;
      if (ifindex === undefined || direction === undefined) return false;
      return queryHook(ifindex, direction).some((one) => one.programId === programId && isItsProgram(one.name));
    } finally {
      link.close();
    }
  } catch {
    return false; // no link, or its interface has gone
  }
}

/** Whether there is nothing of it. */
export function isEmpty({ rules, tables, sets, routes, programs, pins, limiters }: Found): boolean {
  return [rules, tables, sets, routes, programs, pins, limiters].every(({ length }) => length === 0);
}
