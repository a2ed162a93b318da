/**
 * "Judged packets are accepted in FORWARD" for hosts whose firewall drops there (Docker sets the policy to DROP): one rule at
 * the top of iptables' and ip6tables' FORWARD, in both back ends; and in INPUT one a prefix for what is admitted to the host. nft base chains of others can't be overruled: an accept ends
 * one chain only; they are reported.
 */
import { readFile } from "node:fs/promises";
import type { Problem } from "../problems.js";
import { listed, markBits } from "./guard-rules.js";
import type { Runner, RunResult } from "./run.js";

const COMMENT = "torbie";
const TOOLS = ["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"] as const;
/** Where a kernel says which tables of the legacy back end exist in this namespace. */
const LEGACY_TABLES: Readonly<Record<string, string>> = {
  "iptables-legacy": "/proc/net/ip_tables_names",
  "ip6tables-legacy": "/proc/net/ip6_tables_names",
};

function rule(markShift: number): string[] {
  const bit = `0x${markBits(markShift).judged.toString(16)}`;
  return accept(bit, bit);
}

const accept = (bits: string, mask: string): string[] => [
  ...["-m", "mark", "--mark", `${bits}/${mask}`],
  ...["-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"],
];

export interface ForwardReport {
  /** Tools whose FORWARD was changed. */
  readonly changed: readonly string[];
  readonly problems: readonly Problem[];
}

/** Puts the rule first wherever it is not. */
export async function ensureForward(run: Runner, markShift: number): Promise<ForwardReport> {
  return ensureFirst(run, "FORWARD", [rule(markShift)]);
}

/** The same in INPUT, for what the programs admit to the host itself: DHCP, metadata, names, answers to what the host began. */
export async function ensureInput(run: Runner, markShift: number, prefixes: readonly string[]): Promise<ForwardReport> {
  return ensureFirst(run, "INPUT", inputRules(markShift, prefixes));
}

/** By tap: the mark alone may be somebody else's, since other interfaces have no program of ours. */
function inputRules(markShift: number, prefixes: readonly string[]): string[][] {
  const { judged, any } = markBits(markShift);
  const hex = (bits: number): string => `0x${bits.toString(16)}`;
  return prefixes.map((prefix) => ["-i", `${prefix}+`, ...accept(hex(any - judged), hex(any))]);
}

async function ensureFirst(run: Runner, chain: Chain, wanted: readonly string[][]): Promise<ForwardReport> {
  const changed: string[] = [];
  const problems: Problem[] = [];
  for (const { tool, listing } of await listings(run, chain)) {
    if (listing.status !== 0) {
      problems.push(refused(tool, chain, listing.stderr));
      continue;
    }
    const { ours, stand } = await found(run, { tool, listing }, chain, wanted);
    if (stand && ours.length === wanted.length) continue;
    // First the new ones, then the old ones from the end, so that they are there at any time.
    let error: string | undefined;
    for (const one of [...wanted].reverse()) {
      const inserted = await run(tool, ["-w", "-I", chain, "1", ...one]);
      if (inserted.status !== 0) error = inserted.stderr;
    }
    if (error !== undefined) {
      problems.push(refused(tool, chain, error));
      continue;
    }
    for (const index of ours.reverse()) await run(tool, ["-w", "-D", chain, String(index + 1 + wanted.length)]);
    changed.push(tool);
  }
  return { changed, problems };
}

type Chain = "FORWARD" | "INPUT";

/** Places of our rules in a listing, from 0, and whether none of others is before them. */
function ourRules(listing: string): { ours: number[]; standFirst: boolean } {
  const rules = listing.split("\n").filter((line) => line.startsWith("-A "));
  const ours = rules.flatMap((line, index) => (isOurs(line) ? [index] : []));
  return { ours, standFirst: ours.every((place, index) => place === index) };
}

/** Places of our rules, and whether all that are wanted stand, before any of others. */
async function found(
  run: Runner,
  { tool, listing }: Listing,
  chain: Chain,
  wanted: readonly string[][],
): Promise<{ readonly ours: number[]; readonly stand: boolean }> {
  const { ours, standFirst } = ourRules(listing.stdout);
  const printed = new Set(listing.stdout.split("\n"));
  const there = async (one: readonly string[]): Promise<boolean> =>
    // As today's iptables print it; what others print is for them to compare.
    printed.has(["-A", chain, ...one].join(" ")) || (await run(tool, ["-w", "-C", chain, ...one])).status === 0;
  if (!standFirst || ours.length < wanted.length) return { ours, stand: false };
  for (const one of wanted) if (!(await there(one))) return { ours, stand: false };
  return { ours, stand: true };
}

/** Tools in whose FORWARD the rule does not stand first. Reads only. */
export const forwardLacks = (run: Runner, markShift: number): Promise<string[]> =>
  lacking(run, "FORWARD", [rule(markShift)]);

/** The same of INPUT. */
export const inputLacks = (run: Runner, markShift: number, prefixes: readonly string[]): Promise<string[]> =>
  lacking(run, "INPUT", inputRules(markShift, prefixes));

async function lacking(run: Runner, chain: Chain, wanted: readonly string[][]): Promise<string[]> {
  const lacks: string[] = [];
  for (const one of await listings(run, chain)) if (!(await found(run, one, chain, wanted)).stand) lacks.push(one.tool);
  return lacks;
}

/** From FORWARD and INPUT both: a line for each. */
export async function removeForward(run: Runner): Promise<string[]> {
  const changed: string[] = [];
  for (const chain of ["FORWARD", "INPUT"] as const)
    for (const { tool, listing } of await listings(run, chain)) {
      const { ours } = ourRules(listing.stdout);
      for (const index of ours.reverse()) await run(tool, ["-w", "-D", chain, String(index + 1)]);
      if (ours.length > 0) changed.push(`${tool} ${chain}`);
    }
  return changed;
}

/** Base chains at the forward hook that drop by policy and are not iptables' own. */
export function droppingChains(chains: string, markShift: number): Problem[] {
  const bit = `0x${markBits(markShift).judged.toString(16)}`;
  return listed(chains, "chain")
    .filter(
      (chain) =>
        chain["hook"] === "forward" &&
        chain["policy"] === "drop" &&
        ["ip", "ip6", "inet"].includes(String(chain["family"])),
    )
    .filter((chain) => !(chain["table"] === "filter" && chain["name"] === "FORWARD" && chain["family"] !== "inet"))
    .map((chain) => ({
      where: `nft chain ${String(chain["family"])} ${String(chain["table"])} ${String(chain["name"])}`,
      code: "FORWARD_DROPS",
      what: `its policy at the forward hook is drop, and no rule of another table can overrule it`,
      consequence: `what Torbie admits through the stack may be dropped there (slow path and unlisted interfaces); add: meta mark & ${bit} == ${bit} accept`,
    }));
}

const isOurs = (line: string): boolean => / --comment "?torbie"?( |$)/.test(line);

interface Listing {
  readonly tool: string;
  readonly listing: RunResult;
}

/** What stands in a chain, by each back end that is installed; the legacy one only where its filter table exists, since listing would make it. */
async function listings(run: Runner, chain: Chain): Promise<Listing[]> {
  const exists = async (tool: string): Promise<boolean> => {
    const tables = LEGACY_TABLES[tool];
    return tables === undefined || (await readFile(tables, "utf8").catch(() => "")).split("\n").includes("filter");
  };
  const by = async (tools: readonly string[]): Promise<Listing[]> => {
    const all = tools.map(async (tool) => ({ tool, listing: await run(tool, ["-w", "-S", chain]) }));
    return (await Promise.all(all)).filter(({ listing }) => listing.status !== undefined);
  };
  const tools: string[] = [];
  for (const tool of TOOLS) if (await exists(tool)) tools.push(tool);
  const installed = await by(tools);
  // A distribution with one back end only may not have the long names.
  return installed.length > 0 ? installed : by(["iptables", "ip6tables"]);
}

function refused(tool: string, chain: Chain, stderr: string): Problem {
  return {
    where: `${tool} ${chain}`,
    code: `${chain}_RULE_REFUSED`,
    what: `${tool}: ${JSON.stringify(stderr.trim().slice(0, 200))}`,
    consequence:
      chain === "FORWARD"
        ? "if this host's FORWARD chain drops, packets that Torbie admitted through the stack are lost"
        : "if this host's INPUT chain drops, guests reach neither DHCP nor metadata",
  };
}
