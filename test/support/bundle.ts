/**
 * Bundles a script of the tests, which then runs in plain Node: in a namespace, or in a VM. Where VM_BUNDLES names a directory,
 * it has been bundled beforehand and is taken from there (test/vm).
 */
import { rmSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Packages, and the binding by its import name: resolved from where the bundle lies, so it has to lie below the repository's root. */
export const EXTERNAL = [/^node:/, "#libbpf", "netlink", "pino", "yaml"];
let counter = 0;

export interface Bundle {
  readonly file: string;
  /** Deletes it. */
  remove(): void;
}

/** @param script from the repository's root: "test/conformance/kernel-child.ts" */
export async function bundle(script: string): Promise<Bundle> {
  const before = process.env["VM_BUNDLES"];
  if (before !== undefined)
    return { file: join(before, basename(script).replace(/\.ts$/, ".mjs")), remove: () => undefined };
  const file = join(root, "build", `tb-${process.pid}-${++counter}-${basename(script, ".ts")}.mjs`);
  const { rolldown } = await import("rolldown");
  const built = await rolldown({
    input: join(root, script),
    platform: "node",
    external: EXTERNAL,
    logLevel: "silent",
  });
  await built.write({ file, format: "esm", codeSplitting: false });
  await built.close();
  return { file, remove: () => rmSync(file, { force: true }) };
}
