/** What figures are to be (DESIGN, "How speed is judged"), by how much they are not, and what stands in the way. Pure. */
import type { Figure } from "./figures.js";

interface Target {
  readonly name: string;
  readonly atMost: number;
  /** What the rest is spent on. */
  readonly why: string;
}

const NOISE =
  "the median is a third of it or less; the slowest are mostly the first changes of a young process (a QUICK run makes 60 changes: the slowest of them counts), and etcd, the agent and who measures share the cores";
const HOOKS =
  "of what is above two rules most is the hook at the tap's ingress, where MACs and addresses are judged, and the hook that drops what has not passed there";
const CACHES = "there are as many lookups; most likely what they read fits into no near cache any more";
const target = (name: string, atMost: number, why: string): Target => ({ name, atMost, why });

const TARGETS: readonly Target[] = [
  target("established_net_vs_limit", 1.5, "a lookup of the flow, one of each port, and what is counted"),
  target("established_1000_flows_net_vs_limit", 1.5, "as with one flow"),
  target(
    "established_net_vs_iptables",
    0.5,
    "the redirect alone is 0.4 of two rules: a tenth would be left for the lookups of the flow and of both ports",
  ),
  target(
    "first_packet_net_vs_insert_limit",
    1.6,
    "besides the limit's lookup and insertion: who owns the source, who has the destination, the rules of both ends (some eight lookups in hashes, a seventh of the time), and a slot in the list of what the port owns (a tenth), without which one port could fill the table for all (D7)",
  ),
  target("first_packet_rules_10k_vs_10", 1.2, CACHES),
  target("first_packet_members_1m_vs_10", 1.2, CACHES),
  ...["apply_p99_ms", "revoke_p99_ms"].flatMap((name) => [
    ...["", "_200_ports", "_1000_rules"].map((suffix) => target(name + suffix, 10, NOISE)),
    target(`${name}_1000_rules_200_ports_10k_endpoints`, 20, NOISE),
  ]),
  target("changes_1000_s", 1, "etcd, one pass for all, and a probe of each port in turn"),
  target(
    "taps_1000_start_s",
    3,
    "the verifier takes a second, the kernel a quarter to make the taps' hooks, and sysctls, routes and maps one more",
  ),
  target("sync_100k_s", 6, "etcd's pages are read, parsed and compiled by one core"),
  target("agent_rss_mb", 220, "V8 collects later than it could where memory is plenty"),
  target("restart_lost_packets", 0, "none may be lost"),
  target("iptables_path_established_net_vs_two_rules", 1.3, HOOKS),
  target("iptables_path_legacy_established_net_vs_two_rules", 1.3, HOOKS),
  target("iptables_path_first_packet_1000_rules_vs_10", 2, CACHES),
  ...["", "_200_ports", "_1000_rules"].map((suffix) => target(`apply_p99_ms_iptables${suffix}`, 30, NOISE)),
];

export interface Judged {
  readonly name: string;
  readonly value: number | null;
  readonly atMost: number;
  /** null: not measured. */
  readonly reached: boolean | null;
  /** By which part of the target it is above it, or by how much where the target is 0; 0 when it is not. */
  readonly missedBy: number;
  /** What stands in the way, or why it was not measured; "" when it is reached. */
  readonly why: string;
}

/** Every target, in one order, whether its figure was measured or not. */
export function againstTargets(figures: readonly Figure[]): Judged[] {
  const known = new Map(figures.map((figure) => [figure.name, figure]));
  return TARGETS.map(({ name, atMost, why }) => {
    const figure = known.get(name);
    const value = figure?.value ?? null;
    if (value === null)
      return { name, value, atMost, reached: null, missedBy: 0, why: figure?.why ?? "not measured in this run" };
    if (value <= atMost) return { name, value, atMost, reached: true, missedBy: 0, why: "" };
    return { name, value, atMost, reached: false, missedBy: atMost === 0 ? value : value / atMost - 1, why };
  });
}

/** "reached", "missed by 12 %" or "not measured". */
export function verdictOf({ reached, missedBy, atMost }: Judged): string {
  if (reached === null) return "not measured";
  if (reached) return "reached";
  return atMost === 0 ? "missed" : `missed by ${Math.ceil(missedBy * 100)} %`;
}
