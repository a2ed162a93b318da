import { afterEach, describe, expect, test } from "vitest";
import { Agent } from "../../../src/agent.js";
import type { AgentOptions } from "../../../src/agent/types.js";
import type { AgentStatus, ApplyEvent } from "../../../src/agent/status.js";
import type { LiveMigration } from "../../../src/model/types.js";
import { barrier, tap, World } from "./fakes.js";

const FULL = ["guard", "refresh", "withdraw", "apply full", "claim", "program"];
const DELTA = ["withdraw", "apply delta", "claim", "program"];
const running: Agent[] = [];

async function started(world: World, options: Partial<AgentOptions> = {}): Promise<Agent> {
  const agent = new Agent(world.parts(), {
    version: "0",
    hostname: "h",
    pinDir: "/sys/fs/bpf/x",
    dataplane: { name: "bpf", why: "fake" },
    resyncMilliseconds: 60_000,
    backoff: { first: 100, most: 1000 },
    ...options,
  });
  running.push(agent);
  await agent.start();
  await agent.idle();
  return agent;
}

/** Started, in sync, first pass done. */
async function inSync(world: World, options: Partial<AgentOptions> = {}): Promise<Agent> {
  const agent = await started(world, options);
  world.snapshot("np:a");
  await agent.idle();
  world.take();
  return agent;
}

afterEach(async () => {
  for (const agent of running.splice(0)) await agent.stop();
});

describe("order of effects", () => {
  test("the guard stands before links are looked at, taps are blocked before the datastore is asked", async () => {
    const world = new World();
    world.taps.set("tap1", tap("tap1", 7));
    await started(world);
    expect(world.take()).toEqual(["guard", "links start", "block", "datastore start"]);
  });

  test("the first pass waits for in-sync, then withdraws routes, writes maps and attaches, and programs routes last", async () => {
    const world = new World();
    const agent = await started(world);
    world.take();
    world.emit({ type: "snapshot-begin" });
    world.change("np:a");
    await agent.idle();
    expect(world.take()).toEqual(["block"]);
    world.emit({ type: "in-sync" });
    await agent.idle();
    // The guard stood when the agent looked, before it followed anything.
    expect(world.take()).toEqual(["compile all", ...FULL.filter((step) => step !== "guard")]);
    await agent.resync();
    expect(world.take()).toEqual(FULL);
  });

  test("a guard that was not there at the start is tried again by every pass", async () => {
    const world = new World();
    world.guardError = new Error("no nft");
    const agent = await started(world);
    expect(world.take()).toEqual(["guard", "links start", "guard", "block", "datastore start"]);
    world.guardError = undefined;
    world.emit({ type: "snapshot-begin" });
    world.change("np:a");
    await agent.idle();
    expect(world.take()).toEqual(["guard", "block"]);
  });

  test("a host that can't serve metadata enforces all the same: its policy is in force and current, and the failure is told", async () => {
    const world = new World();
    world.servicesError = new Error("no NAT in this kernel");
    const agent = await inSync(world);
    expect(agent.health()).toMatchObject({
      inForce: true,
      current: true,
      failing: ["services: no NAT in this kernel"],
    });
  });

  test("the guard lets exactly the enforced endpoints' taps pass", async () => {
    const world = new World();
    for (const [name, ifindex] of [
      ["tap1", 7],
      ["tap2", 8],
      ["tap3", 9],
    ] as const)
      world.taps.set(name, tap(name, ifindex));
    world.endpoints.set("a", "tap1").set("b", "tap3").set("c", "tapgone");
    const agent = await inSync(world);
    expect([...world.claimed]).toEqual([
      [7, "tap1"],
      [9, "tap3"],
    ]);
    expect(agent.status().endpoints).toMatchObject([
      { id: "a", interface: "tap1", enforced: true },
      { id: "b", interface: "tap3", enforced: true },
      { id: "c", interface: "tapgone", why: "its interface is not there" },
    ]);
  });

  test("a tap that appears before in-sync is blocked at once", async () => {
    const world = new World();
    const agent = await started(world);
    world.take();
    world.taps.set("tap9", tap("tap9", 9));
    world.linksChanged();
    await agent.idle();
    expect(world.take()).toContain("block");
  });

  test("stopping ends the datastore first and the backend last, and writes nothing", async () => {
    const world = new World();
    const agent = await inSync(world);
    running.splice(0);
    await agent.stop();
    expect(world.take()).toEqual(["datastore stop", "links stop", "backend close"]);
    world.linksChanged();
    world.clock.advance(100_000);
    await agent.idle();
    expect(world.take()).toEqual([]);
  });
});

describe("what runs when", () => {
  test("a change is compiled and applied as a difference, without any timer", async () => {
    const world = new World();
    const agent = await inSync(world);
    world.change("np:b");
    await agent.idle();
    expect(world.take()).toEqual(["compile np:b", ...DELTA]);
    expect(world.clock.time).toBe(0);
  });

  test("a change is told with the pass that answers it, not with the one that was running when it came", async () => {
    const world = new World();
    const agent = await inSync(world);
    const told: string[][] = [];
    agent.onApply(({ changes }) => told.push(changes.map(({ id }) => id)));
    const hold = barrier();
    world.holdApply = hold.wait;
    world.change("np:b");
    await Promise.resolve().then(() => Promise.resolve());
    world.change("np:c");
    hold.open();
    await agent.idle();
    expect(told).toEqual([["np:b"], ["np:c"]]);
  });

  test("changes during a pass are answered together by the next one, never by two at once", async () => {
    const world = new World();
    const agent = await inSync(world);
    const hold = barrier();
    world.holdApply = hold.wait;
    world.change("np:b");
    await Promise.resolve().then(() => Promise.resolve());
    for (const id of ["np:c", "np:d", "np:e"]) world.change(id);
    hold.open();
    await agent.idle();
    expect(world.take().filter((effect) => effect.startsWith("compile"))).toEqual([
      "compile np:b",
      "compile np:c,np:d,np:e",
    ]);
    expect(world.mostConcurrent).toBe(1);
  });

  test("events of one tick make one pass", async () => {
    const world = new World();
    const agent = await inSync(world);
    world.change("np:b");
    world.change("np:c");
    world.linksChanged();
    await agent.idle();
    expect(world.take()).toEqual(["compile np:b,np:c", ...DELTA]);
  });

  test("an interface event applies without compiling", async () => {
    const world = new World();
    const agent = await inSync(world);
    world.taps.set("tap2", tap("tap2", 8));
    world.linksChanged();
    await agent.idle();
    expect(world.take()).toEqual(DELTA);
    expect(world.applied.at(-1)?.interfaces.taps.has("tap2")).toBe(true);
  });

  test("every resync reads back in full, again and again", async () => {
    const world = new World();
    const agent = await inSync(world);
    for (let i = 0; i < 3; i++) {
      world.clock.advance(60_000);
      await agent.idle();
      expect(world.take()).toEqual(FULL);
    }
  });

  test("a resync that falls due while a pass runs is not lost", async () => {
    const world = new World();
    const agent = await inSync(world);
    const hold = barrier();
    world.holdApply = hold.wait;
    world.change("np:b");
    await Promise.resolve().then(() => Promise.resolve());
    world.clock.advance(60_000);
    hold.open();
    await agent.idle();
    expect(world.take()).toEqual(["compile np:b", ...DELTA, ...FULL]);
  });
});

describe("live migration", () => {
  test("a target is listened to between passes, and routes settle by themselves", async () => {
    const world = new World();
    world.endpoints.set("here", "tap1");
    const [source, target] = ["there", "here"] as unknown as LiveMigration["source"][];
    const one = { name: "m", source, target } as LiveMigration;
    world.migrations.set("m", one);
    const agent = await inSync(world);
    expect([...world.moves]).toEqual([["here", "held"]]);
    world.clock.advance(500);
    await agent.idle();
    expect(world.take()).toEqual([]);
    world.speakers.add("tap1");
    world.clock.advance(50);
    await agent.idle();
    expect([...world.moves]).toEqual([["here", "elevated"]]);
    expect(world.take()).toEqual(["compile ", ...DELTA]);
    world.migrations.delete("m");
    world.change("np:b");
    await agent.idle();
    expect([...world.moves]).toEqual([["here", "elevated"]]);
    world.take();
    world.clock.advance(30_000);
    await agent.idle();
    expect([...world.moves]).toEqual([]);
    expect(world.take()).toContain("compile ");
  });
});

describe("failures", () => {
  test("a pass that throws is repeated in full with doubling waits, and the waits start afresh after a success", async () => {
    const world = new World();
    const agent = await inSync(world);
    world.applyErrors.push(...Array.from({ length: 6 }, () => new Error("EBUSY")));
    world.change("np:b");
    await agent.idle();
    const waits: (number | undefined)[] = [];
    for (let i = 0; i < 6; i++) {
      waits.push(world.clock.waits[0]);
      world.take();
      world.clock.advance(world.clock.waits[0] ?? 0);
      await agent.idle();
      expect(world.take()).toEqual(i < 5 ? FULL.slice(0, 4) : FULL);
    }
    expect(waits).toEqual([100, 200, 400, 800, 1000, 1000]);
    expect(agent.status().problems).toEqual([]);
    world.applyErrors.push(new Error("EBUSY"));
    world.change("np:c");
    await agent.idle();
    expect(world.clock.waits[0]).toBe(100);
  });

  test("while it waits, a new change is tried at once", async () => {
    const world = new World();
    const agent = await inSync(world);
    world.applyErrors.push(new Error("EBUSY"));
    world.change("np:b");
    await agent.idle();
    world.take();
    world.change("np:c");
    await agent.idle();
    expect(world.take()).toEqual(["compile np:c", ...FULL]);
    expect(world.clock.waits).toEqual([60_000]);
  });

  test("what one tap refuses is a problem, named, retried, and logged once", async () => {
    const world = new World();
    const agent = await inSync(world);
    world.failures = [{ where: "tap3", error: Object.assign(new Error("foreign\nprogram"), { code: "FOREIGN" }) }];
    world.change("np:b");
    await agent.idle();
    expect(agent.status().problems).toMatchObject([{ where: "tap3", code: "FOREIGN", what: "foreign\\nprogram" }]);
    world.clock.advance(100);
    await agent.idle();
    expect(world.logs.filter(({ level }) => level === "warn")).toHaveLength(1);
    world.failures = [];
    world.clock.advance(200);
    await agent.idle();
    expect(agent.status().problems).toEqual([]);
    expect(world.logs.filter(({ message }) => message === "no longer a problem")).toHaveLength(1);
  });

  test("a compiler that throws leaves what is enforced, new taps are still blocked, and everything is compiled next", async () => {
    const world = new World();
    const agent = await inSync(world);
    world.compileErrors.push(new Error("bug"));
    world.change("np:b");
    await agent.idle();
    expect(world.take()).toEqual(["compile np:b", "guard", "block"]);
    expect(agent.status().problems).toMatchObject([{ where: "compiler", what: "bug" }]);
    world.clock.advance(100);
    await agent.idle();
    expect(world.take()).toEqual(["compile all", ...FULL]);
    expect(agent.status().problems).toEqual([]);
  });

  test("a guard that fails is loud and does not keep the agent from enforcing", async () => {
    const world = new World();
    world.guardError = new Error("no nft");
    const agent = await inSync(world);
    expect(world.applied).toHaveLength(1);
    expect(agent.status()).toMatchObject({ guard: "failed", problems: [{ where: "guard", what: "no nft" }] });
    world.change("np:b");
    await agent.idle();
    expect(agent.status().guard).toBe("failed");
    world.guardError = undefined;
    world.change("np:c");
    await agent.idle();
    expect(agent.status()).toMatchObject({ guard: "on", problems: [] });
  });
});

describe("the datastore's word is not always taken", () => {
  test("lost changes nothing; taps go on being handled; the next snapshot is compiled", async () => {
    const world = new World();
    const agent = await inSync(world);
    const before = world.applied.at(-1)?.desired;
    world.emit({ type: "lost", reason: "connection refused" });
    world.change("np:b");
    await agent.idle();
    expect(world.take().some((effect) => effect.startsWith("compile"))).toBe(false);
    expect(world.applied.at(-1)?.desired).toBe(before);
    expect(agent.status().problems).toMatchObject([
      { where: "datastore", code: "DATASTORE_LOST", what: "connection refused" },
    ]);
    world.snapshot("np:c");
    await agent.idle();
    expect(world.take()).toEqual(["compile np:b,np:c", ...DELTA]);
    expect(agent.status().problems).toEqual([]);
  });

  test("half a snapshot is not compiled", async () => {
    const world = new World();
    const agent = await inSync(world);
    world.emit({ type: "snapshot-begin" });
    world.change("np:b");
    await agent.idle();
    expect(world.take()).toEqual(DELTA);
    world.emit({ type: "in-sync" });
    await agent.idle();
    expect(world.take()).toEqual(["compile np:b", ...DELTA]);
  });

  test.each([
    ["not ready", { ready: false, guid: "g1" }, "DATASTORE_NOT_READY"],
    ["gone", undefined, "CLUSTER_UNKNOWN"],
    ["another", { ready: true, guid: "g2" }, "OTHER_CLUSTER"],
  ])("a cluster that is %s changes nothing until it is as before", async (_name, cluster, code) => {
    const world = new World();
    world.cluster = { ready: true, guid: "g1" };
    const agent = await inSync(world);
    world.cluster = cluster;
    world.change("np:b");
    await agent.idle();
    expect(world.take()).toEqual(DELTA);
    expect(agent.status().problems).toMatchObject([{ code }]);
    expect(agent.status().datastore.held).toBeDefined();
    world.cluster = { ready: true, guid: "g1" };
    world.change("np:c");
    await agent.idle();
    expect(world.take()).toEqual(["compile np:b,np:c", ...DELTA]);
  });

  test("a restarted agent knows from its predecessor whose policy is in the kernel", async () => {
    const world = new World();
    world.cluster = { ready: true, guid: "g2" };
    const agent = await started(world, { clusterGuid: "g1" });
    world.snapshot("np:a");
    await agent.idle();
    expect(world.applied).toEqual([]);
    expect(agent.status().problems).toMatchObject([{ code: "OTHER_CLUSTER" }]);
  });
});

describe("what it tells", () => {
  test("an event names what changed and where, what was written, and how long it took since the edit", async () => {
    const world = new World();
    const agent = await inSync(world);
    const events: ApplyEvent[] = [];
    agent.onApply((event) => events.push(event));
    world.writes = { policy: 3, endpoint: 1, name: 0 };
    const hold = barrier();
    world.holdApply = hold.wait;
    world.change("np:b");
    await Promise.resolve().then(() => Promise.resolve());
    world.clock.advance(4);
    hold.open();
    await agent.idle();
    expect(events).toEqual([
      {
        at: "2026-01-01T00:00:00.004Z",
        full: false,
        changes: [{ kind: "policy", id: "np:b", change: "set", origin: "groups.yaml:14", name: "name of np:b" }],
        totalChanges: 1,
        writes: { policy: 3, endpoint: 1 },
        totalWrites: 4,
        milliseconds: 4,
        sinceEvent: 4,
        steps: [{ step: "dataplane", milliseconds: 4 }],
        failures: [],
        enforced: 0,
      },
    ]);
  });

  test("a pass that found nothing to do is no event", async () => {
    const world = new World();
    const agent = await inSync(world);
    const events: ApplyEvent[] = [];
    agent.onApply((event) => events.push(event));
    world.clock.advance(60_000);
    await agent.idle();
    expect(events).toEqual([]);
  });

  test("an interface that comes and goes is named", async () => {
    const world = new World();
    const agent = await inSync(world);
    const events: ApplyEvent[] = [];
    agent.onApply((event) => events.push(event));
    world.taps.set("tap2", tap("tap2", 8));
    world.linksChanged();
    await agent.idle();
    world.taps.clear();
    world.linksChanged();
    await agent.idle();
    expect(events.map(({ changes }) => changes)).toEqual([
      [{ kind: "interface", id: "tap2", change: "set" }],
      [{ kind: "interface", id: "tap2", change: "gone" }],
    ]);
  });

  test("the status is given after every pass and when it has stopped", async () => {
    const world = new World();
    const seen: AgentStatus[] = [];
    const agent = await inSync(world, { onStatus: (status) => seen.push(status()) });
    expect(seen.at(-1)).toMatchObject({
      datastore: { description: "directory /fake", state: "in-sync" },
      pid: process.pid,
      guard: "on",
    });
    running.splice(0);
    await agent.stop();
    expect(seen.at(-1)?.stopped).toBe("2026-01-01T00:00:00.000Z");
  });
});

describe("a pass that takes long", () => {
  test("says where it was slow", async () => {
    const world = new World();
    const agent = await inSync(world);
    const gate = barrier();
    world.holdApply = gate.wait;
    world.change("np:b");
    await new Promise((resolve) => setImmediate(resolve));
    world.clock.advance(1_500);
    gate.open();
    await agent.idle();
    const [slow] = world.logs.filter(({ message }) => message.startsWith("a pass was slow"));
    expect(slow?.message).toContain("1500 ms, of them dataplane (1500 ms");
    expect(slow).toMatchObject({ level: "warn", fields: { steps: [{ step: "dataplane", milliseconds: 1500 }] } });
    expect(agent.status().lastApply?.steps).toEqual([{ step: "dataplane", milliseconds: 1500 }]);
  });
  test("says in which step it is while it goes on, and no more when it has ended", async () => {
    const world = new World();
    const agent = await inSync(world);
    const gate = barrier();
    world.holdApply = gate.wait;
    world.change("np:b");
    await new Promise((resolve) => setImmediate(resolve));
    world.clock.advance(25_000);
    const told = () => world.logs.filter(({ message }) => message.startsWith("a pass goes on"));
    expect(told()).toMatchObject([
      { level: "warn", fields: { step: "dataplane", stepSeconds: 10, passSeconds: 10 } },
      { level: "warn", fields: { step: "dataplane", stepSeconds: 20, passSeconds: 20 } },
    ]);
    gate.open();
    await agent.idle();
    world.clock.advance(60_000);
    expect(told()).toHaveLength(2);
  });
  test("one that fails names the step", async () => {
    const world = new World();
    const agent = await inSync(world);
    world.applyErrors.push(new Error("no memory"));
    world.change("np:b");
    await agent.idle();
    expect(world.logs).toContainEqual(
      expect.objectContaining({ level: "error", fields: expect.objectContaining({ step: "dataplane" }) as object }),
    );
  });
});
