/** Bundles the suites and what they start into build/vm-tests, with inside/vitest.ts for vitest. */
import { mkdirSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { rolldown } from "rolldown";
import { EXTERNAL } from "../support/bundle.js";
import { CHILDREN, SUITES } from "./boots.js";

/** As deep below the root as the tests are: what they name by "../.." is the same in the VM. */
const DIRECTORY = "build/vm-tests";

export async function bundleSuites(): Promise<void> {
  rmSync(DIRECTORY, { recursive: true, force: true });
  mkdirSync(DIRECTORY, { recursive: true });
  const all = [...Object.entries(SUITES), ...CHILDREN.map((script) => [basename(script, ".ts"), script] as const)];
  for (const [name, input] of all) {
    const built = await rolldown({
      input,
      platform: "node",
      external: [...EXTERNAL, "rolldown"],
      resolve: { alias: { vitest: `${process.cwd()}/test/vm/inside/vitest.ts` } },
      logLevel: "silent",
    });
    await built.write({ file: `${DIRECTORY}/${name}.mjs`, format: "esm", codeSplitting: false });
    await built.close();
  }
}
