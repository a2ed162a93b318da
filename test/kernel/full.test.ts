/** Maps of the kernel that are full (bad input, D5, D6): what was allowed stays so, nothing more is, and room makes it right again. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { NameKind } from "../../src/abi/layout.gen.js";
import { parse, u32 } from "../../src/abi/records.js";
import type { DesiredState, PolicySetKey } from "../../src/compile/desired.js";
import { BpfBackend } from "../../src/dataplane/bpf/index.js";
import { KernelMaps } from "../../src/dataplane/bpf/maps.js";
import type { MapName } from "../../src/dataplane/bpf/plan.js";
import { Registry } from "../../src/dataplane/bpf/registry.js";
import type { Address } from "../../src/model/types.js";
import { endpoint, interfacesOf, policy, rule, stateOf } from "../support/desired.js";
import { directly } from "../unit/dataplane/bpf/direct.js";
import { ask, MemoryMaps, type Packet } from "../unit/dataplane/bpf/memory.js";

let mount: string;
let backend: BpfBackend;
let serial = 0;

beforeAll(() => {
  mount = mkdtempSync(join(tmpdir(), "tb-bpffs-"));
  execFileSync("mount", ["-t", "bpf", "bpf", mount]);
});
afterEach(() => backend.close());
afterAll(() => {
  execFileSync("umount", [mount]);
  rmSync(mount, { recursive: true });
});

const SET = "s" as PolicySetKey;
const address = (i: number): Address => `10.9.${i >> 8}.${i & 255}` as Address;
const many = <T>(count: number, one: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => one(i));

/** `rules` ports besides 80, `members` of class "m", `prefixes` of class "p", `guests` besides "a". */
interface Size {
  readonly rules?: number;
  readonly members?: number;
  readonly prefixes?: number;
  readonly guests?: number;
  /** What the first port that is open to all is. */
  readonly open?: number;
}
function world({ rules = 0, members = 1, prefixes = 1, guests = 0, open = 80 }: Size): DesiredState {
  const tcp = (port: number, remote?: string) =>
    rule({ protocols: [6], ports: [{ first: port, last: port }], ...(remote === undefined ? {} : { remote }) });
  return stateOf({
    endpoints: [
      endpoint("a", { owned: ["10.65.0.1/32"], set: "s" }),
      ...many(guests, (i) => endpoint(`guest${i}`, { owned: [`10.66.${i >> 8}.${i & 255}/32`], set: "t" })),
    ],
    policies: [
      policy("p", {
        ingress: [tcp(open), tcp(443, "m"), tcp(8443, "p"), ...many(rules, (i) => tcp(1000 + 2 * i))],
        egress: [rule()],
      }),
      policy("q", { ingress: [tcp(22)] }),
    ],
    // Of guests that come, another set: one that changes while an endpoint comes to it changes as a whole, or not at all.
    sets: { s: { ingress: [["p"]], egress: [["p"]] }, t: { ingress: [["q"]], egress: [["q"]] } },
    addresses: Object.fromEntries(many(members, (i) => [address(i), ["m"]])),
    prefixes: Object.fromEntries(many(prefixes, (i) => [`10.${100 + (i >> 8)}.${i & 255}.0/24`, ["p"]])),
  });
}

const REMOTES = [address(0), address(1), address(200), "10.100.0.9", "10.100.200.9", "192.0.2.1"] as Address[];
const PACKETS: readonly Packet[] = REMOTES.flatMap((remote) =>
  [80, 81, 443, 8443, 1000, 1001, 1398].map((port): Packet => ({
    direction: 0,
    remote,
    protocol: 6,
    port,
    sourcePort: 40_000,
  })),
);

/** Whether the kernel's maps allow each packet, by the model of the programs, for the endpoint "a". */
function verdicts(): boolean[] {
  const kernel = new KernelMaps(backend.objects.maps);
  const copy = new MemoryMaps();
  for (const name of ["control", "plane", "policy", "remote", "prefix"] as const)
    copy.maps.set(name, kernel.dump(name));
  const number = Registry.read(kernel.dump("name")).find(NameKind.NAME_ENDPOINT, "a") ?? 0;
  const { policy_set: set } = parse("endpoint", kernel.get("endpoint", u32(number)) ?? u32(0));
  return PACKETS.map((packet) => ask(copy, set, packet).allowed);
}
const wanted = (desired: DesiredState): boolean[] => PACKETS.map((packet) => directly(desired, SET, packet).allowed);

async function open(sizes: Partial<Record<MapName, number>>): Promise<void> {
  backend = await BpfBackend.open({ pinDir: join(mount, `full${serial++}`), flows: 64, sizes });
}
const apply = (desired: DesiredState) => backend.apply(desired, interfacesOf());

describe.each<[MapName, number, Size, Size]>([
  ["policy", 64, { rules: 4 }, { rules: 200 }],
  ["remote", 8, { members: 4 }, { members: 250 }],
  ["prefix", 8, { prefixes: 4 }, { prefixes: 250 }],
  ["name", 16, { rules: 4 }, { rules: 200 }],
  ["source", 8, { guests: 4 }, { guests: 200 }],
  ["local", 8, { guests: 4 }, { guests: 200 }],
])("map %s of %i entries", (map, size, fits, exceeds) => {
  it("full: the error names it and its size, what is in force stays, and nothing beyond either state is allowed", async () => {
    await open({ [map]: size });
    const [before, after] = [world(fits), world(exceeds)];
    expect((await apply(before)).failures).toEqual([]);
    expect(verdicts()).toEqual(wanted(before));

    const { failures } = await apply(after);
    const failure = failures.find(({ where }) => where === `map ${map}`);
    expect(failure?.error).toMatchObject({ code: "MAP_FULL", retryable: true });
    expect(failure?.error.message).toContain(`map ${map} (at most ${size} entries)`);
    const [now, old, next] = [verdicts(), wanted(before), wanted(after)];
    now.forEach((allowed, i) => expect([PACKETS[i], allowed]).toEqual([PACKETS[i], allowed && (old[i] || next[i])]));
    expect(now.every((allowed, i) => allowed || !(old[i] && next[i]))).toBe(true);

    // Room: the same again, and then nothing is left to do.
    expect((await apply(before)).failures).toEqual([]);
    expect(verdicts()).toEqual(old);
    expect(await apply(before)).toMatchObject({ totalWrites: 0 });
  });

  it("full: a rule that is removed allows nothing more", async () => {
    await open({ [map]: size });
    await apply(world({ ...fits, open: 80 }));
    const { failures } = await apply(world({ ...exceeds, open: 81 }));
    expect(failures.map(({ where }) => where)).toContain(`map ${map}`);
    const stranger = PACKETS.findIndex(({ remote, port }) => remote === "192.0.2.1" && port === 80);
    expect(wanted(world({ ...fits, open: 80 }))[stranger]).toBe(true);
    expect(verdicts()[stranger]).toBe(false);
    await apply(world({ ...fits, open: 81 }));
    expect(verdicts()).toEqual(wanted(world({ ...fits, open: 81 })));
  });
});
