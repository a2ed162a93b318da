import { describe, expect, it } from "vitest";
import type { DesiredEndpoint, DesiredState } from "../../../src/compile/desired.js";
import type { EndpointId } from "../../../src/model/types.js";
import { judge, Judgement, type Candidate, type Change, type Pass } from "../../../src/status/judge.js";
import { tap } from "../agent/fakes.js";

const endpoint = (id: string, more: Partial<DesiredEndpoint> = {}): DesiredEndpoint =>
  ({ id: id as EndpointId, interfaceName: `tap${id}`, adminUp: true, ...more }) as DesiredEndpoint;

function pass(endpoints: DesiredEndpoint[], taps: Record<string, number>, enforced: string[]): Pass {
  const entries = Object.entries(taps).map(([name, ifindex]) => [name, tap(name, ifindex)] as const);
  return {
    desired: { endpoints: new Map(endpoints.map((it) => [it.id, it])) } as unknown as DesiredState,
    interfaces: { taps: new Map(entries), uplinks: [] },
    enforced: new Set(enforced as EndpointId[]),
  };
}
const said = (changes: readonly Change[]): string[] =>
  changes.map(({ endpoint: { id }, state }) => `${id} ${state ?? "gone"}`);
const only = (candidates: readonly Candidate[]): Candidate => {
  expect(candidates).toHaveLength(1);
  return candidates[0] as Candidate;
};

describe("state of an endpoint", () => {
  it.each([
    ["no tap", endpoint("a"), undefined, true, "down"],
    ["its tap is down", endpoint("a"), { up: false }, true, "down"],
    ["its admin state is down", endpoint("a", { adminUp: false }), { up: true }, true, "down"],
    ["its description could not be understood", endpoint("a", { blocked: "why" }), { up: true }, true, "error"],
    ["it could not be written", endpoint("a"), { up: true }, false, "failed"],
    ["all is well so far", endpoint("a"), { up: true }, true, "ready"],
  ] as const)("%s", (_, it_, link, enforced, state) => {
    expect(judge(it_, link, enforced)).toBe(state);
  });
});

describe("what is told, pass by pass", () => {
  const a = endpoint("a");

  it("up only after the kernel was read back, and then once", () => {
    const judgement = new Judgement();
    const first = judgement.pass(pass([a], { tapa: 5 }, ["a"]));
    expect(said(first.changes)).toEqual([]);
    const candidate = only(first.candidates);
    expect(said(judgement.readBack(candidate, true))).toEqual(["a up"]);
    expect(judgement.pass(pass([a], { tapa: 5 }, ["a"]))).toEqual({ changes: [], candidates: [] });
  });

  it("a passing failure is not told, one that stays is an error, and it ends", () => {
    const judgement = new Judgement();
    expect(said(judgement.pass(pass([a], { tapa: 5 }, [])).changes)).toEqual([]);
    expect(said(judgement.pass(pass([a], { tapa: 5 }, [])).changes)).toEqual(["a error"]);
    const { candidates } = judgement.pass(pass([a], { tapa: 5 }, ["a"]));
    expect(said(judgement.readBack(only(candidates), true))).toEqual(["a up"]);
  });

  it("what was written and is not there is asked for again, then an error", () => {
    const judgement = new Judgement();
    const candidate = only(judgement.pass(pass([a], { tapa: 5 }, ["a"])).candidates);
    expect(said(judgement.readBack(candidate, false))).toEqual([]);
    expect(judgement.awaits(candidate)).toBe(true);
    expect(said(judgement.readBack(candidate, false))).toEqual(["a error"]);
    expect(said(judgement.readBack(candidate, true))).toEqual(["a up"]);
  });

  it("an answer about a tap that has gone meanwhile counts for nothing", () => {
    const judgement = new Judgement();
    const candidate = only(judgement.pass(pass([a], { tapa: 5 }, ["a"])).candidates);
    expect(said(judgement.pass(pass([a], {}, [])).changes)).toEqual(["a down"]);
    expect(judgement.awaits(candidate)).toBe(false);
    expect(said(judgement.readBack(candidate, true))).toEqual([]);
  });

  it("a guest rebuilt between two passes goes down and comes up", () => {
    const judgement = new Judgement();
    judgement.readBack(only(judgement.pass(pass([a], { tapa: 5 }, ["a"])).candidates), true);
    const { changes, candidates } = judgement.pass(pass([a], { tapa: 9 }, ["a"]));
    expect(said(changes)).toEqual(["a down"]);
    expect(said(judgement.readBack(only(candidates), true))).toEqual(["a up"]);
  });

  it("passes that change nothing ask for nothing again", () => {
    const judgement = new Judgement();
    only(judgement.pass(pass([a], { tapa: 5 }, ["a"])).candidates);
    expect(judgement.pass(pass([a], { tapa: 5 }, ["a"])).candidates).toEqual([]);
  });

  it("an endpoint that goes is gone; one that is blocked is an error at once", () => {
    const judgement = new Judgement();
    judgement.readBack(only(judgement.pass(pass([a], { tapa: 5 }, ["a"])).candidates), true);
    const b = endpoint("b", { blocked: "x" });
    expect(said(judgement.pass(pass([b], { tapa: 5, tapb: 6 }, ["b"])).changes)).toEqual(["a gone", "b error"]);
  });
});
