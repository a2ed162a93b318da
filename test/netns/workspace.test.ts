import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Workspace } from "../../src/demo/world/workspace.js";

const mounted = (path: string): boolean => readFileSync("/proc/mounts", "utf8").includes(` ${path} bpf `);

describe("an agent's workspace", () => {
  it("has a BPF file system of its own, which goes with it", async () => {
    const workspace = await Workspace.create();
    expect(mounted(`${workspace.directory}/bpf`)).toBe(true);
    expect(workspace.pinDir.startsWith(`${workspace.directory}/bpf/`)).toBe(true);
    workspace.remove();
    expect(mounted(`${workspace.directory}/bpf`)).toBe(false);
    expect(existsSync(workspace.directory)).toBe(false);
    workspace.remove(); // may be repeated
  });
});
