import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createNotifier } from "../../../src/agent/notify.js";

describe("systemd's notification protocol", () => {
  const sent: string[] = [];
  const troubles: unknown[] = [];
  const load = () => (path: string, message: string) => void sent.push(`${path} ${message}`);
  const notifier = (environment: Record<string, string>, alive = () => true, loader = load) =>
    createNotifier(environment, alive, (error) => troubles.push(error), loader);

  beforeEach(() => {
    vi.useFakeTimers();
    sent.splice(0);
    troubles.splice(0);
  });
  afterEach(() => vi.useRealTimers());

  test("nobody asked: nothing is said, and the addon is not even loaded", () => {
    const silent = notifier({ WATCHDOG_USEC: "1000000" }, undefined, () => {
      throw new Error("loaded");
    });
    silent.ready();
    silent.status("x");
    silent.stopping();
    vi.advanceTimersByTime(5_000);
    expect([sent, troubles]).toEqual([[], []]);
  });

  test("ready once; a status only when it is another; a line break in it starts no field", () => {
    const told = notifier({ NOTIFY_SOCKET: "/run/n" });
    told.ready();
    told.ready();
    told.status("one\nMAINPID=1");
    told.status("one\nMAINPID=1");
    told.stopping();
    expect(sent).toEqual(["/run/n READY=1", "/run/n STATUS=one MAINPID=1", "/run/n STOPPING=1"]);
  });

  test("the watchdog is fed twice in its time, as long as the loop goes on", () => {
    let alive = true;
    const told = notifier({ NOTIFY_SOCKET: "@n", WATCHDOG_USEC: "2000000" }, () => alive);
    vi.advanceTimersByTime(3_500);
    expect(sent).toEqual(Array.from({ length: 3 }, () => "@n WATCHDOG=1"));
    alive = false;
    vi.advanceTimersByTime(10_000);
    expect(sent).toHaveLength(3);
    alive = true;
    vi.advanceTimersByTime(1_000);
    expect(sent).toHaveLength(4);
    told.close();
    vi.advanceTimersByTime(10_000);
    expect(sent).toHaveLength(4);
  });

  test("a watchdog of another process is not ours to feed", () => {
    notifier({ NOTIFY_SOCKET: "/n", WATCHDOG_USEC: "1000000", WATCHDOG_PID: "1" });
    vi.advanceTimersByTime(5_000);
    expect(sent).toEqual([]);
  });

  test("one that cannot be sent is told once and costs nothing else", () => {
    const told = notifier({ NOTIFY_SOCKET: "/n" }, undefined, () => () => {
      throw new Error("ECONNREFUSED");
    });
    told.ready();
    told.status("a");
    told.status("b");
    expect(troubles).toHaveLength(1);
  });
});
