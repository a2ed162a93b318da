import fc from "fast-check";
import { expect, test } from "vitest";
import { Compiler } from "../../../src/compile/compiler.js";
import { sideMatch } from "../../../src/compile/match.js";
import type { Address, RuleSide } from "../../../src/model/types.js";
import { classesOf, isOf, sideHolds } from "./direct.js";
import { apply, policy, rule, TestModel } from "./fixtures.js";
import { change, PROBES, ruleSide } from "./random.js";

const probes = PROBES as Address[];

/** Each side the source of one ingress rule. */
const naming = (sides: readonly RuleSide[]) =>
  policy("gnp:asks", { ingress: sides.map((source, i) => rule({ index: `ingress/${i}`, source })) });

test("an address is in a rule's class exactly where selectors and nets say so", () => {
  fc.assert(
    fc.property(
      fc.array(ruleSide, { minLength: 1, maxLength: 4 }),
      fc.array(change, { minLength: 1, maxLength: 5 }),
      (sides, changes) => {
        const model = new TestModel();
        const compiler = new Compiler();
        apply(compiler, model, { policies: [naming(sides)] });
        for (const one of changes) {
          apply(compiler, model, one);
          for (const address of probes) {
            const classes = classesOf(compiler.desired, address);
            for (const side of sides) {
              const match = sideMatch(side, [4, 6]);
              const held = match !== undefined && isOf(address, match.families) && classes.has(match.key);
              expect([address, side, held]).toEqual([address, side, sideHolds(model, side, address)]);
            }
          }
        }
      },
    ),
    { numRuns: 150 },
  );
});

test("what left a class of a local rule, or entered one that a local rule refuses, is named in `narrowed`", () => {
  let lost = 0;
  let gained = 0;
  fc.assert(
    fc.property(fc.array(change, { minLength: 2, maxLength: 6 }), (changes) => {
      const model = new TestModel();
      const compiler = new Compiler();
      let before = new Map<Address, ReadonlySet<string>>();
      for (const one of changes) {
        const { narrowed } = apply(compiler, model, one);
        const after = new Map(probes.map((address) => [address, classesOf(compiler.desired, address)]));
        const rules = [...compiler.desired.policies.values()].flatMap(({ ingress, egress }) => [...ingress, ...egress]);
        for (const { remote, action } of rules) {
          for (const address of probes) {
            const [was, is] = [before.get(address)?.has(remote) ?? false, after.get(address)?.has(remote) ?? false];
            if (was && !is) expect([...narrowed], `${address} left ${remote}`).toContain(remote);
            if (was && !is) lost++;
            if (!was && is && action !== "allow" && remote !== "any")
              expect([...narrowed], `${address} entered ${remote}`).toContain(remote);
            if (!was && is && action !== "allow") gained++;
          }
        }
        const named = new Set(rules.map(({ remote }) => remote));
        for (const key of narrowed) expect(named).toContain(key);
        before = after;
      }
    }),
    { numRuns: 150 },
  );
  expect(Math.min(lost, gained)).toBeGreaterThan(10);
});
