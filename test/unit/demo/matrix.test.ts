import { describe, expect, it } from "vitest";
import {
  cellKey,
  cellText,
  familiesAgree,
  matrixChanges,
  matrixRows,
  type Cell,
  type Matrix,
} from "../../../src/demo/matrix.js";

const services = ["80", "5432", "ping"];
const cell = (v4: string[], v6 = v4): Cell => ({ v4: new Set(v4), v6: new Set(v6) });
const matrix = (cells: Record<string, Cell>): Matrix => ({
  names: ["a", "b"],
  services,
  cells: new Map(Object.entries(cells).map(([pair, value]) => [cellKey(pair.charAt(0), pair.charAt(1)), value])),
});

describe("the table of the demo", () => {
  it("says what passes, in a fixed order", () => {
    expect(cellText(cell(["ping", "80"]), services)).toBe("80 ping");
    expect(cellText(cell([]), services)).toBe("none");
  });

  it("says both families where they differ", () => {
    const differs = cell(["80", "ping"], ["ping"]);
    expect(cellText(differs, services)).toBe("v4: 80 ping, v6: ping");
    expect(familiesAgree(matrix({ ab: differs, ba: cell([]) }))).toBe(false);
    expect(familiesAgree(matrix({ ab: cell(["80"]), ba: cell([]) }))).toBe(true);
  });

  it("has a row a sender and a dash for oneself", () => {
    expect(matrixRows(matrix({ ab: cell(["80"]), ba: cell([]) }))).toEqual({
      header: ["from \\ to", "a", "b"],
      rows: [
        ["a", "-", "80"],
        ["b", "none", "-"],
      ],
    });
  });

  it("names the cells that are different now, and a service that is new", () => {
    const before = matrix({ ab: cell(["5432"]), ba: cell(["80"]) });
    const after = matrix({ ab: cell([]), ba: cell(["80"]) });
    expect(matrixChanges(before, after)).toEqual(["a -> b: 5432 -> none"]);
    expect(matrixChanges(before, before)).toEqual([]);
    const more = { ...matrix({ ab: cell(["5432", "8080"]), ba: cell(["80"]) }), services: [...services, "8080"] };
    expect(matrixChanges(before, more)).toEqual(["a -> b: 5432 -> 5432 8080"]);
    expect(matrixChanges(matrix({ ba: cell(["80"]) }), before)).toEqual(["a -> b: - -> 5432"]);
  });
});
