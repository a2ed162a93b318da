/** What a report is worth depends on where it was made. */
import { cpus, loadavg, release, totalmem } from "node:os";

export interface Machine {
  readonly kernel: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryMegabytes: number;
  /** Processes that wanted to run before the benchmark began, over the last minute. */
  readonly load: number;
}

export function thisMachine(): Machine {
  const all = cpus();
  return {
    kernel: release(),
    processor: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    memoryMegabytes: Math.round(totalmem() / 2 ** 20),
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
  };
}

/** Why packets can't be injected on this kernel: BPF_F_TEST_XDP_LIVE_FRAMES came with 5.18. */
export function withoutLiveFrames(kernel: string): string | undefined {
  const [major = 0, minor = 0] = kernel.split(".").map(Number);
  if (major > 5 || (major === 5 && minor >= 18)) return undefined;
  return `kernel ${kernel} has no live frames to inject, which came with 5.18`;
}
