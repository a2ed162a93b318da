import { describe, expect, it } from "vitest";
import { judge, splats } from "../../vm/judge.js";

const output = (...lines: string[]): string =>
  ["vm: booted 6.1.0", "vm: suite verifier", "ok a (3 ms)", "skip b", ...lines, ""].join("\r\n");
const second = ["vm: suite conformance", "ok c (4 ms)"];
const suites = ["verifier", "conformance"];

describe("the lines of the suites", () => {
  it("counts tests, and finds no fault where all has run", () => {
    expect(judge("", output(...second, "vm: end"), suites)).toEqual({ passed: 2, failed: 0, skipped: 1, faults: [] });
  });

  it("a failed test counts once, with its suite's status", () => {
    const failed = [...second, "FAILED d", "    Error: x", "vm: suite conformance ended with status 1", "vm: end"];
    expect(judge("", output(...failed), suites)).toEqual({ passed: 2, failed: 1, skipped: 1, faults: [] });
  });

  it("a suite that ends early without a failed test is a fault", () => {
    const { faults } = judge("", output(...second, "vm: suite conformance ended with status 134", "vm: end"), suites);
    expect(faults).toEqual(["suite conformance ended with status 134"]);
  });

  it("a failure of another suite does not excuse it", () => {
    const lines = ["FAILED x", "vm: suite verifier ended with status 1", ...second];
    const { faults } = judge("", output(...lines, "vm: suite conformance ended with status 1", "vm: end"), suites);
    expect(faults).toEqual(["suite conformance ended with status 1"]);
  });

  it("a suite that has not run, told of nothing, or a machine that went away, is a fault", () => {
    expect(judge("", output("vm: end"), suites).faults).toEqual(["suite conformance has not run"]);
    expect(judge("", output("vm: suite conformance", "vm: end"), suites).faults).toEqual([
      "suite conformance has told of no test",
    ]);
    expect(judge("", output(...second), suites).faults).toEqual(["it has not come to its end"]);
    expect(judge("", "", [], "it took more than 5 s").faults).toEqual([
      "it took more than 5 s",
      "it has not booted",
      "it has not come to its end",
    ]);
  });
});

describe("the kernel's log", () => {
  it.each([
    "[    3.2] WARNING: CPU: 0 PID: 12 at net/core/dev.c:10 f+0x1/0x2",
    "[    3.2] BUG: kernel NULL pointer dereference, address: 0",
    "[    3.2] Oops: 0002 [#1] PREEMPT SMP NOPTI",
    "[    3.2] Kernel panic - not syncing: Fatal exception",
    "[    3.2] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "[    3.2] INFO: task node:1 blocked for more than 120 seconds.",
    "[    3.2] watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
    "[    3.2] node[7]: segfault at 0 ip 0 sp 0 error 4",
    "[    3.2] unregister_netdevice: waiting for tap0 to become free. Usage count = 1",
  ])("%s", (line) => {
    expect(splats(`[    0.0] Linux version 6.1\n${line}\n`)).toHaveLength(1);
    expect(judge(line, output(...second, "vm: end"), suites).faults).toHaveLength(1);
  });

  it("what healthy kernels say is none", () => {
    const fine = [
      "[    0.1] tsc: Unable to calibrate against PIT",
      "[    1.0] device up0 entered promiscuous mode",
      "BIOS-e820: usable",
    ];
    expect(splats(fine.join("\n"))).toEqual([]);
  });
});
