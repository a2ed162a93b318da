/** What this kernel can do, each tried out: in scratch maps and namespaces, and by loading the programs without pinning or attaching them. */
import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { BpfError, BpfObject, features } from "#libbpf";
import { TorbieError } from "../errors.js";
import { OBJECTS } from "../dataplane/bpf/built.js";
import { findHz } from "../dataplane/bpf/hz.js";
import { explainLoadFailure, requireBpffs } from "../dataplane/bpf/probe.js";
import { printable } from "../text.js";
import { finding, type Finding, type Level } from "./finding.js";

export interface KernelProbes {
  readonly findings: readonly Finding[];
  /** Undefined: the programs load and can be attached. */
  readonly whyNotBpf: string | undefined;
}

interface Probe {
  readonly what: string;
  readonly ask: () => boolean;
  readonly yes: string;
  readonly no: string;
  readonly level: Level;
  readonly advice: string;
}

const PROBES: readonly Probe[] = [
  {
    what: "clsact",
    ask: () => features.clsact(),
    yes: "qdisc and BPF filters are there",
    no: "no clsact qdisc, or no BPF filters",
    level: "warning",
    advice: "load sch_ingress and cls_bpf, or a kernel with them; without both hooks the programs can't be attached",
  },
  {
    what: "tcx",
    ask: () => features.tcx(),
    yes: "there (Linux 6.6)",
    no: "not there (it came with Linux 6.6)",
    level: "note",
    advice:
      "nothing; where somebody's ingress qdisc is on a tap it is the only way to attach at egress, and an older kernel then passes nothing there",
  },
  {
    what: "batched map writes",
    ask: () => features.batch(),
    yes: "there (Linux 5.6)",
    no: "not there: a change costs a system call an entry",
    level: "warning",
    advice: "a kernel from 5.10 on is needed anyway",
  },
  {
    what: "kernel types (BTF)",
    ask: () => features.kernelBtf(),
    yes: "there",
    no: "not there: the programs do without, tap-modern does not",
    level: "note",
    advice: "CONFIG_DEBUG_INFO_BTF, if guests' checksum requests are to be seen (6.2)",
  },
];

/** @param pinDir where they would be pinned */
export async function probeKernel(pinDir: string): Promise<KernelProbes> {
  const findings: Finding[] = [finding("kernel", "ok", "version", `Linux ${features.kernel()}`)];
  for (const probe of PROBES) findings.push(tried(probe));
  const { hz, from } = await findHz();
  findings.push(
    from === "assumed"
      ? finding(
          "kernel",
          "warning",
          "HZ",
          "can't be found out: 250 is assumed",
          "make /proc/config.gz or /boot/config-* readable; flows may else end sooner or later than configured",
        )
      : finding("kernel", "ok", "HZ", `${hz} (${from})`),
  );
  const pins = bpffs(pinDir);
  findings.push(pins.finding);
  const loads = await load();
  findings.push(...loads.findings);
  const hooks = findings.some(({ what, level }) => (what === "clsact" || what === "tcx") && level === "ok");
  return {
    findings,
    whyNotBpf: pins.why ?? loads.why ?? (hooks ? undefined : "it has neither clsact with BPF filters nor tcx"),
  };
}

function tried({ what, ask, yes, no, level, advice }: Probe): Finding {
  try {
    return ask() ? finding("kernel", "ok", what, yes) : finding("kernel", level, what, no, advice);
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    return finding(
      "kernel",
      "warning",
      what,
      `can't be tried: ${printable(error.message)}`,
      "run doctor as root, outside of a container that refuses bpf(2) or namespaces",
    );
  }
}

function bpffs(pinDir: string): { readonly finding: Finding; readonly why: string | undefined } {
  try {
    requireBpffs(pinDir);
    return { finding: finding("kernel", "ok", "BPF file system", `${printable(pinDir)} is in one`), why: undefined };
  } catch (error) {
    if (!(error instanceof TorbieError)) throw error;
    return {
      finding: finding(
        "kernel",
        "warning",
        "BPF file system",
        printable(error.message),
        "mount -t bpf bpf /sys/fs/bpf, or --pin-dir in one; else iptables enforces",
      ),
      why: error.message,
    };
  }
}

/** Each object, loaded by the kernel and let go again. */
async function load(): Promise<{ readonly findings: readonly Finding[]; readonly why: string | undefined }> {
  const findings: Finding[] = [];
  let loaded = false;
  let why = "";
  for (const file of OBJECTS) {
    const what = `programs ${basename(file, ".bpf.o")}`;
    if (!existsSync(file)) {
      findings.push(
        finding("kernel", "fault", what, `${printable(file)} is not there`, "make build, or install again"),
      );
      why ||= `${file} is not there`;
      continue;
    }
    const object = BpfObject.open(readFileSync(file));
    try {
      // The verifier does not look at sizes: small ones cost no memory.
      for (const map of ["flow", "flow_slot", "flow_free"]) object.setMaxEntries(map, 16);
      await object.load();
      findings.push(finding("kernel", "ok", what, "the verifier takes them"));
      loaded = true;
    } catch (error) {
      const explained = explainLoadFailure(error instanceof Error ? error : new Error(String(error))).message;
      const [first = ""] = explained.split("\n");
      findings.push(
        finding(
          "kernel",
          loaded || file !== OBJECTS.at(-1) ? "note" : "warning",
          what,
          `refused: ${printable(first)}`,
          file === OBJECTS.at(-1)
            ? "Linux 5.10 with CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF; else iptables enforces"
            : "nothing: the base programs do, without seeing guests' checksum requests (kernels from 6.2)",
        ),
      );
      why = explained;
    } finally {
      object.close();
    }
  }
  return { findings, why: loaded ? undefined : why };
}
