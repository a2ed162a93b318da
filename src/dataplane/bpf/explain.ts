/**
 * Runs one packet through the programs that explain (bpf/tap-explain.bpf.c) on the maps that are pinned: by BPF_PROG_TEST_RUN, so that
 * it goes nowhere, and without changing any of them. Needs no agent.
 */
import { readFileSync } from "node:fs";
import { BpfError, BpfObject, type BpfMap, type BpfProgram, type TestRunResult } from "#libbpf";
import { Limits } from "../../abi/layout.gen.js";
import { fromBytes, readU32, toBytes, u32 } from "../../abi/records.js";
import { UnsupportedError } from "../../errors.js";
import { built } from "./built.js";
import { explainLoadFailure } from "./probe.js";
import type { ProgramName } from "./pins.js";
import type { MapName } from "./plan.js";
import type { Tables } from "./tables.js";
import { decodeStep, STEP_BYTES, type Step, type Walk } from "./walk.js";

/** Where the frame is met. */
export interface Entry {
  readonly program: ProgramName;
  readonly ifindex: number;
  /** Where the kernel has it from; 0 (default): it came in there, or the host itself made it. */
  readonly ingress?: number;
}

const SHOT = 2;
const REDIRECT = 7;
/** struct __sk_buff: all of it, and where ingress_ifindex and ifindex are. */
const CONTEXT = { size: 192, ingress: 36, ifindex: 40 } as const;
const ZERO = fromBytes(u32(0));

function run(program: BpfProgram, data: Buffer, context: Buffer, ingress: number): TestRunResult {
  try {
    return program.testRun({ data, context });
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    // Linux 5.10 refuses, 6.1 takes it.
    const why =
      ingress !== 0 && error.code === "EINVAL"
        ? "this kernel's test runs cannot say by which interface a packet came, which is needed where no uplink is known (setting uplinks)"
        : `the kernel does not run the programs for a test: ${error.message}`;
    throw new UnsupportedError("TEST_RUN", why, { cause: error });
  }
}

/** @throws UnsupportedError when the kernel does not take the object, or does not run it */
export async function explainPacket(
  tables: Tables,
  { program: name, ifindex, ingress = 0 }: Entry,
  frame: Buffer,
  file = built("tap-explain.bpf.o"),
): Promise<Walk> {
  const object = BpfObject.open(readFileSync(file));
  const open: (BpfMap | BpfProgram)[] = [];
  try {
    const pinned = new Set<string>(tables.names);
    for (const map of object.maps) if (pinned.has(map.name)) object.reuseMap(map.name, tables.raw(map.name as MapName));
    for (const program of object.programs) object.setAutoload(program.name, program.name === name);
    await object.load();
    const [program, walk, dry] = [object.program(name), object.map("walk"), object.map("dry")];
    open.push(program, walk, dry);
    const context = Buffer.alloc(CONTEXT.size);
    fromBytes(u32(ifindex)).copy(context, CONTEXT.ifindex);
    fromBytes(u32(ingress)).copy(context, CONTEXT.ingress);
    const { returnValue, data } = run(program, frame, context, ingress);
    const count = readU32(toBytes(dry.get(ZERO) ?? ZERO));
    const steps: Step[] = [];
    for (let i = 0; i < Math.min(count, Limits.MAX_STEPS); i++) {
      const step = decodeStep(walk.get(fromBytes(u32(i))) ?? Buffer.alloc(STEP_BYTES));
      if (step !== undefined) steps.push(step);
    }
    const verdict = returnValue === SHOT ? "drop" : returnValue === REDIRECT ? "redirect" : "pass";
    return { steps, cut: count > Limits.MAX_STEPS, verdict, frame: data };
  } catch (error) {
    throw error instanceof BpfError ? explainLoadFailure(error) : error;
  } finally {
    for (const one of open) one.close();
    object.close();
  }
}
