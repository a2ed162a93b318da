import fc from "fast-check";
import { expect, test } from "vitest";
import { Compiler } from "../../../src/compile/compiler.js";
import type {
  DesiredEndpoint,
  DesiredRule,
  DesiredState,
  OwnedPrefix,
  PlaneShape,
} from "../../../src/compile/desired.js";
import { addressToPrefix, contains, family, isSingle, prefixLength } from "../../../src/model/cidr.js";
import { evaluate, parseSelector } from "../../../src/model/selector.js";
import type { Address, Model, PortRange, Prefix, Rule, RuleSide } from "../../../src/model/types.js";
import { classesOf, sideHolds } from "./direct.js";
import { TestModel } from "./fixtures.js";
import { change, PROBES } from "./random.js";

type Direction = "ingress" | "egress";
type Verdict = "allow" | "deny";
interface Question {
  readonly direction: Direction;
  readonly local: Address;
  readonly remote: Address;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly port: number;
}

const within = (ranges: readonly PortRange[], port: number): boolean =>
  ranges.some(({ first, last }) => first <= port && port <= last);

/** Straight from the model, in Calico's words. */
function judgeModel(model: Model, endpoint: DesiredEndpoint, question: Question): Verdict {
  const { workload } = endpoint;
  const { direction } = question;
  const known = (name: string) =>
    model.tiers.get(name) ?? { name, order: model.tiers.get("default")?.order ?? 1_000_000, end: "deny" as const };
  const asked = [...model.policies.values()].filter(
    (one) => one[`${direction}Applies`] && evaluate(parseSelector(one.selector), workload.labels.labels),
  );
  const tiers = [...new Set(asked.map(({ tier }) => tier))].map(known).sort((a, b) => {
    if (a.order !== b.order) return a.order < b.order ? -1 : 1;
    const [x, y] = [a, b].map(({ name }) => (model.tiers.has(name) || name === "default" ? 1 : 0));
    return x !== y ? (x ?? 0) - (y ?? 0) : a.name < b.name ? -1 : 1;
  });
  for (const tier of tiers) {
    const policies = asked.filter((one) => one.tier === tier.name);
    policies.sort((a, b) =>
      a.order < b.order
        ? -1
        : a.order > b.order
          ? 1
          : a.stateful !== b.stateful
            ? a.stateful
              ? -1
              : 1
            : a.id < b.id
              ? -1
              : 1,
    );
    const hit = policies.flatMap((one) => one[direction]).find((rule) => matches(model, endpoint, rule, question));
    const action = hit?.action ?? tier.end;
    if (action !== "pass") return action as Verdict;
  }
  for (const name of workload.profiles) {
    const profile = model.profiles.get(name);
    const hit = profile?.[direction].find((rule) => matches(model, endpoint, rule, question));
    if (hit !== undefined) return hit.action === "allow" ? "allow" : "deny";
    if (profile === undefined) return "deny";
  }
  return "deny";
}

function matches(model: Model, endpoint: DesiredEndpoint, rule: Rule, question: Question): boolean {
  const [remoteSide, localSide] =
    question.direction === "ingress" ? [rule.source, rule.destination] : [rule.destination, rule.source];
  const portsAsked = [rule.source.ports, rule.destination.ports].some((list) => list.length > 0);
  return (
    (rule.family === undefined || rule.family === family(question.remote)) &&
    (rule.protocol === undefined || rule.protocol === question.protocol) &&
    (!portsAsked || question.protocol === 6 || (rule.action === "deny" && rule.protocol === 47)) &&
    (question.protocol !== 6 || rule.source.ports.length === 0 || within(rule.source.ports, question.sourcePort)) &&
    (question.protocol !== 6 || rule.destination.ports.length === 0 || within(rule.destination.ports, question.port)) &&
    localHolds(model, endpoint.owned, localSide, question.local) &&
    sideHolds(model, remoteSide, question.remote)
  );
}

function localHolds(model: Model, owned: readonly OwnedPrefix[], side: RuleSide, address: Address): boolean {
  const single = addressToPrefix(address);
  // Other endpoints' single addresses within a pair do not count (see owned.ts), unless a net of some rule cut them out.
  const counts = (one: Prefix): boolean => !isSingle(one) || owned.some(({ prefix }) => prefix === single);
  const narrowed = new Map(
    [...model.endpoints].map(([id, one]) => [id, { ...one, prefixes: one.prefixes.filter(counts) }]),
  );
  return sideHolds({ ...model, networkSets: model.networkSets, endpoints: narrowed }, side, address);
}

/** From the compiled state, as a backend reads it. */
function judgeDesired(state: DesiredState, endpoint: DesiredEndpoint, question: Question): Verdict {
  const around = endpoint.owned.filter(({ prefix }) => contains(prefix, question.local));
  const longest = around.sort((a, b) => prefixLength(b.prefix) - prefixLength(a.prefix))[0];
  const shape = state.sets.get(longest?.set ?? endpoint.set);
  const classes = classesOf(state, question.remote);
  for (const plane of shape?.[question.direction] ?? []) {
    const hit = rulesOf(state, plane, question.direction).find(
      (rule) =>
        rule.families.includes(family(question.remote)) &&
        (rule.protocols === undefined || rule.protocols.includes(question.protocol)) &&
        (rule.ports === undefined || within(rule.ports, question.port)) &&
        (rule.sourcePorts === undefined || within(rule.sourcePorts, question.sourcePort)) &&
        classes.has(rule.remote),
    );
    const action = hit?.action ?? plane.end;
    if (action !== "pass") return action as Verdict;
  }
  return "deny";
}

function rulesOf(state: DesiredState, plane: PlaneShape, direction: Direction): DesiredRule[] {
  return plane.policies.flatMap((key) => state.policies.get(key)?.[direction] ?? expect.fail(`no policy ${key}`));
}

test("a packet's verdict by the compiled planes is the verdict by the model", () => {
  const tally = { allow: 0, deny: 0 };
  const question = fc.record({
    remote: fc.constantFrom(...(PROBES as Address[])),
    protocol: fc.constantFrom(6, 47),
    sourcePort: fc.constantFrom(85, 1000),
    port: fc.constantFrom(80, 91),
  });
  const cloud = fc.array(change, { minLength: 2, maxLength: 8 });
  fc.assert(
    fc.property(cloud, fc.array(question, { minLength: 12, maxLength: 12 }), (changes, questions) => {
      const model = new TestModel();
      const compiler = new Compiler();
      for (const one of changes) compiler.apply(model, model.change(one));
      for (const endpoint of compiler.desired.endpoints.values()) {
        const { owned } = endpoint;
        for (const local of (PROBES as Address[]).filter((one) => owned.some(({ prefix }) => contains(prefix, one)))) {
          for (const direction of ["ingress", "egress"] as const) {
            for (const asked of questions.filter(({ remote }) => family(remote) === family(local))) {
              const whole = { ...asked, direction, local };
              const verdict = judgeDesired(compiler.desired, endpoint, whole);
              tally[verdict]++;
              expect([whole, verdict]).toEqual([whole, judgeModel(model, endpoint, whole)]);
            }
          }
        }
      }
    }),
    { numRuns: 200 },
  );
  expect(Math.min(tally.allow, tally.deny)).toBeGreaterThan(200);
});
