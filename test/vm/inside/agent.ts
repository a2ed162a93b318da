/**
 * A real agent that is left to choose its dataplane, guests behind real taps: what it takes on this kernel and why, that it enforces, and that
 * who is started after a kill -9 adopts what stands, under traffic.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Guest } from "../../../src/demo/world/guest.js";
import type { Probe } from "../../../src/demo/world/probe.js";
import { OUTSIDE } from "../../../src/demo/world/world.js";
import type { Cloud } from "../../support/cloud.js";
import { pins } from "../../support/pins.js";
import type { Choice } from "../boots.js";
import { chooses, LONG, policies, result, SHORT, streaming, talking, usesRules } from "./cloud.js";

/** As `torbie status` says it. */
const WHY: Readonly<Record<Choice, RegExp>> = {
  clsact: /^bpf: the best that this machine has: kernel \S+, attached by clsact, loaded anew$/,
  tcx: /^bpf: the best that this machine has: kernel \S+, attached by tcx, loaded anew$/,
  "iptables-no-hook":
    /^iptables: not BPF, since kernel \S+ has neither clsact with BPF filters \(modules sch_ingress, cls_bpf\) nor tcx .*: iptables \d\S+ \(\w+\) and nft, written anew$/,
  "iptables-refused":
    /^iptables: not BPF, since kernel \S+ does not let this process load BPF programs .*: iptables \d\S+ \(\w+\) and nft, written anew$/,
};

let cloud: Cloud;
let outside: Probe;
let client: Guest;
let server: Guest;
let close: (() => Promise<void>) | undefined;

beforeAll(async () => {
  ({ cloud, outside, close } = await talking());
  [client, server] = [cloud.guest("client"), cloud.guest("server")];
});
afterAll(() => close?.());

const shown = async (): Promise<string> =>
  (/^ *dataplane +(.*)$/m.exec(await cloud.agent.torbie(["status"])) ?? [])[1] ?? "";

/** Everything that would be made anew if it were not adopted. */
async function inForce(): Promise<unknown> {
  if (!usesRules) return pins(cloud.agent.workspace.pinDir);
  const { host } = cloud.world;
  const texts = await Promise.all(
    [["iptables-save"], ["ip6tables-save"], ["ipset", "save", "-sorted"]].map((argv) => host.run(argv)),
  );
  return texts.map((text) => text.split("\n").filter((line) => !/^[#:]/.test(line)));
}

describe("the dataplane that is chosen", () => {
  it(`is ${chooses}, and the log and status say why`, async () => {
    const log = cloud.agent.lastLines;
    expect(await shown()).toMatch(WHY[chooses]);
    expect(log.includes("the programs can't run here: iptables enforces instead"), log).toBe(usesRules);
  });

  it("is on the taps, and the other is not", async () => {
    const { host } = cloud.world;
    const filters = await host.run(["tc", "filter", "show", "dev", "tapclient", "ingress"]).catch(() => "");
    const rules = await host.run(["iptables-save"]);
    expect(filters.includes("tap_ingress"), "filters of clsact").toBe(chooses === "clsact");
    expect(rules.includes("TRB-"), "rules of iptables").toBe(usesRules);
    const guard = await host.run(["nft", "list", "table", "inet", "torbie_guard"]);
    expect(guard.includes("hook"), "the guard is awake for IP").toBe(!usesRules);
  });
});

describe.each([4, 6] as const)("over IPv%i", (family) => {
  it("what the groups allow passes, and nothing else", async () => {
    const ping = family === 4 ? await result(client.probe.ping(server.v4, LONG)) : "ok";
    expect({
      ping,
      web: await result(client.probe.tcp(server.address(family), 80, LONG)),
      closed: await result(client.probe.tcp(server.address(family), 5432, SHORT)),
      back: await result(server.probe.tcp(client.address(family), 80, SHORT)),
    }).toEqual({ ping: "ok", web: "ok", closed: "timeout", back: "timeout" });
  });

  it("so it is by the uplink", async () => {
    const inward = family === 4 ? await result(outside.udp(server.v4, 7000, LONG)) : "ok";
    expect({
      inward,
      outward: await result(client.probe.tcp(OUTSIDE[family === 4 ? "v4" : "v6"], 80, LONG)),
      closed: await result(outside.tcp(server.address(family), 80, SHORT)),
    }).toEqual({ inward: "ok", outward: "ok", closed: "timeout" });
  });

  it("a rule that comes is in force, and one that goes", async () => {
    const asked = (patience: number) => result(client.probe.tcp(server.address(family), 5432, patience));
    await cloud.put("policies.yaml", policies([80, 5432]));
    expect(await asked(LONG)).toBe("ok");
    await cloud.put("policies.yaml", policies());
    expect(await asked(SHORT)).toBe("timeout");
  });
});

describe("a guest that is stopped and started", () => {
  it("is judged by its new tap, as it was before", async () => {
    await client.unplug();
    await client.plug();
    await vi.waitFor(
      async () =>
        expect(await result(client.probe.tcp(server.v4, 80, LONG)), `the agent said ${cloud.agent.lastLines}`).toBe(
          "ok",
        ),
      { timeout: 20_000 },
    );
    expect(await result(client.probe.tcp(server.v4, 5432, SHORT))).toBe("timeout");
    if (usesRules)
      expect(
        await cloud.world.host.run(["nft", "list", "chain", "netdev", "torbie_link", "t_tapclient"]),
        "what judges its MACs and ARP",
      ).toContain('device "tapclient"');
    expect(cloud.agent.status()?.lastApply?.failures).toEqual([]);
  });
});

describe("an agent that is killed and started again", () => {
  it("is adopted as it stood, and nothing is lost", async () => {
    const before = await inForce();
    const running = [await streaming(client.namespace, server.v4), await streaming(cloud.world.fabric, server.v4)];
    await cloud.agent.kill();
    await sleep(2_000);
    const event = await cloud.agent.startEnforcing(2);
    await sleep(2_000);
    const streams = await Promise.all(running.map((one) => one.end()));
    console.log(`vm: under the restart: ${JSON.stringify(streams)}`);
    for (const { udp, tcp, connections, asked } of streams) {
      expect({ lost: udp.lost, error: tcp.error, failed: connections.failed, unanswered: asked.unanswered }).toEqual({
        lost: 0,
        error: "",
        failed: 0,
        unanswered: 0,
      });
      expect(udp.sent).toBeGreaterThan(10);
      expect(tcp.words).toBeGreaterThan(10);
      expect(connections.made).toBeGreaterThan(3);
    }
    expect(event).toMatchObject({ full: true, failures: [] });
    // How a kernel prints rules is known only once they were written: the same ones are written over those that stand.
    if (!usesRules) expect(event.totalWrites).toBe(0);
    expect(await shown()).toMatch(/adopted what (?:was pinned|stood)$/);
    expect(await inForce()).toEqual(before);
  });

  it("enforces what it enforced", async () => {
    expect(await result(client.probe.tcp(server.v4, 80, LONG))).toBe("ok");
    expect(await result(client.probe.tcp(server.v4, 5432, SHORT))).toBe("timeout");
  });
});
