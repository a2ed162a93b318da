import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exponent, rate, ratio } from "../../../src/bench/figures.js";

describe("exponent", () => {
  it("of a power law is its power, whatever its factor", () => {
    const power = fc.double({ min: -2, max: 3, noNaN: true });
    const factor = fc.double({ min: 0.1, max: 1e4, noNaN: true });
    fc.assert(
      fc.property(power, factor, (b, a) => {
        const points = [10, 100, 1_000, 1_000_000].map((x) => ({ x, y: a * x ** b }));
        expect(exponent(points)).toBeCloseTo(b, 6);
      }),
    );
  });

  it("leaves out what is not above the floor, and is none of a single size", () => {
    expect(
      exponent([
        { x: 10, y: 5 },
        { x: 100, y: -3 },
        { x: 1_000, y: 5 },
      ]),
    ).toBeCloseTo(0, 9);
    expect(exponent([{ x: 10, y: 5 }])).toBeNaN();
    expect(exponent([])).toBeNaN();
  });
});

describe("ratio", () => {
  const samples = { floor: [100, 200, 100], ours: [300, 400, 300], theirs: [200, 300, 200], low: [10, 20, 10] };

  it("is net of each round's own floor", () => {
    expect(ratio(samples, "x", "ours", "theirs")).toEqual({ name: "x", value: 2, unit: "ratio", vs: "theirs" });
  });

  it("takes another floor, or none", () => {
    expect(ratio(samples, "x", "floor", "low", "").value).toBe(10);
    expect(ratio(samples, "x", "ours", "theirs", "low").value).toBeCloseTo(1.53, 2);
  });

  it("says what was not measured, the floor too", () => {
    expect(ratio(samples, "x", "ours", "none")).toMatchObject({ value: null, why: "none was not measured" });
    expect(ratio(samples, "x", "ours", "theirs", "no_floor")).toMatchObject({
      value: null,
      why: "no_floor was not measured",
    });
  });

  it("means nothing when the rounds differ too much", () => {
    const wild = { floor: [0, 0, 0, 0], a: [1, 10, 2, 50], b: [10, 1, 10, 1] };
    expect(ratio(wild, "x", "a", "b")).toMatchObject({
      value: null,
      why: expect.stringMatching(/^rounds differ too much/),
    });
  });
});

it("a rate is ours to theirs: half the time, twice the rate", () => {
  expect(rate({ a: [50, 60], b: [100, 120] }, "conn", "a", "b")).toEqual({
    name: "conn",
    value: 2,
    unit: "ratio",
    vs: "b",
  });
});
