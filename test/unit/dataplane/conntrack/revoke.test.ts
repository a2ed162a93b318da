/** Which connections a change ends, against the evaluator's rules read from the model, on generated clouds. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Compiler } from "../../../../src/compile/compiler.js";
import { Judge } from "../../../../src/compile/evaluate-policy.js";
import { World } from "../../../../src/compile/evaluate-world.js";
import type { Failed } from "../../../../src/dataplane/conntrack/conntrack.js";
import type { ConntrackEntry } from "../../../../src/dataplane/conntrack/entry.js";
import { Revoker } from "../../../../src/dataplane/conntrack/revoke.js";
import type { DesiredDelta, DesiredState, PolicyKey } from "../../../../src/compile/desired.js";
import type { Address, EndpointId, LocalWorkload, Model } from "../../../../src/model/types.js";
import { ModelStore } from "../../../../src/model/store.js";
import { endpoint, policy, rule, stateOf } from "../../../support/desired.js";
import { arbWorld, edited, PORTS, type GeneratedWorld } from "../../../support/generate-world.js";
import { changes, type Resource } from "../../../support/resources.js";

/** A table of conntrack in memory. */
class Table {
  entries: ConntrackEntry[] = [];
  refuse: ConntrackEntry | undefined;
  each(visit: (entry: ConntrackEntry) => void): Promise<void> {
    [...this.entries].forEach((entry) => visit(entry));
    return Promise.resolve();
  }
  deleteAll(entries: Iterable<ConntrackEntry>): Promise<{ done: number; failed: Failed[] }> {
    const failed: Failed[] = [];
    const gone = new Set<ConntrackEntry>();
    for (const entry of entries)
      if (entry === this.refuse) failed.push({ entry, error: new Error("no") });
      else gone.add(entry);
    this.entries = this.entries.filter((entry) => !gone.has(entry));
    return Promise.resolve({ done: gone.size, failed });
  }
  setMarks(marks: Iterable<{ entry: ConntrackEntry; mark: number }>): Promise<{ done: number; failed: Failed[] }> {
    let done = 0;
    for (const { entry, mark } of marks) {
      this.entries = this.entries.map((one) => (one === entry ? { ...one, mark } : one));
      done++;
    }
    return Promise.resolve({ done, failed: [] });
  }
}

interface Ask {
  readonly from: number;
  readonly to: number;
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly port: number;
}

const HOST = "192.0.2.1";
const MARKS = { opener: 0x8000, other: 0x4000 };

function entryOf(world: GeneratedWorld, { from, to, family, protocol, port }: Ask, id: number): ConntrackEntry {
  const { places } = world;
  const address = (i: number): Address => {
    const place = places[i % places.length];
    const list = (family === 4 ? place?.v4 : place?.v6) ?? [];
    return list[i % list.length] as Address;
  };
  const [source, destination] = [address(from), address(to)];
  const icmp = protocol === 1 ? { type: family === 4 ? 8 : 128, code: 0, id } : undefined;
  const ported = [6, 17, 132, 136, 33].includes(protocol);
  const ports = ported ? { sourcePort: 40_000, destinationPort: port } : { sourcePort: 0, destinationPort: 0 };
  return {
    family,
    protocol: protocol === 1 && family === 6 ? 58 : protocol,
    original: { source, destination, ...ports, ...(icmp ? { icmp } : {}) },
    reply: {
      source: destination,
      destination: source,
      sourcePort: ports.destinationPort,
      destinationPort: ports.sourcePort,
      ...(icmp ? { icmp: { ...icmp, type: family === 4 ? 0 : 129 } } : {}),
    },
    status: 6,
    timeout: 100,
    mark: 1,
    zone: 0,
    id,
  };
}

/** From the model: undefined when neither end is here. */
function directly(model: Model, entry: ConntrackEntry): { allowed: boolean; mark: number } | undefined {
  const world = new World(model, { taps: new Map(), uplinks: new Set() });
  const judge = new Judge(model);
  const { family, protocol, original } = entry;
  const { source, destination, icmp } = original;
  const ported = [6, 17, 132, 136, 33].includes(protocol);
  const tuple = {
    family,
    protocol,
    source,
    destination,
    ...(ported ? { ports: { source: original.sourcePort, destination: original.destinationPort } } : {}),
    ...(icmp ? { icmp } : {}),
  };
  // The longest prefix of a local endpoint, whoever is elsewhere: an address that is tracked here was here.
  const owners = (address: Address): LocalWorkload[] =>
    (world.receivers(address)?.ids ?? []).flatMap((id) => model.locals.get(id) ?? []);
  const half = (owner: LocalWorkload, direction: "ingress" | "egress") =>
    !owner.adminUp || world.isBlocked(owner)
      ? { allowed: false, stateless: false }
      : owner.portSecurity
        ? judge.judge(owner, direction, tuple)
        : { allowed: true, stateless: false };
  const [senders, receivers] = [owners(source), owners(destination)];
  if (senders.length + receivers.length === 0) return undefined;
  const out = senders.map((one) => half(one, "egress"));
  const into = receivers.map((one) => half(one, "ingress"));
  const stateless = [out, into].map((list) => list.some((one) => one.stateless));
  const stateful = (out.length > 0 && !stateless[0]) || (into.length > 0 && !stateless[1]);
  return {
    allowed: [...out, ...into].every(({ allowed }) => allowed) && stateful,
    mark: (entry.mark & ~0xc000) | (stateless[0] ? MARKS.opener : 0) | (stateless[1] ? MARKS.other : 0),
  };
}

class Cloud {
  readonly store: ModelStore;
  readonly compiler = new Compiler();
  resources: readonly Resource[];

  constructor(world: GeneratedWorld) {
    this.resources = world.resources;
    this.store = new ModelStore(world.hostname);
    this.store.apply({ type: "snapshot-begin" });
    this.store.apply({ type: "changes", changes: changes(world.resources) });
    this.store.apply({ type: "in-sync" });
    this.compiler.apply(this.store.model, this.store.takeDelta());
  }
  change(next: readonly Resource[]) {
    this.store.apply({ type: "changes", changes: changes(next, this.resources) });
    this.resources = next;
    return this.compiler.apply(this.store.model, this.store.takeDelta());
  }
}

const arbAsk: fc.Arbitrary<Ask> = fc.record({
  from: fc.nat(30),
  to: fc.nat(30),
  family: fc.constantFrom<4 | 6>(4, 6),
  protocol: fc.constantFrom(6, 6, 17, 1, 132, 47),
  port: fc.constantFrom(...PORTS),
});

test("a change ends exactly the connections that the rules no longer allow", async () => {
  let [kept, ended, others] = [0, 0, 0];
  await fc.assert(
    fc.asyncProperty(
      arbWorld(),
      fc.array(arbAsk, { minLength: 30, maxLength: 60 }),
      fc.array(fc.nat(40), { minLength: 1, maxLength: 6 }),
      async (world, asks, edits) => {
        const cloud = new Cloud(world);
        const table = new Table();
        const revoker = new Revoker(table, { hostAddresses: () => new Set([HOST]), stateless: MARKS });
        const fill = (): void => {
          table.entries = asks.map((ask, i) => entryOf(world, ask, i + 1));
        };
        fill();
        const check = (before: readonly ConntrackEntry[]): void => {
          const wanted = before.flatMap((entry) => {
            const verdict = directly(cloud.store.model, entry);
            if (verdict === undefined) others++;
            else if (verdict.allowed) kept++;
            else ended++;
            if (verdict === undefined) return [entry];
            return verdict.allowed ? [{ ...entry, mark: verdict.mark }] : [];
          });
          expect(table.entries).toEqual(wanted);
        };
        let before = table.entries;
        await revoker.run(cloud.compiler.desired);
        check(before);
        let present = world;
        for (const which of edits) {
          before = table.entries;
          present = edited(present, which);
          await revoker.run(cloud.compiler.desired, cloud.change(present.resources));
          check(before);
        }
        // And the same state found by reading everything anew.
        fill();
        before = table.entries;
        await new Revoker(table, { hostAddresses: () => new Set([HOST]), stateless: MARKS }).run(
          cloud.compiler.desired,
        );
        check(before);
      },
    ),
    { numRuns: 60 },
  );
  expect(Math.min(kept, ended)).toBeGreaterThan(500);
  expect(others).toBeGreaterThan(10);
}, 120_000);

const plain = (source: string, destination: string, port: number, id: number): ConntrackEntry => ({
  family: 4,
  protocol: 6,
  original: {
    source: source as Address,
    destination: destination as Address,
    sourcePort: 40_000,
    destinationPort: port,
  },
  reply: { source: destination as Address, destination: source as Address, sourcePort: port, destinationPort: 40_000 },
  status: 6,
  timeout: 100,
  mark: 0,
  zone: 0,
  id,
});

const open = policy("open", {
  ingress: [rule({ protocols: [6], ports: [{ first: 22, last: 22 }] })],
  egress: [rule()],
});
const withRules = (rules: Parameters<typeof policy>[1], owned = ["10.0.0.2/32"]): DesiredState =>
  stateOf({
    endpoints: [endpoint("a", { owned, set: "s" })],
    policies: [policy("open", rules)],
    sets: { s: { ingress: [["open"]], egress: [["open"]] } },
  });
const NO_DELTA: DesiredDelta = {
  endpoints: new Set(),
  sets: new Set(),
  policies: new Set(),
  addresses: new Set(),
  prefixes: new Set(),
  narrowed: new Set(),
};
const policyChanged: DesiredDelta = { ...NO_DELTA, policies: new Set(["open" as PolicyKey]) };

function revokerOf(entries: readonly ConntrackEntry[]): { table: Table; revoker: Revoker } {
  const table = new Table();
  table.entries = [...entries];
  return { table, revoker: new Revoker(table, { hostAddresses: () => new Set([HOST]) }) };
}

test("the host's own connections and those of others stay, whatever the rules say", async () => {
  const others = [
    plain(HOST, "10.0.0.2", 80, 1),
    plain("10.0.0.2", HOST, 80, 2),
    plain("10.0.0.2", "169.254.169.254", 80, 3),
    plain("10.0.0.2", "224.0.0.251", 5353, 4),
    plain("198.51.100.1", "198.51.100.2", 80, 5),
    plain(HOST, "198.51.100.2", 80, 6),
  ];
  const { table, revoker } = revokerOf([...others, plain("198.51.100.1", "10.0.0.2", 80, 7)]);
  const { deleted } = await revoker.run(withRules({}));
  expect(deleted).toBe(1);
  expect(table.entries).toEqual(others);
});

test("a rule that joins costs no reading; one that goes ends what it allowed", async () => {
  const ssh = plain("198.51.100.1", "10.0.0.2", 22, 1);
  const { table, revoker } = revokerOf([ssh]);
  await revoker.run(withRules(open));
  const more = { ...open, ingress: [...open.ingress, rule({ protocols: [17] })] };
  expect(await revoker.run(withRules(more), policyChanged)).toMatchObject({ judged: 0, deleted: 0 });
  expect(await revoker.run(withRules({ egress: open.egress }), policyChanged)).toMatchObject({ judged: 1, deleted: 1 });
  expect(table.entries).toEqual([]);
});

test("who lost an address, or is gone, has no connections by it; whoever has it now starts anew", async () => {
  const ssh = plain("198.51.100.1", "10.0.0.2", 22, 1);
  const { table, revoker } = revokerOf([ssh, plain("198.51.100.1", "10.0.0.3", 22, 2)]);
  await revoker.run(withRules(open, ["10.0.0.2/32", "10.0.0.3/32"]));
  const changed = { ...NO_DELTA, endpoints: new Set(["a" as EndpointId]) };
  expect(await revoker.run(withRules(open), changed)).toMatchObject({ deleted: 1 });
  expect(table.entries).toEqual([ssh]);
  expect(await revoker.run(stateOf({}), changed)).toMatchObject({ deleted: 1 });
});

test("what could not be deleted is tried again by the next call, whatever that one is about", async () => {
  const ssh = plain("198.51.100.1", "10.0.0.2", 22, 1);
  const { table, revoker } = revokerOf([ssh]);
  await revoker.run(withRules(open));
  table.refuse = ssh;
  const { failed } = await revoker.run(withRules({}), policyChanged);
  expect(failed.map(({ entry }) => entry)).toEqual([ssh]);
  table.refuse = undefined;
  expect(await revoker.run(withRules({}), NO_DELTA)).toMatchObject({ deleted: 1, failed: [] });
  expect(await revoker.run(withRules({}), NO_DELTA)).toMatchObject({ judged: 0 });
});

test("twenty thousand connections against a thousand rules: each is judged by its own port", async () => {
  const ports = Array.from({ length: 1000 }, (_, i) =>
    rule({ protocols: [6], ports: [{ first: 2 * i + 1, last: 2 * i + 1 }] }),
  );
  const entries = Array.from({ length: 20_000 }, (_, i) =>
    plain(`198.51.${(i >> 8) & 255}.${i & 255}`, "10.0.0.2", i % 2000, i + 1),
  );
  const { table, revoker } = revokerOf(entries);
  await revoker.run(withRules({ ingress: ports }));
  expect(table.entries.every(({ original }) => original.destinationPort % 2 === 1)).toBe(true);
});
