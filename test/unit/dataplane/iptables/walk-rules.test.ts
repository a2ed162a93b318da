/** A packet's way through the rules: what we render, walked, says what the reference evaluator says. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Evaluator, type At } from "../../../../src/compile/evaluate.js";
import { frameOf } from "../../../../src/cli/explain-frame.js";
import { chainOf } from "../../../../src/dataplane/iptables/link-rules.js";
import { parseRule } from "../../../../src/dataplane/iptables/rule-match.js";
import { matchesU32 } from "../../../../src/dataplane/iptables/u32.js";
import { matchesSet } from "../../../../src/dataplane/iptables/set-match.js";
import { floatingOf } from "../../../../src/dataplane/iptables/standing.js";
import { walkRules, type Hook, type StandingRules } from "../../../../src/dataplane/iptables/walk-rules.js";
import { bitsOf, type Rendered, type RenderedTable } from "../../../../src/dataplane/iptables/types.js";
import { Compiler } from "../../../../src/compile/compiler.js";
import { contains, prefixLength } from "../../../../src/model/cidr.js";
import { DeltaBuilder } from "../../../../src/model/delta.js";
import type { Address, Family, Mac } from "../../../../src/model/types.js";
import { interfacesOf, fibOf } from "../../../conformance/evaluator.js";
import { arbWorld, type GeneratedWorld } from "../../../support/generate.js";
import { PORTS, type Place } from "../../../support/generate-world.js";
import { GOLDEN, renderWorld } from "../../../support/iptables-worlds.js";
import { TestModel } from "../../../support/model-of.js";

const OPTIONS = { prefixes: ["tap"], excluded: [], markShift: 0, hostToGuest: true };
const bits = bitsOf(0);

function desiredOf({ model }: TestModel): Compiler["desired"] {
  const compiler = new Compiler();
  compiler.apply(model, new DeltaBuilder());
  return compiler.desired;
}

/** As if read back: as it was written. */
function standing(rendered: Rendered, family: Family): StandingRules {
  const whole = ({ chains, hooks }: RenderedTable): Map<string, readonly string[]> => new Map([...chains, ...hooks]);
  const { raw, filter } = rendered.tables[family];
  return {
    tables: { raw: whole(raw), filter: whole(filter) },
    sets: rendered.sets,
    links: new Map([...rendered.links].map(([tap, rules]) => [chainOf(tap), rules])),
    floating: new Map(),
  };
}

const question = fc.record({
  from: fc.nat(40),
  to: fc.nat(40),
  address: fc.nat(2),
  family: fc.constantFrom<Family>(4, 6),
  protocol: fc.constantFrom(6, 17, 1, 132, 47),
  sourcePort: fc.constantFrom(...PORTS, 40_000),
  destinationPort: fc.constantFrom(...PORTS),
  forged: fc.oneof({ weight: 8, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
});

type Asked = typeof question extends fc.Arbitrary<infer T> ? T : never;

interface Known {
  readonly world: GeneratedWorld;
  readonly model: TestModel;
  readonly desired: Compiler["desired"];
  readonly rendered: Rendered;
}

function ask(
  { world, model, desired, rendered }: Known,
  of: Asked,
): [verdict: string, evaluators: string, how: string] | undefined {
  const { family, places } = { family: of.family, places: world.places };
  const pick = (list: readonly Place[], at: number): Place | undefined => list[at % Math.max(1, list.length)];
  const from = pick(places, of.from);
  const to = pick(
    places.filter((place) => place !== from && (from?.kind === "local" || place.kind === "local")),
    of.to,
  );
  if (from === undefined || to === undefined) return undefined;
  const address = (place: Place, at: number): Address | undefined => {
    const list = family === 4 ? place.v4 : place.v6;
    return list[at % Math.max(1, list.length)] as Address | undefined;
  };
  const source = of.forged ? ((family === 4 ? "192.0.2.200" : "2001:db8:77::1") as Address) : address(from, of.address);
  const destination = address(to, of.address);
  if (source === undefined || destination === undefined || source === destination) return undefined;
  const local = from.kind === "local";
  const tap = [...world.taps.keys()].find((name) => name.slice(3) === from.name);
  // As the routes have it: the longest prefix leads to its tap.
  const held = [...desired.endpoints.values()]
    .flatMap(({ owned, interfaceName, adminUp, blocked }) =>
      owned.map(({ prefix }) => ({ prefix, interfaceName, up: adminUp && blocked === undefined })),
    )
    .filter(({ prefix, interfaceName }) => contains(prefix, destination) && world.taps.has(interfaceName));
  const longest = Math.max(...held.map(({ prefix }) => prefixLength(prefix)));
  const names = new Set(held.filter(({ prefix }) => prefixLength(prefix) === longest).map((one) => one.interfaceName));
  const holders = [...names];
  // Of several the lowest id gets it there, the last to announce it here: said in the README.
  if ((local && tap === undefined) || holders.length > 1) return undefined;
  const at: At = local ? { tap: tap ?? "" } : { uplink: world.uplinks[0] ?? "" };
  const protocol = of.protocol === 1 && family === 6 ? 58 : of.protocol;
  const icmp = protocol === 1 || protocol === 58 ? { type: family === 4 ? 8 : 128, code: 0 } : undefined;
  const ported = icmp === undefined && protocol !== 47;
  const packet = {
    family,
    protocol,
    source,
    destination,
    sourcePort: ported ? of.sourcePort : 0,
    destinationPort: ported ? of.destinationPort : 0,
    ...(icmp && { icmp }),
    tcpFlags: protocol === 6 ? 2 : 0,
  };
  const frame = frameOf({
    ...packet,
    sourceMac: (local ? from.mac : "02:00:00:00:00:01") as Mac,
    destinationMac: (local ? from.hostMac : "02:00:00:00:00:02") as Mac,
  });
  const evaluator = new Evaluator(model.model, interfacesOf(world), {
    fib: fibOf(world),
    hostToGuest: true,
    served: { metadata: [], names: false },
  });
  const outcome = evaluator.receive(at, frame, 0);
  const [out] = holders;
  const hooks: Hook[] = ["PREROUTING", "FORWARD"];
  const walk = walkRules(
    standing(rendered, family),
    { ...packet, bytes: frame.subarray(14), in: tap ?? "uplink", out: out ?? "uplink" },
    hooks,
    local ? from.mac : undefined,
    bits.source,
  );
  // Nobody here has it: that it is not for a guest is the routes' to say.
  if (!local && holders.length === 0) return undefined;
  const said = outcome.verdict === "deliver" || outcome.verdict === "forward" ? "accept" : outcome.verdict;
  return [walk.verdict, said, JSON.stringify({ of, packet, at, walk, outcome: { ...outcome, frame: undefined } })];
}

describe("rules as rendered", () => {
  it("let pass and drop what the evaluator does, whatever the cloud", () => {
    let [compared, passed] = [0, 0];
    fc.assert(
      fc.property(arbWorld(), fc.array(question, { minLength: 20, maxLength: 40 }), (world, questions) => {
        const rendered = renderWorld({ world, options: OPTIONS });
        const model = new TestModel(world.hostname, world.resources);
        const known = { world, model, desired: desiredOf(model), rendered };
        for (const of of questions) {
          const answers = ask(known, of);
          if (answers === undefined) continue;
          compared++;
          if (answers[0] === "accept") passed++;
          expect(answers[0], answers[2]).toBe(answers[1]);
        }
      }),
      { numRuns: 25, endOnFailure: true },
    );
    expect(compared).toBeGreaterThan(200);
    expect(passed).toBeGreaterThan(30);
    expect(compared - passed).toBeGreaterThan(30);
  });
  it("are all understood, in every golden world", () => {
    for (const { world, options } of Object.values(GOLDEN)) {
      const { tables } = renderWorld({ world, options });
      for (const family of [4, 6] as const)
        for (const { chains, hooks } of Object.values(tables[family]))
          for (const rule of [...chains.values(), ...hooks.values()].flat())
            expect(parseRule(rule), rule).toBeDefined();
    }
  });
});

describe("one rule", () => {
  it.each([
    "-p tcp -m owner --uid-owner 0 -j DROP",
    "-m statistic --mode random --probability 0.5 -j DROP",
    "-p tcp -m tcp --dport http -j ACCEPT",
    "-s example.org -j DROP",
    "-m mark --mark x -j DROP",
  ])("that nobody of ours writes is foreign: %s", (text) => expect(parseRule(text)).toBeUndefined());
  it("a foreign one in our chain ends it, loudly; others' rules before ours are told; our jump may be gone", () => {
    const packet = {
      family: 4 as const,
      protocol: 6,
      source: "10.0.0.1" as Address,
      destination: "10.0.0.2" as Address,
      sourcePort: 1,
      destinationPort: 2,
      tcpFlags: 2,
      bytes: new Uint8Array(40),
      in: "tapa",
      out: "tapb",
    };
    const rules = (forward: string[], ours: string[]): StandingRules => ({
      tables: {
        raw: new Map([["PREROUTING", []]]),
        filter: new Map([
          ["FORWARD", forward],
          ["TRB-forward", ours],
        ]),
      },
      sets: new Map(),
      links: new Map(),
      floating: new Map(),
    });
    const walk = (...of: Parameters<typeof rules>) =>
      walkRules(rules(...of), packet, ["PREROUTING", "FORWARD"], undefined, bits.source);
    const hook = ["-i tap+ -j TRB-forward"];
    expect(walk(hook, ["-s 10.0.0.0/24 -j DROP"])).toMatchObject({
      verdict: "drop",
      passed: [{ chain: "FORWARD" }, {}],
    });
    expect(walk(["-j DOCKER-USER", ...hook], ["-j ACCEPT"])).toMatchObject({
      verdict: "accept",
      before: [{ rule: "-j DOCKER-USER" }],
    });
    expect(walk([], [])).toMatchObject({ verdict: "on", unhooked: ["PREROUTING", "FORWARD"] });
    expect(() => walk(hook, ["-m owner --uid-owner 0 -j DROP"])).toThrow(/does not write.*uid-owner/);
    expect(() => walk(hook, ["-j TRB-gone"])).toThrow(/TRB-gone/);
    expect(() => walk(hook, ["-j TRB-forward"])).toThrow(/without end/);
  });
  it("sets: the longest prefix decides, nomatch says no; ports by protocol", () => {
    const packet = { source: "10.1.2.3", destination: "10.0.0.2", destinationPort: 80, protocol: 6 } as never;
    const set = (type: "hash:net" | "hash:net,port" | "bitmap:port" | "hash:ip", ...members: string[]) => ({
      type,
      members: new Set(members),
    });
    expect(matchesSet(set("hash:net", "10.0.0.0/8", "10.1.0.0/16 nomatch"), ["src"], packet)).toBe(false);
    expect(matchesSet(set("hash:net", "10.0.0.0/8", "10.1.0.0/16 nomatch", "10.1.2.3"), ["src"], packet)).toBe(true);
    expect(matchesSet(set("hash:net,port", "10.1.0.0/16,tcp:80"), ["src", "dst"], packet)).toBe(true);
    expect(matchesSet(set("hash:net,port", "10.1.0.0/16,udp:80"), ["src", "dst"], packet)).toBe(false);
    expect(matchesSet(set("bitmap:port", "80"), ["dst"], packet)).toBe(true);
    expect(matchesSet(set("hash:ip", "10.0.0.2"), ["dst"], packet)).toBe(true);
    expect(matchesSet(undefined, ["dst"], packet)).toBe(false);
  });
  it("what was sent to a floating IP is known by what was asked, and by DNAT", () => {
    const packet = { source: "10.0.0.1", destination: "10.0.0.2", protocol: 17, asked: "203.0.113.7" } as never;
    const says = (text: string): boolean | undefined =>
      parseRule(text)?.tests.every((test) => test(packet, { mark: 0, connmark: 0 }, new Map()));
    expect(says("-m conntrack --ctorigdst 203.0.113.7 -j ACCEPT")).toBe(true);
    expect(says("-m conntrack --ctreplsrc 10.0.0.2 -j ACCEPT")).toBe(true);
    expect(says("-d 10.0.0.2/32 -m conntrack ! --ctstate DNAT -j DROP")).toBe(false);
    const text =
      "table ip torbie_services {\n\tmap floating {\n\t\telements = { 203.0.113.7 : 10.0.0.2,\n 203.0.113.8 : 10.0.0.3 }\n}\n}";
    expect([...floatingOf(text)]).toEqual([
      ["203.0.113.7", "10.0.0.2"],
      ["203.0.113.8", "10.0.0.3"],
    ]);
    expect(floatingOf("").size).toBe(0);
  });
  it("u32 as iptables-extensions(8) has it", () => {
    const bytes = Uint8Array.from([
      0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 67, 0, 68, 0, 8, 0, 0,
    ]);
    expect(matchesU32("6&0xFF=17", bytes)).toBe(true);
    expect(matchesU32("0x6&0xff=0x1,0x11:0x12", bytes)).toBe(true);
    expect(matchesU32("0>>22&0x3C@0>>16=67&&6&0xFF=17", bytes)).toBe(true);
    expect(matchesU32("0>>22&0x3C@0>>16=67&&6&0xFF=6", bytes)).toBe(false);
    expect(matchesU32("40=0", bytes)).toBe(false);
  });
});
