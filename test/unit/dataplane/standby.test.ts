import { existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Standby } from "../../../src/dataplane/standby.js";

/** Says its pid, what it was given, and how long it waited for it. */
const SCRIPT = 'began=$(date +%s%N); read line; echo "$$ $line $(( ($(date +%s%N) - began) / 1000000 ))"';
const COMMAND = ["sh", "-c", SCRIPT] as const;

let standby: Standby;
afterEach(() => standby.close());

const ask = async (text: string): Promise<{ readonly pid: number; readonly said: string; readonly waited: number }> => {
  const { status, stdout } = await standby.run("sh", ["-c", SCRIPT], `${text}\n`);
  expect(status).toBe(0);
  const [pid, said = "", waited] = stdout.trim().split(" ");
  return { pid: Number(pid), said, waited: Number(waited) };
};
const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** Where the programs of some tests write their pid as they start. */
const FILE = join(tmpdir(), `torbie-standby-${process.pid}`);
afterEach(() => rmSync(FILE, { force: true }));

async function until(holds: () => boolean): Promise<void> {
  await vi.waitFor(() => expect(holds()).toBe(true), { timeout: 5_000, interval: 20 });
}

/** Of the program that waits, which has started by then: its pid is not that of one that has ended. */
async function waitingOne(): Promise<number> {
  const pid = (): number => Number(existsSync(FILE) ? readFileSync(FILE, "utf8") : 0);
  await until(() => pid() > 0 && alive(pid()));
  return pid();
}

describe("standby", () => {
  it("has the next one wait before it is asked", async () => {
    standby = new Standby([COMMAND]);
    const first = await ask("one");
    await sleep(1_000);
    const second = await ask("two");
    expect([first.said, second.said]).toEqual(["one", "two"]);
    expect(second.pid).not.toBe(first.pid);
    expect(second.waited).toBeGreaterThan(100);
  });

  it("runs one when none waits, also when the one that waited was killed", async () => {
    const script = 'echo $$ > "$0"; read line; echo "$line"';
    const args = ["-c", script, FILE];
    standby = new Standby([["sh", ...args]]);
    const run = async (text: string): Promise<string> => (await standby.run("sh", args, `${text}\n`)).stdout;
    expect(await Promise.all([run("a"), run("b")])).toEqual(["a\n", "b\n"]);
    const waiting = await waitingOne();
    process.kill(waiting, "SIGKILL");
    await until(() => !alive(waiting));
    await sleep(50);
    expect(await run("c")).toBe("c\n");
  });

  it("says of a program that ends badly, or is not there, what run() says", async () => {
    standby = new Standby([["sh", "-c", "read line; echo no >&2; exit 3"], ["torbie-no-such-program"]]);
    for (let i = 0; i < 2; i++) {
      expect(await standby.run("sh", ["-c", "read line; echo no >&2; exit 3"], "x\n")).toMatchObject({
        status: 3,
        stderr: "no\n",
      });
      expect(await standby.run("torbie-no-such-program", [], "x\n")).toMatchObject({ status: undefined });
      await sleep(100);
    }
  });

  it("lets the one that waits end when it is closed", async () => {
    const script = 'echo $$ > "$0"; read line; true';
    standby = new Standby([["sh", "-c", script, FILE]]);
    await standby.run("sh", ["-c", script, FILE], "x\n");
    const waiting = await waitingOne();
    standby.close();
    await until(() => !alive(waiting));
  });
});
