/** The backend on the real kernel: maps loaded, written, adopted and read back; hooks in a network namespace of its own. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BpfBackend, cleanup, openPinned } from "../../src/dataplane/bpf/index.js";
import { NameKind } from "../../src/abi/layout.gen.js";
import { endpoint, interfacesOf, policy, rule, stateOf } from "../support/desired.js";
import type { Address, Prefix } from "../../src/model/types.js";
import type { ClassKey, DesiredDelta } from "../../src/compile/desired.js";

let mount: string;
const pinDir = (name: string): string => join(mount, name);

beforeAll(() => {
  mount = mkdtempSync(join(tmpdir(), "tb-bpffs-"));
  execFileSync("mount", ["-t", "bpf", "bpf", mount]);
});
afterAll(() => {
  execFileSync("umount", [mount]);
  rmSync(mount, { recursive: true });
});

const noDelta: DesiredDelta = {
  endpoints: new Set(),
  sets: new Set(),
  policies: new Set(),
  addresses: new Set(),
  prefixes: new Set(),
  narrowed: new Set(),
};

const WEB = [rule({ action: "allow", protocols: [6], ports: [{ first: 80, last: 81 }] })];
const web = () =>
  stateOf({
    endpoints: [
      endpoint("a", { owned: ["10.65.0.11/32", "fd00::11/128"], set: "s" }),
      endpoint("b", { owned: ["10.65.0.12/32"], set: "s" }),
    ],
    policies: [policy("p", { ingress: WEB, egress: [rule({ action: "allow" })] })],
    sets: { s: { ingress: [["p"]], egress: [["p"]] } },
    addresses: { "10.65.0.11": ["group:web"], "10.65.0.12": ["group:web"], "10.65.0.99": ["group:db"] },
    prefixes: { "192.0.2.0/24": ["net:x"] },
  });

describe("maps", () => {
  it("loads, writes, and finds nothing to do when asked again", async () => {
    const backend = await BpfBackend.open({ pinDir: pinDir("first"), flows: 1024 });
    const first = await backend.apply(web(), interfacesOf());
    expect(first.failures).toEqual([]);
    expect(first.writes["endpoint"]).toBe(2);
    const again = await backend.apply(web(), interfacesOf());
    expect(again).toMatchObject({ totalWrites: 0, failures: [] });
    await backend.close();
  });

  it("says whether the programs see checksum requests: what was loaded, and again when it is adopted", async () => {
    const built = (name: string): string => fileURLToPath(new URL(`../../build/${name}`, import.meta.url));
    for (const [name, sees] of [
      ["tap.bpf.o", false],
      ["tap-modern.bpf.o", true],
    ] as const) {
      for (const adopted of [false, true]) {
        const backend = await BpfBackend.open({ pinDir: pinDir(`sees_${sees}`), flows: 64, objects: [built(name)] });
        expect(backend.objects).toMatchObject({ adopted, seesChecksums: sees });
        await backend.close();
      }
      cleanup(pinDir(`sees_${sees}`));
    }
  });

  it("adopts what is pinned: the same numbers, generations and programs, and not one write", async () => {
    const before = openPinned(pinDir("first"));
    const numbers = before.endpoints().map(({ id, number, generation }) => ({ id, number, generation }));
    before.close();
    const backend = await BpfBackend.open({ pinDir: pinDir("first"), flows: 1024 });
    expect(backend.objects.adopted).toBe(true);
    const report = await backend.apply(web(), interfacesOf());
    expect(report.totalWrites).toBe(0);
    const after = openPinned(pinDir("first"));
    expect(after.endpoints().map(({ id, number, generation }) => ({ id, number, generation }))).toEqual(numbers);
    after.close();
    await backend.close();
  });

  it("fills flow_free exactly once", async () => {
    const backend = await BpfBackend.open({ pinDir: pinDir("slots"), flows: 64 });
    const free = backend.objects.maps.get("flow_free");
    const slots: number[] = [];
    for (let slot = free?.pop(); slot !== undefined; slot = free?.pop()) slots.push(slot.readUInt32LE());
    expect(slots.sort((a, b) => a - b)).toEqual(Array.from({ length: 64 }, (_, i) => i));
    await backend.close();
    const again = await BpfBackend.open({ pinDir: pinDir("slots"), flows: 64 });
    expect(again.objects.maps.get("flow_free")?.pop()).toBeUndefined();
    await again.close();
  });

  it("writes one address for one member, and one generation when it leaves", async () => {
    const backend = await BpfBackend.open({ pinDir: pinDir("member"), flows: 64 });
    const web1 = web();
    const others = ["10.65.0.50", "10.65.0.51"].map(
      (address) => [address as Address, { classes: ["group:web" as ClassKey], complete: false }] as const,
    );
    const base = { ...web1, addresses: new Map([...web1.addresses, ...others]) };
    await backend.apply(base, interfacesOf());
    const key = "10.65.0.77" as Address;
    const joined = {
      ...base,
      addresses: new Map([...base.addresses, [key, { classes: ["group:web" as ClassKey], complete: false }]]),
    };
    const join = await backend.apply(joined, interfacesOf(), { ...noDelta, addresses: new Set([key]) });
    expect(join.writes).toEqual({ remote: 1, member: 1 });
    const leave = await backend.apply(base, interfacesOf(), {
      ...noDelta,
      addresses: new Set([key]),
      narrowed: new Set(["group:web" as ClassKey]),
    });
    expect(leave.writes).toEqual({ remote: 1, member: 1, control: 1 });
    const full = await backend.apply(base, interfacesOf());
    expect(full.totalWrites).toBe(0);
    await backend.close();
  });

  it("reads rules, owners and control back", async () => {
    const pinned = openPinned(pinDir("first"));
    const [a] = pinned.endpoints();
    expect(a).toMatchObject({ adminUp: true, portSecurity: true, blocked: false, mac: "fa:16:3e:00:00:01" });
    expect(a?.sources.map(({ prefix }) => prefix).sort()).toEqual(["10.65.0.11/32", "fd00::11/128"]);
    const decoded = pinned.policy(a?.number ?? 0);
    expect(decoded?.name).toBe("s");
    expect(decoded?.ingress[0]).toMatchObject({ end: "deny", allowOnly: true });
    expect(decoded?.ingress[0]?.rules[0]).toMatchObject({
      action: "allow",
      protocols: [6],
      ports: [{ first: 80, last: 81 }],
      families: [4, 6],
      remotes: ["any"],
      hits: 0n,
    });
    expect(
      pinned
        .locals()
        .map(({ prefix }) => prefix)
        .sort(),
    ).toEqual(["10.65.0.11", "10.65.0.12", "fd00::11"] as (Prefix | Address)[]);
    expect(pinned.control()).toMatchObject({ endpoint_limit: 3, flow_limit: 1024, port_limit: 512 });
    expect(pinned.name(NameKind.NAME_ENDPOINT, a?.number ?? 0)).toBe("a");
    expect(pinned.drops()).toEqual([]);
    expect(pinned.flows()).toMatchObject({ used: 0, limit: 1024 });
    pinned.close();
  });

  it("says which map is full, points nothing at what is half written, and recovers", async () => {
    const backend = await BpfBackend.open({ pinDir: pinDir("full"), flows: 64 });
    const many = Array.from({ length: 300 }, (_, i) => ({ name: `up${i}`, ifindex: 900_000 + i }));
    const report = await backend.apply(web(), { ...interfacesOf(), uplinks: many });
    const full = report.failures.find(({ where }) => where === "map uplink");
    expect(full?.error).toMatchObject({ code: "MAP_FULL" });
    expect(full?.error.message).toContain("at most 256 entries");
    const fixed = await backend.apply(web(), interfacesOf(), noDelta);
    expect(fixed.failures).toEqual([]);
    expect(fixed.writes["uplink"]).toBe(256);
    expect((await backend.apply(web(), interfacesOf())).totalWrites).toBe(0);
    await backend.close();
  });

  it("refuses a pinned map of another shape, and a pin directory that is not whole", async () => {
    const { BpfMap } = await import("#libbpf");
    await (await BpfBackend.open({ pinDir: pinDir("shape"), flows: 64 })).close();
    const path = join(pinDir("shape"), "maps", "tap");
    rmSync(path);
    await expect(BpfBackend.open({ pinDir: pinDir("shape"), flows: 64 })).rejects.toMatchObject({
      code: "PINNED_MISSING",
    });
    const wrong = BpfMap.create({ type: 1, keySize: 4, valueSize: 8, maxEntries: 4, flags: 1 });
    wrong.pin(path);
    wrong.close();
    await expect(BpfBackend.open({ pinDir: pinDir("shape"), flows: 64 })).rejects.toMatchObject({
      code: "PINNED_SHAPE",
    });
  });

  it("refuses a directory that is no bpffs, and mounts nothing", async () => {
    const plain = mkdtempSync(join(tmpdir(), "tb-plain-"));
    await expect(BpfBackend.open({ pinDir: plain })).rejects.toMatchObject({ code: "NO_BPFFS" });
    expect(readdirSync(plain)).toEqual([]);
    rmSync(plain, { recursive: true });
  });

  it("cleans up its pins and leaves those of others", () => {
    mkdirSync(pinDir("others"));
    for (const name of ["first", "slots", "member", "full", "shape"]) cleanup(pinDir(name));
    // A kernel with CONFIG_BPF_PRELOAD puts its own maps.debug and progs.debug into every bpffs.
    expect(readdirSync(mount).filter((name) => !name.endsWith(".debug"))).toEqual(["others"]);
    expect(existsSync(pinDir("first"))).toBe(false);
  });
});
