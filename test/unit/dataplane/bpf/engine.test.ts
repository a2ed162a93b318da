import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { record, u32 } from "../../../../src/abi/records.js";
import { parse } from "../../../../src/abi/records.js";
import { NameKind } from "../../../../src/abi/layout.gen.js";
import type { DesiredRule, DesiredState, PolicyKey, PolicySetKey } from "../../../../src/compile/desired.js";
import { IndexedMaps } from "../../../../src/dataplane/bpf/indexed-maps.js";
import { Engine } from "../../../../src/dataplane/bpf/engine.js";
import { Registry } from "../../../../src/dataplane/bpf/registry.js";
import { deltaOf, endpoint, interfacesOf, mixed, policy, rule, stateOf } from "../../../support/desired.js";
import { ALL_PACKETS, desiredStates, packets, SETS } from "./arbitrary.js";
import { directly } from "./direct.js";
import { ask, MemoryMaps, type Packet } from "./memory.js";

const SETTINGS = { flowLimit: 1024, hz: 250, timeouts: {}, hostToGuest: true };
const NONE = interfacesOf();
const NO_ENDPOINT = record("endpoint", {});

function numberOf(maps: MemoryMaps, set: PolicySetKey): number {
  return Registry.read(maps.dump("name")).find(NameKind.NAME_POLICY_SET, set) ?? 0;
}

const runs = (count: number): { numRuns: number } => ({ numRuns: count });

describe.each([true, false])("tables, open planes only: %s", (open) => {
  it("answer as the rules do", async () => {
    await fc.assert(
      fc.asyncProperty(
        desiredStates(open),
        fc.array(packets, { minLength: 30, maxLength: 30 }),
        async (desired, list) => {
          const maps = new MemoryMaps();
          expect((await new Engine(new IndexedMaps(maps), SETTINGS).apply(desired, NONE)).failures).toEqual([]);
          for (const set of SETS) {
            const number = numberOf(maps, set);
            for (const packet of list) {
              const { allowed, stateless, log } = ask(maps, number, packet);
              expect({ packet, allowed, stateless, logged: log !== 0 }).toEqual({
                packet,
                ...directly(desired, set, packet),
              });
            }
          }
        },
      ),
      runs(100),
    );
  });

  it("come to the same by changes as from nothing, and a second look finds nothing to do", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(desiredStates(open), { minLength: 2, maxLength: 4 }),
        fc.array(packets, { minLength: 20, maxLength: 20 }),
        async (states, list) => {
          const maps = new MemoryMaps();
          const engine = new Engine(new IndexedMaps(maps), SETTINGS);
          let before: DesiredState | undefined;
          for (const desired of states) {
            await engine.apply(desired, NONE, before === undefined ? undefined : deltaOf(before, desired));
            before = desired;
            for (const set of SETS)
              for (const packet of list)
                expect(ask(maps, numberOf(maps, set), packet).allowed).toBe(directly(desired, set, packet).allowed);
          }
          // A restarted agent: names, and rules under composites, that deltas left behind go; nothing else is written twice.
          const restarted = new Engine(new IndexedMaps(maps), SETTINGS);
          const first = await restarted.apply(before as DesiredState, NONE);
          const leftBehind = ["name", "control", "policy", ...(open ? [] : ["plane", "endpoint"])];
          expect(Object.keys(first.writes).filter((map) => !leftBehind.includes(map))).toEqual([]);
          expect((await restarted.apply(before as DesiredState, NONE)).writes).toEqual({});
        },
      ),
      runs(50),
    );
  });
});

/** Every packet of every endpoint after every single write: what both states allow is allowed, what both deny is denied. */
async function replay(from: DesiredState, to: DesiredState, list: readonly Packet[], full: boolean): Promise<void> {
  const maps = new MemoryMaps();
  const engine = new Engine(new IndexedMaps(maps), SETTINGS);
  await engine.apply(from, NONE);
  const endpoints = [...to.endpoints.keys()].flatMap((id) => {
    const [old, next] = [from.endpoints.get(id), to.endpoints.get(id)];
    const number = Registry.read(maps.dump("name")).find(NameKind.NAME_ENDPOINT, id);
    return old === undefined || next === undefined || number === undefined ? [] : [{ number, old, next }];
  });
  const expected = endpoints
    .flatMap(({ number, old, next }) =>
      list.map((packet) => ({
        number,
        packet,
        before: directly(from, old.set, packet).allowed,
        after: directly(to, next.set, packet).allowed,
      })),
    )
    .filter(({ before, after }) => before === after);
  // Collected, not thrown: the engine takes what a write throws for a map that is full.
  const thirdAnswers: string[] = [];
  maps.onWrite = (map) => {
    if (map === "name" || thirdAnswers.length > 0) return;
    for (const { number, packet, before } of expected) {
      const set = parse("endpoint", maps.of("endpoint").get(u32(number)) ?? NO_ENDPOINT).policy_set;
      if (ask(maps, set, packet).allowed === before) continue;
      thirdAnswers.push(`after a write to ${map}: ${before ? "denied" : "allowed"}: ${JSON.stringify(packet)}`);
    }
  };
  await engine.apply(to, NONE, full ? undefined : deltaOf(from, to));
  expect(thirdAnswers).toEqual([]);
}

describe("while a change is written", () => {
  it.each([false, true])(
    "rules may change without a third answer (all read back: %s)",
    async (full) => {
      await fc.assert(
        fc.asyncProperty(
          fc.boolean().chain((open) => fc.tuple(desiredStates(open), desiredStates(open))),
          fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }),
          fc.array(packets, { minLength: 6, maxLength: 6 }),
          async ([from, to], choice, list) => {
            await replay(from, mixed(from, to, choice), list, full);
          },
        ),
        runs(20),
      );
    },
    60_000,
  );

  it("a port stays open while the rule that opens it is exchanged for another", async () => {
    const to80 = rule({ protocols: [6], ports: [{ first: 3, last: 3 }] });
    const wider = rule({ protocols: [6], ports: [{ first: 2, last: 3 }] });
    const of = (one: DesiredRule): DesiredState =>
      stateOf({
        endpoints: [endpoint("a", { owned: ["172.16.0.1/32"], set: "s" })],
        policies: [policy("p", { ingress: [one] })],
        sets: { s: { ingress: [["p"]], egress: [[]] } },
      });
    for (const full of [false, true]) {
      await replay(of(to80), of(wider), ALL_PACKETS, full);
      await replay(of(wider), of(to80), ALL_PACKETS, full);
    }
  });

  it("members may change without a third answer", async () => {
    await fc.assert(
      fc.asyncProperty(
        desiredStates(true),
        desiredStates(true),
        fc.array(packets, { minLength: 6, maxLength: 6 }),
        async (from, to, list) => {
          await replay(from, { ...from, addresses: to.addresses }, list, false);
        },
      ),
      runs(50),
    );
  });
});

describe("when a map is full", () => {
  it("nothing points at what is half written, what narrows still narrows, and the next apply recovers", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.boolean().chain((open) => fc.tuple(desiredStates(open), desiredStates(open))),
        fc.integer({ min: 0, max: 10 }),
        async ([from, to], spare) => {
          const maps = new MemoryMaps();
          const engine = new Engine(new IndexedMaps(maps), SETTINGS);
          await engine.apply(from, NONE);
          maps.room.set("policy", maps.of("policy").size + spare);
          const report = await engine.apply(to, NONE, deltaOf(from, to));
          if (report.failures.length > 0) {
            expect(report.failures[0]?.where).toBe("map policy");
            for (const [id, endpoint] of from.endpoints) {
              const number = Registry.read(maps.dump("name")).find(NameKind.NAME_ENDPOINT, id);
              if (number === undefined) continue;
              const set = parse("endpoint", maps.of("endpoint").get(u32(number)) ?? NO_ENDPOINT).policy_set;
              for (const packet of ALL_PACKETS) {
                if (!ask(maps, set, packet).allowed) continue;
                const next = to.endpoints.get(id);
                const either =
                  directly(from, endpoint.set, packet).allowed ||
                  (next !== undefined &&
                    directly({ ...to, addresses: from.addresses, prefixes: from.prefixes }, next.set, packet).allowed);
                expect({ packet, either }).toEqual({ packet, either: true });
              }
            }
          }
          maps.room.clear();
          expect((await engine.apply(to, NONE, deltaOf(from, to))).failures).toEqual([]);
          for (const set of SETS)
            for (const packet of ALL_PACKETS)
              expect(ask(maps, numberOf(maps, set), packet).allowed).toBe(directly(to, set, packet).allowed);
        },
      ),
      runs(30),
    );
  });
});

describe("cost of a change", () => {
  it("a rule added to a policy that 200 sets hold is one entry in each, whatever else they hold", async () => {
    const rules = Array.from({ length: 300 }, (_, i) => rule({ protocols: [6], ports: [{ first: i, last: i }] }));
    const names = Array.from({ length: 200 }, (_, i) => `s${i}`);
    const of = (list: readonly DesiredRule[]): DesiredState =>
      stateOf({
        policies: [policy("p", { ingress: list })],
        sets: Object.fromEntries(names.map((name) => [name, { ingress: [["p"]], egress: [[]] }])),
      });
    const maps = new MemoryMaps();
    const engine = new Engine(new IndexedMaps(maps), SETTINGS);
    await engine.apply(of(rules), NONE);
    const inserted = [rule({ protocols: [6], ports: [{ first: 700, last: 700 }], families: [4] }), ...rules];
    const delta = { ...deltaOf(of(rules), of(rules)), policies: new Set(["p" as PolicyKey]) };
    expect((await engine.apply(of(inserted), NONE, delta)).writes).toEqual({ name: 1, policy: 200 });
    // Taken back it narrows, but no endpoint uses the sets: no generation moves.
    expect((await engine.apply(of(rules), NONE, delta)).writes).toEqual({ name: 1, policy: 200 });
  });

  it("what many endpoints share moves the one generation of the host, what few share theirs", async () => {
    const of = (count: number, list: readonly DesiredRule[]): DesiredState =>
      stateOf({
        endpoints: Array.from({ length: count }, (_, i) =>
          endpoint(`e${i}`, { owned: [`172.16.0.${i + 1}/32`], set: "s" }),
        ),
        policies: [policy("p", { ingress: list })],
        sets: { s: { ingress: [["p"]], egress: [[]] } },
      });
    for (const [count, expected] of [
      [2, { name: 1, policy: 2, plane: 1, endpoint: 2 }],
      [9, { name: 1, policy: 2, plane: 1, control: 1 }],
    ] as const) {
      const engine = new Engine(new IndexedMaps(new MemoryMaps()), SETTINGS);
      const before = of(count, [rule({ protocols: [6], ports: [{ first: 1, last: 1 }] })]);
      await engine.apply(before, NONE);
      const delta = { ...deltaOf(before, before), policies: new Set(["p" as PolicyKey]) };
      expect((await engine.apply(of(count, []), NONE, delta)).writes).toEqual(expected);
    }
  });
});
