import { describe, expect, it } from "vitest";
import type { ApplyEvent } from "../../../src/agent/status.js";
import { describeChange, describeProblem } from "../../../src/demo/change.js";

const event: ApplyEvent = {
  at: "2026-11-22T08:30:01.250Z",
  full: false,
  changes: [
    { kind: "policy", id: "np:openstack/db", name: "db", change: "set", origin: "/src/examples/groups.yaml:4" },
  ],
  totalChanges: 1,
  writes: { policy: 4, plane: 1, links: 2 },
  totalWrites: 7,
  milliseconds: 2.345,
  sinceEvent: 3,
  steps: [],
  failures: [],
  enforced: 4,
};

describe("news of the agent in one line", () => {
  it("says what changed, how many map writes, how long, and which cells", () => {
    expect(describeChange(event, ["a -> b: 80 -> none", "b -> a: none -> 80"], "/src/examples", "examples/")).toBe(
      "08:30:01  examples/groups.yaml:4: policy db; 5 map writes in 2.3 ms; now a -> b: 80 -> none, b -> a: none -> 80\n",
    );
  });

  it("says when nothing differs, what failed, and what is not listed", () => {
    const failed = { ...event, totalChanges: 3, failures: [{ where: "tapdb1", what: "no such device" }] };
    const text = describeChange(failed, [], "/src/examples/", "examples/");
    expect(text).toContain("2 more");
    expect(text).toContain("FAILED tapdb1: no such device");
    expect(text).toContain("the table is as before");
  });

  it("stays one line whatever a name holds", () => {
    const hostile = {
      ...event,
      changes: [{ kind: "policy" as const, id: "np:a/b\n\u001b[2J$(reboot)", change: "gone" as const }],
    };
    const text = describeChange(hostile, [], "/src/examples", "examples/");
    expect(text.split("\n")).toHaveLength(2);
    expect(text).not.toContain("\u001b");
    expect(text).toContain("$(reboot) gone");
  });

  it("tells a problem and its end", () => {
    const problem = {
      where: "/src/examples/groups.yaml:14:3",
      code: "BAD_YAML",
      what: "not YAML",
      consequence: "the former stays in force",
    };
    expect(describeProblem(problem, false, "/src/examples", "examples/")).toBe(
      "PROBLEM  examples/groups.yaml:14:3: not YAML: the former stays in force\n",
    );
    expect(describeProblem(problem, true, "/src/examples", "examples/")).toBe(
      "examples/groups.yaml:14:3: no longer: not YAML\n",
    );
  });
});
