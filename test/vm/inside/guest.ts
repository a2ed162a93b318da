/**
 * A guest that is a virtual machine, emulated beside this one (test/vm/beside.ts): another kernel, virtio-net with checksum offload and
 * segmentation on a real tap, which an agent that was left to choose enforces. It pings, does TCP in frames larger than the link's, and is
 * filtered. One boot, few commands, little data: all of it is emulated where there is no KVM.
 */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cloud, endpointOf, type Member } from "../../support/cloud.js";
import { guestSpec } from "../../support/guests.js";
import { group, inGroup, type RuleObject } from "../../support/resources.js";
import { Machine } from "../../guest/machine.js";
import { largeFrames, offloads, wrongChecksums } from "../../guest/seen.js";
import { LONG, result, SHORT } from "./cloud.js";
import { MACHINE as spec, PORTS } from "./machine.js";

/** Kilobytes. */
const BULK = 1_024;
const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];

const EVERYTHING: RuleObject[] = FAMILIES.map((ipVersion) => ({ action: "Allow", ipVersion }));
const known = { selector: inGroup("known") };
const allow = (protocol: string, way: "source" | "destination", ...ports: number[]): RuleObject => {
  const on = ports.length > 0 ? { ports } : {};
  return way === "source"
    ? { action: "Allow", protocol, source: known, destination: on }
    : { action: "Allow", protocol, destination: { ...known, ...on } };
};
const GROUPS = [
  group("machines", {
    ingress: [allow("TCP", "source", 7000, 8080), allow("ICMP", "source"), allow("ICMPv6", "source")],
    egress: [...[allow("TCP", "destination", 80, 7000), allow("ICMP", "destination"), allow("ICMPv6", "destination")]],
  }),
  group("open", { ingress: EVERYTHING, egress: EVERYTHING }),
  group("known", {}),
];
/** Guests that are namespaces; the last is in no group that the machine knows. */
const OTHERS: Member[] = [
  { spec: guestSpec("peer", 21, 18), groups: ["open", "known"] },
  { spec: guestSpec("stranger", 31), groups: ["open"] },
];

/** The device file of a virtio port. Throws when this VM has none of that name. */
function port(name: string): string {
  const ports = "/sys/class/virtio-ports";
  const found = readdirSync(ports).find((device) => readFileSync(`${ports}/${device}/name`, "utf8").trim() === name);
  if (found === undefined) throw new Error(`no virtio port is called ${name}`);
  return `/dev/${found}`;
}

let cloud: Cloud;
let machine: Machine;

beforeAll(async () => {
  // With rules, a pass that writes a chain anew begins its counts anew.
  cloud = await Cloud.create(OTHERS, GROUPS, ["--resync", "10m"]);
  await cloud.put("endpoints.yaml", [...OTHERS, { spec, groups: ["machines", "known"] }].map(endpointOf));
  const enforced = cloud.agent.applied((event) => event.enforced > OTHERS.length, "the machine was enforced", 120_000);
  machine = await Machine.beside(cloud.world.host, spec, { frames: port(PORTS.frames), console: port(PORTS.console) });
  await enforced;
  const [v4 = "", v6 = ""] = spec.addresses;
  const [router4 = "", router6 = ""] = spec.gateways;
  await machine.run(
    [
      // Nobody else has its addresses.
      "for a in all eth0; do echo 0 >/proc/sys/net/ipv6/conf/$a/accept_dad; done",
      ...[`ip addr add ${v4} dev eth0`, `ip -6 addr add ${v6} dev eth0`],
      ...[`ip route add default via ${router4}`, `ip -6 route add default via ${router6} dev eth0`],
      `dd if=/dev/urandom of=/tmp/data bs=1k count=${BULK} 2>/dev/null`,
    ].join(" && "),
  );
});
afterAll(async () => {
  await machine?.remove();
  await cloud?.close();
});

const ownAddress = (family: Family): string => (spec.addresses[family === 4 ? 0 : 1] ?? "").split("/")[0] ?? "";
const md5 = (text: string): string => text.split(" ")[0] ?? "";

it("its card does checksums and segments, both ways", async () => {
  expect(await offloads(machine)).toBe("111111");
});

describe.each(FAMILIES)("over IPv%i", (family) => {
  const at = (name: string): string => cloud.guest(name).address(family);

  it("it pings, and is pinged", async () => {
    expect(await machine.attempt(`ping ${at("peer")}`)).toEqual(["ok"]);
    expect(await result(cloud.guest("peer").probe.ping(ownAddress(family), LONG))).toBe("ok");
  });

  it("it reaches what its group allows, and is reached", async () => {
    expect(await machine.attempt(`tcp ${at("peer")} 80`)).toEqual(["ok"]);
    expect(await result(cloud.guest("peer").probe.tcp(ownAddress(family), 8080, LONG))).toBe("ok");
  });

  it("what it sends passes in frames larger than the link's, whole to the other guest's card", async () => {
    const { namespace, spec: to } = cloud.guest("peer");
    // A standard input that ends would end it. It reads nothing for a while: what waits meanwhile its sender puts together.
    const read = "{ dd bs=1 count=1 2>/dev/null; sleep 2; cat; }";
    const listen = `f=$(mktemp -u) && mkfifo $f && busybox nc -l -p 7000 <>$f | ${read} | md5sum; rm -f $f`;
    const sum = namespace.run(["sh", "-c", listen], { timeout: 600_000 });
    sum.catch(() => undefined); // whoever waits for it is told
    await expect.poll(() => namespace.run(["ss", "-Hltn", "sport = :7000"])).toContain("7000");
    let got = 0;
    const given = await largeFrames(cloud.world.host, spec.tap, "in", async () => {
      got = await largeFrames(cloud.world.host, to.tap, "out", async () => {
        await machine.run(`nc ${at("peer")} 7000 </tmp/data`);
        expect(md5(await sum)).toBe(md5(await machine.run("md5sum /tmp/data")));
      });
    });
    expect({ given: given > 0, got: got > 0 }).toEqual({ given: true, got: true });
  });

  it("what it is sent, too", async () => {
    const peer = cloud.guest("peer").namespace;
    await peer.run(["dd", "if=/dev/urandom", "of=/tmp/data", "bs=1k", `count=${BULK}`]);
    const sum = machine.run("nc -l -p 7000 <>/tmp/never | md5sum");
    const got = await largeFrames(cloud.world.host, spec.tap, "out", async () => {
      // It listens by itself, and refuses until then.
      await expect
        .poll(
          () =>
            peer.run(["sh", "-c", `busybox nc ${ownAddress(family)} 7000 </tmp/data && echo sent || true`], {
              timeout: 600_000,
            }),
          { timeout: 60_000 },
        )
        .toContain("sent");
      expect(md5(await sum)).toBe(md5(await peer.run(["md5sum", "/tmp/data"])));
    });
    expect(got).toBeGreaterThan(0);
  });
});

it("it does not reach what the group forbids, and is not reached", async () => {
  const [peer, stranger] = [cloud.guest("peer"), cloud.guest("stranger")];
  for (const family of FAMILIES) {
    const [own, at, other] = [ownAddress(family), peer.address(family), stranger.address(family)];
    // All of them answer whom the groups let ask.
    expect(await result(stranger.probe.tcp(at, 5432, LONG))).toBe("ok");
    expect(await result(peer.probe.tcp(other, 80, LONG))).toBe("ok");
    expect(await machine.attempt(`tcp ${own} 9090`)).toEqual(["ok"]);
  }
  const dropped = await cloud.dropsAtDuring(spec.tap, async () => {
    // At once: each waits for seconds.
    const tried = await Promise.all([
      machine.attempt(
        ...FAMILIES.flatMap((family) => [
          `tcp ${peer.address(family)} 5432`,
          ...[`tcp ${stranger.address(family)} 80`, `ping ${stranger.address(family)}`],
        ]),
      ),
      ...FAMILIES.flatMap((family) => [
        result(peer.probe.tcp(ownAddress(family), 9090, SHORT)),
        result(stranger.probe.tcp(ownAddress(family), 8080, SHORT)),
        result(stranger.probe.ping(ownAddress(family), SHORT)),
      ]),
    ]);
    expect(tried.flat()).toEqual(Array.from({ length: 12 }, () => "timeout"));
  });
  expect(Object.keys(dropped).sort()).toEqual(["POLICY_EGRESS", "POLICY_INGRESS"]);
  for (const count of Object.values(dropped)) expect(count).toBeGreaterThanOrEqual(6);
});

it("nobody was given a wrong checksum, and its kernel did not complain", async () => {
  expect(await wrongChecksums((file) => machine.run(`cat ${file}`))).toEqual([0, 0]);
  expect(await wrongChecksums((file) => cloud.guest("peer").run(["cat", file]))).toEqual([0, 0]);
  expect(machine.splats()).toEqual([]);
});
