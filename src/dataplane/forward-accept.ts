/**
 * "Judged packets are accepted in FORWARD" for hosts whose firewall drops there (Docker sets the policy to DROP): one rule at
 * the top of iptables' and ip6tables' FORWARD, in both back ends. nft base chains of others can't be overruled: an accept ends
 * one chain only; they are reported.
 */
import { readFile } from "node:fs/promises";
import type { Problem } from "../problems.js";
import { listed, markBits } from "./guard-rules.js";
import type { Runner } from "./run.js";

const COMMENT = "torbie";
const TOOLS = ["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"] as const;
/** Where a kernel says which tables of the legacy back end exist in this namespace. */
const LEGACY_TABLES: Readonly<Record<string, string>> = {
  "iptables-legacy": "/proc/net/ip_tables_names",
  "ip6tables-legacy": "/proc/net/ip6_tables_names",
};

function rule(markShift: number): string[] {
  const bit = `0x${markBits(markShift).judged.toString(16)}`;
  return ["-m", "mark", "--mark", `${bit}/${bit}`, "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"];
}

export interface ForwardReport {
  /** Tools whose FORWARD was changed. */
  readonly changed: readonly string[];
  readonly problems: readonly Problem[];
}

/** Puts the rule first wherever it is not. */
export async function ensureForward(run: Runner, markShift: number): Promise<ForwardReport> {
  const changed: string[] = [];
  const problems: Problem[] = [];
  for (const tool of await tools(run)) {
    const listing = await run(tool, ["-w", "-S", "FORWARD"]);
    if (listing.status !== 0) {
      problems.push(refused(tool, listing.stderr));
      continue;
    }
    const rules = listing.stdout.split("\n").filter((line) => line.startsWith("-A "));
    const ours = rules.flatMap((line, index) => (isOurs(line) ? [index] : []));
    if (
      ours.length === 1 &&
      ours[0] === 0 &&
      (await run(tool, ["-w", "-C", "FORWARD", ...rule(markShift)])).status === 0
    )
      continue;
    // First the new one, then the old ones from the end, so that there is one at any time.
    const inserted = await run(tool, ["-w", "-I", "FORWARD", "1", ...rule(markShift)]);
    if (inserted.status !== 0) {
      problems.push(refused(tool, inserted.stderr));
      continue;
    }
    for (const index of ours.reverse()) await run(tool, ["-w", "-D", "FORWARD", String(index + 2)]);
    changed.push(tool);
  }
  return { changed, problems };
}

/** Tools in whose FORWARD the rule does not stand first. Reads only. */
export async function forwardLacks(run: Runner, markShift: number): Promise<string[]> {
  const lacks: string[] = [];
  for (const tool of await tools(run)) {
    const { stdout } = await run(tool, ["-w", "-S", "FORWARD"]);
    const [first] = stdout.split("\n").filter((line) => line.startsWith("-A "));
    const stands = first !== undefined && isOurs(first);
    if (!stands || (await run(tool, ["-w", "-C", "FORWARD", ...rule(markShift)])).status !== 0) lacks.push(tool);
  }
  return lacks;
}

export async function removeForward(run: Runner): Promise<string[]> {
  const changed: string[] = [];
  for (const tool of await tools(run)) {
    const rules = (await run(tool, ["-w", "-S", "FORWARD"])).stdout
      .split("\n")
      .filter((line) => line.startsWith("-A "));
    const ours = rules.flatMap((line, index) => (isOurs(line) ? [index] : []));
    for (const index of ours.reverse()) await run(tool, ["-w", "-D", "FORWARD", String(index + 1)]);
    if (ours.length > 0) changed.push(tool);
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

/** Tools to use: each back end that is installed; the legacy one only where its filter table exists, since listing would make it. */
async function tools(run: Runner): Promise<string[]> {
  const found: string[] = [];
  for (const tool of TOOLS) {
    const tables = LEGACY_TABLES[tool];
    if (tables !== undefined && !(await readFile(tables, "utf8").catch(() => "")).split("\n").includes("filter"))
      continue;
    if ((await run(tool, ["-V"])).status === 0) found.push(tool);
  }
  // A distribution with one back end only may not have the long names.
  if (!found.some((tool) => tool.endsWith("-nft")) && found.length === 0)
    for (const tool of ["iptables", "ip6tables"]) if ((await run(tool, ["-V"])).status === 0) found.push(tool);
  return found;
}

function refused(tool: string, stderr: string): Problem {
  return {
    where: `${tool} FORWARD`,
    code: "FORWARD_RULE_REFUSED",
    what: `${tool}: ${JSON.stringify(stderr.trim().slice(0, 200))}`,
    consequence: "if this host's FORWARD chain drops, packets that Torbie admitted through the stack are lost",
  };
}
