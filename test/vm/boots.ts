/** What is booted, and what runs in it. */

export interface Boot {
  readonly name: string;
  /** A name of test/vm/kernels. */
  readonly kernel: string;
  /** Modules that this kernel will not load. */
  readonly without: readonly string[];
  /** Of SUITES, in order. "conformance/3": only every third test of it, where time is short. */
  readonly suites: readonly string[];
  /** Seconds until it is given up, with emulation and something else on the machine. */
  readonly limit: number;
}

/** Bundled beforehand, by name. */
export const SUITES: Readonly<Record<string, string>> = {
  verifier: "test/vm/inside/verifier.ts",
  conformance: "test/conformance/bpf.test.ts",
};
/** Scripts that a suite starts. */
export const CHILDREN = ["test/conformance/kernel-child.ts", "test/conformance/iptables-child.ts"];

const whole = (kernel: string): Boot => ({
  name: kernel,
  kernel,
  without: [],
  suites: ["verifier", "conformance"],
  limit: 900,
});

/** The matrix. */
export const BOOTS: readonly Boot[] = [whole("5.10"), whole("6.1"), whole("6.12"), whole("newest")];

/** What every run of CI boots, by name. */
export const SHORT: Boot = { ...whole("5.10"), name: "short", suites: ["verifier", "conformance/3"] };
