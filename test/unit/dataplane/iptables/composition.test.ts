/** What is changed in place is what would be rendered anew, and nothing else is touched. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DesiredState } from "../../../../src/compile/desired.js";
import { nothingStands, planSteps, type Standing } from "../../../../src/dataplane/iptables/plan.js";
import { Renderer } from "../../../../src/dataplane/iptables/render.js";
import { FAMILIES, TABLES, type Rendered } from "../../../../src/dataplane/iptables/types.js";
import type { Tap } from "../../../../src/dataplane/backend.js";
import { deltaOf, mixed } from "../../../support/desired.js";
import { desiredStates } from "../bpf/arbitrary.js";

const OPTIONS = { prefixes: ["tap"], excluded: [], markShift: 0, hostToGuest: true };

/** A copy, in one order. */
function contents({ sets, tables }: Pick<Rendered, "sets" | "tables">): unknown {
  const sorted = <V>(map: ReadonlyMap<string, V>): [string, V][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    sets: sorted(sets).map(([name, { type, members }]) => [name, type, [...members].sort()]),
    chains: FAMILIES.map((of) => TABLES.map((table) => sorted(tables[of][table].chains))),
  };
}

const standing = ({ sets, tables, links }: Rendered): Standing => {
  const stands = nothingStands();
  for (const [name, set] of sets) stands.sets.set(name, { ...set, members: new Set(set.members) });
  for (const of of FAMILIES)
    for (const table of TABLES) {
      for (const [name, chain] of tables[of][table].chains) stands.tables[of][table].chains.set(name, chain);
      for (const [name, chain] of tables[of][table].hooks) stands.tables[of][table].hooks.set(name, chain);
    }
  for (const [tap, rules] of links) stands.links.set(tap, rules);
  return stands;
};

function tapsOf({ endpoints }: DesiredState): { readonly taps: ReadonlyMap<string, Tap>; readonly uplinks: [] } {
  const taps = [...endpoints.values()].map(({ interfaceName: name }, i): [string, Tap] => [
    name,
    { name, ifindex: i + 2, mac: "02:00:00:00:00:01" as Tap["mac"], mtu: 1500, up: true },
  ]);
  return { taps: new Map(taps), uplinks: [] };
}

/** Policies with rules more: what a change by hand mostly is. */
function grown(from: DesiredState, by: DesiredState): DesiredState {
  const policies = [...from.policies].map(([key, { ingress, ...rest }]) => {
    const more = by.policies.get(key)?.ingress ?? [];
    return [key, { ...rest, ingress: [...ingress, ...more] }] as const;
  });
  return { ...from, policies: new Map(policies) };
}

describe.each([true, false])("a composition, rules that allow only: %s", (open) => {
  it("follows changes to what would be composed anew, and names all that differs", () => {
    const choice = fc.array(fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }), { minLength: 1, maxLength: 4 });
    let followed = 0;
    fc.assert(
      fc.property(desiredStates(open), desiredStates(open), choice, (first, other, choices) => {
        const interfaces = tapsOf(first);
        const renderer = new Renderer(OPTIONS);
        let [before, stands] = [first, standing(renderer.render(first, interfaces))];
        for (const picks of choices) {
          // Policies and members more often than shapes and endpoints, which are composed anew.
          const now = mixed(before, picks[11] === true ? grown(before, other) : other, [
            ...picks.slice(0, 4),
            ...picks.slice(4).map((one, i) => one && i === 7),
          ]);
          const rendered = renderer.render(now, interfaces, deltaOf(before, now));
          const anew = new Renderer(OPTIONS).render(now, interfaces);
          expect(contents(rendered)).toEqual(contents(anew));
          const steps = planSteps(stands, rendered, rendered.touched);
          expect(steps.map(({ tool, writes }) => [tool, writes])).toEqual(
            planSteps(stands, anew).map(({ tool, writes }) => [tool, writes]),
          );
          if (rendered.touched !== undefined && steps.length > 0) followed++;
          [before, stands] = [now, standing(anew)];
        }
      }),
      { numRuns: 200 },
    );
    expect(followed).toBeGreaterThan(open ? 20 : 0);
  });
});

describe("an endpoint that is the same object", () => {
  it("is rendered as it would be anew, whatever becomes of its tap and of the others", () => {
    const bools = fc.array(fc.boolean(), { minLength: 12, maxLength: 12 });
    fc.assert(
      fc.property(desiredStates(false), desiredStates(false), bools, bools, (first, other, taken, replaced) => {
        const interfaces = tapsOf(first);
        const renderer = new Renderer(OPTIONS);
        renderer.render(first, interfaces);
        // Some have what another has in the other state: so addresses become shared, or are no longer.
        const others = [...other.endpoints.values()];
        const endpoints = [...first.endpoints].map(([id, endpoint], i) => {
          const { owned } = others[i] ?? endpoint;
          return [id, taken[i % 12] === true ? { ...endpoint, owned } : endpoint] as const;
        });
        const taps = [...interfaces.taps].map(([name, tap], i): [string, Tap] => [
          name,
          replaced[i % 12] === true
            ? { ...tap, ifindex: tap.ifindex + 100, mac: "02:00:00:00:00:02" as Tap["mac"] }
            : tap,
        ]);
        const now = { ...first, endpoints: new Map(endpoints) };
        const present = { taps: new Map(taps), uplinks: [] };
        const rendered = renderer.render(now, present, deltaOf(first, now));
        const anew = new Renderer(OPTIONS).render(now, present);
        expect(contents(rendered)).toEqual(contents(anew));
        expect([...rendered.links]).toEqual([...anew.links]);
      }),
      { numRuns: 200 },
    );
  });
});
