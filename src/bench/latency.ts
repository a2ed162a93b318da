/**
 * How long after etcd acknowledged a write the first packet sees it: packets by BPF_PROG_TEST_RUN on the pinned programs,
 * one after the other until the verdict changes.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BpfProgram } from "#libbpf";
import { ABI_VERSION } from "../abi/constants.js";
import { programPath } from "../dataplane/bpf/pins.js";
import { allow, dotted, group, HOSTNAME, ready, workload, type Entry } from "./cloud.js";
import { Injector } from "./inject.js";
import { Lab } from "./lab.js";
import { handed } from "./links.js";

export interface Scenario {
  readonly ports: number;
  readonly rules: number;
  readonly changes: number;
  /** Default: bpf. */
  readonly dataplane?: "bpf" | "iptables";
}

/** Milliseconds from the acknowledgement of the write to the first packet that is judged by it. */
export interface Latencies {
  readonly apply: readonly number[];
  readonly revoke: readonly number[];
}

const TC_ACT_REDIRECT = 7;
/** Milliseconds between two packets: so much the figures are too high at most. */
const PAUSE = 0.1;
const SLEEPER = new Int32Array(new SharedArrayBuffer(4));
const FIRST_PORT = 20_000;
const hex = (n: number): string => n.toString(16).padStart(2, "0");
export const address = (i: number): string => dotted(0x0a410001 + i);
export const guestMac = (i: number): string => `fa:16:3e:00:${hex(i >> 8)}:${hex(i & 255)}`;

/** Port i of this host: in the group that all share, and in one of its own, so that no two have the same policy set. */
export function port(i: number): Entry[] {
  const place = { node: HOSTNAME, name: `port${i}`, tap: `tapl${i}`, mac: guestMac(i), address: address(i) };
  return [group(`own${i}`, [allow(6, 10_000 + i)]), workload({ ...place, groups: ["shared", `own${i}`] })];
}

export const tapNames = (count: number): string[] => Array.from({ length: count }, (_, i) => `tapl${i}`);

/** A TCP segment from guest `from` to guest `to`, as it comes out of the first one's tap. */
function segment(
  from: number,
  to: number,
  hostMac: string,
  ports: { source: number; destination: number },
  flags: number,
): Buffer {
  const bytes = Buffer.alloc(54);
  Buffer.from(hostMac.replaceAll(":", ""), "hex").copy(bytes, 0);
  Buffer.from(guestMac(from).replaceAll(":", ""), "hex").copy(bytes, 6);
  bytes.writeUInt16BE(0x0800, 12);
  bytes[14] = 0x45;
  bytes.writeUInt16BE(40, 16);
  bytes[22] = 64;
  bytes[23] = 6;
  for (const [offset, text] of [
    [26, address(from)],
    [30, address(to)],
  ] as const)
    text.split(".").forEach((part, i) => (bytes[offset + i] = Number(part)));
  bytes.writeUInt16BE(ports.source, 34);
  bytes.writeUInt16BE(ports.destination, 36);
  bytes[46] = 0x50;
  bytes[47] = flags;
  return bytes;
}

/** Runs in the network namespace of its process. */
export async function measureLatency({ ports, rules, changes, dataplane = "bpf" }: Scenario): Promise<Latencies> {
  const lab = await Lab.create();
  try {
    await lab.taps(tapNames(ports));
    const base = Array.from({ length: rules }, (_, i) => allow(PROTOCOL[dataplane], FIRST_PORT + i));
    await lab.put(ready(), group("shared", base), ...tapNames(ports).flatMap((_, i) => port(i)));
    lab.agent(dataplane);
    await lab.until(`${ports} ports enforced`, () => lab.status().enforced === ports);
    const probe = dataplane === "bpf" ? programs(lab) : await packets();
    return await run(lab, base, changes, PROTOCOL[dataplane], probe);
  } finally {
    await lab.close();
  }
}

/** Whether a packet from guest `from` to guest `to` passes: a TCP segment with these flags, or a UDP datagram. */
type Passes = (from: number, to: number, source: number, destination: number, flags: number) => boolean;
/** Of the packets with which it is measured: test runs take TCP segments, what is injected is UDP. */
const PROTOCOL = { bpf: 6, iptables: 17 } as const;

interface Link {
  readonly ifindex: number;
  readonly address: string;
}

function linksByName(): (name: string) => Link {
  const links = JSON.parse(execFileSync("ip", ["-j", "link", "show"], { encoding: "utf8" })) as (Link & {
    readonly ifname: string;
  })[];
  return (name) => links.find(({ ifname }) => ifname === name) ?? { ifindex: 0, address: "" };
}

/** By test runs of the program that judges. */
function programs(lab: Lab): { passes: Passes; close: () => void } {
  const link = linksByName();
  const program = BpfProgram.open(programPath(join(lab.pinDir, `v${ABI_VERSION}`), "tap_ingress"));
  const passes: Passes = (from, to, source, destination, flags) => {
    const tap = link(`tapl${from}`);
    const context = Buffer.alloc(192);
    context.writeUInt32LE(tap.ifindex, 40);
    return (
      program.testRun({ data: segment(from, to, tap.address, { source, destination }, flags), context }).returnValue ===
      TC_ACT_REDIRECT
    );
  };
  return { passes, close: () => program.close() };
}

/** By a real packet on the sender's tap, and the receiver's counters: what the rules of the stack do can't be run dry. */
async function packets(): Promise<{ passes: Passes; close: () => void }> {
  const link = linksByName();
  const injector = await Injector.load("build/bench.bpf.o");
  const number = (text: string): number => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const passes: Passes = (from, to, source, destination) => {
    const [tap, before] = [link(`tapl${from}`), handed(`tapl${to}`)];
    const plan = { firstSource: number(address(from)), destination: number(address(to)), firstPort: destination };
    injector.run(
      { ifindex: tap.ifindex, mac: tap.address },
      guestMac(from),
      { ...plan, flows: 1, firstSourcePort: source },
      1,
    );
    return handed(`tapl${to}`) > before;
  };
  return { passes, close: () => injector.close() };
}

async function run(
  lab: Lab,
  base: readonly object[],
  changes: number,
  protocol: number,
  { passes, close }: { readonly passes: Passes; readonly close: () => void },
): Promise<Latencies> {
  const until = async (wanted: boolean, packet: () => boolean): Promise<number> => {
    const started = performance.now();
    for (let i = 0; packet() !== wanted; i++) {
      const waited = performance.now() - started;
      if (waited > 10_000) throw new Error(`no packet was judged by the change for ${Math.round(waited)} ms`);
      if (i % 200 === 199) await sleep(0);
      // Leaves the core to those who are measured.
      else Atomics.wait(SLEEPER, 0, 0, PAUSE);
    }
    return performance.now() - started;
  };
  const apply: number[] = [];
  const revoke: number[] = [];
  for (let i = 0; i < changes; i++) {
    const port = 40_000 + i;
    const source = 1024 + i;
    await lab.put(group("shared", [...base, allow(protocol, port)]));
    apply.push(await until(true, () => passes(0, 1, source, port, 2)));
    passes(1, 0, port, source, 0x12); // answered: from now on it is an established flow
    await lab.put(group("shared", base));
    revoke.push(await until(false, () => passes(0, 1, source, port, 0x10)));
  }
  close();
  return { apply, revoke };
}
