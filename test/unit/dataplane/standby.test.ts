import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
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
    standby = new Standby([["sh", "-c", 'echo $$ >&2; read line; echo "$line"']]);
    const run = (text: string): ReturnType<Standby["run"]> =>
      standby.run("sh", ["-c", 'echo $$ >&2; read line; echo "$line"'], `${text}\n`);
    expect(await Promise.all([run("a"), run("b")])).toMatchObject([{ stdout: "a\n" }, { stdout: "b\n" }]);
    await sleep(300);
    const { stderr } = await run("c");
    expect(alive(Number(stderr))).toBe(false);
    expect((await run("d")).stdout).toBe("d\n");
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
    const file = `${process.env["TMPDIR"] ?? "/tmp"}/torbie-standby-${process.pid}`;
    standby = new Standby([["sh", "-c", script, file]]);
    await standby.run("sh", ["-c", script, file], "x\n");
    await sleep(300);
    const { readFileSync, rmSync } = await import("node:fs");
    const pid = Number(readFileSync(file, "utf8"));
    expect(alive(pid)).toBe(true);
    standby.close();
    for (let i = 0; i < 100 && alive(pid); i++) await sleep(20);
    rmSync(file);
    expect(alive(pid)).toBe(false);
  });
});
