// Runs vitest and closes with one line: "N passed, N failed" (and ", N skipped" when there are any), before it one line for each failure:
// the end of a long log is all that some readers keep. What vitest cannot count (a file that does not load, an error outside any test, a
// crash) counts as failed.
//
// In a run of everything, files that failed are run once more, alone: on a starved machine a packet comes late, and one that never comes
// fails twice. What passes then counts as passed, and a line "flaky: …" says so. Not when many fail, nor when tests are named.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { relative } from "node:path";

const MOST_ONCE_MORE = 5;
const named = process.argv.slice(2);

/** @param {string[]} args */
function vitest(args) {
  const report = "build/test-report.json";
  mkdirSync("build", { recursive: true });
  rmSync(report, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const { status } = spawnSync(process.execPath, ["node_modules/vitest/vitest.mjs", "run", ...reporters, ...args], {
    stdio: "inherit",
  });
  try {
    return { status, ...read(JSON.parse(readFileSync(report, "utf8"))) };
  } catch (error) {
    console.error(`no test report: ${error instanceof Error ? error.message : String(error)}`);
    return { status, passed: 0, skipped: 0, failures: [] };
  }
}

/** @param {any} report as vitest's json reporter writes it */
function read(report) {
  const failures = [];
  for (const { name, status, message, assertionResults } of report.testResults) {
    const file = relative(process.cwd(), name);
    const failing = assertionResults.filter((test) => test.status === "failed");
    failures.push(...failing.map((test) => ({ file, test: test.fullName, why: firstLine(test.failureMessages?.[0]) })));
    if (status === "failed" && failing.length === 0) failures.push({ file, test: "", why: firstLine(message) });
  }
  return { passed: report.numPassedTests, skipped: report.numPendingTests + report.numTodoTests, failures };
}

/** @param {string | undefined} message */
function firstLine(message) {
  return (message ?? "").split("\n", 1)[0].slice(0, 300);
}

/** @param {{ file: string, test: string, why: string }} failure */
const line = ({ file, test, why }) => `${[file, test].filter(Boolean).join(" > ")}: ${why}`;

let { status, passed, skipped, failures } = vitest(named);
const files = [...new Set(failures.map(({ file }) => file))];
if (named.length === 0 && files.length > 0 && files.length <= MOST_ONCE_MORE) {
  console.log(`${failures.length} failed: ${files.join(", ")} once more`);
  const again = vitest(files);
  const still = new Set(again.failures.map(({ file, test }) => `${file} > ${test}`));
  const flaky = failures.filter(({ file, test }) => !still.has(`${file} > ${test}`));
  // A file that did not run to its end says nothing of its tests.
  const ran = again.status === 0 || again.failures.length > 0;
  if (ran) {
    for (const failure of flaky) console.log(`flaky: ${line(failure)}`);
    passed += flaky.filter(({ test }) => test !== "").length;
    failures = again.failures;
    status = again.status;
  }
}

let failed = failures.length;
if ((status !== 0 || passed === 0) && failed === 0) {
  failed = 1;
  console.log(`failed: vitest, outside of any test: it ended with status ${status}, see above`);
}
for (const failure of failures) console.log(`failed: ${line(failure)}`);
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed > 0 ? 1 : 0);
