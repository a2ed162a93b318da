import { expect, test } from "vitest";
import { Memory } from "../../../src/agent/memory.js";

test("gives back once the process has grown, and not again before it grows again", () => {
  let trims = 0;
  const memory = new Memory(() => ({ trim: () => trims++ }));
  memory.tidy();
  expect(trims).toBe(0);
  const page = Buffer.alloc(96 << 20, 1);
  memory.tidy();
  expect(trims).toBe(1);
  memory.tidy();
  expect([trims, page.length]).toEqual([1, 96 << 20]);
});

test("without the addon it does nothing", () => {
  new Memory(() => {
    throw new Error("no such file");
  }).tidy();
});
