/** Another build of Torbie in a directory of its own: the same TypeScript, with BPF objects and layout of edited sources. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ts from "typescript";
import { readBtf } from "#libbpf";
import { renderLayout } from "../abi/layout.js";
import { inPackage } from "../root.js";

const OBJECTS = ["tap", "tap-modern", "adopt", "fill"].map((name) => `build/${name}.bpf.o`);

export interface OtherBuild {
  /** Its bin/torbie. */
  readonly program: string;
  remove(): void;
}

/** @param edits by file of bpf/, from its text to another. What dist/ holds is taken as it is: build before. */
export function otherBuild(edits: Readonly<Record<string, (text: string) => string>>): OtherBuild {
  const directory = mkdtempSync(join(tmpdir(), "tb-build-"));
  for (const name of ["dist", "bin", "bpf", "scripts", "package.json", "Makefile"])
    cpSync(inPackage(name), join(directory, name), { recursive: true });
  for (const name of ["native", "node_modules"]) symlinkSync(inPackage(name), join(directory, name));
  for (const [file, edit] of Object.entries(edits)) {
    const path = join(directory, "bpf", file);
    const text = readFileSync(path, "utf8");
    const edited = edit(text);
    if (edited === text) throw new Error(`the edit of ${file} changes nothing: it has to follow the source`);
    writeFileSync(path, edited);
  }
  mkdirSync(join(directory, "build"));
  execFileSync("make", ["--silent", ...OBJECTS], { cwd: directory, stdio: ["ignore", "ignore", "inherit"] });
  const layout = renderLayout(readBtf(readFileSync(join(directory, "build/tap.bpf.o"))));
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
  writeFileSync(join(directory, "dist/abi/layout.gen.js"), ts.transpileModule(layout, { compilerOptions }).outputText);
  const version = /^#define ABI_VERSION (\d+)$/m.exec(readFileSync(join(directory, "bpf/abi.h"), "utf8"))?.[1] ?? "";
  const constants = join(directory, "dist/abi/constants.js");
  writeFileSync(constants, readFileSync(constants, "utf8").replace(/ABI_VERSION = \d+/, `ABI_VERSION = ${version}`));
  execFileSync(process.execPath, ["scripts/bundle.mjs"], { cwd: directory, stdio: ["ignore", "ignore", "inherit"] });
  return { program: join(directory, "bin/torbie"), remove: () => rmSync(directory, { recursive: true, force: true }) };
}

const replaced = (text: string, from: string | RegExp, to: string): string => {
  const result = text.replace(from, to);
  if (result === text) throw new Error(`bpf/abi.h has no ${String(from)}: the edit has to follow it`);
  return result;
};

/** Another layout: a version of its own, fields at other places, states and flags with other numbers. */
export function otherLayout(text: string): string {
  const edits: readonly (readonly [string | RegExp, string])[] = [
    [/ABI_VERSION (\d+)/, "ABI_VERSION 9$1"],
    [/struct flow \{\n/, "struct flow {\n    __u32 note[2];\n"],
    [/struct endpoint \{\n/, "struct endpoint {\n    __u32 note;\n"],
    [/FLOW_CLOSED = 6/, "FLOW_CLOSED = 12"],
    [/FLOW_ESTABLISHED = 4/, "FLOW_ESTABLISHED = 13"],
    [/FLOW_REPLIED = 2/, "FLOW_REPLIED = 4"],
    [/FLOW_STATELESS_LO = 2/, "FLOW_STATELESS_LO = 8"],
    [/FLOW_HOST = 8/, "FLOW_HOST = 2"],
    [/FLOW_ICMP = 7/, "FLOW_ICMP = 2"],
  ];
  return edits.reduce((result, [from, to]) => replaced(result, from, to), text);
}
