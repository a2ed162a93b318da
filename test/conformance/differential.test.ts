/**
 * The evaluator against the BPF programs: generated clouds, conversations in them, and changes of policy in the middle (D8).
 * Replays: SEED=… RUNS=… make test T=test/conformance/differential.test.ts; a failure prints its seed and the smallest case.
 */
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import type { Outcome } from "../../src/compile/evaluate-types.js";
import { describeFrame } from "../support/describe-frame.js";
import { arbActs, arbWorld, playOut } from "../support/generate.js";
import { mac } from "../support/packet.js";
import { evaluatorImplementation } from "./evaluator.js";
import { kernelImplementation, MANY_FLOWS } from "./kernel.js";
import { UPLINK_MACS } from "./world.js";

const RUNS = Number(process.env["RUNS"] ?? 60);
const SEED = process.env["SEED"] === undefined ? undefined : Number(process.env["SEED"]);
const LENGTH = Number(process.env["LENGTH"] ?? 40);

const kernel = kernelImplementation("bpf", "build/tap.bpf.o", undefined, MANY_FLOWS);
afterAll(() => kernel.close());

/** What must be the same. Of a packet with several faults any of their reasons will do. */
function essence(outcome: Outcome, certain: boolean): string {
  const { verdict } = outcome;
  if (verdict === "deliver") return `deliver to ${outcome.to}`;
  if (verdict === "stack") return `stack ${outcome.why}`;
  if (verdict === "drop") return certain ? `drop ${outcome.reason} at ${outcome.endpoint ?? "nobody"}` : "drop";
  return verdict;
}

it(`evaluator and programs agree on ${RUNS} policies`, async () => {
  await fc.assert(
    fc.asyncProperty(arbWorld(), arbActs(LENGTH), async (world, acts) => {
      const evaluator = evaluatorImplementation();
      await evaluator.load(world);
      await kernel.load(world);
      const said: string[] = [];
      for (const [i, step] of playOut(world, acts).entries()) {
        if ("change" in step) {
          said.push("the policy changes");
          await evaluator.update(step.change);
          await kernel.update(step.change);
          continue;
        }
        // What comes in from the uplink is addressed to it: anything else is for another machine.
        if ("uplink" in step.at) step.frame.set(mac(UPLINK_MACS.to), 0);
        const place = "uplink" in step.at ? step.at.uplink : step.at.tap;
        const wanted = essence(await evaluator.receive(step.at, step.frame, i / 10), step.certain);
        const got = essence(await kernel.receive(step.at, step.frame, i / 10), step.certain);
        said.push(`${place}: ${describeFrame(step.frame)} => ${wanted}`);
        if (got !== wanted) expect.fail(`${said.join("\n")}\nbut the programs say: ${got}`);
      }
    }),
    { numRuns: RUNS, ...(SEED === undefined ? {} : { seed: SEED }), interruptAfterTimeLimit: 600_000 },
  );
}, 900_000);
