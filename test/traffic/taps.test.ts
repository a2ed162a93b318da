/** What becomes of taps under the agent: after each, the right guest's traffic passes, and nothing of the wrong one. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { AgentStatus } from "../../src/agent/status.js";
import { Cloud, endpointOf, type Member } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { group, inGroup, type Resource, type RuleObject } from "../support/resources.js";

const both = (rule: RuleObject): RuleObject[] => [
  { action: "Allow", ipVersion: 4, ...rule },
  { action: "Allow", ipVersion: 6, ...rule },
];
const member = group("member", { ingress: both({ source: { selector: inGroup("member") } }), egress: both({}) });
const other = group("other", { egress: both({}) });
const VIP = "10.65.0.70";

const a: Member = { spec: guestSpec("a", 11), groups: ["member"] };
const b: Member = { spec: guestSpec("b", 21), groups: ["member"] };
const late: Member = { spec: guestSpec("late", 31), groups: ["member"] };
/** May send, is of no group that anyone admits. */
const wrong: Member = { spec: guestSpec("wrong", 41), groups: ["other"] };
const all = [a, b, wrong];

let cloud: Cloud;
const ip = (...lines: string[]): Promise<void> => cloud.world.host.ip(...lines);

beforeAll(async () => {
  cloud = await Cloud.create(all, [member, other]);
});
afterAll(() => cloud.close());

/** Of any guest, over IPv4: a ping comes back. */
const reaches = async (from: string, to: string, timeout = 300): Promise<boolean> =>
  (await cloud.guest(from).probe.ping(to, timeout)).result === "ok";
const eventually = (check: () => Promise<void>): Promise<void> => vi.waitFor(check, { timeout: 10_000, interval: 50 });
const soon = (from: string, to: string, expected = true): Promise<void> =>
  eventually(async () => expect(await reaches(from, to)).toBe(expected));

/** All that holds when all is well. */
async function right(): Promise<void> {
  const [one, two, three] = [cloud.guest("a"), cloud.guest("b"), cloud.guest("wrong")];
  await soon("a", two.v4);
  await soon("b", one.v4);
  await soon("a", two.v6);
  expect(await reaches("wrong", two.v4)).toBe(false);
  expect(await reaches("wrong", one.v4)).toBe(false);
  expect(await reaches("a", three.v4)).toBe(false);
}

async function status(): Promise<AgentStatus> {
  return (JSON.parse(await cloud.agent.torbie(["status", "--json"])) as { agent: AgentStatus }).agent;
}
const withoutProblems = (): Promise<void> => eventually(async () => expect((await status()).problems).toEqual([]));

describe("a tap and its endpoint", () => {
  it("the tap first: it passes nothing until its endpoint is known", async () => {
    await cloud.world.addGuest(late.spec);
    await eventually(async () => {
      expect((await status()).interfaces.taps.map(({ name }) => name)).toContain("taplate");
    });
    expect(await reaches("late", cloud.guest("a").v4)).toBe(false);
    expect(await reaches("a", cloud.guest("late").v4)).toBe(false);
    await cloud.put("endpoints.yaml", [...all, late].map(endpointOf));
    await soon("late", cloud.guest("a").v4);
    await soon("a", cloud.guest("late").v4);
  });

  it("the endpoint first: its tap passes as soon as it appears", async () => {
    await cloud.guest("late").unplug();
    await eventually(async () =>
      expect((await status()).endpoints.find(({ endpoint }) => endpoint === "late")).toMatchObject({ enforced: false }),
    );
    expect(await reaches("a", cloud.guest("late").v4)).toBe(false);
    await cloud.guest("late").plug();
    await soon("a", cloud.guest("late").v4);
    await right();
  });

  it("made some time before it is given its MAC and switched on: the guest is never told another MAC", async () => {
    await cloud.guest("late").unplug();
    await ip("tuntap add dev taplate mode tap vnet_hdr");
    await eventually(async () =>
      expect((await status()).endpoints.find(({ endpoint }) => endpoint === "late")).toMatchObject({
        enforced: false,
        why: "its interface has not been switched on yet",
      }),
    );
    expect(await cloud.world.host.run(["tc", "filter", "show", "dev", "taplate", "ingress"])).toContain("tap_ingress");
    await cloud.guest("late").plug();
    await soon("late", cloud.guest("a").v6);
    const known = await cloud.guest("late").run(["ip", "neigh", "show", cloud.guest("a").v6]);
    expect(known).toContain("fe:16:3e:00:65:1f");
    await soon("late", cloud.guest("a").v4);
    await ip("link set taplate down");
    expect((await status()).endpoints.find(({ endpoint }) => endpoint === "late")).toMatchObject({ enforced: true });
    await ip("link set taplate up");
    await soon("a", cloud.guest("late").v4);
    await cloud.guest("late").unplug();
    await ip("link del taplate");
    await cloud.guest("late").plug();
  });

  it("the endpoint goes: its tap passes nothing more", async () => {
    await cloud.put("endpoints.yaml", all.map(endpointOf));
    expect(await reaches("late", cloud.guest("a").v4)).toBe(false);
    expect(await reaches("a", cloud.guest("late").v4)).toBe(false);
    await cloud.world.removeGuest("late");
    await right();
  });
});

describe("a tap that is pulled away", () => {
  it("again and again, while edits are being applied: the end is right", async () => {
    const edits = (async () => {
      for (let i = 0; i < 8; i++)
        await cloud.put("policies.yaml", [
          member,
          group("other", { egress: both(i % 2 === 0 ? { protocol: 17 } : {}) }),
        ]);
    })();
    for (let i = 0; i < 8; i++) {
      await cloud.guest("b").unplug();
      await cloud.guest("b").plug();
    }
    await edits;
    await cloud.put("policies.yaml", [member, group("other", { egress: both({ protocol: 17 }) })]);
    await cloud.put("policies.yaml", [member, other]);
    await right();
    await withoutProblems();
  });

  it("its place taken by another guest's: that guest's packets are not the endpoint's", async () => {
    await cloud.guest("b").unplug();
    await cloud.world.addGuest({ ...guestSpec("imposter", 51), tap: "tapb" });
    await eventually(async () =>
      expect((await status()).endpoints.find(({ endpoint }) => endpoint === "b")).toMatchObject({ enforced: true }),
    );
    expect(await reaches("imposter", cloud.guest("a").v4)).toBe(false);
    expect(await cloud.drops("b")).toMatchObject({ SPOOFED_ARP: expect.any(Number) as number });
    await cloud.world.removeGuest("imposter");
    await cloud.guest("b").plug();
    await right();
  });

  it("down and up twenty times, fast", async () => {
    for (let i = 0; i < 20; i++) await ip("link set tapb down", "link set tapb up");
    await right();
    await withoutProblems();
  });
});

describe("a tap that is renamed", () => {
  it("to a name of ours that no endpoint has: passes nothing; back: passes again", async () => {
    await ip("link set tapb name tapelse");
    await soon("a", cloud.guest("b").v4, false);
    expect(await reaches("b", cloud.guest("a").v4)).toBe(false);
    await ip("link set tapelse name tapb");
    await right();
  });

  it("to a name that is not ours: it has no program of ours, and no route of ours", async () => {
    await ip("link set tapb name elsewhere0");
    await eventually(async () => {
      expect(await cloud.world.host.run(["tc", "filter", "show", "dev", "elsewhere0", "ingress"])).not.toContain(
        "tap_",
      );
      expect(await cloud.world.host.run(["ip", "route", "show", "proto", "116", "dev", "elsewhere0"])).toBe("");
    });
    expect(await reaches("a", cloud.guest("b").v4)).toBe(false);
    await ip("link set elsewhere0 name tapb");
    await right();
  });

  it("two that swap their names: neither guest is taken for the other", async () => {
    await ip("link set tapwrong name swap0", "link set tapb name tapwrong", "link set swap0 name tapb");
    await eventually(async () => {
      const taps = (await status()).interfaces.taps;
      expect(taps.find(({ name }) => name === "tapb")?.mac).toBe("fe:16:3e:00:65:29"); // of "wrong"
    });
    expect(await reaches("wrong", cloud.guest("a").v4)).toBe(false); // with its own addresses on b's port
    expect(await reaches("b", cloud.guest("a").v4)).toBe(false);
    await ip("link set tapwrong name swap0", "link set tapb name tapwrong", "link set swap0 name tapb");
    await right();
  });
});

it("a tap that becomes a bridge's port is let go, and taken back when it is freed", async () => {
  await ip("link add tbbr0 type bridge", "link set tbbr0 up", "link set tapb master tbbr0");
  await eventually(async () => {
    expect((await status()).interfaces.taps.map(({ name }) => name)).not.toContain("tapb");
    expect(await cloud.world.host.run(["tc", "filter", "show", "dev", "tapb", "ingress"])).not.toContain("tap_");
  });
  expect(await reaches("a", cloud.guest("b").v4)).toBe(false);
  await ip("link set tapb nomaster");
  await right();
  await ip("link del tbbr0");
});

describe("what two endpoints claim", () => {
  const claiming = (): Resource => {
    const { key, object } = endpointOf({ spec: guestSpec("zz", 61), groups: ["member"] });
    return { key, object: { ...object, spec: { ...(object["spec"] as object), interfaceName: "tapb" } } };
  };

  it("a tap: the lowest id keeps it, the other passes nothing, and status names both", async () => {
    const late = claiming();
    await cloud.put("endpoints.yaml", [...all.map(endpointOf), late]);
    await right();
    expect(await reaches("a", "10.65.0.61")).toBe(false);
    const { problems, endpoints } = await status();
    expect(problems).toEqual([
      {
        where: late.key,
        code: "INTERFACE_CLAIMED_TWICE",
        what: expect.stringContaining(endpointOf(b).key) as string,
        consequence: expect.stringMatching(/^this endpoint passes nothing/) as string,
      },
    ]);
    expect(endpoints.filter(({ interface: name }) => name === "tapb").map(({ enforced }) => enforced)).toEqual([
      true,
      false,
    ]);
    await cloud.put("endpoints.yaml", all.map(endpointOf));
    await withoutProblems();
    await right();
  });

  it("an address: whoever is there gets what is sent to it", async () => {
    const more = { pairs: [{ ip: VIP }] };
    await cloud.put("endpoints.yaml", [
      endpointOf({ ...a, more }),
      endpointOf({ ...b, more }),
      endpointOf({ ...wrong, groups: ["member"] }),
    ]);
    for (const name of ["a", "b"]) await cloud.guest(name).namespace.ip(`addr add ${VIP}/32 dev lo`);
    await soon("wrong", VIP);
    await cloud.guest("a").unplug();
    await soon("wrong", VIP);
    await cloud.guest("a").plug();
    await cloud.guest("b").unplug();
    await soon("wrong", VIP);
    await cloud.guest("b").plug();
    for (const name of ["a", "b"]) await cloud.guest(name).namespace.ip(`addr del ${VIP}/32 dev lo`);
    await cloud.put("endpoints.yaml", all.map(endpointOf));
    await right();
  });
});

describe("what changes about a tap", () => {
  const ping = (size: number): Promise<string> =>
    cloud
      .guest("a")
      .run(["ping", "-c1", "-W1", "-Mdo", `-s${size}`, cloud.guest("b").v4])
      .catch((error: unknown) => String(error));

  it("its MTU: what no longer fits is answered with the new one", async () => {
    expect(await ping(1472)).toContain("1 received");
    await ip("link set tapb mtu 1400");
    await eventually(async () =>
      expect((await status()).interfaces.taps.find(({ name }) => name === "tapb")?.mtu).toBe(1400),
    );
    await eventually(async () => expect(await ping(1472)).not.toContain("1 received"));
    expect(await cloud.guest("a").run(["ip", "route", "get", cloud.guest("b").v4])).toContain("mtu 1400");
    expect(await ping(1372)).toContain("1 received");
    await ip("link set tapb mtu 1500");
    await cloud.guest("a").run(["ip", "route", "flush", "cache"]);
    await eventually(async () => expect(await ping(1472)).toContain("1 received"));
  });

  it("its MAC: the guest is told the new one, and what it sends to the old one goes nowhere", async () => {
    await ip("link set tapb address fe:16:3e:99:99:99");
    await eventually(async () =>
      expect((await status()).interfaces.taps.find(({ name }) => name === "tapb")?.mac).toBe("fe:16:3e:99:99:99"),
    );
    const { namespace } = cloud.guest("b");
    // The status tells what the kernel said; what the guest is told follows with the next pass.
    await eventually(async () => {
      await namespace.ip("neigh flush all");
      for (const address of [cloud.guest("a").v4, cloud.guest("a").v6]) {
        expect(await reaches("b", address)).toBe(true);
        expect(await namespace.run(["ip", "neigh", "show", address])).toContain("fe:16:3e:99:99:99");
      }
    });
    await right();
    const drops = await cloud.dropsDuring("b", async () => {
      await namespace.ip("neigh replace 10.65.0.11 lladdr fe:16:3e:00:65:15 dev eth0 nud permanent");
      expect(await reaches("b", cloud.guest("a").v4)).toBe(false);
    });
    expect(drops).toMatchObject({ WRONG_DESTINATION_MAC: expect.any(Number) as number });
    await namespace.ip("neigh del 10.65.0.11 dev eth0");
    await right();
  });
});
