/** `drop watch` and `drop list` over a made-up kernel. */
import { describe, expect, it } from "vitest";
import type { ChainDrop, Context, RulesView } from "../../../src/cli/context.js";
import { grownBy, type DropCount } from "../../../src/cli/drop-counts.js";
import { DataplaneError } from "../../../src/errors.js";
import type { DroppedPacket, DropFilter } from "../../../src/dataplane/bpf/drop-watch.js";
import type { Address } from "../../../src/model/types.js";
import { cli, ENDPOINTS } from "./fake.js";

const DROP: DroppedPacket = {
  time: 0,
  endpoint: 1,
  reason: "DENIED_INGRESS",
  sentence: "A Deny rule that applies to the receiver matched.",
  direction: "ingress",
  rule: 9,
  ifindex: 102,
  length: 60,
  vlan: 0,
  etherType: 0x0800,
  family: 4,
  protocol: 6,
  source: { mac: "fa:16:3e:00:00:02", address: "10.65.0.2" as Address, port: 4242 },
  destination: { mac: "fe:16:3e:00:00:02", address: "10.65.0.1" as Address, port: 80 },
  icmp: null,
  arp: null,
  fragmentOffset: null,
};

/** A watch that is told these at once, then missed so many. */
function told(drops: readonly DroppedPacket[], missed = 0n) {
  const asked: DropFilter[] = [];
  let closed = 0;
  const watchDrops: Context["watchDrops"] = (_tables, filter, onDrop) => {
    asked.push(filter);
    drops.forEach(onDrop);
    return Promise.resolve({ refresh: () => undefined, missed: () => missed, close: () => void closed++ });
  };
  return { asked, change: { watchDrops }, closed: () => closed };
}

describe("drop watch", () => {
  it("says why, where, what and of which groups; each reason is explained once", async () => {
    const watch = told([DROP, DROP], 4n);
    const { exit, out, err } = await cli(["drop", "watch"], watch.change);
    expect(exit).toBe(0);
    expect(out.split("\n")[0]).toBe(
      "00:00:00.000 DENIED_INGRESS ingress tap1a2b3c4d-01: tcp 10.65.0.2:4242 (tap1a2b3c4d-02) -> 10.65.0.1:80 (tap1a2b3c4d-01); rule number 9 (gone); groups np:openstack/web, np:openstack/default",
    );
    expect(err.match(/DENIED_INGRESS: A Deny rule/g)).toHaveLength(1);
    expect(err).toContain("4 more were dropped and not told");
    expect(watch.closed()).toBe(1);
  });
  it("as JSON is an object a line, missed ones too", async () => {
    const { out } = await cli(["drop", "watch", "--json"], told([DROP], 4n).change);
    const lines = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(lines).toMatchObject([
      {
        what: "drop",
        time: "1970-01-01T00:00:00.000Z",
        port: "tap1a2b3c4d-01",
        interface: "tap1a2b3c4d-02",
        protocol: "tcp",
        source: { name: "tap1a2b3c4d-02" },
      },
      { what: "missed", packets: 4 },
    ]);
  });
  it("asks the kernel for the port and the reasons, and prints what fits the rest", async () => {
    const watch = told([DROP, { ...DROP, protocol: 17 }]);
    const words = ["--port", "web1", "--reason", "denied-ingress", "--protocol", "udp", "--rate", "50"];
    const { out } = await cli(["drop", "watch", ...words], watch.change);
    expect(watch.asked).toEqual([{ reasons: [22], rate: 50, port: { number: 1, ifindex: 101 } }]);
    expect(out.trimEnd().split("\n")).toHaveLength(1);
    const all = told([]);
    await cli(["drop", "watch"], all.change);
    await cli(["drop", "watch", "--all"], all.change);
    expect(all.asked.map(({ reasons }) => [reasons?.includes(35), reasons?.includes(19)])).toEqual([
      [false, true],
      [true, true],
    ]);
    const direction = await cli(["drop", "watch", "--direction", "egress"], told([DROP]).change);
    expect(direction.out).toBe("");
    const address = await cli(["drop", "watch", "--address", "10.65.0.0/31"], told([DROP]).change);
    expect(address.out).not.toBe("");
  });
  it("a name that is out to deceive stays in its line", async () => {
    const drop = {
      ...DROP,
      endpoint: 3,
      rule: 0,
      source: { ...DROP.source, address: null },
      arp: { operation: 2, senderMac: "x" },
    };
    const { out } = await cli(["drop", "watch"], told([{ ...drop, reason: "SPOOFED_ARP" }]).change);
    expect(out.trimEnd().split("\n")).toHaveLength(1);
    expect(out).not.toMatch(/\u001b/);
  });
  it("another's watch, and nothing that is pinned, have their status", async () => {
    const watchDrops = () => Promise.reject(new DataplaneError("WATCHED", "another torbie drop watch (pid 7) runs"));
    expect(await cli(["drop", "watch"], { watchDrops })).toMatchObject({ exit: 6 });
    expect(await cli(["drop", "watch"], { pinned: false })).toMatchObject({ exit: 3 });
    expect(await cli(["drop", "watch", "--direction", "up"])).toMatchObject({ exit: 2 });
  });
});

describe("drop list", () => {
  it("has the counters with groups and a sentence, what does no harm left out", async () => {
    const { out } = await cli(["drop", "list"]);
    expect(out).toMatch(
      /^DROPPED +PORT +REASON +GROUPS +WHAT IT MEANS\n7 +tap1a2b3c4d-01 +SPOOFED_ADDRESS +np:openstack\/web /,
    );
    expect(out).not.toContain("ARP_ABSORBED");
    expect((await cli(["drop", "list", "--all"])).out).toContain("ARP_ABSORBED");
    const lines = (await cli(["drop", "list", "--port", "web1", "--json"])).out.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([{ reason: "SPOOFED_ADDRESS", packets: 7 }]);
    expect((await cli(["drop", "list", "--seconds", "2"])).out).toBe("Nothing was dropped in 2 s.\n");
  });
  it("growth: a counter that went back began anew", () => {
    const count = (reason: string, packets: bigint): DropCount => ({
      port: "p",
      id: "i",
      groups: [],
      reason,
      sentence: "",
      packets,
    });
    expect(
      grownBy(
        [count("A", 5n), count("B", 9n), count("C", 1n)],
        [count("A", 7n), count("B", 3n), count("C", 1n), count("D", 4n)],
      ).map(({ reason, packets }) => [reason, packets]),
    ).toEqual([
      ["D", 4n],
      ["B", 3n],
      ["A", 2n],
    ]);
  });
});

describe("where iptables enforces", () => {
  const drop = (packets: bigint): ChainDrop => ({
    endpoint: 1,
    reason: "POLICY_INGRESS",
    sentence: "no rule",
    packets,
    chain: "TRB-to-tap1",
    family: 4,
    direction: "ingress",
  });
  /** Each reading finds the next. */
  const rules = (...readings: readonly (readonly ChainDrop[])[]) => {
    let at = 0;
    let closed = 0;
    const view = {
      endpoints: () => [...ENDPOINTS],
      name: () => undefined,
      policy: () => undefined,
      dropCounts: () => Promise.resolve(readings[Math.min(at++, readings.length - 1)] ?? []),
      close: () => void closed++,
    } as Partial<RulesView> as RulesView;
    let pauses = 0;
    return {
      change: { openRules: () => Promise.resolve(view), pause: () => Promise.resolve(pauses++ < 3) },
      closed: () => closed,
    };
  };
  it("watch prints what counters grew by, by chain and direction, and says that it is no more than that", async () => {
    const fake = rules([drop(5n), drop(1n)], [drop(9n)], [drop(9n)]);
    const { exit, out, err } = await cli(["drop", "watch", "--json"], fake.change);
    expect(exit).toBe(0);
    expect(
      out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as object),
    ).toMatchObject([
      { what: "drops", packets: 3, chain: "TRB-to-tap1", direction: "ingress", port: "tap1a2b3c4d-01" },
    ]);
    expect(err).toBe("");
    expect(fake.closed()).toBe(1);
    const text = await cli(["drop", "watch"], rules([], [drop(2n)]).change);
    expect(text.err).toContain("no single packet can be told");
    expect(text.out).toContain("POLICY_INGRESS ingress tap1a2b3c4d-01: 2 packets, IPv4, chain TRB-to-tap1");
  });
  it("refuses filters that need packets, and lists chains", async () => {
    const { exit, err } = await cli(["drop", "watch", "--address", "10.0.0.1"], rules([]).change);
    expect(exit).toBe(5);
    expect(err).toContain("keeps no packet");
    expect((await cli(["drop", "list"], rules([drop(2n)]).change)).out).toContain("TRB-to-tap1 IPv4");
  });
});
