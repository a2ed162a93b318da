/** What the log does when it can't be written: nothing but lose lines, and tell so later. */
import { describe, expect, it } from "vitest";
import { LogSink } from "../../../src/telemetry/log-sink.js";

const notice = (lost: number, why: string): string => `lost ${lost} ${why}\n`;
const failing = (code: string): Error => Object.assign(new Error(code), { code });

/** A file with room for so many bytes. */
class Disk {
  text = "";
  room = Infinity;
  failure = "ENOSPC";
  readonly sink = new LogSink(-1, (bytes) => {
    const taken = Math.min(bytes.length, this.room);
    if (taken === 0) throw failing(this.failure);
    this.room -= taken;
    this.text += Buffer.from(bytes.subarray(0, taken)).toString();
    return taken;
  });

  write(line: string): void {
    this.sink.write(`${line}\n`, notice);
  }
}

describe("a log that can't be written", () => {
  it.each(["ENOSPC", "EPIPE", "EIO"])(
    "%s: lines are lost, and the first that fits again comes after their number",
    (code) => {
      const disk = new Disk();
      disk.failure = code;
      disk.write("one");
      disk.room = 0;
      disk.write("two");
      disk.write("three");
      expect(disk.sink.lost).toBe(2);
      disk.room = Infinity;
      disk.write("four");
      disk.write("five");
      expect(disk.text).toBe(`one\nlost 2 ${code}\nfour\nfive\n`);
      expect(disk.sink.lost).toBe(0);
    },
  );

  it("a line that was begun is ended before the next one", () => {
    const disk = new Disk();
    disk.room = 3;
    disk.write("first");
    disk.room = Infinity;
    disk.write("next");
    expect(disk.text).toBe("fir\nlost 1 ENOSPC\nnext\n");
  });

  it("a full pipe is waited for, but not for ever", () => {
    let asked = 0;
    let text = "";
    const sink = new LogSink(-1, (bytes) => {
      if (++asked < 3) throw failing("EAGAIN");
      text += Buffer.from(bytes).toString();
      return bytes.length;
    });
    sink.write("late\n", notice);
    expect(text).toBe("late\n");
    const stuck = new LogSink(-1, () => {
      throw failing("EAGAIN");
    });
    stuck.write("never\n", notice);
    expect(stuck.lost).toBe(1);
  });
});
