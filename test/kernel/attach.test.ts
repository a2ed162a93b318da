/** Hooks of interfaces in a network namespace of its own: attached once, put back, adopted, released, cleaned up. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BpfError } from "#libbpf";
import { chooseMode } from "../../src/dataplane/bpf/attach.js";
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

const kernel = (clsact: boolean, tcx: boolean) => ({ kernel: () => "6.1.0", clsact: () => clsact, tcx: () => tcx });

it("takes the hook that the kernel has, the cheaper one first", () => {
  expect(chooseMode("auto", kernel(true, true))).toBe("clsact");
  expect(chooseMode("auto", kernel(false, true))).toBe("tcx");
  expect(chooseMode("tcx", kernel(true, true))).toBe("tcx");
});

it("refuses, in words, where there is no hook or not the one that is asked for", () => {
  expect(() => chooseMode("auto", kernel(false, false))).toThrow(
    /kernel 6\.1\.0 has neither clsact .* nor tcx .*: use the dataplane iptables$/,
  );
  expect(() => chooseMode("tcx", kernel(true, false))).toThrow(/has no tcx .*, or set attach to auto/);
  expect(() => chooseMode("clsact", kernel(false, true))).toThrow(/has no clsact .*, or set attach to auto/);
});

it("where it can't be tried out, takes clsact, or what is asked for", () => {
  const refused = (): never => {
    throw new BpfError(1, "probe clsact", "Operation not permitted");
  };
  expect(chooseMode("auto", { ...kernel(true, true), clsact: refused })).toBe("clsact");
  expect(chooseMode("tcx", { ...kernel(true, true), tcx: refused })).toBe("tcx");
});
