/** Acknowledgement of an etcd write → first packet that sees it: which changes, in which clouds. */
import type { Bursts, BurstScenario } from "./burst.js";
import { exponentOf, milliseconds, plain, quantile, type Curve, type Figure } from "./figures.js";
import type { Latencies, Scenario } from "./latency.js";
import type { Apart, Found } from "./whole.js";

interface Named {
  readonly suffix: string;
  readonly scenario: Omit<Scenario, "changes">;
  /** Also in a QUICK run. */
  readonly short?: true;
}

/** Sizes of the cloud, each with each number of rules. */
const ENDPOINTS = [10_000, 100_000];
const RULES = [10, 1_000, 10_000];
const short = (n: number): string => (n >= 10_000 ? `${n / 1000}k` : String(n));

const SCENARIOS: readonly Named[] = [
  { suffix: "", scenario: { ports: 2, rules: 10 }, short: true },
  { suffix: "_200_ports", scenario: { ports: 200, rules: 10 }, short: true },
  { suffix: "_1000_rules", scenario: { ports: 2, rules: 1000 }, short: true },
  { suffix: "_10k_rules", scenario: { ports: 2, rules: 10_000 } },
  ...ENDPOINTS.flatMap((members) =>
    RULES.map((rules) => ({
      suffix: `_${short(members)}_endpoints_${short(rules)}_rules`,
      scenario: { ports: 2, rules, members },
    })),
  ),
  {
    suffix: "_1000_rules_200_ports_10k_endpoints",
    scenario: { ports: 200, rules: 1_000, members: 10_000 },
  },
  { suffix: "_iptables", scenario: { ports: 2, rules: 10, dataplane: "iptables" } },
  { suffix: "_iptables_200_ports", scenario: { ports: 200, rules: 10, dataplane: "iptables" } },
  { suffix: "_iptables_1000_rules", scenario: { ports: 2, rules: 1000, dataplane: "iptables" } },
];

export interface Measured {
  readonly figures: readonly Figure[];
  readonly curves: readonly Curve[];
}

/** Medians of how long a rule that is added takes, by how much there is. */
function curvesOf(found: ReadonlyMap<Named, Latencies>): Curve[] {
  const along = (
    name: string,
    grows: "rules" | "members",
    fits: (scenario: Named["scenario"]) => boolean,
    judge: string,
  ): Curve[] => {
    const points = [...found]
      .filter(([{ scenario }]) => (scenario.dataplane ?? "bpf") === "bpf" && scenario.ports === 2 && fits(scenario))
      .map(([{ scenario }, { apply }]) => ({ x: scenario[grows] ?? 0, y: quantile(apply, 0.5) }))
      .sort((a, b) => a.x - b.x);
    const curve = { name, what: "Rule added: acknowledged write to first packet", unit: "ms", judge, grows, points };
    return points.length < 2 ? [] : [curve];
  };
  return [
    along("apply_p50_rules", "rules", ({ members = 0 }) => members === 0, "no endpoints elsewhere"),
    ...ENDPOINTS.map((count) =>
      along(
        `apply_p50_rules_${short(count)}_endpoints`,
        "rules",
        ({ members }) => members === count,
        `${count} endpoints elsewhere`,
      ),
    ),
    ...RULES.map((count) =>
      along(
        `apply_p50_endpoints_${short(count)}_rules`,
        "members",
        ({ members, rules }) => members !== undefined && rules === count,
        `${count} rules`,
      ),
    ),
  ].flat();
}

export async function changeFigures(apart: Apart, quick: boolean): Promise<Measured> {
  const figures: Figure[] = [];
  const measured = new Map<Named, Latencies>();
  for (const named of SCENARIOS.filter(({ short }) => short || !quick)) {
    const { suffix, scenario } = named;
    const { found, why } = await apart<Latencies>("--latency", { ...scenario, changes: quick ? 60 : 300 });
    if (found !== undefined) measured.set(named, found);
    figures.push(milliseconds(`apply_p99_ms${suffix}`, 0.99, found?.apply, why));
    figures.push(milliseconds(`apply_p50_ms${suffix}`, 0.5, found?.apply, why));
    figures.push(milliseconds(`revoke_p99_ms${suffix}`, 0.99, found?.revoke, why));
    figures.push(plain(`writes_per_change${suffix}`, found?.writes, "writes", "a rule added or removed", why));
  }
  if (!quick) figures.push(...burstFigures(await apart<Bursts>("--burst", { rounds: 7 } satisfies BurstScenario)));
  const curves = curvesOf(measured);
  return { figures: [...figures, ...curves.map(exponentOf)], curves };
}

function burstFigures({ found, why }: Found<Bursts>): Figure[] {
  const of = (what: string, one?: Bursts["rules"]): string =>
    `${what}; first write to last packet${one === undefined ? "" : `, of which etcd takes ${one.acknowledged.toFixed(2)} s`}`;
  const rules = of("a rule in each of 1,000 groups of 200 ports", found?.rules);
  const members = of("1,000 new members of a group", found?.members);
  return [
    plain("changes_1000_s", found?.rules.seen, "s", rules, why),
    plain("members_1000_s", found?.members.seen, "s", members, why),
    plain("changes_1000_writes", found?.writes, "writes", "1,000 such rules and 1,000 members", why),
  ];
}
