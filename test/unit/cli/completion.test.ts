import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { bashCompletion, manual, zshCompletion } from "../../../src/cli/complete.js";
import { COMMANDS } from "../../../src/cli/table.js";
import { cli } from "./fake.js";

const directory = mkdtempSync(join(tmpdir(), "tb-completion-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(directory, name), text, { mode: 0o755 });
  return join(directory, name);
};
const env = { ...process.env, PATH: `${directory}:${process.env["PATH"] ?? ""}` };

/** What bash offers after these words, the last one unfinished. */
function offered(...words: string[]): string[] {
  const script = file("torbie.bash", bashCompletion(COMMANDS));
  file(
    "torbie",
    `#!/bin/sh\nprintf '{\\n "endpoints": [\\n  {\\n   "interface": "tapweb1",\\n   "x": 1 },\\n  { \\n   "interface": "tapdb1",\\n  }]}\\n'\n`,
  );
  const all = ["torbie", ...words];
  const program = `source ${script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _torbie; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["-c", program, "bash", ...all], { encoding: "utf8", env })
    .split("\n")
    .filter((line) => line !== "");
}

describe("bash", () => {
  it("offers commands, their second words, flags and settings, from the table", () => {
    expect(offered("")).toEqual(expect.arrayContaining(["agent", "check", "doctor", "flow", "--help"]));
    expect(offered("fl")).toEqual(["flow"]);
    expect(offered("flow", "").sort()).toEqual(["flush", "list", "show", "watch"]);
    expect(offered("flow", "list", "--p").sort()).toEqual(["--pin-dir", "--port", "--protocol"]);
    expect(offered("check", "--re")).toEqual(expect.arrayContaining(["--repair", "--resync", "--region"]));
    expect(offered("completion", "")).toEqual(["bash", "zsh"]);
    expect(offered("nonsense", "")).toEqual([]);
  });
  it("asks torbie for ports", () => {
    expect(offered("endpoint", "show", "tap")).toEqual(["tapweb1", "tapdb1"]);
    expect(offered("flow", "list", "--port", "tapd")).toEqual(["tapdb1"]);
  });
});

describe("zsh", () => {
  it("takes the script", () => {
    execFileSync("zsh", ["-n", file("_torbie", zshCompletion(COMMANDS))], { stdio: "pipe" });
  });
});

describe("the manual page", () => {
  const page = manual(COMMANDS, "0.1.0");
  it("is rendered without a warning", () => {
    const rendered = execFileSync("groff", ["-man", "-ww", "-Tascii", "-P-c", file("torbie.8", page)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
    expect(rendered.length).toBeGreaterThan(5000);
    const warnings = execFileSync("sh", ["-c", `groff -man -ww -Tascii -z ${join(directory, "torbie.8")} 2>&1`], {
      encoding: "utf8",
    });
    expect(warnings).toBe("");
  });
  it("has every command with its examples, every setting and every exit status", () => {
    const plain = page.replaceAll("\\-", "-");
    for (const { name, examples } of COMMANDS) {
      expect(plain).toContain(`.SS torbie ${name}`);
      expect(examples.length).toBeGreaterThan(0);
    }
    expect(plain).toContain(".B metrics-ports");
    expect(plain).toMatch(/\.B 6\nrefused because it would be unsafe/);
  });
});

describe("torbie", () => {
  it("prints them; another shell is a usage error", async () => {
    expect(await cli(["completion", "bash"])).toMatchObject({ exit: 0, out: bashCompletion(COMMANDS) });
    expect(await cli(["help", "--man"])).toMatchObject({ exit: 0, out: manual(COMMANDS, "0.1.0") });
    expect(await cli(["completion", "fish"])).toMatchObject({
      exit: 2,
      err: expect.stringContaining("bash or zsh") as string,
    });
  });
});
