import { afterAll } from "vitest";
import { CASES } from "./cases.js";
import { kernelImplementation } from "./kernel.js";
import { runConformance } from "./runner.js";

const base = kernelImplementation("bpf", "build/tap.bpf.o");
afterAll(() => base.close());
runConformance(base, CASES);
