// Runs vitest and closes with one line: "N passed, N failed" (and ", N skipped" when there are any), before
// it one line for each failure: the end of a long log is all that some readers keep.
// What vitest cannot count (a file that does not load, an error outside any test, a crash) counts as failed.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { relative } from "node:path";

/** @param {string | undefined} message */
function firstLine(message) {
  return (message ?? "").split("\n", 1)[0].slice(0, 300);
}

const report = "build/test-report.json";
mkdirSync("build", { recursive: true });
rmSync(report, { force: true });

const run = spawnSync(
  process.execPath,
  [
    "node_modules/vitest/vitest.mjs",
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ],
  { stdio: "inherit" },
);

let [passed, failed, skipped] = [0, 0, 0];
const failures = [];
try {
  const result = JSON.parse(readFileSync(report, "utf8"));
  passed = result.numPassedTests;
  failed = result.numFailedTests;
  skipped = result.numPendingTests + result.numTodoTests;
  for (const file of result.testResults) {
    const name = relative(process.cwd(), file.name);
    const failing = file.assertionResults.filter((test) => test.status === "failed");
    failures.push(...failing.map((test) => `${name} > ${test.fullName}: ${firstLine(test.failureMessages?.[0])}`));
    if (file.status !== "failed" || failing.length > 0) continue;
    failures.push(`${name}: ${firstLine(file.message)}`);
    failed += 1;
  }
} catch (error) {
  console.error(`no test report: ${error instanceof Error ? error.message : String(error)}`);
}
if (run.status !== 0 && failed === 0) failed = 1;
if (passed === 0 && failed === 0) failed = 1;

for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed > 0 ? 1 : 0);
