import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { agentRuns, AgentLock, lockHolder } from "../../../src/agent/lock.js";
import { readStatus, writeStatus } from "../../../src/agent/status.js";
import { STATUS } from "../cli/fake.js";

let dir: string;
let child: ChildProcess | undefined;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "tb-lock-"))));
afterEach(() => {
  child?.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});

/** Another process that holds the lock until it is killed. */
async function holder(file: string): Promise<ChildProcess> {
  const process = spawn("flock", ["--no-fork", file, "sh", "-c", "echo held; exec sleep 60"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  child = process;
  await new Promise((resolve) => process.stdout.once("data", resolve));
  return process;
}

test("held by us until given back; the pid is told", () => {
  const run = join(dir, "run");
  expect(agentRuns(run)).toBe(false);
  const lock = new AgentLock(run, join(dir, "no-pins-yet"));
  expect([agentRuns(run), lockHolder(run)]).toEqual([true, process.pid]);
  expect(() => new AgentLock(run, join(dir, "no-pins-yet"))).toThrow(`another agent (pid ${process.pid}) holds`);
  lock.release();
  expect(agentRuns(run)).toBe(false);
  new AgentLock(run, join(dir, "no-pins-yet")).release();
});

test("one agent per pin directory, also with another run directory", () => {
  const pins = join(dir, "pins");
  const early = new AgentLock(join(dir, "run0"), pins);
  mkdirSync(pins);
  early.holdPins();
  expect(() => new AgentLock(join(dir, "run1"), pins)).toThrow(/another agent/);
  early.release();
  const lock = new AgentLock(join(dir, "run1"), pins);
  expect(() => new AgentLock(join(dir, "run2"), pins)).toThrow(/another agent/);
  lock.release();
  new AgentLock(join(dir, "run2"), pins).release();
});

test("a holder that is killed with -9 holds nothing any more", async () => {
  writeFileSync(join(dir, "agent.lock"), "123456\n");
  const other = await holder(join(dir, "agent.lock"));
  expect(agentRuns(dir)).toBe(true);
  expect(() => new AgentLock(dir, join(dir, "none"))).toThrow("pid 123456");
  const ended = new Promise((resolve) => other.once("exit", resolve));
  other.kill("SIGKILL");
  await ended;
  expect(agentRuns(dir)).toBe(false);
  new AgentLock(dir, join(dir, "none")).release();
});

test("the status file comes back as it was; rubbish is none", () => {
  writeStatus(dir, STATUS);
  expect(readStatus(dir)).toEqual(STATUS);
  for (const text of ["", "{", "[]", '{"format":2}', '{"format":1,"pid":1}']) {
    writeFileSync(join(dir, "status.json"), text);
    expect(readStatus(dir)).toBeUndefined();
  }
  expect(readStatus(join(dir, "nowhere"))).toBeUndefined();
});
