/** Asks the kernel what becomes of a packet, until it says what is wanted. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BpfProgram } from "#libbpf";
import { ABI_VERSION } from "../abi/constants.js";
import { programPath, type ProgramName } from "../dataplane/bpf/pins.js";
import { Injector } from "./inject.js";
import type { Lab } from "./lab.js";
import { handed } from "./links.js";
import { address, guestMac } from "./ports.js";

const ROUTER = "02:00:00:00:00:01";
const TC_ACT_REDIRECT = 7;
/** Milliseconds between two packets: so much the figures are too high at most. */
const PAUSE = 0.1;
const SLEEPER = new Int32Array(new SharedArrayBuffer(4));

/** Asks until the answer is `wanted`; how long that took, in milliseconds. @throws after `patience` of them */
export async function until(wanted: boolean, packet: () => boolean, patience = 10_000): Promise<number> {
  const started = performance.now();
  for (let i = 0; packet() !== wanted; i++) {
    const waited = performance.now() - started;
    if (waited > patience) throw new Error(`no packet was judged by the change for ${Math.round(waited)} ms`);
    if (i % 200 === 199) await sleep(0);
    // Leaves the core to those who are measured.
    else Atomics.wait(SLEEPER, 0, 0, PAUSE);
  }
  return performance.now() - started;
}

interface Segment {
  /** MACs: of the host's interface, and of whoever sends to it. */
  readonly host: string;
  readonly sender: string;
  /** IPv4 addresses and ports. */
  readonly from: readonly [string, number];
  readonly to: readonly [string, number];
  readonly flags: number;
}

/** A TCP segment as the host receives it. */
function segment({ host, sender, from, to, flags }: Segment): Buffer {
  const bytes = Buffer.alloc(54);
  Buffer.from(host.replaceAll(":", ""), "hex").copy(bytes, 0);
  Buffer.from(sender.replaceAll(":", ""), "hex").copy(bytes, 6);
  bytes.writeUInt16BE(0x0800, 12);
  bytes[14] = 0x45;
  bytes.writeUInt16BE(40, 16);
  bytes[22] = 64;
  bytes[23] = 6;
  for (const [i, [text, port]] of [from, to].entries()) {
    text.split(".").forEach((part, k) => (bytes[26 + 4 * i + k] = Number(part)));
    bytes.writeUInt16BE(port, 34 + 2 * i);
  }
  bytes[46] = 0x50;
  bytes[47] = flags;
  return bytes;
}

/** Whether a packet from guest `from` to guest `to` passes: a TCP segment with these flags, or a UDP datagram. */
export type Passes = (from: number, to: number, source: number, destination: number, flags: number) => boolean;
/** Of the packets with which it is measured: test runs take TCP segments, what is injected is UDP. */
export const PROTOCOL = { bpf: 6, iptables: 17 } as const;

export interface Probe {
  readonly passes: Passes;
  readonly close: () => void;
}

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

export interface ProgramProbe extends Probe {
  /** Whether a first TCP segment from this address elsewhere, that comes in by the uplink, passes to guest `to`. */
  readonly comesIn: (source: string, to: number, destination: number) => boolean;
}

/** By test runs of the programs that judge. */
export function programs(lab: Lab): ProgramProbe {
  const link = linksByName();
  const open = (name: ProgramName): BpfProgram =>
    BpfProgram.open(programPath(join(lab.pinDir, `v${ABI_VERSION}`), name));
  const [fromTap, fromUplink] = [open("tap_ingress"), open("uplink_ingress")];
  const sentOn = (program: BpfProgram, { ifindex }: Link, data: Buffer): boolean => {
    const context = Buffer.alloc(192);
    context.writeUInt32LE(ifindex, 40);
    return program.testRun({ data, context }).returnValue === TC_ACT_REDIRECT;
  };
  return {
    passes: (from, to, source, destination, flags) => {
      const [tap, ends] = [
        link(`tapl${from}`),
        { from: [address(from), source], to: [address(to), destination] } as const,
      ];
      return sentOn(fromTap, tap, segment({ host: tap.address, sender: guestMac(from), ...ends, flags }));
    },
    comesIn: (source, to, destination) => {
      const uplink = link("lo");
      const ends = { from: [source, 1024], to: [address(to), destination] } as const;
      return sentOn(fromUplink, uplink, segment({ host: uplink.address, sender: ROUTER, ...ends, flags: 2 }));
    },
    close: () => [fromTap, fromUplink].forEach((program) => program.close()),
  };
}

/** By a real packet on the sender's tap, and the receiver's counters: what the rules of the stack do can't be run dry. */
export async function packets(): Promise<Probe> {
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
