/** D7 on the kernel: one guest cannot hurt another through the flow table, and its counters are what the table holds. */
import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundle, type Bundle } from "../support/bundle.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
let script: Bundle;

beforeAll(async () => {
  script = await bundle("test/kernel/flow-table-child.ts");
});
afterAll(() => script.remove());

let spaces = 0;

/** Runs a scenario of flow-table-child.ts in a namespace that lives no longer. */
function run(...scenario: (string | number)[]): Record<string, unknown> {
  const namespace = `tb-${process.pid}-flows${spaces++}`;
  execFileSync("ip", ["netns", "add", namespace]);
  try {
    const args = [`--net=/run/netns/${namespace}`, "--", process.execPath, script.file, ...scenario.map(String)];
    const { status, stdout, stderr } = spawnSync("nsenter", args, {
      cwd: root,
      encoding: "utf8",
      timeout: 170_000,
      maxBuffer: 1 << 26,
    });
    if (status !== 0) throw new Error(`${scenario.join(" ")}: ${stderr}`);
    return JSON.parse(stdout) as Record<string, unknown>;
  } finally {
    execFileSync("ip", ["netns", "del", namespace]);
  }
}

describe("one guest cannot hurt another", () => {
  it("while one floods with SYNs its neighbour opens 10,000 connections, and who is flooded still opens his", () => {
    const found = run("shares");
    expect(found).toMatchObject({ neighbour: 0, underFlood: 0, faults: [] });
    // It did flood: to the limit of a port, and of what may be half open.
    expect(found).toMatchObject({ flooded: 131_072, halfOpen: 65_536 });
  }, 180_000);

  it("the guaranteed share is there, whatever two others have taken in either direction", () => {
    const found = run("guarantee");
    expect(found["passed"]).toBe(found["guaranteed"]);
    expect(found["faults"]).toEqual([]);
  }, 60_000);

  it("a share is given back at once when flows are flushed, half open ones too, and what was left stays", () => {
    const full = [700, 0];
    expect(run("flushed")).toEqual({
      before: [full, [700, 700]],
      unswept: [full, [700, 700]],
      swept: [
        [1, 0],
        [1, 1],
      ],
      again: true,
      faults: [],
    });
  }, 60_000);

  it("a port that is gone leaves nothing behind for long", () => {
    expect(run("reuse")).toMatchObject({ filled: 512, left: 0, faults: [] });
  });

  it("a number is given to another port once its flows are gone", () => {
    const found = run("renumber");
    expect(found["next"]).not.toBe(found["former"]);
    expect(found).toMatchObject({ passed: 100, faults: [] });
  });
});

it("a tap takes for judged what carries its own number, and judges everything else", () => {
  const { own, ownAmongOthers, ...rest } = run("marks");
  expect({ own, ownAmongOthers }).toEqual({ own: true, ownAmongOthers: true });
  expect(Object.entries(rest).filter(([, passed]) => passed !== false)).toEqual([]);
  expect(Object.keys(rest)).toHaveLength(8);
});

describe("counters", () => {
  const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31) + 1);
  it(`equal the entries after any mix (SEED=${seed})`, () => {
    for (const n of [seed, seed + 1, seed + 2]) expect(run("mix", n, 1500)).toMatchObject({ faults: [] });
  }, 180_000);

  it(`and an object that explains foretells each packet, whatever is full (SEED=${seed})`, () => {
    const found = run("foretold", seed, 1200);
    expect(found).toMatchObject({ faults: [] });
    expect((found["refused"] as number[]).some((count) => count > 0)).toBe(true);
  }, 120_000);

  it("equal the entries after two CPUs have fought for them", () => {
    const found = run("race", 6);
    expect(found["faults"], JSON.stringify(found)).toEqual([]);
    for (const opened of found["opened"] as number[]) expect(opened).toBeGreaterThan(1000);
  }, 120_000);
});
