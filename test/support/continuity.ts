/** Two guests, a world outside, and traffic between them that nothing may interrupt while an agent is replaced. */
import { availableParallelism } from "node:os";
import { expect } from "vitest";
import { command } from "../../src/demo/world/command.js";
import { OUTSIDE, ROUTER } from "../../src/demo/world/world.js";
import type { Cloud } from "./cloud.js";
import { guestSpec } from "./guests.js";
import { group, inGroup, type RuleObject } from "./resources.js";
import { forbidden, iperf3, pings, stream, type Streamed } from "./stream.js";

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

/** What Cloud.create takes: "client" may talk to "server", and to nothing else; the world outside to one port of "server". */
export const TALKERS = [
  { spec: guestSpec("client", 11), groups: ["client"] },
  { spec: guestSpec("server", 21, 18), groups: ["server"] },
];
export const TALKERS_GROUPS = [client, server];

export interface Seen {
  readonly inside: Streamed;
  readonly outside: Streamed;
  readonly ping: { readonly sent: number; readonly received: number };
  readonly bulk: { readonly error: string; readonly bytes: number };
  readonly denied: readonly { readonly sent: number; readonly came: number }[];
}

/** As vhost's threads have a processor for themselves: what is tested must not starve who carries the guests' frames. Not on a single one. */
async function hurry(pids: readonly (number | undefined)[]): Promise<void> {
  if (availableParallelism() === 1) return;
  for (const pid of pids)
    if (pid !== undefined) await command(["chrt", "--rr", "-p", "1", String(pid)]).catch(() => "");
}

/** Traffic between the guests and from the world outside, allowed and not, while `act` happens. */
export async function under(cloud: Cloud, act: () => Promise<unknown>): Promise<Seen> {
  const [from, to] = [cloud.guest("client"), cloud.guest("server")];
  const { fabric } = cloud.world;
  let denied: Seen["denied"] = [];
  let counted: Seen;
  await hurry([from.pumpPid, to.pumpPid]);
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

export function expectNothingOpen({ denied }: Seen): void {
  for (const { sent, came } of denied) {
    expect(sent).toBeGreaterThan(100);
    expect(came).toBe(0);
  }
}

export function expectNothingLost(seen: Seen): void {
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

/** Established flows go on without a packet lost; of those that began in the milliseconds of the swap, some needed to try again. */
export function expectEstablishedSurvived(seen: Seen): void {
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
