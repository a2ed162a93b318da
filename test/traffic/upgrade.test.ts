/** What guests notice of an agent that is killed, restarted and upgraded under their traffic: nothing (D6). */
import { readdirSync, renameSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OUTSIDE, ROUTER } from "../../src/demo/world/world.js";
import { Cloud } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { otherBuild, otherLayout, type OtherBuild } from "../support/other-build.js";
import { group, inGroup, type RuleObject } from "../support/resources.js";
import { forbidden, iperf3, pings, serve, stream, type Streamed } from "../support/stream.js";

const EVERYTHING: RuleObject[] = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];
const to = (protocol: string, source: RuleObject): RuleObject => ({
  action: "Allow",
  protocol,
  source,
  destination: { ports: [7000] },
});
const client = group("client", { egress: EVERYTHING });
/** Answers pass only because their flow is known: the client admits nothing. */
const server = group("server", {
  ingress: [
    { action: "Allow", protocol: "TCP", source: { selector: inGroup("client") }, destination: { ports: [5201] } },
    { action: "Allow", protocol: "ICMP", source: { selector: inGroup("client") }, icmp: { type: 8 } },
    ...["TCP", "UDP"].flatMap((protocol) => [
      to(protocol, { selector: inGroup("client") }),
      to(protocol, { nets: [`${OUTSIDE.v4}/32`, `${ROUTER.v4}/32`] }),
    ]),
  ],
});

let cloud: Cloud;
let here: string;
let sameLayout: OtherBuild;
let elsewhere: OtherBuild;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  // A line more: the objects differ, by their debug information, and nothing else.
  sameLayout = otherBuild({ "tap.bpf.c": (text) => `\n${text}` });
  elsewhere = otherBuild({ "abi.h": otherLayout });
  cloud = await Cloud.create(
    [
      { spec: guestSpec("client", 11), groups: ["client"] },
      { spec: guestSpec("server", 21, 18), groups: ["server"] },
    ],
    [client, server],
    ["--resync", "5m"],
  );
  here = cloud.agent.program;
  const address = cloud.guest("server").v4;
  await cloud.world.announce(`${address}/32`);
  stops.push((await serve(cloud.guest("server").namespace)).stop);
}, 180_000);

afterAll(async () => {
  await Promise.all(stops.map((stop) => stop()));
  await cloud?.close();
  for (const build of [sameLayout, elsewhere]) build?.remove();
});

const versions = (): string[] => readdirSync(cloud.agent.workspace.pinDir).sort();

interface Seen {
  readonly inside: Streamed;
  readonly outside: Streamed;
  readonly ping: { readonly sent: number; readonly received: number };
  readonly bulk: { readonly error: string; readonly bytes: number };
  readonly denied: readonly { readonly sent: number; readonly came: number }[];
}

/** Traffic between the guests and from the world outside, allowed and not, while `act` happens. */
async function under(act: () => Promise<unknown>): Promise<Seen> {
  const [from, to] = [cloud.guest("client"), cloud.guest("server")];
  const { fabric } = cloud.world;
  let denied: Seen["denied"] = [];
  let counted: Seen;
  const all = {
    bulk: await iperf3(from.namespace, to.namespace, to.v4),
    ping: pings(from.namespace, to.v4),
    inside: await stream(from.namespace, to.v4, 1_000),
    outside: await stream(fabric, to.v4, 100),
    // The client admits nothing, the server sends nothing of itself; from outside, only one port of the server is open.
    denied: await forbidden(to.namespace, from.namespace, from.v4),
    closed: await forbidden(fabric, to.namespace, to.v4),
  };
  try {
    await act();
    await new Promise((resolve) => setTimeout(resolve, 500)); // traffic afterwards is a part of what is tested
  } finally {
    // Whatever happened, nothing runs on into the next test.
    await Promise.all([all.denied.end(), all.closed.end()]).then((counts) => (denied = counts));
    counted = {
      inside: await all.inside.end(),
      outside: await all.outside.end(),
      ping: await all.ping.end(),
      bulk: await all.bulk.end(),
      denied,
    };
  }
  return counted;
}

function expectNothingOpen({ denied }: Seen): void {
  for (const { sent, came } of denied) {
    expect(sent).toBeGreaterThan(100);
    expect(came).toBe(0);
  }
}

function expectNothingLost(seen: Seen): void {
  expectNothingOpen(seen);
  for (const { udp, tcp, connections, asked } of [seen.inside, seen.outside]) {
    expect({
      udp: { ...udp, sent: 0 },
      tcp: tcp.error,
      connections: { ...connections, made: 0 },
      asked: asked.unanswered,
    }).toEqual({
      udp: { sent: 0, lost: 0, which: [] },
      tcp: "",
      connections: { made: 0, failed: 0, slow: 0 },
      asked: 0,
    });
    expect(udp.sent).toBeGreaterThan(100);
    expect(tcp.words).toBeGreaterThan(30);
    expect(connections.made).toBeGreaterThan(10);
  }
  expect(seen.bulk.error).toBe("");
  expect(seen.bulk.bytes).toBeGreaterThan(1e6);
  expect(seen.ping.sent).toBeGreaterThan(30);
  // The last one may still be on its way when ping is told to end.
  expect(seen.ping.sent - seen.ping.received).toBeLessThanOrEqual(1);
}

/** The machine is busy with the traffic: patience. */
async function startEnforcing(): Promise<void> {
  const enforced = cloud.agent.applied((event) => event.enforced === 2, "both guests were enforced", 60_000);
  cloud.agent.start();
  await enforced;
}

async function become(program: string): Promise<void> {
  await cloud.agent.stop();
  cloud.agent.program = program;
  await startEnforcing();
}

describe("nothing is lost, no flow ends", { timeout: 120_000 }, () => {
  it("while nothing happens (or else the other tests prove nothing)", async () => {
    expectNothingLost(await under(() => new Promise((resolve) => setTimeout(resolve, 1_000))));
  });

  it("kill -9, and the next agent", async () => {
    const seen = await under(async () => {
      await cloud.agent.kill();
      await startEnforcing();
    });
    expectNothingLost(seen);
  });

  it("SIGTERM, and a start", async () => {
    const seen = await under(() => become(here));
    expectNothingLost(seen);
  });

  it("an upgrade to other programs of the same layout, and back", async () => {
    const before = versions();
    const seen = await under(async () => {
      await become(sameLayout.program);
      await become(here);
    });
    expectNothingLost(seen);
    expect(versions()).toEqual(before);
  });
});

/** The agent's last words about a takeover. */
function takeover(): Takeover {
  const line = cloud.agent.lastLines.split("\n").findLast((text) => text.includes('"takeover"'));
  return (JSON.parse(line ?? "{}") as { takeover: Takeover }).takeover;
}
interface Takeover {
  readonly adopted: number;
  readonly merged: number;
  readonly refused: number;
  readonly leftOut: number;
  readonly unreadable: readonly unknown[];
  readonly swapMilliseconds: number;
}

/** Established flows go on without a packet lost; of those that began in the milliseconds of the swap, some needed to try again. */
function expectEstablishedSurvived(seen: Seen): void {
  expectNothingOpen(seen);
  for (const { udp, tcp, connections, asked } of [seen.inside, seen.outside]) {
    expect({ lost: udp.lost, which: udp.which, error: tcp.error, failed: connections.failed }).toEqual({
      lost: 0,
      which: [],
      error: "",
      failed: 0,
    });
    expect(connections.slow + asked.unanswered).toBeLessThanOrEqual(20);
  }
  expect(seen.bulk.error).toBe("");
  expect(seen.ping.sent - seen.ping.received).toBeLessThanOrEqual(1);
}

describe("another layout", { timeout: 120_000 }, () => {
  it("established flows survive, nothing is open for a moment, and the former build's pins are gone", async () => {
    const [before] = versions();
    const seen = await under(() => become(elsewhere.program));
    expectEstablishedSurvived(seen);
    expect(versions()).toEqual([`v9${before?.slice(1) ?? ""}`]);
    expect(takeover()).toMatchObject({ refused: 0, unreadable: [] });
    expect(takeover().adopted).toBeGreaterThan(3);
  });

  it("and back", async () => {
    const [before] = versions();
    const seen = await under(() => become(here));
    expectEstablishedSurvived(seen);
    expect(versions()).toEqual([`v${before?.slice(2) ?? ""}`]);
    expect(takeover()).toMatchObject({ refused: 0, unreadable: [] });
  });

  it("while the datastore is away, the former build's programs go on; the new build takes over when it is back", async () => {
    const away = `${cloud.policyDir}.away`;
    const [before] = versions();
    const seen = await under(async () => {
      await cloud.agent.stop();
      renameSync(cloud.policyDir, away);
      cloud.agent.program = elsewhere.program;
      const problem = new Promise<void>((resolve) => {
        const done = cloud.agent.follow((news) => {
          if (news.type !== "problem" || news.problem.code !== "TAKING_OVER") return;
          done();
          resolve();
        });
      });
      cloud.agent.start();
      await problem;
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(versions()).toEqual([before, `v9${before?.slice(1) ?? ""}`].sort());
      const enforced = cloud.agent.applied((event) => event.enforced === 2, "the datastore was back");
      renameSync(away, cloud.policyDir);
      await enforced;
    });
    expectEstablishedSurvived(seen);
    expect(versions()).toEqual([`v9${before?.slice(1) ?? ""}`]);
  });

  it("killed again and again in the middle of it, and started again: it is finished, and nothing was open", async () => {
    const seen = await under(async () => {
      await cloud.agent.stop();
      cloud.agent.program = here;
      for (const patience of [0, 50, 100, 200, 300, 400]) {
        cloud.agent.start();
        // Its own maps are pinned: from now on it fills them, copies flows, swaps programs.
        await expect.poll(() => versions().length, { timeout: 60_000, interval: 5 }).toBe(2);
        await new Promise((resolve) => setTimeout(resolve, patience));
        await cloud.agent.kill();
        if (versions().length === 1) break; // it was quicker than that
      }
      await startEnforcing();
    });
    expectEstablishedSurvived(seen);
    expect(versions()).toHaveLength(1);
  });
});
