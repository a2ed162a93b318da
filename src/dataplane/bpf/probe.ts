/** Whether this machine can run the BPF dataplane; where not, what is missing and what to do about it. */
import { existsSync, mkdirSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { BpfError, features } from "#libbpf";
import { TorbieError, UnsupportedError } from "../../errors.js";
import { noHook } from "./attach.js";
import { openObjects, type ObjectOptions } from "./objects.js";
import { removePins } from "./cleanup.js";

/** statfs(2): f_type of a bpffs. */
const BPF_FS_MAGIC = 0xcafe4a11;

/** Throws UnsupportedError unless the pin directory is, or may be made, in a bpffs. Mounts nothing. */
export function requireBpffs(pinDir: string): void {
  if (process.getuid?.() !== 0)
    throw new UnsupportedError(
      "NOT_ROOT",
      "loading BPF programs needs root: run it as root (sudo), or choose the dataplane iptables on a host where root may not load BPF",
    );
  let directory = pinDir;
  while (!existsSync(directory) && dirname(directory) !== directory) directory = dirname(directory);
  const type = statfsSync(directory).type >>> 0;
  if (type !== BPF_FS_MAGIC) {
    throw new UnsupportedError(
      "NO_BPFFS",
      `${pinDir} is not in a BPF file system (nearest directory: ${directory}): mount one with \`mount -t bpf bpf /sys/fs/bpf\`, or name another pin directory`,
    );
  }
}

/** The error of a load that failed, with the end of the verifier's log. */
export function explainLoadFailure(error: Error): TorbieError {
  const code = error instanceof BpfError ? error.code : "";
  const log = error instanceof BpfError && error.log !== undefined ? `\n${lastLines(error.log, 12)}` : "";
  const kernel = ((): string => {
    try {
      return features.kernel();
    } catch {
      return "unknown";
    }
  })();
  if (code === "EPERM" || code === "EACCES") {
    return new UnsupportedError(
      "BPF_REFUSED",
      `kernel ${kernel} does not let this process load BPF programs (${error.message}): it needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, no seccomp filter against bpf(2), and before Linux 5.11 a high \`ulimit -l\`${log}`,
      { cause: error },
    );
  }
  if (code === "ENOSYS")
    return new UnsupportedError(
      "NO_BPF",
      `kernel ${kernel} was built without BPF (CONFIG_BPF_SYSCALL): use the dataplane iptables`,
      { cause: error },
    );
  if (code === "ENOMEM")
    return new UnsupportedError(
      "BPF_MEMORY",
      `no memory for the BPF maps (${error.message}): raise \`ulimit -l\` (before Linux 5.11) or the memory of the control group, or set fewer flows`,
      { cause: error },
    );
  return new UnsupportedError(
    "BPF_LOAD",
    `kernel ${kernel} did not take the BPF programs: ${error.message}. Linux 5.10 or newer with CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS is needed; the dataplane iptables works without${log}`,
    { cause: error },
  );
}

function lastLines(text: string, count: number): string {
  const lines = text.trimEnd().split("\n");
  const cut = lines.length - count;
  return cut > 0 ? `(${cut} lines before)\n${lines.slice(cut).join("\n")}` : lines.join("\n");
}

export interface ProbeResult {
  readonly ok: boolean;
  readonly kernel: string;
  /** Why not. */
  readonly error?: TorbieError;
  readonly clsact: boolean;
  readonly tcx: boolean;
}

/** Really loads the programs, beside what may be pinned already, and removes them again. */
export async function probe(
  options: Omit<ObjectOptions, "pinDir"> & { readonly pinDir: string },
): Promise<ProbeResult> {
  const scratch = `${options.pinDir}_probe_${process.pid}`;
  try {
    requireBpffs(scratch);
    mkdirSync(dirname(scratch), { recursive: true });
    const objects = await openObjects({ ...options, flows: 16, pinDir: scratch });
    objects.close();
    const hooks = { clsact: features.clsact(), tcx: features.tcx() };
    if (!hooks.clsact && !hooks.tcx) {
      return { ok: false, kernel: features.kernel(), error: noHook(features.kernel(), "auto"), ...hooks };
    }
    return { ok: true, kernel: features.kernel(), ...hooks };
  } catch (error) {
    const known =
      error instanceof TorbieError
        ? error
        : explainLoadFailure(error instanceof Error ? error : new Error(String(error)));
    return { ok: false, kernel: features.kernel(), error: known, clsact: false, tcx: false };
  } finally {
    removePins(scratch);
  }
}
