/**
 * What explains decides as what enforces does: the table and generated conversations, with bpf/tap-explain.bpf.c over each packet
 * first. The verdict, the frame and the mark must be foretold, and no map may be changed.
 */
import fc from "fast-check";
import { afterAll, it } from "vitest";
import { arbActs, arbWorld, playOut } from "../support/generate.js";
import { mac } from "../support/packet.js";
import { CASES } from "./cases.js";
import { kernelImplementation } from "./kernel.js";
import { runConformance } from "./runner.js";
import { UPLINK_MACS } from "./world.js";

const rehearsed = kernelImplementation("explained", "build/tap.bpf.o", "build/tap-explain.bpf.o");
afterAll(() => rehearsed.close());
runConformance(rehearsed, CASES);

const SEED = process.env["SEED"] === undefined ? {} : { seed: Number(process.env["SEED"]) };
const RUNS = Number(process.env["RUNS"] ?? 12);

it(`foretells ${RUNS} generated conversations, policy changes among them`, async () => {
  await fc.assert(
    fc.asyncProperty(arbWorld(), arbActs(30), async (world, acts) => {
      await rehearsed.load(world);
      for (const [i, step] of playOut(world, acts).entries()) {
        if ("change" in step) await rehearsed.update(step.change);
        else {
          if ("uplink" in step.at) step.frame.set(mac(UPLINK_MACS.to), 0);
          await rehearsed.receive(step.at, step.frame, i / 10);
        }
      }
    }),
    { numRuns: RUNS, ...SEED, interruptAfterTimeLimit: 120_000 },
  );
}, 180_000);
