/** Runs the table on anything that can judge. Knows no more of an implementation than this interface. */
import { describe, expect, it } from "vitest";
import type { At, Outcome } from "../../src/compile/evaluate-types.js";
import { describeFrame } from "../support/describe-frame.js";
import { checksum, mac } from "../support/packet.js";
import type { Case, Expectation, Step } from "./case.js";
import { BASE, GUESTS, type ConformanceWorld } from "./world.js";

export interface Implementation {
  readonly name: string;
  /**
   * What of Case.needs it can provide; cases that need more are skipped, by name. "ingress-interface": it can be told that a packet came by
   * an interface that is not listed; without it such steps are left out.
   */
  readonly provides: ReadonlySet<string>;
  /** Starts afresh: no flow, fragment or announcement is remembered. */
  load(world: ConformanceWorld): Promise<void>;
  /** @param now seconds since load(), never going back. */
  receive(at: At, frame: Uint8Array, now: number): Promise<Outcome>;
  /** The world is another one now; flows stay. */
  update(world: ConformanceWorld): Promise<void>;
  close(): Promise<void>;
}

export function runConformance(implementation: Implementation, table: readonly Case[]): void {
  const clauses = [...new Set(table.map(({ clause }) => clause))];
  for (const clause of clauses) {
    describe(`${implementation.name}: ${clause}`, () => {
      for (const one of table.filter((candidate) => candidate.clause === clause)) {
        const able = (one.needs ?? []).every((need) => implementation.provides.has(need));
        it.skipIf(!able)(one.name, () => play(implementation, one));
      }
    });
  }
}

export async function play(implementation: Implementation, { world, steps }: Case): Promise<void> {
  let present = world ?? BASE;
  let now = 0;
  await implementation.load(present);
  for (const [i, step] of steps.entries()) {
    if ("wait" in step) now += step.wait;
    // One step less; the others of the case are judged all the same.
    else if ("at" in step && "other" in step.at && !implementation.provides.has("ingress-interface")) continue;
    else if ("change" in step) await implementation.update((present = step.change));
    else
      check(
        step,
        await implementation.receive(step.at, step.frame, now),
        `step ${i + 1}: ${describeFrame(step.frame)}`,
        present,
      );
  }
}

type Met = Extract<Step, { readonly expect: Expectation }>;

function check({ at, frame, expect: wanted }: Met, outcome: Outcome, what: string, world: ConformanceWorld): void {
  expect(brief(outcome), what).toEqual(summary(wanted));
  if (wanted.verdict === "reply" && outcome.verdict === "reply") same(outcome.frame, wanted.frame, what);
  if (outcome.verdict === "forward") same(outcome.frame.subarray(14), hop(frame).subarray(14), what);
  if (wanted.verdict === "deliver" && outcome.verdict === "deliver") {
    const guest = GUESTS[wanted.to];
    const hostMac = world.taps.get(guest.tap)?.hostMac ?? "00:00:00:00:00:00";
    const routed = "host" in at || "other" in at ? frame : addressed(hop(frame), wanted.mac ?? guest.mac, hostMac);
    same(outcome.frame, routed, what);
  }
}

/** What two outcomes must have in common to be the same, frames apart. */
function brief(outcome: Outcome): Record<string, unknown> {
  const { verdict } = outcome;
  if (verdict === "deliver") return { verdict, to: outcome.to };
  if (verdict === "stack") return { verdict, why: outcome.why };
  return verdict === "drop"
    ? { verdict, reason: outcome.reason, ...(outcome.endpoint === undefined ? {} : { at: outcome.endpoint }) }
    : { verdict };
}

function summary(wanted: Expectation): Record<string, unknown> {
  const { verdict } = wanted;
  if (verdict === "deliver") return { verdict, to: GUESTS[wanted.to].id };
  if (verdict === "stack") return { verdict, why: wanted.why };
  return verdict === "drop"
    ? { verdict, reason: wanted.reason, ...(wanted.at === undefined ? {} : { at: GUESTS[wanted.at].id }) }
    : { verdict };
}

/** The frame one hop on, its tag (VLAN 0) gone, its IPv4 checksum made anew. */
export function hop(frame: Uint8Array): Uint8Array {
  const tagged = frame[12] === 0x81 && frame[13] === 0;
  const out = tagged ? Uint8Array.from([...frame.subarray(0, 12), ...frame.subarray(16)]) : frame.slice();
  const v4 = (out[14] ?? 0) >> 4 === 4;
  const at = v4 ? 22 : 21;
  out[at] = (out[at] ?? 0) - 1;
  if (!v4) return out;
  const header = out.subarray(14, 14 + ((out[14] ?? 0) & 15) * 4);
  header.set([0, 0], 10);
  const sum = checksum(header);
  header.set([sum >> 8, sum & 255], 10);
  return out;
}

export function addressed(frame: Uint8Array, to: string, from: string): Uint8Array {
  frame.set(mac(to), 0);
  frame.set(mac(from), 6);
  return frame;
}

export function same(actual: Uint8Array, wanted: Uint8Array, what: string): void {
  expect(`${describeFrame(actual)} ${Buffer.from(actual).toString("hex")}`, what).toBe(
    `${describeFrame(wanted)} ${Buffer.from(wanted).toString("hex")}`,
  );
}
