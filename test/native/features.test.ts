import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { release } from "node:os";
import { describe, expect, it } from "vitest";
import { features, mapTypeName, possibleCpus } from "#libbpf";
import { bpfError } from "./support.js";

const [major = 0, minor = 0] = release().split(".").map(Number);
const atLeast = (a: number, b: number) => major > a || (major === a && minor >= b);

describe("feature probes", () => {
  it("agree with what this kernel's version is known to have", () => {
    expect(features.kernel()).toBe(release());
    expect(features.batch()).toBe(atLeast(5, 6));
    expect(features.liveFrames()).toBe(atLeast(5, 18));
    expect(features.tcx()).toBe(atLeast(6, 6));
    expect(features.programType(3)).toBe(true);
    expect(features.mapType(1)).toBe(true);
    expect(features.mapType(27)).toBe(atLeast(5, 8));
    expect(features.helper(3, 23)).toBe(true); // bpf_redirect from tc
    expect(features.helper(6, 23)).toBe(true); // and from XDP
    expect(features.helper(3, 44)).toBe(false); // bpf_xdp_adjust_head is none of tc's
    expect(features.kernelBtf()).toBe(readdirSync("/sys/kernel").includes("btf"));
  });

  it("leave the machine's interfaces and this process's namespace as they were", () => {
    const before = [readlinkSync("/proc/self/ns/net"), readFileSync("/proc/net/dev", "utf8").split("\n").length];
    const threads = readdirSync("/proc/self/task").length;
    expect(features.clsact()).toBe(true);
    features.tcx();
    expect([readlinkSync("/proc/self/ns/net"), readFileSync("/proc/net/dev", "utf8").split("\n").length]).toEqual(
      before,
    );
    expect(readdirSync("/proc/self/task").length).toBeLessThanOrEqual(threads);
  });

  it("refuse what is no number, and what cannot be known", () => {
    expect(() => features.mapType(-1)).toThrow(RangeError);
    expect(() => features.helper(3, "x" as unknown as number)).toThrow(TypeError);
    expect(bpfError(() => features.programType(999)).operation).toBe("probe program type");
  });

  it("know how many CPUs may come, and map types' names", () => {
    expect(possibleCpus()).toBeGreaterThanOrEqual(1);
    expect([mapTypeName(1), mapTypeName(11), mapTypeName(27), mapTypeName(999)]).toEqual([
      "hash",
      "lpm_trie",
      "ringbuf",
      "type999",
    ]);
  });
});
