/** What guests notice of an agent that is killed, restarted and upgraded under their traffic: nothing (D6). */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OUTSIDE, ROUTER } from "../../src/demo/world/world.js";
import { Cloud } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { otherBuild, otherLayout, type OtherBuild } from "../support/other-build.js";
import { group, inGroup, type RuleObject } from "../support/resources.js";
import { serve, stream, type Streamed } from "../support/stream.js";

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
  ingress: ["TCP", "UDP"].flatMap((protocol) => [
    to(protocol, { selector: inGroup("client") }),
    to(protocol, { nets: [`${OUTSIDE.v4}/32`, `${ROUTER.v4}/32`] }),
  ]),
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

/** Traffic between the guests, and from the world outside, while `act` happens. */
async function under(act: () => Promise<unknown>): Promise<{ inside: Streamed; outside: Streamed }> {
  const address = cloud.guest("server").v4;
  const [inside, outside] = await Promise.all([
    stream(cloud.guest("client").namespace, address),
    stream(cloud.world.fabric, address),
  ]);
  await act();
  await new Promise((resolve) => setTimeout(resolve, 500)); // traffic afterwards is a part of what is tested
  return { inside: await inside.end(), outside: await outside.end() };
}

function expectNothingLost({ udp, tcp, connections, asked }: Streamed): void {
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
  expect(udp.sent).toBeGreaterThan(300);
  expect(tcp.words).toBeGreaterThan(30);
  expect(connections.made).toBeGreaterThan(10);
}

async function become(program: string): Promise<void> {
  await cloud.agent.stop();
  cloud.agent.program = program;
  await cloud.agent.startEnforcing(2);
}

describe("nothing is lost, no flow ends", () => {
  it("while nothing happens (or else the other tests prove nothing)", async () => {
    const { inside, outside } = await under(() => new Promise((resolve) => setTimeout(resolve, 1_000)));
    expectNothingLost(inside);
    expectNothingLost(outside);
  });

  it("kill -9, and the next agent", async () => {
    const { inside, outside } = await under(async () => {
      await cloud.agent.kill();
      await cloud.agent.startEnforcing(2);
    });
    expectNothingLost(inside);
    expectNothingLost(outside);
  });

  it("SIGTERM, and a start", async () => {
    const { inside, outside } = await under(() => become(here));
    expectNothingLost(inside);
    expectNothingLost(outside);
  });

  it("an upgrade to other programs of the same layout, and back", async () => {
    const before = versions();
    const { inside, outside } = await under(async () => {
      await become(sameLayout.program);
      await become(here);
    });
    expectNothingLost(inside);
    expectNothingLost(outside);
    expect(versions()).toEqual(before);
  });
});
