import type { ProgramInfo, TestRunOptions, TestRunResult } from "./api.js";
import { binding, type NativeProgram, type TestRunArguments } from "./binding.js";

function positional(options: TestRunOptions): TestRunArguments {
  return [
    options.data,
    options.context,
    options.repeat,
    options.cpu,
    options.dataOutSize,
    options.contextOutSize,
    options.liveFrames,
    options.batchSize,
  ];
}

/** A loaded program. Every call throws BpfError (EBADF) after `close()`. */
export class BpfProgram {
  /** @internal */
  readonly native: NativeProgram;
  #info: ProgramInfo | undefined;

  /** @internal */
  constructor(native: NativeProgram) {
    this.native = native;
  }

  /** A pinned program. ENOENT when there is none, EINVAL when it is no program. */
  static open(path: string): BpfProgram {
    return new BpfProgram(binding.openProgram(path));
  }

  /** Any program of this host (needs CAP_SYS_ADMIN). */
  static fromId(id: number): BpfProgram {
    return new BpfProgram(binding.programById(id));
  }

  /** Read once; nothing in it changes. */
  get info(): ProgramInfo {
    return (this.#info ??= this.native.info());
  }

  /** Keeps the program in a bpffs; EEXIST when the path is taken. */
  pin(path: string): void {
    this.native.pin(path);
  }

  /**
   * BPF_PROG_TEST_RUN: runs the program on a packet that goes nowhere (unless `liveFrames`). Maps are really written.
   * ENOSPC when the packet came out longer than `dataOutSize`; at most 16 MiB go in or out.
   */
  testRun(options: TestRunOptions): TestRunResult {
    return this.native.testRun(...positional(options));
  }

  /** The same on a thread of the pool; the packet is copied first, and the program may be closed meanwhile. */
  async testRunAsync(options: TestRunOptions): Promise<TestRunResult> {
    return this.native.testRunAsync(...positional(options));
  }

  close(): void {
    this.native.close();
  }
}
