/** Why something did not pass, and over how many hops something did: found out with packets and the kernel's counters. */
import { escape } from "../text.js";
import { cellKey, type Matrix } from "./matrix.js";
import { PING } from "./measure.js";
import type { Stage } from "./stage.js";

interface Attempt {
  readonly from: string;
  readonly to: string;
  readonly port: number;
}

/** At most two lines; none about what the table does not hold. */
export async function explain(stage: Stage, matrix: Matrix): Promise<string[]> {
  const [refused, routed] = await Promise.all([explainDrop(stage, matrix), explainHops(stage, matrix)]);
  return [refused, routed].filter((line) => line !== undefined);
}

/** All attempts between different guests, in the table's order, and whether they passed over IPv4. */
function* attempts({ names, services, cells }: Matrix): Iterable<Attempt & { readonly passed: boolean }> {
  for (const from of names) {
    for (const to of names) {
      const cell = cells.get(cellKey(from, to));
      if (from === to || cell === undefined) continue;
      for (const service of services) {
        if (service !== PING) yield { from, to, port: Number(service), passed: cell.v4.has(service) };
      }
    }
  }
}

/** Prefers a port that the receiver opens to others: what was refused is then the sender, not the port. */
async function explainDrop(stage: Stage, matrix: Matrix): Promise<string | undefined> {
  const all = [...attempts(matrix)];
  const refused = all.filter(({ passed }) => !passed);
  const open = refused.find(({ to, port }) =>
    all.some((other) => other.passed && other.to === to && other.port === port),
  );
  const chosen = open ?? refused[0];
  if (chosen === undefined) return undefined;
  const { from, to, port } = chosen;

  const before = await Promise.all([stage.drops(from), stage.drops(to)]);
  const { result } = await stage.guest(from).probe.tcp(stage.guest(to).v4, port, 300);
  const after = await Promise.all([stage.drops(from), stage.drops(to)]);
  const where = [from, to].flatMap((name, i) =>
    [...(after[i] ?? [])]
      .filter(([reason, { count }]) => count > (before[i]?.get(reason)?.count ?? 0))
      .map(([reason, { sentence }]) => ({ name, reason, sentence })),
  )[0];
  const what = `${from} -> ${to} tcp/${port}: `;
  if (where === undefined)
    return escape(`${what}${result === "ok" ? "passes by now" : `${result}, and no drop was counted`}`);
  const groups = (stage.cast.players.find(({ spec }) => spec.name === where.name)?.groups ?? [])
    .map((group) => `"${group}"`)
    .join(", ");
  const because =
    where.reason === "POLICY_INGRESS" || where.reason === "POLICY_EGRESS"
      ? groups === ""
        ? "which is in no group"
        : `no rule of ${groups} admits it`
      : where.sentence;
  return escape(`${what}dropped at ${where.name}, ${because}`);
}

/** Linux guests send with TTL 64; the server tells with which the SYN arrived. */
async function explainHops(stage: Stage, matrix: Matrix): Promise<string | undefined> {
  const subnet = (name: string): string | undefined =>
    stage.cast.players.find(({ spec }) => spec.name === name)?.subnets[0];
  const passed = [...attempts(matrix)].filter((attempt) => attempt.passed);
  const chosen = passed.find(({ from, to }) => subnet(from) === subnet(to)) ?? passed[0];
  if (chosen === undefined) return undefined;
  const { from, to, port } = chosen;
  const { result, hops } = await stage.guest(from).probe.tcp(stage.guest(to).v4, port);
  if (result !== "ok" || hops === undefined) return undefined;
  const near = subnet(from) === subnet(to) ? "same subnet" : "two subnets";
  const distance = 64 - hops;
  const meaning = distance === 0 ? "switched, not routed" : "routed, not switched";
  return escape(
    `${from} -> ${to}, ${near}: ${distance === 1 ? "one hop" : `${distance} hops`}, TTL 64 -> ${hops}: ${meaning}`,
  );
}
