import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { REASON_NAMES } from "../../src/compile/evaluate-types.js";
import { TestModel } from "../support/model-of.js";
import { CASES } from "./cases.js";
import { evaluatorImplementation } from "./evaluator.js";
import { runConformance } from "./runner.js";
import { BASE, GUESTS, HOST } from "./world.js";

runConformance(evaluatorImplementation(), CASES);

describe("the table itself", () => {
  it("has no two cases of one name", () => {
    const names = CASES.map(({ clause, name }) => `${clause} ${name}`);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  });

  it("has an allowed and a refused case for every clause, in both families", () => {
    for (const clause of ["S1", "S2", "S3", "S4", "S5", "S6", "S9"]) {
      const steps = CASES.filter((one) => one.clause === clause)
        .flatMap(({ steps }) => steps)
        .flatMap((step) => ("expect" in step ? [step] : []));
      for (const type of [0x0800, 0x86dd]) {
        const family = steps.filter(
          ({ frame }) => ((frame[12] ?? 0) << 8) + (frame[13] ?? 0) === type || (type === 0x0800 && frame[13] === 6),
        );
        expect(
          family.some(({ expect: wanted }) => wanted.verdict === "drop"),
          `${clause} refused ${type}`,
        ).toBe(true);
        expect(
          family.some(({ expect: wanted }) => wanted.verdict !== "drop"),
          `${clause} allowed ${type}`,
        ).toBe(true);
      }
    }
  });

  it("plays in a world that the model understands but for what is meant to be broken", () => {
    const model = new TestModel(HOST, BASE.resources);
    expect(
      model
        .problems()
        .map(({ where }) => where)
        .filter((where) => !where.includes("bad1")),
    ).toEqual([]);
    expect(model.model.locals.get(GUESTS.bad1.id as never)?.blocked).toBeDefined();
    expect(model.model.endpoints.size).toBe(Object.keys(GUESTS).length);
  });
});

describe("reasons", () => {
  it("are those of bpf/abi.h, in its order", () => {
    const header = readFileSync(new URL("../../bpf/abi.h", import.meta.url), "utf8");
    const body = /enum reason \{([\s\S]*?)\n\};/.exec(header)?.[1] ?? "";
    const names = [...body.matchAll(/^\s*([A-Z_]+) = \d+/gm)].map((match) => match[1]);
    expect(names.filter((name) => name !== "REASON_NONE" && name !== "REASONS")).toEqual([...REASON_NAMES]);
  });
});
