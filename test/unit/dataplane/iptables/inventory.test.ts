import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inventoryIn } from "../../../../src/cli/open-inventory.js";
import { readInventory } from "../../../../src/dataplane/iptables/inventory.js";

let runDir: string;
beforeEach(() => (runDir = mkdtempSync(join(tmpdir(), "torbie-inventory-"))));
afterEach(() => rmSync(runDir, { recursive: true, force: true }));

describe("the inventory of what iptables enforces", () => {
  it("is none where there is no file", () => expect(readInventory(runDir)).toBeUndefined());

  it.each([
    ["another version's", '{"endpoints":[],"policies":[]}', "has format undefined, not 2"],
    ["a later one's", '{"format":3}', "has format 3, not 2"],
    ["no JSON", "{", "can't be read"],
    ["no object", "null", "can't be read"],
    ["of this format and damaged", '{"format":2,"endpoints":[]}', "can't be read"],
  ])("is never taken for none: %s", (_, text, why) => {
    writeFileSync(join(runDir, "iptables.json"), text);
    const said = expect.stringContaining(why) as string;
    expect(() => readInventory(runDir)).toThrow(expect.objectContaining({ code: "OTHER_LAYOUT", message: said }));
    expect(() => inventoryIn(runDir)).toThrow(expect.objectContaining({ code: "OTHER_LAYOUT", message: said }));
  });
});
