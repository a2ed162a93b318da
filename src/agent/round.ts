/**
 * One pass over the kernel, in the order that lets nothing slip through (D5): the guard stands before anything else; routes and neighbours
 * that are no longer wanted go before the maps forget their endpoints; then maps and programs; then the guard lets the taps pass that are
 * enforced; then sysctls and neighbours, routes last.
 */
import type { DesiredDelta, DesiredState } from "../compile/desired.js";
import type { EndpointId } from "../model/types.js";
import type { Interfaces, Tap } from "../dataplane/backend.js";
import { Steps } from "../steps.js";
import type { AgentParts, ReportPart } from "./parts.js";

export interface RoundWish {
  /** Absent: nothing was ever in sync; taps are only blocked. */
  readonly desired?: DesiredState;
  /** Absent: read back and compare in full. */
  readonly delta?: DesiredDelta;
  /** Whether the guard is to be looked at first, and mended. */
  readonly guard: boolean;
}

export interface RoundResult {
  readonly writes: Readonly<Record<string, number>>;
  readonly failures: readonly { readonly where: string; readonly error: Error }[];
  /** Absent when taps were only blocked. */
  readonly enforced?: ReadonlySet<EndpointId>;
  /** As they were in this pass. Absent when taps were only blocked. */
  readonly interfaces?: Interfaces;
  /** Absent when the guard was not looked at. */
  readonly guard?: "on" | "failed";
}

export const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/**
 * @param steps is told what is done, also of a round that throws
 * @throws whatever the backend or the links throw: the pass is to be repeated in full
 */
export async function runRound(
  parts: Omit<AgentParts, "clock" | "log" | "datastore">,
  wish: RoundWish,
  steps = new Steps(() => 0),
): Promise<RoundResult> {
  const { backend, links, guard } = parts;
  const failures: { where: string; error: Error }[] = [];
  const writes: Record<string, number> = {};
  const add = (name: string, report: ReportPart): void => {
    if (report.writes > 0) writes[name] = (writes[name] ?? 0) + report.writes;
    failures.push(...report.failures);
  };

  let guardState: "on" | "failed" | undefined;
  const guarding = async (step: () => Promise<number>): Promise<void> => {
    try {
      add("guard", { writes: await step(), failures: [] });
      guardState ??= "on";
    } catch (error) {
      // Without the guard a new tap is open for the milliseconds until its program is attached; without the agent it would stay open.
      failures.push({ where: "guard", error: asError(error) });
      guardState = "failed";
    }
  };
  steps.begin("guard");
  if (wish.guard) await guarding(() => guard.ensure());
  const state = (): { readonly guard?: "on" | "failed" } => (guardState === undefined ? {} : { guard: guardState });

  if (wish.desired === undefined) {
    steps.begin("attach");
    if (backend.block) add("attach", await backend.block(links.interfaces()));
    return { writes, failures, ...state() };
  }
  steps.begin("read interfaces and routes");
  if (wish.delta === undefined) await links.refresh();
  steps.begin("withdraw routes");
  add("links", await links.withdraw(wish.desired));
  // One view for the whole pass: a tap that is replaced under us must not pass on the strength of its predecessor.
  const interfaces = links.interfaces();
  steps.begin("dataplane");
  const report = await backend.apply(wish.desired, interfaces, wish.delta, steps);
  steps.begin("let taps pass the guard");
  for (const [map, count] of Object.entries(report.writes)) if (count > 0) writes[map] = (writes[map] ?? 0) + count;
  failures.push(...report.failures);
  const enforced = enforcedTaps(wish.desired, interfaces.taps, report.enforced);
  const claim = (): Promise<number> => guard.claim(enforced, judgedUplinks(interfaces, report.failures));
  if (guard.wanted) await guarding(claim);
  steps.begin(SERVICES);
  await serving(parts, wish.desired, wish.delta, add);
  steps.begin("sysctls, neighbours and routes");
  add("links", await links.program(wish.desired, report.enforced));
  // Last: only now does nothing depend on it any more.
  steps.begin("remove the former dataplane");
  const settled = await backend.settle?.();
  if (settled !== undefined) add("former dataplane", settled);
  // What judges may be another now.
  if (guard.wanted && (settled?.writes ?? 0) > 0) await guarding(claim);
  return { writes, failures, enforced: report.enforced, interfaces, ...state() };
}

/** Where a failure of the host's services is: it keeps nobody's policy from being in force. */
export const SERVICES = "services";

/** Guests without metadata are guests all the same: a failure is said, and the pass goes on. */
async function serving(
  { services }: Pick<AgentParts, "services">,
  desired: DesiredState,
  delta: DesiredDelta | undefined,
  add: (name: string, report: ReportPart) => void,
): Promise<void> {
  if (services === undefined) return;
  try {
    add(SERVICES, { writes: await services.ensure(desired, delta), failures: [] });
  } catch (error) {
    add(SERVICES, { writes: 0, failures: [{ where: SERVICES, error: asError(error) }] });
  }
}

/** Those whose program is in place; of one that is not, what comes in is judged at the taps' egress. */
function judgedUplinks({ uplinks }: Interfaces, failures: RoundResult["failures"]): ReadonlyMap<number, string> {
  const failed = new Set(failures.map(({ where }) => where));
  return new Map(uplinks.filter(({ name }) => !failed.has(name)).map(({ ifindex, name }) => [ifindex, name]));
}

function enforcedTaps(
  desired: DesiredState,
  taps: ReadonlyMap<string, Tap>,
  enforced: ReadonlySet<EndpointId>,
): ReadonlyMap<number, string> {
  const claimed = new Map<number, string>();
  for (const id of enforced) {
    const tap = taps.get(desired.endpoints.get(id)?.interfaceName ?? "");
    if (tap) claimed.set(tap.ifindex, tap.name);
  }
  return claimed;
}
