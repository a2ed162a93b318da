/** Hooks of interfaces in a network namespace of its own: attached once, put back, adopted, released, cleaned up. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { namespace } from "../netns/helper.js";
import { bundle, type Bundle } from "../support/bundle.js";

let script: Bundle;
let mount: string;

beforeAll(async () => {
  mount = mkdtempSync(join(tmpdir(), "tb-bpffs-"));
  execFileSync("mount", ["-t", "bpf", "bpf", mount]);
  script = await bundle("test/kernel/attach-script.ts");
});
afterAll(() => {
  script.remove();
  execFileSync("umount", [mount]);
  rmSync(mount, { recursive: true });
});

async function run(mode: string): Promise<Record<string, unknown>> {
  const ns = await namespace();
  try {
    return JSON.parse(await ns.run(process.execPath, script.file, join(mount, mode), mode)) as Record<string, unknown>;
  } finally {
    await ns.remove();
  }
}

it.each(["clsact", "tcx"])("attaches once, ahead of others, adopts, and cleans up: %s", async (mode) => {
  const result = await run(mode);
  expect(result["blocked"]).toEqual({ writes: 3, failures: [] });
  expect(result["hooks"]).toEqual([
    [`ingress ${mode} tap_ingress`, `egress ${mode} tap_egress`],
    [`ingress ${mode} uplink_ingress`],
    [],
  ]);
  expect(result["foreign"]).toMatchObject([{ direction: "ingress", name: "uplink_ingress", before: false }]);
  expect(result["again"]).toBe(0);
  expect(result["adopted"]).toBe(0);
  if (mode === "clsact") expect(result["put back"]).toBe(1);
  else expect(result["tcx"]).toEqual(["tap_egress"]);
  expect(result["failures"]).toEqual(["gone"]);
  expect(result["uplink released"]).toEqual([]);
  expect(result["cleanup"]).toMatchObject({ interfaces: ["tapx"] });
  expect(result["after"]).toEqual([["ingress clsact uplink_ingress"], [], ["ingress clsact uplink_ingress"]]);
});
