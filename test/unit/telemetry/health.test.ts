import { describe, expect, test } from "vitest";
import type { AgentHealth } from "../../../src/agent/types.js";
import { liveness, readiness, STUCK } from "../../../src/telemetry/health.js";

const well: AgentHealth = {
  busy: 0,
  state: "in-sync",
  inForce: true,
  current: true,
  failing: [],
  wanted: 3,
  enforced: 3,
  problems: 0,
  guard: "on",
  dataFrom: "2026-11-22T09:00:00.000Z",
};

describe("readiness", () => {
  test("in sync and in force", () => {
    expect(readiness(well)).toEqual({ ok: true, reasons: ["in sync, 3 endpoints enforced"], dataFrom: well.dataFrom });
  });

  test.each<[string, Partial<AgentHealth>, RegExp]>([
    [
      "lost",
      { state: "lost", held: "connection refused" },
      /^the datastore is lost: connection refused; what is enforced is of 2026-11-22T09/,
    ],
    [
      "another cluster",
      { held: "the datastore is of cluster x" },
      /^the datastore is of cluster x; what is enforced is of 2026/,
    ],
    [
      "nothing read yet, adopted",
      { state: "connecting", inForce: false },
      /^the datastore has not been read yet; what is enforced is of 2026/,
    ],
    ["in sync, not written yet", { inForce: false }, /^policy has not been put in force yet$/],
    ["a pass failed", { failing: ["map flow: full"] }, /^map flow: full$/],
    ["stuck", { busy: STUCK }, /^a pass has been running for 120 s$/],
  ])("not: %s", (_, change, reason) => {
    const verdict = readiness({ ...well, ...change });
    expect(verdict.ok).toBe(false);
    expect(verdict.reasons.join("; ")).toMatch(reason);
  });

  test("nobody knows of when it is: nothing is claimed", () => {
    const { dataFrom: _, ...unknown } = well;
    expect(readiness({ ...unknown, state: "lost", held: "x" })).toEqual({
      ok: false,
      reasons: ["the datastore is lost: x"],
    });
  });
});

describe("liveness", () => {
  test("does not depend on the datastore, only on the loop", () => {
    expect(liveness({ ...well, state: "lost", held: "x", inForce: false }).ok).toBe(true);
    expect(liveness({ ...well, busy: STUCK - 1 }).ok).toBe(true);
    expect(liveness({ ...well, busy: STUCK }).ok).toBe(false);
  });
});
