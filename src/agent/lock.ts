/**
 * One agent per pin directory. flock(2) belongs to the open file description, so a lock that the `flock` program (util-linux) takes on a
 * descriptor of ours stays when that program has gone and ends with us, also by kill -9.
 */
import { spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { quote } from "../text.js";
import { ConfigError, DataplaneError, UnsupportedError } from "../errors.js";

const LOCK = "agent.lock";

/** Exit status of flock(1) -n when someone else has it. */
const HELD = 1;

function flock(descriptor: number, how: "--exclusive" | "--shared", seconds: number): boolean {
  const result = spawnSync("flock", [how, "--timeout", String(seconds), "3"], {
    stdio: ["ignore", "ignore", "pipe", descriptor],
  });
  if (result.error)
    throw new UnsupportedError("NO_FLOCK", `cannot run flock (package util-linux): ${result.error.message}`, {
      cause: result.error,
    });
  if (result.status === 0) return true;
  if (result.status === HELD) return false;
  throw new DataplaneError("LOCK_FAILED", `flock: ${result.stderr.toString().trim() || `status ${result.status}`}`);
}

function unusable(runDir: string, error: unknown): ConfigError {
  const why = error instanceof Error ? error.message : String(error);
  return new ConfigError(
    "BAD_RUN_DIR",
    `run-dir ${quote(runDir)} cannot be used (${why}): name a directory that can be made and written`,
    { cause: error },
  );
}

/** What one agent holds; the kernel lets go of it when the process ends, however it ends. */
export class AgentLock {
  readonly #runDir: string;
  readonly #pinDir: string;
  readonly #descriptors: number[] = [];
  #holdsPins = false;

  /**
   * Takes the lock of `runDir`, and of `pinDir` where that exists, and leaves our pid beside it.
   * @throws DataplaneError AGENT_RUNNING naming the other's pid, ConfigError BAD_RUN_DIR
   */
  constructor(runDir: string, pinDir: string) {
    this.#runDir = runDir;
    this.#pinDir = pinDir;
    try {
      mkdirSync(runDir, { recursive: true, mode: 0o755 });
    } catch (error) {
      throw unusable(runDir, error);
    }
    try {
      const own = this.#take(join(runDir, LOCK), "a+");
      this.holdPins();
      ftruncateSync(own);
      writeSync(own, `${process.pid}\n`);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** To be called again once the pin directory has been made. @throws DataplaneError AGENT_RUNNING */
  holdPins(): void {
    if (this.#holdsPins) return;
    try {
      this.#take(this.#pinDir, "r");
      this.#holdsPins = true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }

  release(): void {
    this.#holdsPins = false;
    for (const descriptor of this.#descriptors.splice(0)) closeSync(descriptor);
  }

  #take(file: string, flags: "a+" | "r"): number {
    let descriptor: number;
    try {
      descriptor = openSync(file, flags, 0o644);
    } catch (error) {
      throw flags === "r" ? error : unusable(this.#runDir, error);
    }
    this.#descriptors.push(descriptor);
    // A second of patience: `torbie status` holds it shared for a moment.
    if (flock(descriptor, "--exclusive", 1)) return descriptor;
    const pid = lockHolder(this.#runDir);
    throw new DataplaneError(
      "AGENT_RUNNING",
      `another agent${pid === undefined ? "" : ` (pid ${pid})`} holds ${quote(file)}: stop it first, or give this one its own pin-dir and run-dir`,
    );
  }
}

/** Whether an agent runs with this run directory; needs no root. */
export function agentRuns(runDir: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(join(runDir, LOCK), "r");
  } catch {
    return false;
  }
  try {
    return !flock(descriptor, "--shared", 0);
  } finally {
    closeSync(descriptor);
  }
}

/** The pid that the last holder wrote. */
export function lockHolder(runDir: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(runDir, LOCK), "utf8").trim());
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
