/** Where a pass spent its time. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Steps, stepText } from "../../src/steps.js";

describe("steps", () => {
  it("one follows the other; the same again adds up, and the longest place in it is named", () => {
    let now = 0;
    const steps = new Steps(() => now);
    steps.begin("plan");
    now = 3;
    steps.begin("write map", "policy");
    now = 10;
    steps.begin("write map", "remote");
    expect(steps.current).toEqual({ what: "write map remote", milliseconds: 0 });
    now = 60;
    steps.begin("write map", "plane");
    now = 61;
    steps.end();
    steps.end();
    expect(steps.current).toBeUndefined();
    expect(steps.list()).toEqual([
      { step: "write map", milliseconds: 58, longest: { at: "remote", milliseconds: 50 } },
      { step: "plan", milliseconds: 3 },
    ]);
    expect(steps.list(5).map(stepText)).toEqual(["write map (58 ms, 50 of them remote)"]);
  });
  it("lose no time between two of them", () => {
    const walk = fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.integer({ min: 0, max: 1000 })), {
      minLength: 1,
    });
    fc.assert(
      fc.property(walk, (parts) => {
        let now = 0;
        const steps = new Steps(() => now);
        for (const [step, milliseconds] of parts) {
          steps.begin(step);
          now += milliseconds;
        }
        steps.end();
        expect(steps.list().reduce((sum, { milliseconds }) => sum + milliseconds, 0)).toBe(now);
      }),
    );
  });
});
