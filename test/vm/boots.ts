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
  /** Of SUITES, in order. "conformance/3": only every third test of it, "conformance/3:1": those that come next. */
  readonly suites: readonly string[];
  readonly megabytes: number;
  readonly processors: number;
  /** How many times as long as on a machine of its own things may take in it, under emulation. */
  readonly patience: number;
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
  guest: "test/vm/inside/guest.ts",
  bench: "test/vm/inside/bench.ts",
};
/** The kernel of the guest of the suite "guest", whatever the VM's is. */
export const GUEST_KERNEL = "5.10";
export const hasGuest = ({ suites }: Boot): boolean => suites.includes("guest");
/** Its name, without how much of it runs. */
export const bare = (suite: string): string => suite.split("/")[0] ?? suite;
/** Scripts that a suite starts. */
export const CHILDREN = ["test/conformance/kernel-child.ts", "test/conformance/iptables-child.ts"];

const CLASSIFIER = ["cls_bpf", "sch_ingress"];

function boot(name: string, suites: readonly string[], more: Partial<Boot> = {}): Boot {
  const as = { kernel: name, without: [], refuses: false, chooses: "clsact" } as const;
  return { name, ...as, suites, megabytes: 2_048, processors: 1, patience: 15, limit: 1_200, ...more };
}

/** Like another, without the classifier. */
const unclassified = (kernel: string, chooses: Choice, suites: readonly string[]): Boot =>
  boot(`${kernel}-bare`, suites, { kernel, without: CLASSIFIER, chooses });

/**
 * The matrix, the longest first. Emulated, the newest kernel plays the whole table, and the others a third of it each that is another's
 * two thirds.
 */
export const BOOTS: readonly Boot[] = [
  boot("newest", ["verifier", "conformance", "agent", "guest", "iptables"], { limit: 1_800 }),
  boot("5.10", ["verifier", "conformance/3", "agent", "guest"]),
  boot("newest-uplinks", ["uplinks"], { kernel: "newest", limit: 1_500 }),
  unclassified("5.10", "iptables-no-hook", ["agent", "iptables/3"]),
  boot("6.1", ["verifier", "conformance/3:1", "agent", "guest"]),
  // Test runs need no hook: the table is played where the hooks are tcx's.
  unclassified("6.12", "tcx", ["conformance/3:2", "agent"]),
  boot("6.12-refused", ["agent", "iptables/3:1"], { kernel: "6.12", refuses: true, chooses: "iptables-refused" }),
  unclassified("6.1", "iptables-no-hook", ["agent", "guest", "iptables-legacy/3:2"]),
  boot("6.12", ["verifier", "agent", "guest"]),
];
/** What the matrix has besides where there is KVM, or where it is asked for. */
export const MORE: readonly Boot[] = [
  { ...unclassified("6.1", "iptables-no-hook", ["uplinks"]), name: "6.1-bare-uplinks", limit: 1_500 },
];
/** With the whole table everywhere. */
export const whole = (boots: readonly Boot[]): readonly Boot[] =>
  boots.map((one) => (one.name === SHORT.name ? one : { ...one, suites: one.suites.map(bare) }));

/** What every run of CI boots, by name. */
export const SHORT: Boot = { ...boot("5.10", ["verifier", "conformance/3"]), name: "short" };

/** `make vm-bench`: one of these, by the name of its kernel. */
export const BENCHES: readonly Boot[] = ["5.10", "6.1", "6.12", "newest"].map((kernel) =>
  boot(`bench-${kernel}`, ["bench"], { kernel, megabytes: 6_144, processors: 2, patience: 4, limit: 3_600 }),
);
