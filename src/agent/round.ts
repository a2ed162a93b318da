/**
 * One pass over the kernel, in the order that lets nothing slip through (D5): the guard stands before anything else; routes and neighbours
 * that are no longer wanted go before the maps forget their endpoints; then maps and programs; then sysctls and neighbours, routes last.
 */
import type { DesiredDelta, DesiredState } from "../compile/desired.js";
import type { EndpointId } from "../model/types.js";
import type { AgentParts, ReportPart } from "./parts.js";

export interface RoundWish {
  /** Absent: nothing was ever in sync; taps are only blocked. */
  readonly desired?: DesiredState;
  /** Absent: read back and compare in full. */
  readonly delta?: DesiredDelta;
  /** The guard is known not to stand: look at it although there is a delta. */
  readonly guardDown?: boolean;
}

export interface RoundResult {
  readonly writes: Readonly<Record<string, number>>;
  readonly failures: readonly { readonly where: string; readonly error: Error }[];
  /** Absent when taps were only blocked. */
  readonly enforced?: ReadonlySet<EndpointId>;
  /** Absent when the guard was not looked at. */
  readonly guard?: "on" | "failed";
}

export const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** @throws whatever the backend or the links throw: the pass is to be repeated in full */
export async function runRound(parts: Omit<AgentParts, "clock" | "log" | "datastore">, wish: RoundWish): Promise<RoundResult> {
  const { backend, links, guard } = parts;
  const failures: { where: string; error: Error }[] = [];
  const writes: Record<string, number> = {};
  const add = (name: string, report: ReportPart): void => {
    if (report.writes > 0) writes[name] = (writes[name] ?? 0) + report.writes;
    failures.push(...report.failures);
  };

  let guardState: "on" | "failed" | undefined;
  if (guard && (wish.delta === undefined || wish.guardDown)) {
    try {
      if (await guard.ensure()) writes["guard"] = 1;
      guardState = "on";
    } catch (error) {
      // Without the guard a new tap is open for the milliseconds until its program is attached; without the agent it would stay open.
      failures.push({ where: "guard", error: asError(error) });
      guardState = "failed";
    }
  }
  const state = guardState === undefined ? {} : { guard: guardState };

  if (wish.desired === undefined) {
    if (backend.block) add("attach", await backend.block(links.interfaces()));
    return { writes, failures, ...state };
  }
  if (wish.delta === undefined) await links.refresh();
  add("links", await links.withdraw(wish.desired));
  const report = await backend.apply(wish.desired, links.interfaces(), wish.delta);
  for (const [map, count] of Object.entries(report.writes)) if (count > 0) writes[map] = (writes[map] ?? 0) + count;
  failures.push(...report.failures);
  add("links", await links.program(wish.desired, report.enforced));
  return { writes, failures, enforced: report.enforced, ...state };
}
