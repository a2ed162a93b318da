/** What a real Neutron wrote into etcd, enforced by the real agent on taps of the recorded names: what passes and what does not. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OUTSIDE } from "../../src/demo/world/world.js";
import { eth, type Frame } from "../support/packet.js";
import { changed, recorded } from "../support/recorded.js";
import { RecordedHost } from "../support/recorded-host.js";

const POLICY = "/calico/resources/v3/projectcalico.org/networkpolicies/openstack/ossg.default";
const WEB = `${POLICY}.0baff208-ee2e-4ff5-8a05-a696ed6fce0f`;
const DB_GROUP = "has(sg.projectcalico.org/openstack-00beeec6-4108-4e13-8dea-a15bbe1324ab)";
/** The recorded claims of one tap: a port whose device changed while it was bound; the incumbent left the old key. */
const [FIRST, SECOND] = ["00000004", "00000044"].map(
  (device) =>
    `/calico/resources/v3/projectcalico.org/workloadendpoints/openstack/host1-openstack-${device}--aaaa--4bbb--8ccc--000000000001-b44ac235--6274--4505--b328--0753db358f23`,
) as [string, string];
const snapshot = recorded("full");
const TWO_PORTS_OF_ICMP = [
  { where: WEB, code: "PORTS_WITHOUT_PROTOCOL", consequence: "this rule allows nothing" },
  { where: WEB, code: "PORTS_WITHOUT_PROTOCOL", consequence: "this rule allows nothing" },
];

/** Of both families at once: the source decides which. */
const ip = (frame: Frame, src: string, dst: string): Frame =>
  src.includes(":") ? frame.ip6({ src, dst }) : frame.ip4({ src, dst });
type Build = (text: Buffer, frame: Frame) => Frame;
const tcp =
  (src: string, dst: string, dport: number, sport = 40_000): Build =>
  (text, frame) =>
    ip(frame, src, dst).tcp({ sport, dport, flags: "S" }).payload(text);
const udp =
  (src: string, dst: string, dport: number): Build =>
  (text, frame) =>
    ip(frame, src, dst).udp({ sport: 40_000, dport }).payload(text);
const sctp =
  (src: string, dst: string, dport: number): Build =>
  (text, frame) =>
    ip(frame, src, dst).sctp({ sport: 40_000, dport }).payload(text);
const udplite =
  (src: string, dst: string, dport: number): Build =>
  (text, frame) =>
    ip(frame, src, dst).udplite({ sport: 40_000, dport }).payload(text);
const dccp =
  (src: string, dst: string, dport: number): Build =>
  (text, frame) =>
    ip(frame, src, dst).dccp({ sport: 40_000, dport }).payload(text);
const echo =
  (src: string, dst: string): Build =>
  (text, frame) =>
    src.includes(":")
      ? ip(frame, src, dst).icmp6({ type: 128, id: 7 }).payload(text)
      : ip(frame, src, dst).icmp({ type: 8, id: 7 }).payload(text);
const protocol =
  (src: string, dst: string, proto: number): Build =>
  (text, frame) =>
    frame.ip4({ src, dst, proto }).payload(text);

let host: RecordedHost;
const serve = (name: string, guests: Readonly<Record<string, string>>) => {
  beforeAll(async () => {
    host = await RecordedHost.create(snapshot, name, guests);
  });
  afterAll(() => host.close());
};

async function problemsTell(): Promise<{ where: string; code: string; consequence: string }[]> {
  const { problems } = await host.status();
  for (const { where, code, what, consequence } of problems)
    expect([where, code, what, consequence].every((text) => text.length > 3)).toBe(true);
  return problems.map(({ where, code, consequence }) => ({ where: where.split(" ")[0] ?? "", code, consequence }));
}

describe("host1", () => {
  const web = { v4: "10.65.0.151", v6: "fd00:65::1a7" };
  const one = { v4: "10.65.0.147", v6: "fd00:65::1ce" };
  serve("host1", {
    web: "tapb44ac235-62",
    bare: "tape65db060-23",
    one: "tapa9e858a5-72",
    two: "tap82fced89-5b",
    lone: "tap551a75eb-36",
  });
  /** Recorded: TCP from anyone over IPv4; over IPv6, anything from a member of the group (this one is on host2). */
  const known4 = tcp("198.51.100.9", web.v4, 8080);
  const arrives = (build: Build) => host.arrives("web", build, known4);

  it("has no problem but the recorded ones, each with key and consequence", async () => {
    const rest = [
      {
        where: SECOND,
        code: "INTERFACE_CLAIMED_TWICE",
        consequence: expect.stringMatching(/^this endpoint passes nothing; .*00000004.* has the interface$/) as string,
      },
    ];
    const problems = await problemsTell();
    expect(problems).toHaveLength(3);
    expect(problems).toEqual(expect.arrayContaining([...TWO_PORTS_OF_ICMP, ...rest]));
    const { endpoints } = await host.status();
    expect(
      endpoints
        .filter(({ enforced }) => enforced)
        .map(({ interface: name }) => name)
        .sort(),
    ).toEqual(["tapb44ac235-62", "tape65db060-23", "tapa9e858a5-72", "tap82fced89-5b", "tap551a75eb-36"].sort());
    expect(endpoints.find(({ id }) => FIRST.endsWith(id.split("/")[1] ?? "-"))).toMatchObject({ enforced: true });
  });

  const towards: [string, Build, boolean][] = [
    ["TCP 100-200 over IPv6 from the prefix: its first port", tcp("2001:db8:1::7", web.v6, 100), true],
    ["its last port", tcp("2001:db8:1:ffff::7", web.v6, 200), true],
    ["one port below", tcp("2001:db8:1::7", web.v6, 99), false],
    ["one port above", tcp("2001:db8:1::7", web.v6, 201), false],
    ["one prefix further", tcp("2001:db8:2::7", web.v6, 150), false],
    ["UDP instead", udp("2001:db8:1::7", web.v6, 150), false],
    ["anything over IPv6 from a member of the group on another host", udp("fd00:65::10", web.v6, 4_000), true],
    ["the same from a member of another group", udp("fd00:66::3b", web.v6, 4_000), false],
    ["the same from a port without groups", udp("fd00:65::36d", web.v6, 4_000), false],
    ["UDP 53 from the other group", udp("10.66.0.222", web.v4, 53), true],
    ["UDP from anyone", udp("198.51.100.9", web.v4, 53), false],
    ["echo from anyone over IPv4", echo("198.51.100.9", web.v4), true],
    ["echo from anyone over IPv6", echo("2001:db8:2::7", web.v6), true],
    ["SCTP's first port", sctp("198.51.100.9", web.v4, 7000), true],
    ["SCTP, one port above", sctp("198.51.100.9", web.v4, 7011), false],
    ["UDP-Lite's last port", udplite("198.51.100.9", web.v4, 7010), true],
    ["UDP-Lite, one port below", udplite("198.51.100.9", web.v4, 6999), false],
    ["DCCP's ports", dccp("198.51.100.9", web.v4, 7005), true],
    ["DCCP, one port above", dccp("198.51.100.9", web.v4, 7011), false],
    ["protocol 250", protocol("198.51.100.9", web.v4, 250), true],
    ["protocol 251", protocol("198.51.100.9", web.v4, 251), false],
  ];
  describe("towards the group of 44 rules", () => {
    let before = 0;
    const refused = async (): Promise<number> => (await host.drops("web"))["POLICY_INGRESS"] ?? 0;
    beforeAll(async () => {
      before = await refused();
    });

    it.each(towards)("%s", async (_, build, expected) => {
      expect(await arrives(build)).toBe(expected);
    });

    it("what did not pass is counted, with the reason", async () => {
      expect((await refused()) - before).toBe(towards.filter(([, , expected]) => !expected).length);
    });
  });

  it("what claims to be a local guest's and comes from the uplink is dropped", async () => {
    expect(await arrives(udp(one.v4, web.v4, 53))).toBe(false);
  });

  it.each(["v4", "v6"] as const)(
    "within the default group everything passes, from beyond nothing does (%s)",
    async (family) => {
      const probe = host.guest("two").probe;
      expect(await probe.tcp(one[family], 5432)).toMatchObject({ result: "ok", hops: 63 });
      expect(await probe.ping(one[family])).toMatchObject({ result: "ok" });
      const drops = await host.dropsDuring("one", async () => {
        expect(await host.guest("web").probe.tcp(one[family], 5432, 400)).toMatchObject({ result: "timeout" });
        expect(await host.guest("web").probe.ping(one[family], 400)).toMatchObject({ result: "timeout" });
      });
      expect(drops).toEqual({ POLICY_INGRESS: 2 });
    },
  );

  it("its egress goes anywhere, and the answers come back", async () => {
    await host.world.announce("10.65.0.147/32", "fd00:65::1ce/128");
    expect(await host.guest("one").probe.ping(OUTSIDE.v4)).toMatchObject({ result: "ok" });
    expect(await host.guest("one").probe.ping(OUTSIDE.v6)).toMatchObject({ result: "ok" });
  });

  it("a port that lost one of two addresses has the other", async () => {
    expect(await host.guest("lone").probe.tcp(one.v4, 5432)).toMatchObject({ result: "ok" });
  });

  it("a port without groups sends and is sent nothing", async () => {
    const drops = await host.dropsDuring("bare", async () => {
      for (const family of ["v4", "v6"] as const) {
        expect(await host.guest("bare").probe.ping(web[family], 400)).toMatchObject({ result: "timeout" });
        expect(await host.guest("web").probe.ping(host.guest("bare")[family], 400)).toMatchObject({
          result: "timeout",
        });
      }
    });
    expect(drops).toEqual({ POLICY_EGRESS: 2, POLICY_INGRESS: 2 });
  });

  describe("with the wide rules of the group taken away", () => {
    interface Rule {
      protocol?: number | string;
      ipVersion: number;
      icmp?: unknown;
      source?: { nets?: string[]; selector?: string };
      destination?: { ports?: unknown[]; nets?: string[]; selector?: string };
    }
    /** Those that the reference calls traps, as recorded, and one that stays for comparison. */
    const isTrap = ({ protocol, source, destination }: Rule): boolean =>
      (source?.nets !== undefined && /^(198\.51|10\.[1234]\.)/.test(source.nets[0] ?? "")) ||
      (protocol !== 6 && destination?.ports !== undefined) ||
      destination?.ports?.[0] === 8080;
    const isNarrow = (rule: Rule): boolean => rule.destination !== undefined || rule.icmp !== undefined;
    const narrow = changed(snapshot, WEB, (object: { spec: { ingress: Rule[]; egress: Rule[] } }) => ({
      ...object,
      spec: {
        ...object.spec,
        ingress: object.spec.ingress.filter(isTrap),
        egress: object.spec.egress.filter(isNarrow),
      },
    }));
    beforeAll(() => host.put(narrow));

    it.each<[string, Build, boolean]>([
      ["a prefix with host bits is the prefix: another address of it", tcp("198.51.100.200", web.v4, 1), true],
      ["not its neighbour", tcp("198.51.101.7", web.v4, 1), false],
      ["not another port", tcp("198.51.100.7", web.v4, 3), false],
      ['protocol "0" from a prefix is protocol 0', protocol("10.1.2.3", web.v4, 0), true],
      ["not every protocol: TCP", tcp("10.1.2.3", web.v4, 22), false],
      ["nor UDP, from the prefix of protocol 0", udp("10.2.2.3", web.v4, 22), false],
      ["nor echo", echo("10.3.2.3", web.v4), false],
      ['protocol "112" from its prefix', protocol("10.4.2.3", web.v4, 112), true],
      ["not from another", protocol("10.5.2.3", web.v4, 112), false],
      ['protocol "1" with ports allows no echo', echo("198.51.100.7", web.v4), false],
      ['protocol "58" with ports allows no echo', echo("2001:db8:1::7", web.v6), false],
      ['protocol "6" with ports is TCP', tcp("203.0.113.5", web.v4, 9001), true],
      ["no other port", tcp("203.0.113.5", web.v4, 9002), false],
      ["no UDP on its ports", udp("203.0.113.5", web.v4, 9000), false],
    ])("%s", async (_, build, expected) => {
      expect(await arrives(build)).toBe(expected);
    });

    const leaving: [string, Build, boolean][] = [
      ["TCP 5000-5100 to the prefix", tcp(web.v4, "203.0.113.9", 5100), true],
      ["one port above", tcp(web.v4, "203.0.113.9", 5101), false],
      ["one prefix further", tcp(web.v4, "203.0.114.9", 5100), false],
      ["echo requests", echo(web.v4, "198.51.100.9"), true],
      [
        "other ICMP",
        (text, frame) => frame.ip4({ src: web.v4, dst: "198.51.100.9" }).icmp({ type: 13 }).payload(text),
        false,
      ],
      ["UDP 514 to the other group", udp(web.v4, "10.66.0.222", 514), true],
      ["to its own group", udp(web.v4, "10.65.0.10", 514), false],
      ["TCP 514 to the other group", tcp(web.v4, "10.66.0.222", 514), false],
      ["IPv6", udp(web.v6, "fd00:66::3b", 514), false],
    ];
    it("egress is what the rules say, and what does not pass is counted", async () => {
      const drops = await host.dropsDuring("web", async () => {
        for (const [what, build, expected] of leaving)
          expect([what, await host.leaves("web", build, echo(web.v4, "198.51.100.9"))]).toEqual([what, expected]);
      });
      expect(drops["POLICY_EGRESS"]).toBe(leaving.filter(([, , expected]) => !expected).length);
    });

    it("the recorded selector of the rule is what was tested", () => {
      const policy = JSON.parse(narrow.find(({ key }) => key === WEB)?.value ?? "") as { spec: { egress: Rule[] } };
      expect(policy.spec.egress.map(({ destination }) => destination?.selector)).toContain(DB_GROUP);
    });
  });
});

describe("host2", () => {
  const pair = "10.65.0.210";
  serve("host2", { web: "tap996a272d-b7", paired: "tap2e91f8b0-9b", db: "tap08c3bd7f-c8" });

  it("has no problem but the recorded ones; what is not enforced is told", async () => {
    expect(await problemsTell()).toEqual(expect.arrayContaining(TWO_PORTS_OF_ICMP));
    const { problems, endpoints } = await host.status();
    expect(problems).toHaveLength(2);
    expect(
      endpoints.map(({ interface: name, notEnforced }) => [
        name,
        notEnforced.some((what) => what.startsWith("qosControls.")),
      ]),
    ).toContainEqual(["tap08c3bd7f-c8", true]);
  });

  it("the remote group's members reach 3306, an allowed pair's address among them; others do not", async () => {
    const db = host.guest("db");
    expect(await host.guest("web").probe.tcp(db.v4, 3306)).toMatchObject({ result: "ok" });
    const known = tcp("198.51.100.9", db.v4, 5432);
    expect(await host.arrives("db", tcp("10.65.0.151", db.v4, 3306), known)).toBe(true); // on host1
    expect(await host.arrives("db", tcp("10.65.0.47", db.v4, 3306), known)).toBe(false);
    expect(await host.arrives("db", tcp("198.51.100.9", db.v4, 3306), known)).toBe(false);
    expect(await host.guest("web").probe.tcp(db.v6, 5432, 400)).toMatchObject({ result: "timeout" });
  });

  it("from its allowed pair's address a port sends and is reached; from its neighbour's it does not send", async () => {
    const [paired, web, db] = [host.guest("paired"), host.guest("web"), host.guest("db")];
    expect(await web.probe.tcp(pair, 9000)).toMatchObject({ result: "ok" });
    const { mac } = paired.spec;
    const send = async (src: string): Promise<boolean> => {
      const text = Buffer.from(`<pair of ${src}>`);
      const frame = tcp(src, db.v4, 3306)(text, eth({ from: mac, to: `fe${mac.slice(2)}` }));
      await host.wire("paired").send(frame.bytes());
      return (await host.wire("db").receive((received) => received.frame.includes(text), 600)) !== undefined;
    };
    expect(await send(pair)).toBe(true);
    const drops = await host.dropsDuring("paired", async () => expect(await send("10.65.0.211")).toBe(false));
    expect(drops).toEqual({ SPOOFED_ADDRESS: 1 });
  });
});

describe("host-3.example", () => {
  serve("host-3.example", { bare: "tap93d7bb27-97" });

  it("its name has a hyphen and a dot, and its one port, without groups, passes nothing", async () => {
    expect((await host.status()).problems).toHaveLength(2);
    const bare = host.guest("bare");
    await host.world.announce("10.65.0.47/32", "fd00:65::36d/128");
    const drops = await host.dropsDuring("bare", async () => {
      for (const to of [OUTSIDE.v4, OUTSIDE.v6])
        expect(await bare.probe.ping(to, 400)).toMatchObject({ result: "timeout" });
      await host.world.fabric.run(["ping", "-c1", "-W1", bare.v4]).catch(() => undefined);
      await host.world.fabric.run(["ping", "-c1", "-W1", bare.v6]).catch(() => undefined);
    });
    expect(drops).toEqual({ POLICY_EGRESS: 2, POLICY_INGRESS: 2 });
  });
});
