import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { QuietWriter } from "../../../src/agent/quiet-writer.js";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => void vi.useRealTimers());

describe("the quiet writer", () => {
  const said: string[] = [];
  const errors: unknown[] = [];
  const writer = (): QuietWriter => {
    said.length = errors.length = 0;
    return new QuietWriter((error) => errors.push(error), 50, 1_000);
  };
  const say = (what: string) => () => void said.push(what);

  it("writes the last of what was put, when nothing more comes", () => {
    const quiet = writer();
    quiet.put(say("a"));
    vi.advanceTimersByTime(40);
    quiet.put(say("b"));
    vi.advanceTimersByTime(49);
    expect(said).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(said).toEqual(["b"]);
  });

  it("waits no longer than it may, however much comes", () => {
    const quiet = writer();
    for (let i = 0; i < 60; i++) {
      quiet.hold();
      quiet.put(say(`${i}`));
      vi.advanceTimersByTime(20);
    }
    expect(said).toEqual(["49"]);
  });

  it("writes nothing while it is held, also when it is flushed", () => {
    const quiet = writer();
    quiet.put(say("a"));
    quiet.hold();
    vi.advanceTimersByTime(5_000);
    quiet.flush();
    expect(said).toEqual([]);
    quiet.put(say("b"));
    quiet.flush();
    expect(said).toEqual(["b"]);
  });

  it("tells of the first of several failures in a row", () => {
    const quiet = writer();
    const fail = (): never => {
      throw new Error("full");
    };
    for (const write of [fail, fail, say("a"), fail]) {
      quiet.put(write);
      quiet.flush();
    }
    expect(errors).toHaveLength(2);
  });
});
