/**
 * The flow table under attack, seen from inside a network namespace of its own (flow-table.test.ts runs it): the programs by
 * BPF_PROG_TEST_RUN, and with live frames on two CPUs at once. Prints one JSON value: what the scenario found.
 */
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import type { BpfMap } from "#libbpf";
import { BpfObject, clsact, type BpfProgram } from "#libbpf";
import { FlowFlag, Mark } from "../../src/abi/layout.gen.js";
import { decode, encode } from "../../src/abi/codec.js";
import type { DesiredState } from "../../src/compile/desired.js";
import { Injector } from "../../src/bench/inject.js";
import { IndexedMaps } from "../../src/dataplane/bpf/indexed-maps.js";
import { Engine } from "../../src/dataplane/bpf/engine.js";
import { KernelMaps } from "../../src/dataplane/bpf/maps.js";
import type { MapName } from "../../src/dataplane/bpf/plan.js";
import { sweepFlows } from "../../src/dataplane/bpf/sweep.js";
import { PinnedTables } from "../../src/dataplane/bpf/tables.js";
import type { Tap } from "../../src/dataplane/backend.js";
import type { Mac } from "../../src/model/types.js";
import { Rehearsal } from "../conformance/rehearsal.js";
import { endpoint, policy, rule, stateOf } from "../support/desired.js";

const HZ = 250;
const SHOT = 2;
const CONTEXT = { size: 192, mark: 8, ingress: 36, ifindex: 40 } as const;
const OUTSIDE = 0xc6336400;
const UPLINK_MAC = "02:00:00:00:00:02";
const GUESTS = ["a", "b", "c"] as const;
type Guest = (typeof GUESTS)[number];
const address = (guest: Guest): number => 0x0a410001 + GUESTS.indexOf(guest);
const [S, A, F, R] = [2, 16, 1, 4];

const ip = (...args: string[]): string => execFileSync("ip", args, { encoding: "utf8" });
const link = (name: string): { ifindex: number; mac: string } => {
  const [one] = JSON.parse(ip("-j", "link", "show", "dev", name)) as { ifindex: number; address: string }[];
  if (one === undefined) throw new Error(`no interface ${name}`);
  return { ifindex: one.ifindex, mac: one.address };
};
const bytesOf = (mac: string): Buffer => Buffer.from(mac.replaceAll(":", ""), "hex");

function state(guests: readonly Guest[], open = true): DesiredState {
  const all = [rule()];
  return stateOf({
    endpoints: guests.map((id) => endpoint(id, { owned: [`10.65.0.${1 + GUESTS.indexOf(id)}/32`], set: "s" })),
    policies: [policy("p", { ingress: open ? all : [rule({ protocols: [6] })], egress: all })],
    sets: { s: { ingress: [["p"]], egress: [["p"]] } },
  });
}

interface Packet {
  readonly src: number;
  readonly dst: number;
  readonly sport: number;
  readonly dport: number;
  readonly flags?: number;
  readonly udp?: boolean;
}

class Table {
  readonly taps = new Map<string, Tap>();
  readonly uplink: { ifindex: number; mac: string };
  engine: Engine;

  private constructor(
    readonly flows: number,
    readonly maps: ReadonlyMap<string, BpfMap>,
    readonly programs: ReadonlyMap<string, BpfProgram>,
    private readonly timeouts: Readonly<Record<string, number>>,
    private readonly rehearsal: Rehearsal | undefined,
  ) {
    execFileSync("sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
    ip("link", "add", "up0", "address", UPLINK_MAC, "type", "veth", "peer", "name", "up0p");
    for (const name of ["up0", "up0p"]) ip("link", "set", name, "up");
    ip("addr", "add", "192.0.2.1/24", "dev", "up0");
    ip("neigh", "replace", "192.0.2.254", "lladdr", "02:00:00:00:00:99", "dev", "up0", "nud", "permanent");
    ip("route", "add", "default", "via", "192.0.2.254", "dev", "up0");
    this.uplink = link("up0");
    for (const guest of GUESTS) {
      const name = `tap${guest}`;
      ip("tuntap", "add", "dev", name, "mode", "tap");
      ip("link", "set", name, "up");
      const { ifindex, mac } = link(name);
      this.taps.set(name, { name, ifindex, mac: mac as Mac, mtu: 1500, up: true });
    }
    this.engine = this.newEngine();
  }

  /** @param rehearsed the object that explains goes over every packet first */
  static async open(flows: number, timeouts: Readonly<Record<string, number>> = {}, rehearsed = false): Promise<Table> {
    const object = BpfObject.open(readFileSync("build/tap.bpf.o"), { name: "torbie" });
    for (const map of ["flow", "flow_slot", "flow_free"]) object.setMaxEntries(map, flows);
    if (rehearsed) Rehearsal.shrink(object, 64);
    await object.load();
    const maps = new Map(
      object.maps.filter(({ name }) => !name.startsWith(".")).map(({ name }) => [name, object.map(name)]),
    );
    const programs = new Map(object.programs.map(({ name }) => [name, object.program(name)]));
    const rehearsal = rehearsed ? await Rehearsal.open("build/tap-explain.bpf.o", maps) : undefined;
    const table = new Table(flows, maps, programs, timeouts, rehearsal);
    for (let slot = 0; slot < flows; slot++) {
      const value = Buffer.alloc(4);
      value.writeUInt32LE(slot);
      table.map("flow_free").push(value);
    }
    return table;
  }

  newEngine(): Engine {
    return new Engine(new IndexedMaps(new KernelMaps(this.maps as ReadonlyMap<MapName, BpfMap>)), {
      flowLimit: this.flows,
      hz: HZ,
      timeouts: this.timeouts,
      hostToGuest: true,
    });
  }

  map(name: string): BpfMap {
    const map = this.maps.get(name);
    if (map === undefined) throw new Error(`no map ${name}`);
    return map;
  }

  /** Reads everything back, as an agent does that has been started anew. */
  async apply(desired: DesiredState): Promise<void> {
    this.engine = this.newEngine();
    const { failures } = await this.engine.apply(desired, {
      taps: this.taps,
      uplinks: [{ name: "up0", ifindex: this.uplink.ifindex }],
    });
    if (failures.length > 0)
      throw new Error(failures.map(({ where, error }) => `${where}: ${error.message}`).join("; "));
  }

  private run(
    program: string,
    ifindex: number,
    macs: readonly [string, string],
    packet: Packet,
    mark = 0,
    ingress = 0,
  ): boolean {
    const frame = Buffer.alloc(54);
    bytesOf(macs[0]).copy(frame, 0);
    bytesOf(macs[1]).copy(frame, 6);
    frame.writeUInt16BE(0x0800, 12);
    frame[14] = 0x45;
    frame.writeUInt16BE(40, 16);
    frame[22] = 64;
    frame[23] = packet.udp === true ? 17 : 6;
    frame.writeUInt32BE(packet.src >>> 0, 26);
    frame.writeUInt32BE(packet.dst >>> 0, 30);
    frame.writeUInt16BE(packet.sport & 0xffff, 34);
    frame.writeUInt16BE(packet.dport & 0xffff, 36);
    frame[46] = 0x50;
    frame[47] = packet.flags ?? 0;
    const context = Buffer.alloc(CONTEXT.size);
    context.writeUInt32LE(ifindex, CONTEXT.ifindex);
    context.writeUInt32LE(mark, CONTEXT.mark);
    context.writeUInt32LE(ingress, CONTEXT.ingress);
    const rehearsed = this.rehearsal?.run(program, frame, context);
    const result = this.programs.get(program)?.testRun({ data: frame, context, contextOutSize: CONTEXT.size });
    if (result !== undefined) rehearsed?.(result, undefined);
    return result?.returnValue !== SHOT;
  }

  private tap(guest: Guest): Tap {
    const tap = this.taps.get(`tap${guest}`);
    if (tap === undefined) throw new Error(`no tap ${guest}`);
    return tap;
  }

  private mac(guest: Guest): string {
    return endpoint(guest, { owned: [], set: "s" }).mac;
  }

  /** Whether the packet passed. */
  sends(guest: Guest, packet: Omit<Packet, "src">): boolean {
    const tap = this.tap(guest);
    return this.run("tap_ingress", tap.ifindex, [tap.mac, this.mac(guest)], { ...packet, src: address(guest) });
  }

  arrives(guest: Guest, packet: Omit<Packet, "dst">): boolean {
    return this.run("uplink_ingress", this.uplink.ifindex, [UPLINK_MAC, "02:00:00:00:00:99"], {
      ...packet,
      dst: address(guest),
    });
  }

  /** As the stack hands it to the guest's tap, having come in by the uplink. */
  forwards(guest: Guest, packet: Omit<Packet, "dst">, mark: number): boolean {
    const tap = this.tap(guest);
    const whole = { ...packet, dst: address(guest) };
    return this.run("tap_egress", tap.ifindex, [this.mac(guest), tap.mac], whole, mark, this.uplink.ifindex);
  }

  hostSends(guest: Guest, packet: Omit<Packet, "dst" | "src">): boolean {
    const tap = this.tap(guest);
    return this.run("tap_egress", tap.ifindex, [this.mac(guest), tap.mac], {
      ...packet,
      src: 0xc0000201,
      dst: address(guest),
    });
  }

  entries(name: "flow" | "flow_slot" | "account"): [Buffer, Record<string, number> & { key?: unknown }][] {
    const record = name;
    return [...this.map(name).entries()].map(([key, value]) => [
      Buffer.from(key),
      decode(record, Buffer.from(value)) as unknown as Record<string, number>,
    ]);
  }

  /** Makes entries older. */
  age(seconds: number, which: () => boolean = () => true): void {
    for (const [key, flow] of this.entries("flow")) {
      if (which())
        this.map("flow").set(
          key,
          encode("flow", { ...flow, last_seen: ((flow["last_seen"] ?? 0) - Math.round(seconds * HZ)) >>> 0 }),
        );
    }
  }

  account(number: number): Record<string, number> {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(number);
    return decode("account", this.map("account").get(key) ?? Buffer.alloc(32)) as unknown as Record<string, number>;
  }

  /** What is not as the counters say. Reads and gives back the free slots, so nothing else may run. */
  faults(): string[] {
    const faults: string[] = [];
    const flowKey = (slot: Buffer): string => slot.subarray(0, 40).toString("hex");
    const slots = [...this.map("flow_slot").entries()].map(([, value]) => Buffer.from(value));
    const flows = new Map(this.entries("flow").map(([key, flow]) => [key.toString("hex"), flow]));
    const free: Buffer[] = [];
    for (let slot = this.map("flow_free").pop(); slot !== undefined; slot = this.map("flow_free").pop())
      free.push(Buffer.from(slot));
    for (const slot of free) this.map("flow_free").push(slot);
    if (new Set(free.map((slot) => slot.readUInt32LE())).size !== free.length) faults.push("a slot is free twice");
    const seen = new Set<number>();
    let [total, live] = [0, 0];
    for (const [key, account] of this.entries("account")) {
      const number = key.readUInt32LE();
      let [length, half, handSeen] = [0, 0, (account["hand"] ?? 0) === 0];
      let previous = 0;
      for (let next = account["head"] ?? 0; next !== 0; length++) {
        const index = next - 1;
        const slot = slots[index];
        if (slot === undefined || seen.has(index)) {
          faults.push(
            `account ${number}: slot ${index} ${slot === undefined ? "does not exist" : "stands on a list twice"}`,
          );
          break;
        }
        seen.add(index);
        const { owner, half_open, next: after } = decode("flow_slot", slot) as unknown as Record<string, number>;
        if (owner !== number) faults.push(`account ${number}: slot ${index} says owner ${owner}`);
        const flow = flows.get(flowKey(slot));
        if (flow !== undefined && flow["slot"] === index) {
          live++;
          if (((flow["flags"] ?? 0) & FlowFlag.FLOW_HALF_OPEN) !== 0) half++;
        } else if (half_open === 1) half++;
        if (account["hand"] === next) {
          handSeen = true;
          if (account["hand_previous"] !== previous)
            faults.push(`account ${number}: hand_previous ${account["hand_previous"]}, not ${previous}`);
        }
        previous = next;
        next = after ?? 0;
      }
      if (!handSeen) faults.push(`account ${number}: its hand is not on its list`);
      if (length !== account["count"]) faults.push(`account ${number}: count ${account["count"]}, list ${length}`);
      if (half !== account["half_open"])
        faults.push(`account ${number}: half_open ${account["half_open"]}, entries ${half}`);
      total += length;
    }
    if (live !== flows.size) faults.push(`${flows.size} flows, ${live} on lists`);
    const used = Number(this.map("pool").get(Buffer.alloc(4))?.readBigInt64LE() ?? -1n);
    if (used !== total) faults.push(`pool.used ${used}, ${total} on lists`);
    if (this.flows - free.length !== total) faults.push(`${this.flows - free.length} slots taken, ${total} on lists`);
    for (const slot of free)
      if (seen.has(slot.readUInt32LE())) faults.push(`slot ${slot.readUInt32LE()} is free and on a list`);
    return faults.slice(0, 20);
  }
}

/** D7: floods by `by` and `into`, then what a neighbour and the flooded one may still do. */
async function shares(): Promise<unknown> {
  const table = await Table.open(262_144);
  await table.apply(state(GUESTS));
  const connections = (guest: Guest, count: number, port: number): number => {
    let failures = 0;
    for (let i = 0; i < count; i++) {
      const out = { dst: OUTSIDE + 0x10000 + (i >> 12), sport: 20_000 + (i & 4095), dport: port };
      const back = { src: out.dst, sport: port, dport: out.sport };
      if (
        !table.sends(guest, { ...out, flags: S }) ||
        !table.arrives(guest, { ...back, flags: S | A }) ||
        !table.sends(guest, { ...out, flags: A })
      )
        failures++;
    }
    return failures;
  };
  let flooded = 0;
  for (let i = 0; i < 140_000; i++)
    if (table.sends("a", { dst: OUTSIDE + (i >> 15), sport: 1024 + (i & 32_767), dport: 80, flags: S })) flooded++;
  const neighbour = connections("b", 10_000, 443);
  // Every SYN is answered, as by a guest that listens; nobody goes on, for nobody is there.
  let halfOpen = 0;
  for (let i = 0; i < 90_000; i++) {
    const syn = { src: OUTSIDE + 0x20000 + (i >> 15), sport: 1024 + (i & 32_767), dport: 80 };
    if (!table.arrives("c", { ...syn, flags: S })) continue;
    halfOpen++;
    table.sends("c", { dst: syn.src, sport: 80, dport: syn.sport, flags: S | A });
  }
  // The rest of the table is reserved by now: a port has its guaranteed share, 8,192.
  const underFlood = connections("c", 8000, 443);
  return { flooded, neighbour, halfOpen, underFlood, faults: table.faults() };
}

/** Entries are deleted from the map, as `flow flush` does, and swept: at once nobody owns more than there is. */
async function flushed(): Promise<unknown> {
  const table = await Table.open(4096);
  await table.apply(state(GUESTS));
  for (let i = 0; i < 700; i++) {
    table.sends("a", { dst: OUTSIDE, sport: 1024 + i, dport: 80, flags: S });
    table.arrives("b", { src: OUTSIDE, sport: 1024 + i, dport: 80, flags: S });
  }
  const counts = (): unknown[] =>
    [1, 2].map((number) => [table.account(number)["count"], table.account(number)["half_open"]]);
  const before = counts();
  const entries = table.entries("flow").map(([key]) => key);
  const gone = entries.filter((key) => key.readUInt16LE(32) !== 1030 && key.readUInt16LE(34) !== 1030);
  table.map("flow").deleteBatch(Buffer.concat(gone), gone.length);
  const unswept = counts();
  const tables = new PinnedTables(table.maps as ReadonlyMap<MapName, BpfMap>);
  await sweepFlows(tables, new Set([0, 1, 2]), "build/adopt.bpf.o");
  const swept = counts();
  const faults = table.faults();
  const again = table.sends("a", { dst: OUTSIDE, sport: 1024, dport: 80, flags: S });
  return { before, unswept, swept, again, faults: [...faults, ...table.faults()] };
}

/** Two who take all they can get, each way; the third has its guaranteed share all the same. */
async function guarantee(): Promise<unknown> {
  const table = await Table.open(8192);
  await table.apply(state(GUESTS));
  const full = (guest: Guest, i: number): void => {
    const syn = { src: OUTSIDE + 0x30000, sport: 1024 + i, dport: 81 };
    table.arrives(guest, { ...syn, flags: S });
    table.sends(guest, { dst: syn.src, sport: 81, dport: syn.sport, flags: S | A });
    table.arrives(guest, { ...syn, flags: A });
  };
  for (let i = 0; i < 10_000; i++) full("a", i);
  for (let i = 0; i < 10_000; i++) full("b", i);
  for (let i = 0; i < 10_000; i++) table.sends("b", { dst: OUTSIDE, sport: 1024 + i, dport: 80, flags: S });
  let passed = 0;
  const guaranteed = Math.floor(8192 / 4 / 3);
  for (let i = 0; i < guaranteed; i++)
    if (table.sends("c", { dst: OUTSIDE, sport: 1024 + i, dport: 80, flags: S })) passed++;
  return {
    counts: [1, 2, 3].map((number) => table.account(number)["count"]),
    passed,
    guaranteed,
    faults: table.faults(),
  };
}

/** What was a port's that is gone goes with it, and its number starts with an empty account. */
async function reuse(): Promise<unknown> {
  const table = await Table.open(1024);
  await table.apply(state(GUESTS));
  for (let i = 0; i < 600; i++) {
    table.sends("c", { dst: OUTSIDE, sport: 1024 + i, dport: 80, flags: S });
    table.arrives("c", { src: OUTSIDE, sport: 80, dport: 1024 + i, flags: S | A });
    table.sends("c", { dst: OUTSIDE, sport: 1024 + i, dport: 80, flags: A });
  }
  const filled = table.account(3)["count"];
  await table.apply(state(["a", "b"]));
  // The neighbours' insertions find them, although they would live for days.
  for (let i = 0; i < 2000; i++) table.sends("a", { dst: OUTSIDE, sport: 1024 + i, dport: 80, flags: S });
  const left = table.account(3)["count"];
  return { filled, left, faults: table.faults() };
}

/** The number of a port that left flows behind is not the next one's. */
async function renumber(): Promise<unknown> {
  const table = await Table.open(1024);
  await table.apply(state(["a", "c"]));
  for (let i = 0; i < 600; i++) table.sends("c", { dst: OUTSIDE, sport: 1024 + i, dport: 80, flags: S });
  const number = (guest: Guest): number =>
    [...table.map("tap").entries()]
      .filter(([key]) => key.readUInt32LE() === table.taps.get(`tap${guest}`)?.ifindex)
      .map(([, value]) => value.readUInt32LE())[0] ?? 0;
  const former = number("c");
  await table.apply(state(["a"]));
  await table.apply(state(["a", "b"]));
  let passed = 0;
  for (let i = 0; i < 100; i++) if (table.sends("b", { dst: OUTSIDE, sport: 1024 + i, dport: 80, flags: S })) passed++;
  return { former, next: number("b"), passed, faults: table.faults() };
}

/** A random mix; after every so many steps all counters must be what the maps hold. */
async function mix(seed: number, steps: number, rehearsed = false): Promise<unknown> {
  let x = seed >>> 0 || 1;
  const random = (below: number): number => {
    x ^= x << 13;
    x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x % below;
  };
  const table = await Table.open(rehearsed ? 64 : 256, {}, rehearsed);
  await table.apply(state(GUESTS));
  const guests = new Set<Guest>(GUESTS);
  for (let i = 0; i < steps; i++) {
    const guest = GUESTS[random(3)] ?? "a";
    const other = GUESTS[random(3)] ?? "b";
    const remote = { port: 1000 + random(60), address: OUTSIDE + random(3) };
    const udp = random(4) === 0;
    const flags = [S, S, S, A, A, S | A, R | A, F | A][random(8)] ?? S;
    const what = random(100);
    if (what < 35) table.sends(guest, { dst: remote.address, sport: remote.port, dport: 80, flags, udp });
    else if (what < 70)
      table.arrives(guest, {
        src: remote.address,
        sport: random(2) === 0 ? 80 : remote.port,
        dport: random(2) === 0 ? 80 : remote.port,
        flags,
        udp,
      });
    else if (what < 80) table.sends(guest, { dst: address(other), sport: remote.port, dport: 80, flags, udp });
    else if (what < 86) table.hostSends(guest, { sport: remote.port, dport: 22, flags, udp });
    else if (what < 91) table.age(30 + random(400), () => random(3) === 0);
    else if (what < 92) table.age(600_000, () => random(2) === 0);
    else if (what < 95) {
      const keys = table.entries("flow");
      const [key] = keys[random(Math.max(1, keys.length))] ?? [];
      if (key !== undefined) table.map("flow").delete(key);
    } else if (what < 97) await table.apply(state([...guests], random(2) === 0));
    else if (what < 98) {
      if (guests.has("c")) guests.delete("c");
      else guests.add("c");
      await table.apply(state([...guests]));
    }
    if (i % 25 === 0 || i === steps - 1) {
      const faults = table.faults();
      if (faults.length > 0) return { seed, step: i, faults };
    }
  }
  if (rehearsed)
    return { seed, faults: table.faults(), refused: [1, 2, 3].map((number) => table.account(number)["refused"]) };
  // What was deleted behind the programs' back is found: nothing is lost for ever.
  for (const [key] of table.entries("flow")) table.map("flow").delete(key);
  for (const guest of guests)
    for (let i = 0; i < 2000; i++)
      table.sends(guest, { dst: OUTSIDE + 9, sport: 1024 + (i % 40), dport: 90 + (i % 7), flags: S });
  table.age(600_000);
  for (const guest of guests)
    for (let i = 0; i < 2000; i++) table.sends(guest, { dst: OUTSIDE + 9, sport: 1024 + i, dport: 99, flags: S });
  return {
    seed,
    step: steps,
    faults: table.faults(),
    used: Number(table.map("pool").get(Buffer.alloc(4))?.readBigUInt64LE()),
    flows: table.entries("flow").length,
  };
}

/** Live frames of the same guests on two CPUs, entries that live for a moment, and someone who deletes and narrows meanwhile. */
async function race(seconds: number): Promise<unknown> {
  const table = await Table.open(128, { FLOW_NEW: 0.004, FLOW_REPLIED: 0.004, FLOW_SYN_SENT: 0.004 });
  await table.apply(state(GUESTS));
  for (const { ifindex } of table.taps.values()) {
    for (const direction of ["ingress", "egress"] as const) {
      const program = table.programs.get(`tap_${direction}`);
      if (program !== undefined) clsact.attach({ ifindex, direction, program, priority: 1, handle: 1 });
    }
  }
  const uplink = table.programs.get("uplink_ingress");
  if (uplink !== undefined)
    clsact.attach({ ifindex: table.uplink.ifindex, direction: "ingress", program: uplink, priority: 1, handle: 1 });
  const taps = JSON.stringify(
    [...table.taps.values()].map(({ ifindex, mac }, i) => ({
      ifindex,
      mac,
      from: GUESTS[i] === undefined ? "" : endpoint(GUESTS[i], { owned: [], set: "s" }).mac,
    })),
  );
  const workers = [0, 1].map((cpu) => {
    const child = spawn(
      "taskset",
      [
        "-c",
        String(cpu),
        process.execPath,
        process.argv[1] ?? "",
        "worker",
        String(seconds),
        taps,
        String(table.uplink.ifindex),
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    let output = "";
    child.stdout.on("data", (data: Buffer) => (output += data.toString()));
    return new Promise<number>((resolve, reject) =>
      child.once("exit", (code) =>
        code === 0 ? resolve(Number(output)) : reject(new Error(`worker ended with ${String(code)}`)),
      ),
    );
  });
  let done = false;
  const packets = Promise.all(workers).finally(() => (done = true));
  let disturbed = 0;
  while (!done) {
    // The faults of a moment are no faults: only deletes and restarts here.
    const keys = [...table.map("flow").entries()].slice(0, 8);
    for (const [key] of keys) table.map("flow").delete(key);
    await table.apply(state(GUESTS, disturbed++ % 2 === 0));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const sent = await packets;
  const refused = [1, 2, 3].map((number) => table.account(number)["refused"]);
  const opened = [1, 2, 3].map((number) => table.account(number)["opened"]);
  return { sent, opened, refused, disturbed, faults: table.faults() };
}

async function worker(
  seconds: number,
  taps: readonly { ifindex: number; mac: string; from: string }[],
  uplink: number,
): Promise<number> {
  const injector = await Injector.load("build/bench.bpf.o");
  const until = Date.now() + seconds * 1000;
  let sent = 0;
  for (let round = 0; Date.now() < until; round++) {
    const tap = taps[round % taps.length];
    if (tap === undefined) break;
    const source = 0x0a410001 + (round % taps.length);
    // Out, with the same ports on both CPUs; to a neighbour; and in, from many.
    injector.run(tap, tap.from, { flows: 97, firstSource: source, destination: OUTSIDE + 1, firstPort: 80 }, 4096);
    injector.run(
      tap,
      tap.from,
      { flows: 3, firstSource: source, destination: OUTSIDE + 2, firstPort: 81, ports: 3 },
      4096,
    );
    injector.run(
      tap,
      tap.from,
      { flows: 11, firstSource: source, destination: 0x0a410001 + ((round + 1) % taps.length), firstPort: 80 },
      2048,
    );
    injector.run(
      { ifindex: uplink, mac: UPLINK_MAC },
      "02:00:00:00:00:99",
      { flows: 7, sources: 13, firstSource: OUTSIDE, destination: source, firstPort: 80, ports: 3 },
      4096,
    );
    sent += 3 * 4096 + 2048;
  }
  injector.close();
  return sent;
}

/** What a tap's egress program takes for judged: its own number and nothing else. */
async function marks(): Promise<unknown> {
  const table = await Table.open(256);
  await table.apply({ ...state(GUESTS, false) });
  const number = (guest: Guest): number => ((table.taps.get(`tap${guest}`)?.ifindex ?? 0) % Mark.MARK_NUMBER) + 1;
  const forwarded = { src: OUTSIDE, sport: 1024, dport: 80, udp: true };
  const passes = (mark: number): boolean => table.forwards("a", forwarded, mark >>> 0);
  return {
    own: passes(Mark.MARK_JUDGED | number("a")),
    ownAmongOthers: passes((0xffff0000 | Mark.MARK_JUDGED | number("a")) >>> 0),
    none: passes(0),
    another: passes(Mark.MARK_JUDGED | number("b")),
    nobody: passes(Mark.MARK_JUDGED),
    host: passes(Mark.MARK_HOST),
    hostAndOwn: passes(Mark.MARK_HOST | number("a")),
    both: passes(Mark.MARK_JUDGED | Mark.MARK_HOST | number("a")),
    numberAlone: passes(number("a")),
    upperHalf: passes((Mark.MARK_JUDGED | number("a")) << 16),
  };
}

async function main(): Promise<unknown> {
  const [, , scenario = "", first = "1", second = "[]", third = "0"] = process.argv;
  switch (scenario) {
    case "shares":
      return shares();
    case "flushed":
      return flushed();
    case "guarantee":
      return guarantee();
    case "reuse":
      return reuse();
    case "renumber":
      return renumber();
    case "mix":
      return mix(Number(first), Number(second));
    case "foretold":
      return mix(Number(first), Number(second), true);
    case "marks":
      return marks();
    case "race":
      return race(Number(first));
    case "worker":
      return worker(
        Number(first),
        JSON.parse(second) as { ifindex: number; mac: string; from: string }[],
        Number(third),
      );
    default:
      throw new Error(`no scenario ${scenario}`);
  }
}

process.stdout.write(JSON.stringify(await main()));
