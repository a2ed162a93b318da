/** From one layout to another in a network namespace: what fails half way, what is cut short, and what is there in the end. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { namespace } from "../netns/helper.js";
import { bundle, type Bundle } from "../support/bundle.js";

let script: Bundle;

beforeAll(async () => {
  script = await bundle("test/kernel/takeover-script.ts");
});
afterAll(() => script.remove());

describe.each(["clsact", "tcx"])("taking over by %s", (mode) => {
  let mount: string;
  let result: Record<string, unknown>;

  beforeAll(async () => {
    mount = mkdtempSync(join(tmpdir(), "tb-bpffs-"));
    execFileSync("mount", ["-t", "bpf", "bpf", mount]);
    const ns = await namespace();
    try {
      result = JSON.parse(await ns.run(process.execPath, script.file, mount, mode)) as Record<string, unknown>;
    } finally {
      await ns.remove();
    }
  });
  afterAll(() => {
    execFileSync("umount", [mount]);
    rmSync(mount, { recursive: true });
  });

  it("until the datastore is in sync, the former programs stay where they are; a new tap is blocked", () => {
    expect(result["from"]).toEqual([join(mount, "torbie/v1")]);
    expect(result["blocked"]).toEqual({ writes: 2, failures: [] });
    expect(result["still theirs"]).toBe(true);
  });

  it("maps that cannot be filled are no reason to swap", () => {
    expect(result["not filled"]).toMatch(/programs of another build .* go on enforcing what they know: no room/);
    expect(result["theirs after failure"]).toBe(true);
  });

  it("cut short after the swap it is begun again, and finished", () => {
    expect(result).toMatchObject({
      "cut short": "killed",
      swapped: true,
      "theirs kept": true,
      "one each": true,
      again: 0,
    });
    expect(result["applied"]).toEqual({ failures: [], enforced: 2 });
    expect(result["pins"]).toEqual(["v2"]);
  });

  it("every live flow is there once, counted right, and judged by nobody yet; expired ones are not", () => {
    const live = { entries: 300, owned: 300, used: 300, halfOpen: 150, halfOpenFlags: 150, established: 300 };
    expect(result["former"]).toMatchObject({ ...live, entries: 320, established: 320, halfOpenFlags: 160 });
    expect(result["census"]).toEqual({ ...live, judgedAlready: 0 });
    expect(result["report"]).toMatchObject({ adopted: 0, refused: 0, leftOut: 0, unreadable: [] });
  });

  it("a shared address stays with the one that announced it last", () => {
    expect(result["shared"]).toBe(true);
  });

  it("a build that says nothing of its layout: its flows are judged anew, and that is told", () => {
    expect(result["unreadable"]).toMatchObject({
      adopted: 0,
      unreadable: [{ pinDir: join(mount, "torbie/v2"), why: expect.stringContaining("no description") as string }],
    });
    expect(result["empty"]).toMatchObject({ entries: 0, owned: 0, used: 0 });
    expect(result["pins at last"]).toEqual(["v3"]);
  });
});
