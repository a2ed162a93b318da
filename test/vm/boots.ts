/** What is booted, and what runs in it. */

/** What a real agent takes by itself: programs attached by clsact or tcx, or iptables, for want of a hook or because bpf(2) is refused. */
export const CHOICES = ["clsact", "tcx", "iptables-no-hook", "iptables-refused"] as const;
export type Choice = (typeof CHOICES)[number];

export interface Boot {
  readonly name: string;
  /** A name of test/vm/kernels. */
  readonly kernel: string;
  /** Modules that this kernel will not load. */
  readonly without: readonly string[];
  /** bpf(2) is refused to all that runs in it, as by a container's seccomp filter. */
  readonly refuses: boolean;
  readonly chooses: Choice;
  /** Of SUITES, in order. "conformance/3": only every third test of it, where time is short. */
  readonly suites: readonly string[];
  /** Seconds until it is given up, with emulation and something else on the machine. */
  readonly limit: number;
}

/** Bundled beforehand, by name. */
export const SUITES: Readonly<Record<string, string>> = {
  verifier: "test/vm/inside/verifier.ts",
  conformance: "test/conformance/bpf.test.ts",
  iptables: "test/conformance/iptables.test.ts",
  "iptables-legacy": "test/vm/inside/iptables-legacy.ts",
  agent: "test/vm/inside/agent.ts",
  uplinks: "test/vm/inside/uplinks.ts",
};
/** Its name, without how much of it runs. */
export const bare = (suite: string): string => suite.split("/")[0] ?? suite;
/** Scripts that a suite starts. */
export const CHILDREN = ["test/conformance/kernel-child.ts", "test/conformance/iptables-child.ts"];

const CLASSIFIER = ["cls_bpf", "sch_ingress"];

function boot(name: string, suites: readonly string[], more: Partial<Boot> = {}): Boot {
  return { name, kernel: name, without: [], refuses: false, chooses: "clsact", suites, limit: 900, ...more };
}

/** Like another, without the classifier. */
const unclassified = (kernel: string, chooses: Choice, suites: readonly string[]): Boot =>
  boot(`${kernel}-bare`, suites, { kernel, without: CLASSIFIER, chooses });

/** The matrix. */
export const BOOTS: readonly Boot[] = [
  boot("5.10", ["verifier", "conformance", "agent"]),
  unclassified("5.10", "iptables-no-hook", ["agent", "iptables"]),
  boot("6.1", ["verifier", "conformance", "agent"]),
  unclassified("6.1", "iptables-no-hook", ["agent", "iptables-legacy"]),
  boot("6.12", ["verifier", "agent"]),
  // Test runs need no hook: the table is played where the hooks are tcx's.
  unclassified("6.12", "tcx", ["conformance", "agent"]),
  boot("6.12-refused", ["agent", "iptables"], { kernel: "6.12", refuses: true, chooses: "iptables-refused" }),
  boot("newest", ["verifier", "conformance", "agent", "iptables"]),
  boot("newest-uplinks", ["uplinks"], { kernel: "newest" }),
];

/** What every run of CI boots, by name. */
export const SHORT: Boot = { ...boot("5.10", ["verifier", "conformance/3"]), name: "short" };
