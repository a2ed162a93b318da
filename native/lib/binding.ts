/**
 * The addon as it is, for the classes around it. It checks every argument again: what is typed here is trusted
 * nowhere in C++.
 */
import { createRequire } from "node:module";
import type { BtfType, Direction, MapSpec, ProgramInfo, ProgramSpec, TestRunResult } from "./api.js";
import { BpfError } from "./errors.js";

export interface NativeMapInfo {
  readonly id: number;
  readonly type: number;
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly userValueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export interface NativeMap {
  info(): NativeMapInfo;
  memory(): bigint;
  lookup(key: Buffer): Buffer | undefined;
  update(key: Buffer, value: Buffer, mode: number): void;
  remove(key: Buffer): boolean;
  push(value: Buffer): void;
  pop(): Buffer | undefined;
  dump(batch: boolean): { count: number; keys: Buffer; values: Buffer };
  updateBatch(keys: Buffer, values: Buffer, count: number, batch: boolean): void;
  removeBatch(keys: Buffer, count: number, batch: boolean): number;
  pin(path: string): void;
  close(): void;
}

/** data, context, repeat, cpu, room for data, room for context, live frames, batch size. */
export type TestRunArguments = [
  Buffer | undefined,
  Buffer | undefined,
  number | undefined,
  number | undefined,
  number | undefined,
  number | undefined,
  boolean | undefined,
  number | undefined,
];

export interface NativeProgram {
  info(): ProgramInfo;
  pin(path: string): void;
  testRun(...options: TestRunArguments): TestRunResult;
  testRunAsync(...options: TestRunArguments): Promise<TestRunResult>;
  close(): void;
}

export interface NativeObject {
  maps(): MapSpec[];
  programs(): ProgramSpec[];
  getData(section: string): Buffer;
  setData(section: string, value: Buffer): void;
  setMaxEntries(map: string, entries: number): void;
  setAutoload(program: string, on: boolean): void;
  keepStatistics(program: string): void;
  statistics(program: string): string;
  reuseMap(map: string, existing: NativeMap): void;
  load(): Promise<void>;
  map(name: string): NativeMap;
  program(name: string): NativeProgram;
  close(): void;
}

export interface NativeLinkInfo {
  readonly id: number;
  readonly type: number;
  readonly programId: number;
  /** tcx only; 0 once the interface is gone. */
  readonly ifindex?: number;
  readonly attachType?: number;
}

export interface NativeLink {
  info(): NativeLinkInfo;
  update(program: NativeProgram): void;
  pin(path: string): void;
  detach(): void;
  close(): void;
}

export interface NativeRingBuffer {
  close(): void;
}

export interface NativeFilter {
  readonly programId: number;
  readonly name: string;
  /** "bpf", "flower", … */
  readonly filter: string;
  readonly priority: number;
  readonly handle: number;
}

export interface NativeTcx {
  readonly revision: bigint;
  readonly programs: readonly { readonly programId: number; readonly linkId: number; readonly name: string }[];
}

interface Binding {
  setErrorClass(constructor: typeof BpfError): void;
  possibleCpus(): number;
  openMap(path: string): NativeMap;
  mapById(id: number): NativeMap;
  createMap(
    type: number,
    name: string | undefined,
    keySize: number,
    valueSize: number,
    maxEntries: number,
    flags: number,
  ): NativeMap;
  openProgram(path: string): NativeProgram;
  programById(id: number): NativeProgram;
  Object: new (elf: Buffer, name: string) => NativeObject;
  clsactAttach(ifindex: number, direction: Direction, program: NativeProgram, priority: number, handle: number): void;
  clsactDetach(ifindex: number, direction: Direction, priority: number, handle: number): void;
  clsactRemove(ifindex: number): void;
  clsactQuery(ifindex: number, direction: Direction): NativeFilter[];
  openLink(path: string): NativeLink;
  linkById(id: number): NativeLink;
  tcxAttach(
    ifindex: number,
    direction: Direction,
    program: NativeProgram,
    first: boolean,
    expectedRevision: bigint,
  ): NativeLink;
  tcxQuery(ifindex: number, direction: Direction): NativeTcx;
  RingBuffer: new (map: NativeMap, onRecord: (record: Buffer) => void) => NativeRingBuffer;
  probeProgramType(type: number): boolean;
  probeMapType(type: number): boolean;
  probeHelper(programType: number, helper: number): boolean;
  probeBatch(): boolean;
  probeClsact(): boolean;
  probeTcx(): boolean;
  probeLiveFrames(): boolean;
  probeKernelBtf(): boolean;
  readBtf(elf: Buffer): BtfType[];
}

// The same from lib/ and from dist/.
export const binding = createRequire(import.meta.url)("../build/libbpf.node") as Binding;
binding.setErrorClass(BpfError);
