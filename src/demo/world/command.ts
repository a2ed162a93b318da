/** Programs of the machine, by argument vector: nothing here goes through a shell. */
import { execFile, spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { TorbieError } from "../../errors.js";
import { PATIENCE } from "./patience.js";

export class CommandError extends TorbieError {
  readonly status: number | null;
  readonly stderr: string;
  /** What it had printed by then. */
  readonly stdout: string;

  constructor(argv: readonly string[], status: number | null, stderr: string, cause?: unknown, stdout = "") {
    super("COMMAND_FAILED", `${argv.join(" ")}: ${stderr.trim() || `status ${String(status)}`}`, { cause });
    this.status = status;
    this.stderr = stderr;
    this.stdout = stdout;
  }
}

export interface CommandOptions {
  /** Written to its standard input. */
  readonly input?: string;
  /** Milliseconds until it is killed and counts as failed; default 20,000. */
  readonly timeout?: number;
}

/** Runs a program to its end and gives its standard output. Throws CommandError on a status other than 0. */
export function command(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const [file = "", ...rest] = argv;
  return new Promise((resolve, reject) => {
    const settings = {
      timeout: (options.timeout ?? 20_000) * PATIENCE,
      killSignal: "SIGKILL",
      maxBuffer: 64 << 20,
    } as const;
    const child = execFile(file, rest, settings, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else
        reject(
          new CommandError(
            argv,
            typeof error.code === "number" ? error.code : null,
            stderr || error.message,
            error,
            stdout,
          ),
        );
    });
    child.stdin?.on("error", () => undefined); // a program that does not read its input says why in its status
    child.stdin?.end(options.input ?? "");
  });
}

/**
 * Starts a program that stays, in a process group of its own: Ctrl-C on the terminal is ours alone, and we end what we
 * started in order. The caller owns it: see `stop`.
 */
export function start(argv: readonly string[], options: SpawnOptions): ChildProcess {
  const [file = "", ...rest] = argv;
  return spawn(file, rest, { ...options, detached: true });
}

/** Resolves when the process has ended; at once if it has. */
export function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return Promise.resolve();
  return new Promise((resolve) => child.once("exit", () => resolve()));
}

/** Ends a process: `signal`, and SIGKILL after `grace` milliseconds. */
export async function stop(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM", grace = 5_000): Promise<void> {
  const timer = setTimeout(() => child.kill("SIGKILL"), grace);
  const gone = ended(child);
  child.kill(signal);
  await gone;
  clearTimeout(timer);
}

/** Lines of a stream, one call each, without the end of line. */
export function onLines(stream: NodeJS.ReadableStream, line: (text: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    parts.forEach(line);
  });
  stream.on("end", () => {
    if (rest !== "") line(rest);
  });
}
