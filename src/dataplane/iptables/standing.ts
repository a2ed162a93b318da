/** What of ours stands in iptables, ipset and nft now, for walkRules(). */
import { readFileSync } from "node:fs";
import type { Family } from "../../model/types.js";
import type { Runner } from "../run.js";
import { SERVICES_TABLE } from "../services/rules.js";
import { readLinks, readSets, readTable, type Printed } from "./read-back.js";
import type { StandingRules } from "./walk-rules.js";

/** @throws DataplaneError, UnsupportedError */
export async function readStanding(run: Runner, family: Family): Promise<StandingRules> {
  const [raw, filter, sets, links, floats] = await Promise.all([
    readTable(run, family, "raw"),
    readTable(run, family, "filter"),
    readSets(run),
    readLinks(run),
    // No such map: there is no floating IP.
    run("nft", ["-n", "list", "map", family === 4 ? "ip" : "ip6", SERVICES_TABLE, "floating"]),
  ]);
  const numbers = protocolNumbers();
  return {
    tables: { raw: numbered(raw, numbers), filter: numbered(filter, numbers) },
    sets,
    links,
    floating: floatingOf(floats.stdout),
  };
}

/** @param text of "nft list map": elements = { 203.0.113.7 : 10.65.0.11, … } */
export function floatingOf(text: string): ReadonlyMap<string, string> {
  const elements = /elements = \{([^}]*)\}/.exec(text)?.[1] ?? "";
  return new Map([...elements.matchAll(/([0-9a-f.:]+) : ([0-9a-f.:]+)/g)].map(([, from = "", to = ""]) => [from, to]));
}

/** Protocols have the names of protocols(5) in what iptables prints. */
function protocolNumbers(): ReadonlyMap<string, string> {
  try {
    const lines = readFileSync("/etc/protocols", "utf8").split("\n");
    return new Map(
      lines.flatMap((line) => {
        const [name = "", number = ""] = line.replace(/#.*/, "").trim().split(/\s+/);
        return /^\d+$/.test(number) ? [[name, number] as const] : [];
      }),
    );
  } catch {
    return new Map();
  }
}

const numbered = (table: Printed, numbers: ReadonlyMap<string, string>): Printed =>
  new Map(
    [...table].map(([chain, rules]) => [
      chain,
      rules.map((rule) =>
        rule.replace(
          /(?<=^|\s)(-p|--ctproto) (\S+)/g,
          (_, option: string, name: string) => `${option} ${numbers.get(name) ?? name}`,
        ),
      ),
    ]),
  );
