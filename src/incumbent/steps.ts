/** What a takeover or a handback does, in words. Pure. */
import type { Found } from "./read.js";
import { tablesInOrder } from "./rules.js";

export interface Step {
  readonly what: string;
  readonly count: number;
  /** Of what: taps, chains, sets. */
  readonly names: readonly string[];
}

const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

/** What is there, and what may be its and has no name of its. */
export function describeFound(found: Found): { readonly summary: readonly string[]; readonly left: readonly string[] } {
  const chains = found.rules.flatMap(({ tables }) => tables).reduce((sum, table) => sum + table.chains.length, 0);
  const summary = [
    [chains, "chain"],
    [found.tables.length, "nft table"],
    [found.sets.length, "set"],
    [found.routes.length, "route"],
    [found.programs.length, "program"],
    [found.pins.length, "pin"],
    [found.limiters.length, "limiter"],
  ] as const;
  return {
    summary: summary.filter(([count]) => count > 0).map(([count, what]) => plural(count, what)),
    left: [
      ...(found.programs.length > 0
        ? ["what Felix's programs tracked is in maps of its own: those flows are judged anew"]
        : []),
      ...(found.limiters.length > 0
        ? [
            "a queue that Felix put at a tap (tc qdisc show: tbf at the root) has no name of its; tc qdisc del dev TAP root",
          ]
        : []),
    ],
  };
}

/** @param handed how many of the routes have become ours; undefined: that is to come */
export function removals(found: Found, bpffs: string, handed?: number): readonly Step[] {
  const steps: Step[] = tablesInOrder(found.rules).map(({ tool, found: { table, chains, hooks } }) => ({
    what: `Removed from ${tool.replace(/-save$/, "")} ${table}: ${plural(chains.length, "chain")} and ${plural(hooks.length, "rule that leads", "rules that lead")} there`,
    count: chains.length,
    names: chains,
  }));
  const add = (names: readonly string[], what: string): void => {
    if (names.length > 0) steps.push({ what: `Removed ${what}`, count: names.length, names });
  };
  const { tables, sets, routes, programs, limiters, pins } = found;
  add(
    tables.map(({ family, name }) => `${family} ${name}`),
    plural(tables.length, "nft table"),
  );
  add(sets, plural(sets.length, "set"));
  if (routes.length > 0 && handed !== undefined)
    steps.push({
      what: `Of ${plural(routes.length, "route")} ${handed} became ours in place, and ${routes.length - handed} were removed`,
      count: routes.length,
      names: routes.map(({ prefix }) => prefix),
    });
  add(
    programs.map(({ name, link, direction }) => `${name} at ${link} ${direction}`),
    plural(programs.length, "program"),
  );
  add(limiters, `${plural(limiters.length, "device")} that limited guests`);
  add(pins, `${plural(pins.length, "pin")} in ${bpffs}`);
  return steps;
}
