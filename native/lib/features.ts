import { release } from "node:os";
import { binding } from "./binding.js";

/**
 * What this kernel can do, found out by doing it, on scratch maps and in a scratch network namespace on a thread that
 * ends with it: nothing of the machine's is touched. Without privilege each throws EPERM (it does not say "no").
 */
export const features = {
  /** "6.1.0-18-amd64" */
  kernel(): string {
    return release();
  },

  /** BPF_PROG_TYPE_*; EOPNOTSUPP for one that libbpf itself does not know. */
  programType(type: number): boolean {
    return binding.probeProgramType(type);
  },

  /** BPF_MAP_TYPE_*; EOPNOTSUPP for one that libbpf itself does not know. */
  mapType(type: number): boolean {
    return binding.probeMapType(type);
  },

  /** BPF_FUNC_* for programs of this type; EOPNOTSUPP where libbpf cannot tell (tracing and the like). */
  helper(programType: number, helper: number): boolean {
    return binding.probeHelper(programType, helper);
  },

  /** Batch commands for hash maps (5.6); other map types came later, and the map's methods see for themselves. */
  batch(): boolean {
    return binding.probeBatch();
  },

  /** The qdisc and BPF filters on it: a kernel can lack either. */
  clsact(): boolean {
    return binding.probeClsact();
  },

  tcx(): boolean {
    return binding.probeTcx();
  },

  /** BPF_F_TEST_XDP_LIVE_FRAMES (5.18). */
  liveFrames(): boolean {
    return binding.probeLiveFrames();
  },

  /** The kernel's own types: /sys/kernel/btf/vmlinux, or where else libbpf looks. */
  kernelBtf(): boolean {
    return binding.probeKernelBtf();
  },
};
