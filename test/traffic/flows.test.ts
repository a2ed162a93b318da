/** Open connections through what happens to the agent and to their rules (S5, D3, D6). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cloud } from "../support/cloud.js";
import { Conversation } from "../support/conversation.js";
import { guestSpec } from "../support/guests.js";
import { group, inGroup, type RuleObject } from "../support/resources.js";

const EVERYTHING: RuleObject[] = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];
const from = (source: string): RuleObject => ({
  action: "Allow",
  protocol: "TCP",
  source: { selector: inGroup(source) },
  destination: { ports: ["5000:5999"] },
});
const client = group("client", { egress: EVERYTHING });
const server = (...sources: string[]) => group("server", { ingress: sources.map(from), egress: EVERYTHING });

let cloud: Cloud;
let port = 5000;

beforeAll(async () => {
  cloud = await Cloud.create(
    [
      { spec: guestSpec("client", 11), groups: ["client"] },
      { spec: guestSpec("server", 21, 18), groups: ["server"] },
    ],
    [client, server("client")],
  );
});

afterAll(() => cloud.close());

describe.each([4, 6] as const)("an open connection over IPv%i", (family) => {
  const open = () => Conversation.open(cloud.guest("client"), cloud.guest("server"), family, port++);

  it("ends with the rule that had allowed it, at its next packet", async () => {
    const conversation = await open();
    expect(await conversation.answers()).toBe(true);
    await cloud.put("policies.yaml", [client, server("nobody")]);
    expect(await conversation.answers(800)).toBe(false);
    await cloud.put("policies.yaml", [client, server("client")]);
    expect(await conversation.answers(10_000)).toBe(true); // retransmitted: what a guest sees is a pause
    await conversation.close();
  });

  it("does not notice a rule that another one replaces, nor one that is added", async () => {
    const conversation = await open();
    await cloud.put("policies.yaml", [client, server("client", "others")]);
    expect(await conversation.answers()).toBe(true);
    await cloud.put("policies.yaml", [client, server("others", "client")]);
    expect(await conversation.answers()).toBe(true);
    await cloud.put("policies.yaml", [client, server("client")]);
    expect(await conversation.answers()).toBe(true);
    await conversation.close();
  });

  it("outlives the agent, killed and started again", async () => {
    const conversation = await open();
    expect(await conversation.answers()).toBe(true);
    await cloud.agent.kill();
    expect(await conversation.answers()).toBe(true);
    await cloud.agent.startEnforcing(2);
    expect(await conversation.answers()).toBe(true);
    await conversation.close();
  });
});

describe("while the agent is dead", () => {
  it("rules hold as before, a tap that comes back passes nothing, and the agent lets it in again", async () => {
    const [guest, other] = [cloud.guest("client"), cloud.guest("server")];
    const inbound = await Conversation.open(guest, other, 4, port++);
    expect(await inbound.answers()).toBe(true);
    await cloud.agent.kill();
    expect(await other.probe.tcp(guest.v4, 80, 300)).toMatchObject({ result: "timeout" });
    await guest.unplug();
    await guest.plug();
    expect(await guest.probe.ping("192.0.2.1", 300)).not.toMatchObject({ result: "ok" });
    expect(await guest.probe.ping(other.v4, 300)).not.toMatchObject({ result: "ok" });
    await cloud.agent.startEnforcing(2);
    expect(await inbound.answers(10_000)).toBe(true);
    await inbound.close();
  });
});
