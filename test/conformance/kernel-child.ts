/**
 * The BPF programs as an Implementation, seen from inside a network namespace of their own: real devices, routes and maps,
 * packets by BPF_PROG_TEST_RUN. Speaks one JSON value a line with test/conformance/kernel.ts, which runs outside.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { BpfObject, type BpfMap, type BpfProgram } from "#libbpf";
import { Limits, Mark, NameKind, Reason } from "../../src/abi/layout.gen.js";
import { decode, encode } from "../../src/abi/codec.js";
import { resetFlows } from "../../src/bench/reset-flows.js";
import { Compiler } from "../../src/compile/compiler.js";
import type { At, Outcome, ReasonName, StackWhy } from "../../src/compile/evaluate-types.js";
import { TIMEOUTS } from "../../src/compile/evaluate-flows.js";
import { IndexedMaps } from "../../src/dataplane/bpf/indexed-maps.js";
import { Engine } from "../../src/dataplane/bpf/engine.js";
import { KernelMaps } from "../../src/dataplane/bpf/maps.js";
import type { MapName } from "../../src/dataplane/bpf/plan.js";
import type { Interfaces, Tap } from "../../src/dataplane/backend.js";
import { addressFromBytes, addressToPrefix, isSingle, prefixToAddress } from "../../src/model/cidr.js";
import { NOTHING_SERVED, type Served } from "../../src/model/services.js";
import { ModelStore } from "../../src/model/store.js";
import type { Mac, Prefix } from "../../src/model/types.js";
import type { EndpointId } from "../../src/model/types.js";
import { changes, type Resource } from "../support/resources.js";
import { Rehearsal } from "./rehearsal.js";

/** ConformanceWorld with its taps as a list: what fits through JSON. */
export interface WireWorld {
  readonly hostname: string;
  readonly resources: readonly Resource[];
  readonly taps: readonly { readonly name: string; readonly hostMac: string; readonly mtu: number }[];
  readonly uplinks: readonly string[];
  readonly uplinkMac: string;
  readonly hostAddresses: readonly string[];
  readonly unreachable: readonly string[];
  readonly hostToGuest: boolean;
  readonly served: Served;
}

export type Request =
  | { readonly do: "load" | "update"; readonly world: WireWorld }
  | { readonly do: "receive"; readonly at: At; readonly frame: string; readonly now: number };

const HZ = 250;
/** Entries of the flow table: each is taken from its queue and put back one by one when a case begins. */
const FLOWS = Number(process.argv[3] ?? 4096);
const ROUTE_PROTOCOL = "116";
/** More than a world has; what has an entry for each of them is read as a whole after every drop. */
const MOST_ENDPOINTS = 64;
const TC_ACT_SHOT = 2;
const TC_ACT_REDIRECT = 7;
/** The fields of struct __sk_buff that a test run takes and gives: mark, ingress_ifindex and ifindex. */
const CONTEXT = { size: 192, mark: 8, ingress: 36, ifindex: 40 } as const;

const ip = (...args: string[]): string => execFileSync("ip", args, { encoding: "utf8" });

interface Devices {
  readonly taps: Map<string, Tap>;
  readonly uplinks: Map<string, number>;
  /** An interface that is not listed. */
  readonly other: number;
}

function ifindexOf(name: string): number {
  const [link] = JSON.parse(ip("-j", "link", "show", "dev", name)) as { ifindex: number }[];
  if (link === undefined) throw new Error(`no interface ${name}`);
  return link.ifindex;
}

function makeDevices(world: WireWorld): Devices {
  execFileSync("sysctl", [
    "-qw",
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv6.conf.default.accept_dad=0",
  ]);
  for (const [i, name] of world.uplinks.entries()) {
    ip("link", "add", name, "address", world.uplinkMac, "type", "veth", "peer", "name", `${name}p`);
    ip("link", "set", name, "up");
    ip("link", "set", `${name}p`, "up");
    if (i > 0) continue;
    for (const address of world.hostAddresses)
      ip("addr", "add", `${address}/${address.includes(":") ? 64 : 24}`, "dev", name);
    for (const [next, everything] of [
      ["192.0.2.254", "default"],
      ["2001:db8:1::fe", "default"],
    ] as const) {
      ip("neigh", "replace", next, "lladdr", "02:00:00:00:00:99", "dev", name, "nud", "permanent");
      ip(next.includes(":") ? "-6" : "-4", "route", "add", everything, "via", next, "dev", name);
    }
    // Everything on the uplink's own subnet has a neighbour too: the cases send to some of it.
    for (const neighbour of ["192.0.2.99"])
      ip("neigh", "replace", neighbour, "lladdr", "02:00:00:00:00:98", "dev", name, "nud", "permanent");
  }
  for (const prefix of world.unreachable) ip(prefix.includes(":") ? "-6" : "-4", "route", "add", "blackhole", prefix);
  ip("link", "add", "eth9", "type", "veth", "peer", "name", "eth9p");
  return {
    taps: new Map(),
    uplinks: new Map(world.uplinks.map((name) => [name, ifindexOf(name)])),
    other: ifindexOf("eth9"),
  };
}

/** Taps that a world has and no world before it had. */
function makeTaps({ taps }: Devices, world: WireWorld): void {
  for (const { name, hostMac, mtu } of world.taps) {
    const there = taps.get(name);
    if (there === undefined) ip("tuntap", "add", "dev", name, "mode", "tap");
    if (there?.mac === hostMac && there.mtu === mtu) continue;
    ip("link", "set", name, "address", hostMac, "mtu", String(mtu), "up");
    taps.set(name, { name, ifindex: there?.ifindex ?? ifindexOf(name), mac: hostMac as Mac, mtu, up: true });
  }
}

/** Canonical text of where an IP frame goes. */
function destinationOf(frame: Buffer): string {
  const v4 = frame.readUInt16BE(12) === 0x0800;
  return addressFromBytes(
    v4
      ? Buffer.concat([Buffer.from("00000000000000000000ffff", "hex"), frame.subarray(30, 34)])
      : frame.subarray(38, 54),
  );
}

class Kernel {
  #devices: Devices | undefined;
  #engine: Engine;
  #store = new ModelStore("none");
  #compiler = new Compiler();
  #resources: readonly Resource[] = [];
  #now = 0;
  /** Drop counters as they were last read. */
  #counted: ReadonlyMap<number, bigint> | undefined;
  #hostAddresses: ReadonlySet<string> = new Set();
  #endpointByTap = new Map<number, EndpointId>();
  /** Prefixes and taps, as the kernel has them. */
  #routed = "[]";

  private constructor(
    private readonly maps: ReadonlyMap<string, BpfMap>,
    private readonly programs: ReadonlyMap<string, BpfProgram>,
    private readonly rehearsal: Rehearsal | undefined,
  ) {
    this.#engine = this.#newEngine(true, NOTHING_SERVED);
  }

  /** @param rehearsed the object that explains: it goes over every packet first */
  static async open(path: string, rehearsed: string | undefined): Promise<Kernel> {
    const object = BpfObject.open(readFileSync(path), { name: "torbie" });
    for (const map of ["flow", "flow_slot", "flow_free"]) object.setMaxEntries(map, FLOWS);
    object.setMaxEntries("account", MOST_ENDPOINTS);
    object.setMaxEntries("drop", MOST_ENDPOINTS * Limits.MAX_REASONS);
    if (rehearsed !== undefined) Rehearsal.shrink(object, MOST_ENDPOINTS);
    await object.load();
    const maps = new Map(
      object.maps.filter(({ name }) => !name.startsWith(".")).map(({ name }) => [name, object.map(name)]),
    );
    const programs = new Map(object.programs.map(({ name }) => [name, object.program(name)]));
    return new Kernel(maps, programs, rehearsed === undefined ? undefined : await Rehearsal.open(rehearsed, maps));
  }

  #newEngine(hostToGuest: boolean, served: Served): Engine {
    return new Engine(new IndexedMaps(new KernelMaps(this.maps as ReadonlyMap<MapName, BpfMap>)), {
      flowLimit: FLOWS,
      hz: HZ,
      timeouts: Object.fromEntries(Object.entries(TIMEOUTS).map(([name, seconds]) => [`FLOW_${name}`, seconds])),
      hostToGuest,
      served,
    });
  }

  #map(name: string): BpfMap {
    const map = this.maps.get(name);
    if (map === undefined) throw new Error(`no map ${name}`);
    return map;
  }

  #interfaces(world: WireWorld): Interfaces {
    const devices = (this.#devices ??= makeDevices(world));
    makeTaps(devices, world);
    const present = new Set(world.taps.map(({ name }) => name));
    return {
      taps: new Map([...devices.taps].filter(([name]) => present.has(name))),
      uplinks: world.uplinks.map((name) => ({ name, ifindex: devices.uplinks.get(name) ?? 0 })),
    };
  }

  /** No flow, fragment or announcement is remembered. */
  #forget(): void {
    const local = this.#map("local");
    const { keys, count } = local.dump();
    if (count > 0) local.deleteBatch(keys, count);
    resetFlows(this.maps);
  }

  async load(world: WireWorld): Promise<void> {
    const interfaces = this.#interfaces(world);
    this.#forget();
    this.#now = 0;
    this.#hostAddresses = new Set(world.hostAddresses);
    this.#store = new ModelStore(world.hostname);
    this.#compiler = new Compiler();
    this.#engine = this.#newEngine(world.hostToGuest, world.served);
    this.#store.apply({ type: "snapshot-begin" });
    this.#store.apply({ type: "changes", changes: changes(world.resources) });
    this.#store.apply({ type: "in-sync" });
    this.#resources = world.resources;
    this.#compiler.apply(this.#store.model, this.#store.takeDelta());
    await this.#apply(interfaces, undefined);
  }

  async update(world: WireWorld): Promise<void> {
    this.#store.apply({ type: "changes", changes: changes(world.resources, this.#resources) });
    this.#resources = world.resources;
    await this.#apply(this.#interfaces(world), this.#compiler.apply(this.#store.model, this.#store.takeDelta()));
  }

  async #apply(interfaces: Interfaces, delta: Parameters<Engine["apply"]>[2]): Promise<void> {
    const { failures } = await this.#engine.apply(this.#compiler.desired, interfaces, delta);
    if (failures.length > 0)
      throw new Error(failures.map(({ where, error }) => `${where}: ${error.message}`).join("; "));
    // A number that is given to another endpoint begins at 0.
    this.#counted = undefined;
    this.#endpointByTap = new Map();
    for (const one of this.#compiler.desired.endpoints.values()) {
      const tap = interfaces.taps.get(one.interfaceName);
      const other = tap === undefined ? undefined : this.#endpointByTap.get(tap.ifindex);
      if (tap !== undefined && (other === undefined || one.id < other)) this.#endpointByTap.set(tap.ifindex, one.id);
    }
    this.#route(interfaces);
  }

  /** What the agent does for all addresses: the programs ask for the routes of whole prefixes only. */
  #route(interfaces: Interfaces): void {
    const endpoints = [...this.#compiler.desired.endpoints.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    const routed = new Map<string, string>();
    for (const { interfaceName, owned, floating = [], adminUp } of endpoints) {
      if (!interfaces.taps.has(interfaceName)) continue;
      if (adminUp) for (const { external } of floating) routed.set(addressToPrefix(external), interfaceName);
      for (const { prefix } of owned) {
        if (isSingle(prefix) || prefix.endsWith("/0") || routed.has(prefix)) continue;
        routed.set(prefix, interfaceName);
      }
    }
    const text = JSON.stringify([...routed]);
    if (text === this.#routed) return;
    this.#routed = text;
    for (const family of ["-4", "-6"]) ip(family, "route", "flush", "proto", ROUTE_PROTOCOL);
    for (const [prefix, tap] of routed)
      if (isSingle(prefix as Prefix))
        ip(
          "neigh",
          "replace",
          prefixToAddress(prefix as Prefix),
          "lladdr",
          "02:00:00:00:00:97",
          "dev",
          tap,
          "nud",
          "permanent",
        );
    for (const [prefix, tap] of routed)
      ip(prefix.includes(":") ? "-6" : "-4", "route", "add", prefix, "dev", tap, "proto", ROUTE_PROTOCOL);
  }

  /** Time passes by making what is remembered older. */
  #age(now: number): void {
    const jiffies = Math.round((now - this.#now) * HZ);
    this.#now = now;
    if (jiffies === 0) return;
    for (const [name, record, field] of [
      ["flow", "flow", "last_seen"],
      ["fragment", "fragment", "seen"],
    ] as const) {
      for (const [key, value] of [...this.#map(name).entries()]) {
        const fields = decode(record, value) as unknown as Record<string, number>;
        this.#map(name).set(key, encode(record, { ...fields, [field]: ((fields[field] ?? 0) - jiffies) >>> 0 }));
      }
    }
  }

  /** Counters by index, of the endpoint numbers that the worlds come to. */
  #drops(): Map<number, bigint> {
    const { keys, values, count } = this.#map("drop").dump();
    const drops = new Map<number, bigint>();
    for (let i = 0; i < count; i++) {
      const value = values.readBigUInt64LE(i * 8);
      if (value > 0n) drops.set(keys.readUInt32LE(i * 4), value);
    }
    return drops;
  }

  receive(at: At, frame: Uint8Array, now: number): Outcome {
    this.#age(now);
    const devices = this.#devices;
    if (devices === undefined) throw new Error("no world was loaded");
    const context = Buffer.alloc(CONTEXT.size);
    const ifindex = "uplink" in at ? devices.uplinks.get(at.uplink) : devices.taps.get(at.tap)?.ifindex;
    context.writeUInt32LE(ifindex ?? 0, CONTEXT.ifindex);
    const name = "uplink" in at ? "uplink_ingress" : "host" in at || "other" in at ? "tap_egress" : "tap_ingress";
    if ("other" in at) context.writeUInt32LE(devices.other, CONTEXT.ingress);
    const before = (this.#counted ??= this.#drops());
    const program = this.programs.get(name);
    if (program === undefined) throw new Error(`no program ${name}`);
    const rehearsed = this.rehearsal?.run(name, Buffer.from(frame), context);
    const result = program.testRun({ data: Buffer.from(frame), context, contextOutSize: CONTEXT.size });
    if (result.returnValue !== TC_ACT_SHOT) rehearsed?.(result, undefined);
    const mark = result.context.readUInt32LE(CONTEXT.mark) & Mark.MARK_ALL;
    if (result.returnValue === TC_ACT_SHOT)
      return this.#dropped(before, result.data, (index) => rehearsed?.(result, index));
    if (result.returnValue === TC_ACT_REDIRECT) return this.#redirected(ifindex ?? 0, mark, result.data);
    if (name === "tap_egress") return this.#delivered(ifindex ?? 0, result.data);
    if ((mark & Mark.MARK_JUDGED) !== 0)
      return { verdict: "stack", why: (mark & Mark.MARK_HOST) !== 0 ? "floating" : this.#why(result.data, mark) };
    return { verdict: "host" };
  }

  #dropped(before: ReadonlyMap<number, bigint>, frame: Buffer, counted: (index: number) => void): Outcome {
    this.#counted = this.#drops();
    const more = [...this.#counted].filter(([index, count]) => count !== before.get(index));
    const [index] = more[0] ?? [];
    if (index === undefined || more.length > 1) throw new Error(`a drop counted ${more.length} times`);
    counted(index);
    let reason = Object.entries(Reason).find(([, value]) => value === index % Limits.MAX_REASONS)?.[0] as ReasonName;
    // bpf_fib_lookup does not tell a local destination from one without a route (abi.h, NO_ROUTE).
    if (reason === "NO_ROUTE" && this.#hostAddresses.has(destinationOf(frame))) reason = "HOST_UNREACHABLE_TO_GUEST";
    const number = Math.floor(index / Limits.MAX_REASONS);
    return { verdict: "drop", reason, ...(number === 0 ? {} : { endpoint: this.#nameOf(number) }) };
  }

  #nameOf(number: number): EndpointId {
    const key = encode("name_key", { kind: NameKind.NAME_ENDPOINT, number });
    const value = this.#map("name").get(key);
    if (value === undefined) throw new Error(`endpoint ${number} has no name`);
    const { length, text } = decode("name", value) as unknown as { length: number; text: Uint8Array };
    return Buffer.from(text).toString("utf8", 0, length) as EndpointId;
  }

  #redirected(from: number, mark: number, frame: Buffer): Outcome {
    if ((mark & Mark.MARK_JUDGED) === 0) return { verdict: "forward", frame };
    const to = [...(this.#devices?.taps.values() ?? [])].find(
      ({ ifindex }) => (ifindex % Mark.MARK_NUMBER) + 1 === (mark & Mark.MARK_NUMBER),
    );
    if (to === undefined) throw new Error(`redirected to nowhere: mark ${mark}`);
    // A guest without port security may also send to itself: only what the programs make themselves is a reply.
    const made =
      frame.readUInt16BE(12) === 0x0806 || (frame.readUInt16BE(12) === 0x86dd && frame[20] === 58 && frame[54] === 136);
    if (to.ifindex === from && made) return { verdict: "reply", frame };
    return this.#delivered(to.ifindex, frame);
  }

  #delivered(ifindex: number, frame: Buffer): Outcome {
    const to = this.#endpointByTap.get(ifindex);
    if (to === undefined) throw new Error(`delivered to a tap without an endpoint: ${ifindex}`);
    return { verdict: "deliver", to, frame };
  }

  /** What the kernel is to do with a judged packet is in the packet; or it has no receiver, and a tap has the route. */
  #why(frame: Buffer, mark: number): StackWhy {
    const v4 = frame.readUInt16BE(12) === 0x0800;
    if ((v4 ? frame[22] : frame[21]) === 1 || (v4 ? frame[22] : frame[21]) === 0) return "hop-limit";
    const options = v4 ? ((frame[14] ?? 0) & 15) > 5 : frame[20] === 0;
    if (options) return "options";
    if ((mark & Mark.MARK_NUMBER) !== 0) return "too-big";
    const route = ip("-j", v4 ? "-4" : "-6", "route", "get", destinationOf(frame));
    const [way] = JSON.parse(route) as { dev: string }[];
    return this.#devices?.taps.has(way?.dev ?? "") === true ? "routed" : "too-big";
  }
}

async function main(): Promise<void> {
  const kernel = await Kernel.open(process.argv[2] ?? "build/tap.bpf.o", process.argv[4]);
  for await (const line of createInterface({ input: process.stdin })) {
    let answer: unknown;
    try {
      const request = JSON.parse(line) as Request;
      if (request.do === "receive") {
        const outcome = kernel.receive(request.at, Buffer.from(request.frame, "hex"), request.now);
        answer = {
          outcome: "frame" in outcome ? { ...outcome, frame: Buffer.from(outcome.frame).toString("hex") } : outcome,
        };
      } else {
        await kernel[request.do](request.world);
        answer = {};
      }
    } catch (error) {
      answer = { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

await main();
