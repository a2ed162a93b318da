import { afterAll, describe, it } from "vitest";
import { CASES } from "./cases.js";
import { IptablesWorld, play } from "./iptables.js";

const world = new IptablesWorld();
afterAll(() => world.close());

for (const clause of [...new Set(CASES.map((one) => one.clause))])
  describe(`iptables: ${clause}`, () => {
    for (const one of CASES.filter((candidate) => candidate.clause === clause)) {
      const waits = one.needs?.includes("time") === true || one.steps.some((step) => "wait" in step);
      it.skipIf(waits)(one.name, () => play(world, one));
    }
  });
