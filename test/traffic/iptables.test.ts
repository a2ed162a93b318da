/** The iptables dataplane as a whole: the real agent, guests behind real taps, its CLI, its death, and its end. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cloud } from "../support/cloud.js";
import { Conversation } from "../support/conversation.js";
import { guestSpec } from "../support/guests.js";
import { group, inGroup, type RuleObject } from "../support/resources.js";

const EVERYTHING: RuleObject[] = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];
const port = (number: number, more: RuleObject = {}): RuleObject => ({
  action: "Allow",
  protocol: "TCP",
  destination: { ports: [number] },
  ...more,
});
const web = group("web", { ingress: [port(80)], egress: EVERYTHING });
const db = (from: string) =>
  group("db", {
    ingress: [5432, 6004, 6006].map((number) => port(number, { source: { selector: inGroup(from) } })),
    egress: EVERYTHING,
  });

let cloud: Cloud;
beforeAll(async () => {
  cloud = await Cloud.create(
    [
      { spec: guestSpec("web1", 11), groups: ["web"] },
      { spec: guestSpec("db1", 21), groups: ["db"] },
    ],
    [web, db("web")],
    ["--dataplane", "iptables"],
  );
}, 60_000);
afterAll(() => cloud.close());

const chains = (): Promise<string> => cloud.world.host.run(["sh", "-c", "iptables-save | grep -c ^:TRB- || true"]);

describe.each([4, 6] as const)("over IPv%i", (family) => {
  const probe = (name: string) => cloud.guest(name).probe;
  const address = (name: string) => cloud.guest(name).address(family);

  it("guests of one subnet reach each other by their groups' rules, one hop away; drops are counted by port", async () => {
    expect(await probe("web1").tcp(address("db1"), 5432)).toMatchObject({ result: "ok", hops: 63 });
    const drops = await cloud.dropsDuring("db1", async () => {
      expect(await probe("web1").tcp(address("db1"), 80, 300)).toMatchObject({ result: "timeout" });
    });
    expect(drops).toEqual({ POLICY_INGRESS: 1 });
  });

  it("a connection ends with the rule that had allowed it, and goes on with it", async () => {
    const conversation = await Conversation.open(cloud.guest("web1"), cloud.guest("db1"), family, 6000 + family);
    expect(await conversation.answers()).toBe(true);
    await cloud.put("policies.yaml", [web, db("nobody")]);
    expect(await conversation.answers(800)).toBe(false);
    await cloud.put("policies.yaml", [web, db("web")]);
    expect(await conversation.answers(10_000)).toBe(true);
    await conversation.close();
  });

  it("without its agent all goes on: new connections, and who asks for a neighbour is answered", async () => {
    await cloud.agent.kill();
    await cloud.guest("web1").namespace.ip("neigh flush dev eth0");
    expect(await probe("web1").tcp(address("db1"), 5432)).toMatchObject({ result: "ok" });
    expect(await probe("db1").tcp(address("web1"), 5432, 300)).toMatchObject({ result: "timeout" });
    await cloud.agent.startEnforcing(2);
    expect(cloud.agent.status()?.dataplane.why).toContain("adopted what stood");
  });
});

it("the CLI says what is enforced, also without the agent", async () => {
  const shown = async (...words: string[]) => JSON.parse(await cloud.agent.torbie([...words, "--json"])) as object;
  expect(await shown("status")).toMatchObject({ agent: { dataplane: { name: "iptables" }, problems: [] } });
  await cloud.agent.stop();
  const { endpoints } = (await shown("endpoint", "list")) as { endpoints: readonly object[] };
  expect(endpoints).toMatchObject([
    { interface: "tapdb1", state: "enforced" },
    { interface: "tapweb1", state: "enforced" },
  ]);
  const policy = JSON.stringify(await shown("policy", "show", "tapdb1"));
  expect(policy).toContain('"first":5432');
  expect(policy).toContain("np:openstack/ossg.default.db");
});

it("flows, counters, routes and sets can be read there too, and flows be forgotten", async () => {
  if (cloud.agent.pid === undefined) await cloud.agent.startEnforcing(2);
  const conversation = await Conversation.open(cloud.guest("web1"), cloud.guest("db1"), 4, 6004);
  try {
    expect(await conversation.answers()).toBe(true);
    const lines = async (...words: string[]) =>
      (await cloud.agent.torbie([...words, "--json"]))
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as { from: { name: string }; to: { name: string; port: number } });
    const flows = await lines("flow", "list", "--port", "web1", "--protocol", "tcp", "--state", "established");
    expect(flows).toContainEqual(
      expect.objectContaining({
        from: expect.objectContaining({ name: "tapweb1" }) as unknown,
        to: expect.objectContaining({ name: "tapdb1", port: 6004 }) as unknown,
      }),
    );
    const shown = async (...words: string[]) => JSON.parse(await cloud.agent.torbie([...words, "--json"])) as object;
    expect(await shown("counter", "list")).toMatchObject({
      rules: expect.arrayContaining([
        expect.objectContaining({ rule: expect.stringMatching(/^np:\S*db ingress IPv4: .*-p tcp/) as unknown }),
      ]) as unknown,
    });
    const { routes } = (await shown("route", "list")) as { routes: { known: string }[] };
    expect(routes.map(({ known }) => known)).not.toContain("kernel only");
    expect(routes.length).toBeGreaterThan(3);
    const { sets } = (await shown("map", "list")) as { sets: { set: string; of: string | null; entries: number }[] };
    const members = sets.find(({ of }) => of?.includes("web") === true);
    expect(members?.entries).toBeGreaterThan(0);
    expect(await cloud.agent.torbie(["map", "dump", members?.set ?? ""])).toMatch(/^10\.|^2001:/);
    const flushed = (await shown("flow", "flush", "--port", "db1", "--protocol", "tcp")) as { flows: number };
    expect(flushed.flows).toBeGreaterThan(0);
    // Judged anew as a first packet, and allowed.
    expect(await conversation.answers(10_000)).toBe(true);
  } finally {
    await conversation.close();
  }
});

it("cleanup takes all of it away", async () => {
  await cloud.agent.stop();
  expect(Number(await chains())).toBeGreaterThan(10);
  await cloud.agent.torbie(["cleanup", "--open"]);
  expect(Number(await chains())).toBe(0);
  expect(await cloud.world.host.run(["sh", "-c", "ipset list -n; nft list tables"])).not.toMatch(/trb\d|torbie/);
});
