/** A map that is full, under the agent: status says which, guests keep what they had, and room makes it right again. */
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import type { AgentStatus } from "../../src/agent/status.js";
import { Cloud } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { group, inGroup, type RuleObject } from "../support/resources.js";

const both = (rule: RuleObject): RuleObject[] => [
  { action: "Allow", ipVersion: 4, ...rule },
  { action: "Allow", ipVersion: 6, ...rule },
];
const client = group("client", { egress: both({}) });
const server = (...ports: (number | string)[]) =>
  group("server", {
    ingress: both({ source: { selector: inGroup("client") }, protocol: "TCP", destination: { ports } }),
  });
/** More than the map of uplinks holds. */
const UPLINKS = Array.from({ length: 260 }, (_, i) => `many${i}`);

let cloud: Cloud;
beforeAll(async () => {
  cloud = await Cloud.create(
    [
      { spec: guestSpec("client", 11), groups: ["client"] },
      { spec: guestSpec("server", 21, 18), groups: ["server"] },
    ],
    [client, server(80)],
    ["--uplinks", ["up0", ...UPLINKS].join(",")],
  );
});
afterAll(() => cloud.close());

async function status(): Promise<AgentStatus> {
  return (JSON.parse(await cloud.agent.torbie(["status", "--json"])) as { agent: AgentStatus }).agent;
}
const reaches = async (port: number): Promise<string> =>
  (await cloud.guest("client").probe.tcp(cloud.guest("server").v4, port, 400)).result;

it("a map that is full is named with its size; what was enforced stays enforced, and a repetition succeeds once there is room", async () => {
  const { host } = cloud.world;
  await host.ip(...UPLINKS.flatMap((name) => [`tuntap add dev ${name} mode tap`]));
  await vi.waitFor(
    async () => {
      const { problems } = await status();
      expect(problems).toContainEqual({
        where: "map uplink",
        code: "MAP_FULL",
        what: expect.stringContaining("at most 256 entries") as string,
        consequence: expect.stringContaining("tried again") as string,
      });
    },
    { timeout: 20_000, interval: 200 },
  );
  expect(await reaches(80)).toBe("ok");
  expect(await reaches(5432)).toBe("timeout");
  expect((await status()).endpoints.every(({ enforced }) => enforced)).toBe(true);
  // A group that opens and one that closes work all the same: the map that is full has nothing to do with them.
  await cloud.put("policies.yaml", [client, server(5432)]);
  expect([await reaches(80), await reaches(5432)]).toEqual(["timeout", "ok"]);
  await cloud.put("policies.yaml", [client, server(80)]);
  await host.ip(...UPLINKS.slice(0, 20).map((name) => `link del ${name}`));
  await vi.waitFor(async () => expect((await status()).problems.map(({ code }) => code)).not.toContain("MAP_FULL"), {
    timeout: 20_000,
    interval: 200,
  });
  expect([await reaches(80), await reaches(22)]).toEqual(["ok", "timeout"]);
});
