/** Child of guard.test.ts: one call of the guard in this namespace; prints what it returned, or the error's code and message. */
import { ensureGuard, guardStatus, removeGuard, setClaimed, type GuardOptions } from "../../src/dataplane/guard.js";
import { run } from "../../src/dataplane/run.js";

const command = JSON.parse(process.argv[2] ?? "{}") as {
  do: string;
  claimed?: [number, string][];
  uplinks?: [number, string][];
  options?: GuardOptions;
  without?: string[];
};
const without = command.without ?? [];
const options: GuardOptions = {
  ...command.options,
  // As on a host that lacks a program.
  run: (program, args, input) =>
    without.some((name) => program.startsWith(name))
      ? Promise.resolve({ status: undefined, stdout: "", stderr: "" })
      : run(program, args, input),
};
const claimed = command.claimed === undefined ? undefined : new Map(command.claimed);

const calls: Record<string, () => Promise<unknown>> = {
  ensure: () => ensureGuard(claimed === undefined ? options : { ...options, claimed }),
  claim: () => setClaimed(claimed ?? new Map(), { ...options, uplinks: new Map(command.uplinks) }),
  remove: () => removeGuard(options),
  status: () => guardStatus(options),
};
try {
  console.log(JSON.stringify((await calls[command.do]?.()) ?? null));
} catch (error) {
  console.log(JSON.stringify({ code: (error as { code?: unknown }).code, message: (error as Error).message }));
}
