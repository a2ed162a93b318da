import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GOLDEN, textOf } from "../support/iptables-worlds.js";
import { bundle, type Bundle } from "../support/bundle.js";
import { namespace, type Namespace } from "./helper.js";

let script: Bundle;
beforeAll(async () => {
  script = await bundle("test/netns/iptables-script.ts");
});
afterAll(() => script.remove());

interface Applied {
  readonly totalWrites: number;
  readonly failures: readonly { readonly where: string }[];
  readonly enforced: object;
}

for (const mode of ["nft", "legacy"] as const)
  describe(`the real iptables-${mode}`, () => {
    let ns: Namespace;
    let found: Record<string, unknown>;
    beforeAll(async () => {
      ns = await namespace();
      const printed = await ns.run(process.execPath, script.file, mode);
      found = JSON.parse(printed) as Record<string, unknown>;
    }, 120_000);
    afterAll(() => ns.remove());

    it("is known by its back end", () => expect(found["version"]).toMatch(mode === "nft" ? /nf_tables/ : /legacy/));
    it("is closed before anything is known", () => expect(found["closed"]).toMatchObject({ failures: [] }));
    it("is written, and then stands", () => {
      expect((found["first"] as Applied).failures).toEqual([]);
      expect((found["first"] as Applied).totalWrites).toBeGreaterThan(500);
      expect(found["second"]).toBe(0);
    });
    it("keeps others' rules, behind ours", () => {
      const rules = found["foreign kept"] as readonly string[];
      expect(rules.slice(1, 4).every((rule) => rule.includes("TRB-"))).toBe(true);
      expect(rules.at(-1)).toBe("-A FORWARD -j MINE");
    });
    it("puts back what somebody took away, changed or added", () => {
      for (const [what, result] of Object.entries(found["repaired"] as object))
        expect({ what, result: result as object }).toEqual({ what, result: { found: true, same: true, failures: [] } });
    });
    it("is read ahead of the pass that looks, while changes go on being written", () => {
      expect(found["ahead"]).toMatchObject({ found: 2, again: 0, has: "1", failures: [] });
      const { meanwhile, mended } = found["ahead"] as { meanwhile: Record<string, number>; mended: readonly string[] };
      expect(Object.keys(meanwhile)).toContain("iptables filter");
      expect(mended).toEqual(["ipset", "iptables filter"]);
      expect(found["same as written anew"]).toBe(true);
    });
    it("is adopted by the next agent", () =>
      expect([found["adopts"], found["adopted"], found["same after adoption"]]).toEqual([true, 0, true]));
    it("names what a refusal was about, leaves what stands, and succeeds afterwards", () => {
      const refusals = found["refusals"] as Record<string, Record<string, unknown>>;
      for (const [name, code] of [
        ["restore fails midway", "IPTABLES_REFUSED"],
        ["lock", "LOCKED"],
        ["set full", "SET_FULL"],
        ["program gone", "NO_PROGRAM"],
      ] as const) {
        expect(refusals[name], name).toMatchObject({ where: "iptables", code, stands: true, enforced: 0 });
        expect(refusals[`after ${name}`], name).toEqual({ failures: 0, same: true });
      }
      expect(refusals["restore fails midway"]?.["what"]).toMatch(/line 3 is "-A TRB-new/);
      expect(refusals["set full"]?.["what"]).toMatch(/line 1 is "add trb4-local/);
    });
    it("is heard when a set is full", () => expect(found["kernel says full"]).toMatch(/line 1.*is full/));
    it("is told apart from the other back end, whose rules are reported", () => {
      const other = mode === "nft" ? "legacy" : "nft";
      expect(found["both"]).toEqual([
        expect.objectContaining({
          where: `iptables-${other}`,
          code: "BOTH_BACK_ENDS",
          what: expect.stringContaining("1 rules") as string,
        }),
      ]);
    });
    it("must be there, and new enough to wait for the lock", () => {
      expect(found["missing"]).toMatch(/^NO_IPTABLES: .*install it/);
      expect(found["old"]).toMatch(/^OLD_IPTABLES: iptables 1\.4\.21 is too old/);
    });
    it("is left as it was found", () => {
      expect((found["removed"] as readonly { what: string }[]).length).toBeGreaterThan(4);
      expect((found["left"] as readonly string[]).filter((line) => /TRB-|trb\d|torbie/.test(line))).toEqual([]);
      expect(found["left"]).toContain("mine");
    });
  });

describe("golden files, given to the real programs", () => {
  for (const mode of ["nft", "legacy"] as const)
    for (const name of Object.keys(GOLDEN))
      it(`${name}, ${mode}`, async () => {
        const ns = await namespace();
        try {
          const steps = textOf(name);
          for (const tap of new Set(
            steps.flatMap(({ text }) => [...text.matchAll(/ device "([^"]+)"/g)].map((match) => match[1] ?? "")),
          ))
            await ns.run("ip", "tuntap", "add", "dev", tap, "mode", "tap");
          for (const step of steps) {
            if (step.name.endsWith("ipset")) await ns.feed(step.text, "ipset", "restore");
            else if (step.name.endsWith("nft")) await ns.feed(step.text, "nft", "-c", "-f", "-");
            else {
              const program = `${step.name.split("-")[1] ?? ""}-${mode}-restore`;
              await ns.feed(step.text, program, "--noflush", "--test");
              await ns.feed(step.text, program, "--noflush");
            }
          }
        } finally {
          await ns.remove();
        }
      });
});
