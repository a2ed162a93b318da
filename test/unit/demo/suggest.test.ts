import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { suggestEdit } from "../../../src/demo/suggest.js";

const examples = join(import.meta.dirname, "../../../examples");
const groups = new Set(["web", "db"]);
let directory: string;

beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "tb-suggest-"))));
afterEach(() => rmSync(directory, { recursive: true }));

describe("the edit that the demo suggests", () => {
  it("names a line of the examples that says from which group a rule lets in", () => {
    const text = suggestEdit(examples, "examples/", groups);
    const line = Number(/^examples\/groups\.yaml, line (\d+): "web" -> "db", save$/.exec(text ?? "")?.[1]);
    expect(readFileSync(join(examples, "groups.yaml"), "utf8").split("\n")[line - 1]).toMatch(
      /^ {8}selector: group == "web"$/,
    );
  });

  it("does not suggest to edit whom a policy applies to, nor a group that is not there", () => {
    writeFileSync(join(directory, "a.yaml"), 'spec:\n  selector: group == "web"\n      selector: group == "other"\n');
    expect(suggestEdit(directory, "x/", groups)).toBeUndefined();
  });
});
