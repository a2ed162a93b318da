import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { features } from "#libbpf";
import { compile, withBpffs } from "./support.js";

const namespace = `tb-native-${process.pid}`;
const script = fileURLToPath(new URL("./scripts/attach.mjs", import.meta.url));
let out: Record<string, unknown>;

beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), "libbpf-ts-attach-"));
  const elf = join(directory, "basic.o");
  writeFileSync(elf, compile("basic"));
  execFileSync("ip", ["netns", "add", namespace]);
  try {
    // Not with `ip netns exec`, which hides the bpffs behind a mount namespace of its own.
    await withBpffs((bpffs) => {
      const words = [`--net=/run/netns/${namespace}`, process.execPath, script, elf, bpffs];
      const text = execFileSync("nsenter", words, { encoding: "utf8", timeout: 30_000 });
      out = JSON.parse(text) as Record<string, unknown>;
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
afterAll(() => execFileSync("ip", ["netns", "delete", namespace]));

const ours = (program: string, priority: number, handle: number) =>
  ({ program, name: expect.stringContaining(program) as string, kind: "clsact", priority, handle }) as const;

describe("clsact", () => {
  it("finds nothing where there is nothing", () => {
    expect(out).toMatchObject({
      emptyQuery: [],
      detachWithoutQdisc: false,
      removeWithoutQdisc: false,
      missingInterfaceQuery: [],
      missingInterface: "ENODEV",
    });
  });

  it("checks every argument", () => {
    const types = [
      "TypeError",
      "TypeError",
      "RangeError",
      "RangeError",
      "RangeError",
      "RangeError",
      "TypeError",
      "TypeError",
    ];
    expect(out["wrong"]).toEqual(types);
    expect(out["wrongType"]).toBe("EINVAL");
  });

  it("runs what is attached and replaces it in place", () => {
    expect(out["counted"]).toBe(5);
    expect(out["replaced"]).toEqual([[ours("drop", 10, 1)], 0]);
  });

  it("sees what others have attached, in the order in which it runs", () => {
    const all = out["foreign"] as { name: string }[];
    const u32 = all.filter(({ name }) => name === "u32"); // its hash table and its one rule
    expect(u32[0]).toMatchObject({ program: 0, kind: "clsact", priority: 5 });
    expect(all).toEqual([...u32, ours("count", 10, 1), ours("drop", 20, 3)]);
    expect(out["otherDirection"]).toEqual([]);
  });

  it("detaches once, and takes the qdisc only when nobody uses it", () => {
    expect(out).toMatchObject({ detached: [true, false, false], removeWhileUsed: false, removed: [true, false] });
  });
});

describe.runIf(features.tcx())("tcx", () => {
  const entry = (program: string) => ({ program, name: program, kind: "tcx", held: true });

  it("attaches with a link, first or last, and orders them", () => {
    expect(out["tcxEmpty"]).toEqual([[], expect.stringMatching(/^\d+$/)]);
    expect(out["tcxCounted"]).toBe(5);
    expect(out["tcxOrder"]).toEqual([[entry("drop"), entry("count")], 0]);
  });

  it("refuses an attachment that expects another state of the hook", () => {
    expect(out).toMatchObject({ stale: "ESTALE", tcxMissing: "ENODEV" });
  });

  it("replaces through the link", () => {
    expect(out["tcxReplaced"]).toEqual([[entry("drop")], true]);
    expect(out["linkInfo"]).toEqual({ id: true, type: 11, here: true, direction: "egress" });
  });

  it("a pinned link outlives its descriptor, is adopted, updated and detached", () => {
    expect(out).toMatchObject({ afterClose: "EBADF", adopted: 5, tcxDetached: [[], 0], wrongKind: "ENOENT" });
  });
});
