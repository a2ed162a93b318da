/** What /liveness, /readiness and systemd's watchdog are told. Pure. */
import type { AgentHealth } from "../agent/types.js";

/** Milliseconds after which a pass that has not ended counts as stuck. The longest honest one is a cold start by tcx (24 ms a tap). */
export const STUCK = 120_000;

export interface Verdict {
  readonly ok: boolean;
  /** Sentences; of one that is well, what it does. */
  readonly reasons: readonly string[];
  /** Of when the policy in force is. */
  readonly dataFrom?: string;
}

/** Whether the loop goes on: false, and only a new process helps. */
export function liveness({ busy }: AgentHealth): Verdict {
  return busy < STUCK
    ? { ok: true, reasons: ["the loop goes on"] }
    : { ok: false, reasons: [`a pass has been running for ${Math.round(busy / 1000)} s`] };
}

/** Whether what the datastore says now is in force. What was in force before stays so in any case. */
export function readiness(health: AgentHealth): Verdict {
  const { state, held, inForce, dataFrom, failing, enforced } = health;
  const live = liveness(health);
  const since = dataFrom === undefined ? "" : `; what is enforced is of ${dataFrom}`;
  const reasons = [
    ...(live.ok ? [] : live.reasons),
    ...(held === undefined ? [] : [`${state === "lost" ? "the datastore is lost: " : ""}${held}${since}`]),
    ...(held === undefined && state !== "in-sync" ? [`the datastore has not been read yet${since}`] : []),
    ...(state === "in-sync" && held === undefined && !inForce ? ["policy has not been put in force yet"] : []),
    ...failing,
  ];
  const ok = reasons.length === 0;
  return {
    ok,
    reasons: ok ? [`in sync, ${enforced} endpoints enforced`] : reasons,
    ...(dataFrom === undefined ? {} : { dataFrom }),
  };
}
