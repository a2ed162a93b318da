/** Bundles the suites and what they start into build/vm-tests, with inside/vitest.ts for vitest. */
import { mkdirSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { rolldown } from "rolldown";
import { EXTERNAL } from "../support/bundle.js";
import { CHILDREN, SUITES } from "./boots.js";

const DIRECTORY = "build/vm-tests";
/** Where the repository lies in the VM (image). */
const THERE = "/torbie";

/** What a module names by where it lies is found there from where it would lie, not from where the bundle does. */
const inPlace = {
  name: "in-place",
  transform: (code: string, id: string): string | null =>
    id.startsWith(process.cwd()) && code.includes("import.meta.url")
      ? code.replaceAll("import.meta.url", JSON.stringify(`file://${THERE}${id.slice(process.cwd().length)}`))
      : null,
};

export async function bundleSuites(): Promise<void> {
  rmSync(DIRECTORY, { recursive: true, force: true });
  mkdirSync(DIRECTORY, { recursive: true });
  const all = [...Object.entries(SUITES), ...CHILDREN.map((script) => [basename(script, ".ts"), script] as const)];
  for (const [name, input] of all) {
    const built = await rolldown({
      input,
      platform: "node",
      external: [...EXTERNAL, "rolldown"],
      plugins: [inPlace],
      resolve: { alias: { vitest: `${process.cwd()}/test/vm/inside/vitest.ts` } },
      logLevel: "silent",
    });
    await built.write({ file: `${DIRECTORY}/${name}.mjs`, format: "esm", codeSplitting: false });
    await built.close();
  }
}
