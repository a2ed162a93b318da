/** `make bench QUICK=1` in the VM: what it prints goes on as it comes, what it writes to the disk that stays (init). */
import { spawn } from "node:child_process";
import { expect, it } from "vitest";
import { missing } from "../../../src/bench/results.js";
import { onLines } from "../../../src/demo/world/command.js";

it("prints every figure that it promises, or null and why", async () => {
  const child = spawn(process.execPath, ["dist/bench/main.js"], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, QUICK: "1" },
  });
  const lines: string[] = [];
  onLines(child.stdout, (line) => {
    lines.push(line);
    console.log(line);
  });
  const begun = Date.now();
  // Parts of it say nothing for minutes: that this machine goes on is a word.
  const going = setInterval(
    () => console.log(`vm: the benchmark has been running for ${Math.round((Date.now() - begun) / 1_000)} s`),
    60_000,
  );
  const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
  clearInterval(going);
  expect(missing(lines)).toEqual([]);
  // It has ended well: all could be measured, and the report is written.
  expect(status).toBe(0);
}, 3_600_000);
