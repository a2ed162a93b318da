/** Runs a program of the host: arguments as they are, never through a shell. */
import { execFile } from "node:child_process";

export interface RunResult {
  /** Exit status; undefined: there is no such program. */
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export type Runner = (program: string, args: readonly string[], input?: string) => Promise<RunResult>;

const TIMEOUT_MS = 20_000;

/** Administrators' directories are added to the path (they are missing under su and cron); messages are in English. */
export const run: Runner = (program, args, input) =>
  new Promise((resolve) => {
    const env = { ...process.env, LC_ALL: "C", PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin` };
    const child = execFile(
      program,
      [...args],
      { env, timeout: TIMEOUT_MS, maxBuffer: 64 << 20 },
      (error, stdout, stderr) => {
        if (error === null) resolve({ status: 0, stdout, stderr });
        else if (error.code === "ENOENT") resolve({ status: undefined, stdout, stderr });
        else
          resolve({
            status: typeof error.code === "number" ? error.code : 1,
            stdout,
            stderr: stderr === "" ? error.message : stderr,
          });
      },
    );
    // A program that ends early closes its input: its exit status tells more than EPIPE.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input ?? "");
  });
