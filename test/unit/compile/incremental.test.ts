import fc from "fast-check";
import { expect, test } from "vitest";
import { Compiler } from "../../../src/compile/compiler.js";
import type { DesiredDelta, DesiredState } from "../../../src/compile/desired.js";
import { TestModel } from "./fixtures.js";
import { change } from "./random.js";

/** Content of a state, in an order that does not depend on its history. */
function content(state: DesiredState): unknown {
  const sorted = <K extends string, V>(map: ReadonlyMap<K, V>): [K, V][] =>
    [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  return structuredClone({
    endpoints: sorted(state.endpoints),
    sets: sorted(state.sets),
    policies: sorted(state.policies),
    addresses: sorted(state.addresses),
    prefixes: sorted(state.prefixes),
    alsoRemote: [...state.alsoRemote].sort(),
  });
}

const problems = (compiler: Compiler): string[] =>
  compiler
    .problems()
    .map((one) => JSON.stringify(one))
    .sort();

test("a state reached change by change is the state compiled from scratch, and its problems too", () => {
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
      const model = new TestModel();
      const compiler = new Compiler();
      for (const one of changes) {
        compiler.apply(model, model.change(one));
        const scratch = new Compiler();
        scratch.apply(model, model.change({}));
        expect(content(compiler.desired)).toEqual(content(scratch.desired));
        expect(problems(compiler)).toEqual(problems(scratch));
      }
    }),
    { numRuns: 150 },
  );
});

test("the delta names exactly the keys whose values differ", () => {
  const maps = ["endpoints", "sets", "policies", "addresses", "prefixes"] as const;
  fc.assert(
    fc.property(fc.array(change, { minLength: 2, maxLength: 6 }), (changes) => {
      const model = new TestModel();
      const compiler = new Compiler();
      for (const one of changes) {
        const before = new Map(maps.map((name) => [name, new Map<string, unknown>(compiler.desired[name])]));
        const remoteBefore = new Set(compiler.desired.alsoRemote);
        const delta: DesiredDelta = compiler.apply(model, model.change(one));
        for (const name of maps) {
          const [old, now] = [before.get(name) ?? new Map(), new Map<string, unknown>(compiler.desired[name])];
          const differing = [...new Set([...old.keys(), ...now.keys()])].filter(
            (key) => JSON.stringify(old.get(key)) !== JSON.stringify(now.get(key)),
          );
          for (const key of differing) expect([...delta[name]]).toContain(key);
          if (name !== "endpoints") expect([...delta[name]].sort()).toEqual(differing.sort());
        }
        for (const endpoint of compiler.desired.endpoints.values()) {
          for (const { prefix } of endpoint.owned) {
            if (remoteBefore.has(prefix) !== compiler.desired.alsoRemote.has(prefix))
              expect([...delta.endpoints]).toContain(endpoint.id);
          }
        }
      }
    }),
    { numRuns: 200 },
  );
});
