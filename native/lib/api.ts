/** The public shape of libbpf-ts. Nothing here knows what the programs and maps are for. */

/** 64-bit numbers are bigint; everything the kernel calls a u32 is a number. */
export type Direction = "ingress" | "egress";
export type UpdateMode = "any" | "create" | "replace";

export interface MapInfo {
  readonly id: number;
  /** Kernel's number (BPF_MAP_TYPE_*) and its name without the prefix, lower case: "hash", "lpm_trie", … */
  readonly type: number;
  readonly typeName: string;
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export interface ProgramInfo {
  readonly id: number;
  readonly type: number;
  readonly name: string;
  /** Hex. */
  readonly tag: string;
  readonly jitedBytes: number;
  readonly translatedBytes: number;
  /** 0 where the kernel does not say (before 5.16). */
  readonly verifiedInstructions: number;
  readonly mapIds: readonly number[];
}

/** What an object declares, before anything is loaded. */
export interface MapSpec {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}
export interface ProgramSpec {
  readonly name: string;
  readonly section: string;
  readonly type: number;
}

export interface TestRunOptions {
  /** Packet bytes from the Ethernet header on. */
  readonly data?: Buffer;
  /** `struct __sk_buff` or `struct xdp_md`, as the kernel takes it. */
  readonly context?: Buffer;
  readonly repeat?: number;
  readonly cpu?: number;
  /** Room for the packet as the program left it; default: data's length + 256. */
  readonly dataOutSize?: number;
  readonly contextOutSize?: number;
  /** BPF_F_TEST_XDP_LIVE_FRAMES (5.18): packets really travel; no data comes back. */
  readonly liveFrames?: boolean;
  readonly batchSize?: number;
}
export interface TestRunResult {
  readonly returnValue: number;
  /** Mean of `repeat` runs, in nanoseconds. */
  readonly duration: number;
  readonly data: Buffer;
  readonly context: Buffer;
}

export interface Attached {
  readonly programId: number;
  readonly name: string;
  readonly kind: "clsact" | "tcx";
  /** clsact only. */
  readonly priority?: number;
  readonly handle?: number;
  /** tcx only; 0 when not held by a link. */
  readonly linkId?: number;
}

/** BTF as plain data; ids are indexes, id 0 is void. */
export type BtfType =
  | {
      readonly kind: "int";
      readonly name: string;
      readonly size: number;
      readonly signed: boolean;
      readonly bool: boolean;
    }
  | { readonly kind: "pointer"; readonly type: number }
  | { readonly kind: "array"; readonly type: number; readonly length: number }
  | {
      readonly kind: "struct" | "union";
      readonly name: string;
      readonly size: number;
      readonly members: readonly {
        readonly name: string;
        readonly type: number;
        readonly bitOffset: number;
        readonly bitSize: number;
      }[];
    }
  | {
      readonly kind: "enum";
      readonly name: string;
      readonly size: number;
      readonly values: readonly { readonly name: string; readonly value: bigint }[];
    }
  | { readonly kind: "typedef" | "const" | "volatile" | "restrict"; readonly name: string; readonly type: number }
  | { readonly kind: "var"; readonly name: string; readonly type: number; readonly linkage: number }
  | {
      readonly kind: "datasec";
      readonly name: string;
      readonly size: number;
      readonly variables: readonly { readonly type: number; readonly offset: number; readonly size: number }[];
    }
  | { readonly kind: "other"; readonly name: string; readonly btfKind: number };

/**
 * class BpfError extends Error { code: string ("EPERM"…); errno: number; operation: string ("map update"…);
 *   log?: string (verifier log, on load) ; subject?: string (map, program or file) }
 *
 * class BpfObject
 *   static open(elf: Buffer, options?: { name?: string }): BpfObject
 *   maps: readonly MapSpec[]; programs: readonly ProgramSpec[]
 *   getData(section: string): Buffer                  initial value of ".rodata", ".data", …
 *   setData(section: string, value: Buffer): void      exact length; before load
 *   setMaxEntries(map: string, entries: number): void  before load
 *   reuseMap(map: string, existing: BpfMap): void      before load; the descriptor is duplicated
 *   setAutoload(program: string, on: boolean): void
 *   keepVerifierStatistics(program: string): void      before load; then
 *   verifierStatistics(program: string): string        "processed 126 insns …", also where the load was refused
 *   load(): Promise<void>                              off the JS thread; BpfError.log holds the verifier's log
 *   map(name: string): BpfMap; program(name: string): BpfProgram    after load; owned by the caller
 *   close(): void
 *
 * class BpfMap
 *   static open(path: string): BpfMap; static fromId(id: number): BpfMap
 *   static create(spec: { type: number; name?; keySize; valueSize; maxEntries; flags? }): BpfMap
 *   info: MapInfo; memory(): bigint                    bytes, from fdinfo
 *   get(key: Buffer): Buffer | undefined
 *   set(key: Buffer, value: Buffer, mode?: UpdateMode): void
 *   delete(key: Buffer): boolean                       false: it was not there
 *   keys(): IterableIterator<Buffer>; entries(): IterableIterator<[Buffer, Buffer]>
 *   dump(): { count: number; keys: Buffer; values: Buffer }         batch where the kernel has it, else one by one
 *   setBatch(keys: Buffer, values: Buffer, count: number): void     all or a BpfError with `done: number`
 *   deleteBatch(keys: Buffer, count: number): number                how many were there; missing keys are no error
 *   push(value: Buffer): void; pop(): Buffer | undefined            queue and stack
 *   pin(path: string): void; close(): void
 *   (per-CPU maps: a value is possibleCpus × valueSize rounded up to 8)
 *
 * class BpfProgram
 *   static open(path: string): BpfProgram; static fromId(id: number): BpfProgram
 *   info: ProgramInfo; pin(path: string): void; testRun(options: TestRunOptions): TestRunResult;
 *   testRunAsync(options): Promise<TestRunResult>; close(): void
 *
 * clsact: attach({ ifindex, direction, program, priority, handle }): void   creates the qdisc, replaces in place
 *         detach({ ifindex, direction, priority, handle }): boolean
 *         removeQdisc(ifindex): boolean                                      only when nothing is attached any more
 *         query(ifindex, direction): Attached[]
 * tcx:    attach({ ifindex, direction, program, first?: boolean }): BpfLink ; query(ifindex, direction): Attached[]
 * class BpfLink { static open(path); update(program): void; pin(path); detach(); info; close() }
 * class RingBuffer { constructor(map: BpfMap, onRecord: (record: Buffer) => void); close() }   does not keep the process alive
 * features: { kernel(): string; programType(n): boolean; mapType(n): boolean; helper(programType, n): boolean;
 *             batch(): boolean; clsact(): …; tcx(): boolean; liveFrames(): boolean; kernelBtf(): boolean }
 * readBtf(elf: Buffer): BtfType[]        possibleCpus(): number
 */
export {};
