/** Runs a program of the host: arguments as they are, never through a shell. */
import { execFile, type ChildProcess } from "node:child_process";

export interface RunResult {
  /** Exit status; undefined: there is no such program. */
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export type Runner = (program: string, args: readonly string[], input?: string) => Promise<RunResult>;

const TIMEOUT_MS = 20_000;

/** A program that has been started and waits for its input. */
export interface Started {
  readonly child: ChildProcess;
  readonly result: Promise<RunResult>;
}

/** Administrators' directories are added to the path (they are missing under su and cron); messages are in English. */
export function start(program: string, args: readonly string[]): Started {
  const env = { ...process.env, LC_ALL: "C", PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin` };
  let settle: (result: RunResult) => void = () => undefined;
  const result = new Promise<RunResult>((resolve) => (settle = resolve));
  const child = execFile(program, [...args], { env, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
    if (error === null) settle({ status: 0, stdout, stderr });
    else if (error.code === "ENOENT") settle({ status: undefined, stdout, stderr });
    else
      settle({
        status: typeof error.code === "number" ? error.code : 1,
        stdout,
        stderr: stderr === "" ? error.message : stderr,
      });
  });
  // A program that ends early closes its input: its exit status tells more than EPIPE.
  child.stdin?.on("error", () => undefined);
  return { child, result };
}

/** Its whole input, and what it said. Killed when that takes too long. */
export async function give({ child, result }: Started, input: string): Promise<RunResult> {
  const timer = setTimeout(() => child.kill(), TIMEOUT_MS);
  child.stdin?.end(input);
  try {
    return await result;
  } finally {
    clearTimeout(timer);
  }
}

export const run: Runner = (program, args, input) => give(start(program, args), input ?? "");
