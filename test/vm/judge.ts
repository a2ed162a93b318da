/** What the two serial lines of a VM say: the kernel's log, and the lines of the suites. */

export interface Verdict {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Why it counts as failed besides failed tests: a splat, a suite that ended early, a machine that stood still. */
  readonly faults: readonly string[];
}

/** How the kernel begins to say that something is wrong with it. */
const SPLATS = [
  /\bKernel panic\b.*/,
  /\bBUG: .*/,
  /\bWARNING: .*/,
  /\bOops\b.*/,
  /\bgeneral protection fault\b.*/,
  /\bINFO: task .* blocked for more than.*/,
  /\brcu: INFO: .*/,
  /\bsoft lockup\b.*/,
  /\bUBSAN: .*/,
  /\bKASAN: .*/,
  /\bOut of memory: .*/,
  /\bunregister_netdevice: waiting for .*/,
  /\bsegfault at .*/,
];
/** Said by healthy kernels of software that emulates the machine; nothing of ours. */
const HARMLESS = [/WARNING: CPU: .*(?:apic|tsc)/i];

/** The lines of a kernel's log that begin a splat. */
export function splats(log: string): string[] {
  return log
    .split("\n")
    .map((line) => line.replace(/^\[ *[\d.]+\] /, "").trim())
    .filter((line) => SPLATS.some((splat) => splat.test(line)) && !HARMLESS.some((fine) => fine.test(line)));
}

/**
 * @param kernel what ttyS0 said
 * @param output what ttyS1 said
 * @param suites names, as they had to run
 * @param ended why it was stopped from outside, if it was
 */
export function judge(kernel: string, output: string, suites: readonly string[], ended?: string): Verdict {
  const lines = output.split(/\r?\n/);
  const count = (word: string): number => lines.filter((line) => line.startsWith(`${word} `)).length;
  const faults = splats(kernel).map((line) => `the kernel said: ${line}`);
  if (ended !== undefined) faults.push(ended);
  if (!lines.some((line) => line.startsWith("vm: booted "))) faults.push("it has not booted");
  const begun = lines.filter((line) => line.startsWith("vm: suite ") && !line.includes(" ended with status "));
  for (const suite of suites) {
    const at = lines.indexOf(`vm: suite ${suite}`);
    if (at < 0) {
      faults.push(`suite ${suite} has not run`);
      continue;
    }
    const end = lines.findIndex((line, i) => i > at && begun.includes(line));
    const part = lines.slice(at, end < 0 ? undefined : end);
    const status = part.find((line) => line.startsWith(`vm: suite ${suite} ended with status `));
    // A suite's failed tests count by themselves: its status says more only when there are none.
    const failed = part.some((line) => line.startsWith("FAILED "));
    if (status !== undefined && !failed) faults.push(status.slice("vm: ".length));
    else if (!part.some((line) => /^(?:ok|FAILED) /.test(line))) faults.push(`suite ${suite} has told of no test`);
  }
  if (!lines.includes("vm: end")) faults.push("it has not come to its end");
  return { passed: count("ok"), failed: count("FAILED"), skipped: count("skip"), faults };
}
