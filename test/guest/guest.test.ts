/**
 * Guests that are virtual machines, each with a kernel of its own and virtio-net on a real tap: they get their addresses from the DHCP
 * agent's dnsmasq, fetch metadata, and talk as their security groups say. One's card does checksums and segments, the other's nothing.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stop } from "../../src/demo/world/command.js";
import type { Namespace } from "../../src/demo/world/namespace.js";
import type { Reached } from "../../src/demo/world/probe.js";
import { OUTSIDE, UPLINK } from "../../src/demo/world/world.js";
import { Cloud, endpointOf, type Member } from "../support/cloud.js";
import { Dnsmasq } from "../support/dnsmasq.js";
import { guestSpec } from "../support/guests.js";
import { MetadataServer } from "../support/metadata.js";
import { group, inGroup, type RuleObject } from "../support/resources.js";
import { Wire, type Received } from "../support/wire.js";
import { makeImage } from "./image.js";
import { Machine, type Said } from "./machine.js";
import { largeFrames, offloads, wrongChecksums } from "./seen.js";

const PORT = 8775;
/** Bytes. */
const BULK = 8 << 20;
const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];

const EVERYTHING: RuleObject[] = FAMILIES.map((ipVersion) => ({ action: "Allow", ipVersion }));
const known = { selector: inGroup("known") };
const from = (protocol: string, ...ports: number[]): RuleObject => ({
  action: "Allow",
  protocol,
  source: known,
  ...(ports.length > 0 ? { destination: { ports } } : {}),
});
const to = (destination: RuleObject, protocol: string, ...ports: number[]): RuleObject => ({
  action: "Allow",
  protocol,
  destination: { ...destination, ...(ports.length > 0 ? { ports } : {}) },
});
const GROUPS = [
  group("machines", {
    ingress: [from("TCP", 7000, 8080), from("UDP", 8080), from("ICMP"), from("ICMPv6")],
    egress: [
      ...[to(known, "TCP", 80, 7000), to(known, "UDP", 53), to(known, "ICMP"), to(known, "ICMPv6")],
      ...FAMILIES.map((family) => to({ nets: [`${OUTSIDE[`v${family}`]}/${family === 4 ? 32 : 128}`] }, "TCP", 7000)),
    ],
  }),
  group("open", { ingress: EVERYTHING, egress: EVERYTHING }),
  group("known", {}),
];
const fast = guestSpec("fast", 11);
const plain = guestSpec("plain", 12, 65, { offload: false });
const MACHINES: Member[] = [
  { spec: fast, groups: ["machines", "known"] },
  { spec: plain, groups: ["machines", "known"] },
];
/** Guests that are namespaces; the last is in no group that the machines know. */
const OTHERS: Member[] = [
  { spec: guestSpec("peer", 21, 18), groups: ["open", "known"] },
  { spec: guestSpec("simple", 22, 18, { offload: false }), groups: ["open", "known"] },
  { spec: guestSpec("stranger", 31), groups: ["open"] },
];
const address = ({ addresses }: { addresses: readonly string[] }, family: Family): string =>
  (addresses.find((one) => one.includes(":") === (family === 6)) ?? "").split("/")[0] ?? "";
const bracketed = (text: string): string => (text.includes(":") ? `[${text}]` : text);

const results = async (...all: readonly Promise<Reached>[]): Promise<string[]> =>
  (await Promise.all(all)).map(({ result }) => result);

describe.each(["bpf", "iptables"] as const)("booted guests, %s", (dataplane) => {
  let cloud: Cloud;
  let dnsmasq: Dnsmasq | undefined;
  let metadata: MetadataServer | undefined;
  const image = makeImage("initramfs", { own: ["dhclient"] });
  const directory = mkdtempSync(join(tmpdir(), "tb-guest-"));
  const file = join(directory, "data");
  const machines: Record<string, Machine> = {};
  const machine = (name: string): Machine => {
    const found = machines[name];
    if (found === undefined) throw new Error(`${name} has not booted`);
    return found;
  };
  const serve = async (): Promise<void> => {
    metadata = await MetadataServer.start(cloud.world.host, PORT, "127.0.0.1", "::");
  };

  beforeAll(async () => {
    cloud = await Cloud.create(OTHERS, GROUPS, ["--dataplane", dataplane]);
    const { host } = cloud.world;
    await cloud.world.announce(...[fast, plain].flatMap((spec) => FAMILIES.map((f) => address(spec, f))));
    await cloud.put("endpoints.yaml", [...OTHERS, ...MACHINES].map(endpointOf));
    await serve();
    const enforced = cloud.agent.applied(
      (event) => event.enforced >= OTHERS.length + MACHINES.length,
      "the machines were enforced",
      60_000,
    );
    const booted = Promise.all(
      [fast, plain].map(async (spec) => (machines[spec.name] = await Machine.boot(host, spec, image))),
    );
    await Promise.all([enforced, booted]);
    dnsmasq = await Dnsmasq.start(host, [fast, plain]);
    for (const one of Object.values(machines))
      await one.run(`dd if=/dev/urandom of=/tmp/data bs=1M count=${BULK >> 20} 2>/dev/null`);
  });

  afterAll(async () => {
    for (const one of Object.values(machines)) await one.remove();
    await metadata?.stop();
    await dnsmasq?.stop();
    await cloud?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  describe.each([fast, plain])("$name begins", (spec) => {
    it("its card has what qemu was told", async () => {
      expect(await offloads(machine(spec.name))).toBe(spec.offload === false ? "000000" : "111111");
    });

    it("gets its address, its route and its MTU by DHCP", async () => {
      const one = machine(spec.name);
      expect(await one.run("udhcpc -i eth0 -n -q -O mtu -O staticroutes -s /dhcp-script")).toContain(
        `bound ${address(spec, 4)} mtu=1500`,
      );
      expect(await one.run("ip -4 addr show dev eth0")).toContain(`inet ${address(spec, 4)}/24`);
      expect(await one.run("ip -4 route show default")).toContain("via 10.65.0.1 dev eth0");
    });

    it("hears of its router, and gets its IPv6 address by DHCPv6", async () => {
      const one = machine(spec.name);
      await expect
        .poll(() => one.run("ip -6 route show default"), { timeout: 20_000 })
        .toMatch(/default via fe80::\S+ dev eth0/);
      expect(await one.run("dhclient -6 -1 -v -sf /dhcp-script -lf /tmp/leases -pf /tmp/pid eth0")).toContain(
        `bound ${address(spec, 6)}`,
      );
      expect(await one.run("ip -6 addr show dev eth0 scope global")).toContain(`inet6 ${address(spec, 6)}/`);
    });
  });

  describe.each([fast, plain])("$name", (spec) => {
    const ask = (url: string): Promise<Said> => machine(spec.name).say(`timeout 5 wget -q -O - http://${url}`);

    it("fetches metadata, and is known by its fixed address", async () => {
      expect(await ask("169.254.169.254/latest")).toEqual({ status: 0, text: address(spec, 4) });
      expect((await ask("169.254.169.254/bulk/3000000 | wc -c")).text).toBe("3000000");
    });

    it("fetches it over IPv6", async () => {
      const link = /inet6 (fe80::\S+)\//.exec(await machine(spec.name).run("ip -6 addr show dev eth0 scope link"))?.[1];
      const asked = await machine(spec.name).run(
        "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 fe80::a9fe:a9fe%eth0 80 | tail -n 1",
      );
      expect([address(spec, 6), link]).toContain(asked);
    });

    it("a metadata service that is down refuses, at once", async () => {
      await metadata?.stop();
      try {
        const begun = Date.now();
        const { status, text } = await ask("169.254.169.254/latest");
        expect([status, text]).toEqual([1, expect.stringContaining("Connection refused")]);
        expect((await machine(spec.name).say("nc -w 5 fe80::a9fe:a9fe%eth0 80")).text).toContain("Connection refused");
        expect(Date.now() - begun).toBeLessThan(4_000);
      } finally {
        await serve();
      }
      expect((await ask("169.254.169.254/latest")).text).toBe(address(spec, 4));
    });

    describe.each(FAMILIES)("over IPv%i", (family) => {
      const other = spec === fast ? plain : fast;
      const own = address(spec, family);
      const at = (name: string): string => cloud.guest(name).address(family);

      it("pings other guests, and is pinged", async () => {
        const one = machine(spec.name);
        await one.run(`ping -c 1 -W 2 ${at("peer")}`);
        await one.run(`ping -c 1 -W 2 -s 1400 ${address(other, family)}`);
        expect(await cloud.guest("peer").probe.ping(own)).toMatchObject({ result: "ok" });
      });

      it("reaches what its groups allow, and is reached", async () => {
        expect(await machine(spec.name).attempt(`tcp ${at("peer")} 80`, `udp ${at("peer")} 53`)).toEqual(["ok", "ok"]);
        const { probe } = cloud.guest("peer");
        expect(await results(probe.tcp(own, 8080), probe.udp(own, 8080))).toEqual(["ok", "ok"]);
      });

      it("does not reach what they forbid", async () => {
        const one = machine(spec.name);
        // Both answer whom the groups let ask.
        const [peer, stranger] = [cloud.guest("peer").probe, cloud.guest("stranger").probe];
        expect(await results(stranger.tcp(at("peer"), 5432), peer.tcp(at("stranger"), 80))).toEqual(["ok", "ok"]);
        expect(
          await one.attempt(
            ...[`tcp ${at("peer")} 5432`, `tcp ${at("stranger")} 80`, `udp ${at("stranger")} 53`],
            `ping ${at("stranger")}`,
          ),
        ).toEqual(Array(4).fill("timeout"));
      });

      it("is not reached by what they forbid", async () => {
        expect(await machine(spec.name).attempt(`tcp ${own} 9090`)).toEqual(["ok"]);
        const [peer, stranger] = [cloud.guest("peer").probe, cloud.guest("stranger").probe];
        expect(
          await results(peer.tcp(own, 9090), peer.udp(own, 9090), stranger.tcp(own, 8080), stranger.ping(own)),
        ).toEqual(Array(4).fill("timeout"));
      });

      it("nothing that it sends with another's address arrives, nor with another's MAC", async () => {
        const one = machine(spec.name);
        const [sent, arrived] = await Promise.all([
          Wire.open(cloud.world.host, spec.tap),
          Wire.open(cloud.guest("peer").namespace),
        ]);
        const forged = `${at("stranger")}/${family === 4 ? 32 : 128}`;
        const otherMac = Buffer.from(cloud.guest("stranger").spec.mac.replaceAll(":", ""), "hex");
        const ping = (size: number, ...more: readonly string[]): Promise<Said> =>
          one.say(`ping -c 1 -W 1 -s ${size} ${more.join(" ")} ${at("peer")}`);
        const sized =
          (size: number) =>
          ({ frame }: Received): boolean =>
            frame.length === 14 + (family === 4 ? 20 : 40) + 8 + size;
        const came = (size: number): boolean => arrived.received.some(sized(size));
        try {
          // Nobody is to say beforehand that the address is taken.
          await one.run("for a in all eth0; do echo 0 >/proc/sys/net/ipv6/conf/$a/accept_dad; done");
          await one.run(`ip addr add ${forged} dev eth0`);
          await ping(301, "-I", at("stranger"));
          await one.run(`ip addr del ${forged} dev eth0`);
          await one.run(`ip link set eth0 address ${cloud.guest("stranger").spec.mac}`);
          await ping(302);
          await one.run(`ip link set eth0 address ${spec.mac}`);
          expect(await ping(303)).toMatchObject({ status: 0 });
          // What is told of last is told of after all the rest.
          for (const wire of [sent, arrived]) expect(await wire.receive(sized(303), 5_000)).toBeDefined();
          expect(sent.received.some(sized(301))).toBe(true);
          // With the other MAC it already asks in vain for its router's.
          expect(sent.received.some(({ frame }) => frame.subarray(6, 12).equals(otherMac))).toBe(true);
          expect([came(301), came(302)]).toEqual([false, false]);
        } finally {
          await Promise.all([sent.close(), arrived.close()]);
        }
      });
    });
  });

  describe.each(FAMILIES)("much data over IPv%i", (family) => {
    const listen = ["socat", "-u", "tcp6-listen:7000,ipv6only=0,reuseaddr", "-"];
    /** Reads nothing for a while: what waits meanwhile its sender puts together, however slow its writes are. */
    const listening = async (namespace: Namespace): Promise<{ sum: Promise<string> }> => {
      const sum = namespace.run(
        ["sh", "-c", `timeout 50 ${listen.join(" ")} | { dd bs=1 count=1 status=none; sleep 2; cat; } | md5sum`],
        { timeout: 60_000 },
      );
      sum.catch(() => undefined); // whoever waits for it is told
      await expect.poll(() => namespace.run(["ss", "-Hltn", "sport = :7000"])).toContain("7000");
      return { sum };
    };
    const send = (from: string, to: string): Promise<Said> => machine(from).say(`nc ${to} 7000 </tmp/data`, 50_000);
    const md5 = (text: string): string => text.split(" ")[0] ?? "";
    const sumOf = async (name: string): Promise<string> => md5(await machine(name).run("md5sum /tmp/data"));

    it("a guest sends: large frames pass whole from its card to another", async () => {
      const { namespace, spec } = cloud.guest("peer");
      const { sum } = await listening(namespace);
      let got = 0;
      const given = await largeFrames(cloud.world.host, fast.tap, "in", async () => {
        got = await largeFrames(cloud.world.host, spec.tap, "out", async () => {
          expect(await send("fast", cloud.guest("peer").address(family))).toEqual({ status: 0, text: "" });
        });
      });
      expect(md5(await sum)).toBe(await sumOf("fast"));
      expect(given).toBeGreaterThan(0);
      expect(got).toBeGreaterThan(0);
    });

    it.each([
      ["fast", "plain"],
      ["plain", "fast"],
    ] as const)("from the kernel of %s to that of %s", async (from, to) => {
      const spec = to === "fast" ? fast : plain;
      const sum = machine(to).run("nc -l -p 7000 <>/tmp/never | md5sum", 60_000);
      // It listens by itself, and refuses until then.
      const large = await largeFrames(cloud.world.host, plain.tap, from === "plain" ? "in" : "out", async () => {
        await expect.poll(async () => (await send(from, address(spec, family))).status, { timeout: 60_000 }).toBe(0);
        expect(md5(await sum)).toBe(await sumOf(from));
      });
      // Whatever its card was given is whole and no longer than its MTU.
      expect(large).toBe(0);
    });

    it("a guest receives: large frames, and finished ones where its card does nothing", async () => {
      const peer = cloud.guest("peer");
      for (const spec of [fast, plain]) {
        const sum = machine(spec.name).run("nc -l -p 7000 <>/tmp/never | md5sum", 60_000);
        const got = await largeFrames(cloud.world.host, spec.tap, "out", async () => {
          const to = `${family === 4 ? "tcp4" : "tcp6"}:${bracketed(address(spec, family))}:7000`;
          const said = await peer.run(
            [
              "sh",
              "-c",
              `head -c ${BULK} /dev/urandom >"$1" && socat -u "$1" ${to},retry=20,interval=0.2 && md5sum <"$1"`,
              "sh",
              file,
            ],
            { timeout: 60_000 },
          );
          expect(md5(await sum)).toBe(md5(said));
        });
        if (spec === fast) expect(got).toBeGreaterThan(0);
        else expect(got).toBe(0);
      }
    });

    it("what leaves by an uplink that finishes nothing in hardware has right checksums", async () => {
      const { fabric, host } = cloud.world;
      await host.run(["ethtool", "-K", UPLINK, "tx", "off"]);
      const { sum } = await listening(fabric);
      const dump = fabric.spawn(
        [
          ...["setpriv", "--pdeathsig", "KILL", "tcpdump", "-l", "-nn", "-vv", "-Q", "in", "-i", "down0"],
          "tcp",
          "port",
          "7000",
        ],
        { stdio: ["ignore", "pipe", "pipe"] },
      );
      let text = "";
      dump.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
      await once(dump.stderr as NodeJS.ReadableStream, "data");
      try {
        await send("fast", OUTSIDE[`v${family}`]);
        expect(md5(await sum)).toBe(await sumOf("fast"));
        await expect.poll(() => text.match(/cksum \S+ \(correct\)/g)?.length ?? 0).toBeGreaterThan(1_000);
        expect(text.match(/cksum \S+ \(incorrect.*/g)).toBeNull();
      } finally {
        await stop(dump, "SIGINT");
        await host.run(["ethtool", "-K", UPLINK, "tx", "on"]);
      }
    });
  });

  it("a guest that is destroyed and boots again is enforced again", async () => {
    const { host } = cloud.world;
    await machine("fast").remove();
    delete machines["fast"];
    machines["fast"] = await Machine.boot(host, fast, image);
    const one = machine("fast");
    await expect
      .poll(async () => (await one.say("udhcpc -i eth0 -n -q -t 2 -s /dhcp-script")).text, { timeout: 40_000 })
      .toContain(`bound ${address(fast, 4)}`);
    await one.run(`ping -c 1 -W 2 ${cloud.guest("peer").v4}`);
    expect(await one.attempt(`tcp ${cloud.guest("peer").v4} 5432`)).toEqual(["timeout"]);
  });

  it("nobody was given a wrong checksum, and no machine's kernel complained", async () => {
    for (const one of Object.values(machines))
      expect(await wrongChecksums((file) => one.run(`cat ${file}`))).toEqual([0, 0]);
    for (const name of ["peer", "simple"])
      expect(await wrongChecksums((file) => cloud.guest(name).run(["cat", file]))).toEqual([0, 0]);
    for (const one of Object.values(machines)) expect(one.splats()).toEqual([]);
  });
});
