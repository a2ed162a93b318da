/** What a hostile guest puts on its wire: nothing of it arrives, each is counted with its reason, and the honest frame passes (S2, S6). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tapMac } from "../../src/demo/world/guest.js";
import { Cloud } from "../support/cloud.js";
import { guestSpec } from "../support/guests.js";
import { BROADCAST, eth, type Frame } from "../support/packet.js";
import { group, type RuleObject } from "../support/resources.js";
import { needsChecksum, NO_OFFLOAD, Wire } from "../support/wire.js";

const EVERYTHING: RuleObject[] = [
  { action: "Allow", ipVersion: 4 },
  { action: "Allow", ipVersion: 6 },
];
const hostile = group("hostile", { egress: EVERYTHING });
const victims = group("victims", {
  ingress: [{ action: "Allow", protocol: "UDP", destination: { ports: [80] } }],
  egress: EVERYTHING,
});

const attacker = guestSpec("evil", 11);
const target = guestSpec("victim", 21);
/** Has no checksum offload: what it is given is finished by the host. */
const plain = guestSpec("plain", 31, 65, { offload: false });
const HOST_MAC = tapMac(attacker.mac);
const V4 = { src: "10.65.0.11", dst: "10.65.0.21" };
const V6 = { src: "2001:db8:65::11", dst: "2001:db8:65::21" };

let cloud: Cloud;
let evil: Wire;
let victim: Wire;
let bare: Wire;
let serial = 0;

beforeAll(async () => {
  cloud = await Cloud.create(
    [
      { spec: attacker, groups: ["hostile"] },
      { spec: target, groups: ["victims"] },
      { spec: plain, groups: ["victims"] },
    ],
    [hostile, victims],
  );
  [evil, victim, bare] = (await Promise.all(
    ["evil", "victim", "plain"].map((name) => Wire.open(cloud.guest(name).namespace)),
  )) as [Wire, Wire, Wire];
});

afterAll(async () => {
  await Promise.all([evil, victim, bare].map((wire) => wire?.close()));
  await cloud.close();
});

const honest = { from: attacker.mac, to: HOST_MAC };
/** A text that no other frame of this file holds. */
const marker = (): Buffer => Buffer.from(`<frame ${serial++} of spoof>`);
const udp = (frame: Frame, port = 80): Frame => frame.udp({ sport: 40_000, dport: port });

/** Sends, then an honest frame: when that one has come the first has either come before it or never will. */
async function arrives(
  build: (payload: Buffer) => Frame,
  header: Buffer = NO_OFFLOAD,
  to: Wire = victim,
  dst = V4.dst,
): Promise<Buffer | undefined> {
  const [text, after] = [marker(), marker()];
  await evil.send(build(text).bytes(), header);
  await evil.send(
    udp(eth(honest).ip4({ ...V4, dst }))
      .payload(after)
      .bytes(),
  );
  expect(await to.receive(({ frame }) => frame.includes(after), 2_000)).toBeDefined();
  return to.received.find(({ frame }) => frame.includes(text))?.frame;
}

describe("the honest frame", () => {
  it.each([
    ["IPv4", (text: Buffer) => udp(eth(honest).ip4(V4)).payload(text)],
    ["IPv6", (text: Buffer) => udp(eth(honest).ip6(V6)).payload(text)],
    ["IPv4 with VLAN tag 0, which counts as none", (text: Buffer) => udp(eth(honest).vlan(0).ip4(V4)).payload(text)],
  ])("passes: %s", async (_, build) => {
    const frame = await arrives(build);
    expect(frame).toBeDefined();
    expect(frame?.subarray(0, 6).toString("hex")).toBe(target.mac.replaceAll(":", ""));
    expect(frame?.subarray(6, 12).toString("hex")).toBe(tapMac(target.mac).replaceAll(":", ""));
  });
});

describe("a hostile frame", () => {
  const cases: [string, string, (text: Buffer) => Frame][] = [
    [
      "another's IPv4 address",
      "SPOOFED_ADDRESS",
      (text) => udp(eth(honest).ip4({ ...V4, src: "10.65.0.31" })).payload(text),
    ],
    [
      "an address of nobody",
      "SPOOFED_ADDRESS",
      (text) => udp(eth(honest).ip4({ ...V4, src: "203.0.113.9" })).payload(text),
    ],
    [
      "another's IPv6 address",
      "SPOOFED_ADDRESS",
      (text) => udp(eth(honest).ip6({ ...V6, src: "2001:db8:65::31" })).payload(text),
    ],
    ["another's MAC", "SPOOFED_MAC", (text) => udp(eth({ ...honest, from: plain.mac }).ip4(V4)).payload(text)],
    ["a VLAN tag", "VLAN_TAGGED", (text) => udp(eth(honest).vlan(7).ip4(V4)).payload(text)],
    [
      "the receiver's own MAC",
      "WRONG_DESTINATION_MAC",
      (text) => udp(eth({ ...honest, to: target.mac }).ip4(V4)).payload(text),
    ],
    [
      "broadcast",
      "MULTICAST",
      (text) => udp(eth({ ...honest, to: BROADCAST }).ip4({ ...V4, dst: "255.255.255.255" })).payload(text),
    ],
    ["a raw L2 protocol", "UNKNOWN_ETHERTYPE", (text) => eth({ ...honest, type: 0x88b5 }).payload(text)],
    ["a port that no rule admits", "POLICY_INGRESS", (text) => udp(eth(honest).ip4(V4), 81).payload(text)],
  ];

  const names = ["evil", "victim"];
  const counted = async (): Promise<Record<string, number>> => {
    const all = await Promise.all(names.map((name) => cloud.drops(name)));
    return Object.fromEntries(
      cases.map(([, reason]) => [reason, all.reduce((sum, drops) => sum + (drops[reason] ?? 0), 0)]),
    );
  };
  let before: Record<string, number>;
  beforeAll(async () => {
    before = await counted();
  });

  it.each(cases)("with %s never arrives (%s)", async (_, _reason, build) => {
    expect(await arrives(build)).toBeUndefined();
  });

  it("is counted with its reason", async () => {
    const expected: Record<string, number> = { ...before };
    for (const [, reason] of cases) expected[reason] = (expected[reason] ?? 0) + 1;
    // The guests' own stacks send multicast too (MLD, router solicitations).
    const { MULTICAST = 0, ...rest } = await counted();
    const { MULTICAST: least = 0, ...others } = expected;
    expect(rest).toEqual(others);
    expect(MULTICAST).toBeGreaterThanOrEqual(least);
  });
});

describe("checksum metadata", () => {
  /** Ethernet 14, IPv4 20: the UDP header begins at 34, its checksum is at 6 of that. */
  const L4 = 34;

  it("that tells the truth passes, to a guest with offload and to one without", async () => {
    const build = (dst: string) => (text: Buffer) => udp(eth(honest).ip4({ ...V4, dst })).payload(text);
    expect(await arrives(build(V4.dst), needsChecksum(L4, 6))).toBeDefined();
    expect(await arrives(build("10.65.0.31"), needsChecksum(L4, 6), bare, "10.65.0.31")).toBeDefined();
  });

  it.each([
    ["the destination port", L4, 2],
    ["the source port", L4, 0],
    ["the length", L4, 4],
    ["a byte of the payload", L4, 10],
  ])("that would rewrite %s after it was judged never brings the packet to another port", async (_, start, offset) => {
    const frame = await arrives(
      (text) => udp(eth(honest).ip4({ ...V4, dst: "10.65.0.31" })).payload(text),
      needsChecksum(start, offset),
      bare,
      "10.65.0.31",
    );
    if (frame !== undefined) expect(frame.readUInt16BE(L4 + 2)).toBe(80);
    else expect(await cloud.drops("evil")).toHaveProperty("CHECKSUM_METADATA");
  });
});
