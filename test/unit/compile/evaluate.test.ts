/** Properties of the reference evaluator itself: what must hold whatever the world and whatever is said in it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Evaluator, type Outcome } from "../../../src/compile/evaluate.js";
import { fibOf, interfacesOf } from "../../conformance/evaluator.js";
import { describeFrame } from "../../support/describe-frame.js";
import {
  arbActs,
  arbWorld,
  playOut,
  type Act,
  type GeneratedStep,
  type GeneratedWorld,
} from "../../support/generate.js";
import { TestModel } from "../../support/model-of.js";

const RUNS = { numRuns: 60 };
type Met = {
  readonly step: Extract<GeneratedStep, { readonly frame: Uint8Array }>;
  readonly outcome: Outcome;
  readonly world: GeneratedWorld;
};

/** Plays the acts; `between` happens before every packet. */
function play(
  world: GeneratedWorld,
  acts: readonly Act[],
  between: (evaluator: Evaluator, model: TestModel) => void = () => undefined,
): Met[] {
  const model = new TestModel(world.hostname, world.resources);
  const evaluator = new Evaluator(model.model, interfacesOf(world), { fib: fibOf(world) });
  let present = world;
  return playOut(world, acts).flatMap((step, i) => {
    if ("change" in step) {
      present = step.change;
      model.change(present.resources);
      evaluator.update(model.model);
      return [];
    }
    between(evaluator, model);
    return [{ step, outcome: evaluator.receive(step.at, step.frame, i / 10), world: present }];
  });
}

const text = ({ step, outcome }: Met): string =>
  `${describeFrame(step.frame)} => ${JSON.stringify(outcome, (key, value: unknown) => (key === "frame" || key === "logged" ? undefined : value))}`;

describe("generated worlds", () => {
  it("are understood in full", () => {
    fc.assert(
      fc.property(arbWorld(), (world) => {
        expect(new TestModel(world.hostname, world.resources).problems()).toEqual([]);
      }),
      RUNS,
    );
  });

  it("allow and refuse often, and reach most verdicts and policy reasons", () => {
    const seen = new Map<string, number>();
    let allowed = 0;
    let refused = 0;
    fc.assert(
      fc.property(arbWorld(), arbActs(), (world, acts) => {
        for (const { outcome } of play(world, acts)) {
          const name = outcome.verdict === "drop" ? outcome.reason : outcome.verdict;
          seen.set(name, (seen.get(name) ?? 0) + 1);
          if (outcome.verdict === "deliver" || outcome.verdict === "forward") allowed++;
          if (outcome.verdict === "drop" && /POLICY|DENIED/.test(outcome.reason)) refused++;
        }
      }),
      { numRuns: 150, seed: 20261122 },
    );
    expect(allowed / (allowed + refused)).toBeGreaterThan(0.2);
    expect(allowed / (allowed + refused)).toBeLessThan(0.8);
    for (const name of [
      "deliver",
      "forward",
      "stack",
      "POLICY_INGRESS",
      "POLICY_EGRESS",
      "DENIED_INGRESS",
      "DENIED_EGRESS",
      "SPOOFED_ADDRESS",
      "ICMP_ERROR_UNRELATED",
      "FRAGMENT_WITHOUT_FIRST",
      "UPLINK_SPOOFED",
      "RECEIVER_DOWN",
      "VLAN_TAGGED",
    ]) {
      expect(seen.get(name) ?? 0, name).toBeGreaterThan(3);
    }
  });
});

describe("the reference evaluator", () => {
  it("says the same whenever it is asked the same", () => {
    fc.assert(
      fc.property(arbWorld(), arbActs(), (world, acts) => {
        expect(play(world, acts).map(text)).toEqual(play(world, acts).map(text));
      }),
      RUNS,
    );
  });

  it("judging flows again under unchanged rules changes nothing (D3)", () => {
    fc.assert(
      fc.property(arbWorld(), arbActs(), (world, acts) => {
        const plain = play(world, acts);
        const nervous = play(world, acts, (evaluator, model) => evaluator.update(model.model));
        // Fragments can't be judged again: a change may cost them.
        const compared = (list: Met[]): string[] =>
          list.filter(({ step }) => !step.later).map((met) => text(met).replace(/"rule":"[^"]*"/, ""));
        expect(compared(nervous)).toEqual(compared(plain));
      }),
      RUNS,
    );
  });

  it("delivers only with one hop less and to a guest's own MAC, and nothing a guest may not send (S2, S6)", () => {
    fc.assert(
      fc.property(arbWorld(), arbActs(), (world, acts) => {
        for (const met of play(world, acts)) {
          const { step, outcome } = met;
          if (outcome.verdict !== "deliver" && outcome.verdict !== "forward") continue;
          const hop = step.frame[12] === 0x08 ? 22 : 21;
          expect(outcome.frame[hop], text(met)).toBe((step.frame[hop] ?? 0) - 1);
          const sender =
            "tap" in step.at
              ? [...new TestModel(met.world.hostname, met.world.resources).model.locals.values()].find(
                  (one) => one.interfaceName === (step.at as { tap: string }).tap,
                )
              : undefined;
          if (sender === undefined || !sender.portSecurity) continue;
          const place = world.places.find(({ name }) => name === sender.endpoint);
          const source = describeFrame(step.frame).split(", ")[1]?.split(" > ")[0] ?? "";
          const claims = [...(place?.v4 ?? []), ...(place?.v6 ?? [])];
          const inPair = sender.pairs.length > 0;
          expect(claims.includes(source) || inPair, text(met)).toBe(true);
        }
      }),
      RUNS,
    );
  });

  it("has a verdict for any bytes at any place", () => {
    const model = fc.sample(arbWorld(), { numRuns: 1, seed: 7 })[0] as GeneratedWorld;
    const test = new TestModel(model.hostname, model.resources);
    const evaluator = new Evaluator(test.model, interfacesOf(model));
    const tap = [...model.taps.keys()][0] as string;
    const types = [
      [0x08, 0x00],
      [0x86, 0xdd],
      [0x08, 0x06],
      [0x81, 0x00],
      [0x12, 0x34],
    ];
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 120 }),
        fc.nat({ max: 4 }),
        fc.nat({ max: 3 }),
        fc.boolean(),
        (bytes, type, place, versioned) => {
          if (bytes.length > 14) bytes.set(types[type] ?? [], 12);
          if (bytes.length > 15 && versioned) bytes[14] = type === 1 ? 0x60 : 0x45;
          const at = [{ tap }, { uplink: "up0" }, { host: true as const, tap }, { other: "eth9", tap }][
            place
          ] as Parameters<Evaluator["receive"]>[0];
          expect(["deliver", "forward", "stack", "host", "reply", "drop"]).toContain(
            evaluator.receive(at, bytes, 0).verdict,
          );
        },
      ),
      { numRuns: 2000 },
    );
  });
});
