/**
 * The table of cases on the iptables dataplane: real taps, real packets, the host's own stack (iptables-child.ts, in a namespace of its
 * own). What the stack does by itself is seen from outside: a packet that it has to answer is seen as the answer, one that it takes as
 * taken. Reasons of drops are not compared, since iptables has none.
 */
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { At } from "../../src/compile/evaluate-types.js";
import { bundle, type Bundle } from "../support/bundle.js";
import { describeFrame } from "../support/describe-frame.js";
import type { Case, Expectation, Step } from "./case.js";
import type { Request, Seen } from "./iptables-child.js";
import { wire } from "./kernel.js";
import { addressed, hop } from "./runner.js";
import { BASE, GUESTS, STRAY_TAP, type ConformanceWorld } from "./world.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

export class IptablesWorld {
  readonly #namespace = `tb-${process.pid}-cipt`;
  #child: ChildProcessWithoutNullStreams | undefined;
  #lines: AsyncIterator<string> | undefined;
  #reader: Interface | undefined;
  #bundle: Bundle | undefined;

  /** @param quiet milliseconds in which nothing must come before an answer is whole */
  constructor(private readonly quiet = 4) {}

  async #start(): Promise<void> {
    if (this.#child !== undefined) return;
    execFileSync("ip", ["netns", "add", this.#namespace]);
    execFileSync("ip", ["-n", this.#namespace, "link", "set", "lo", "up"]);
    this.#bundle = await bundle("test/conformance/iptables-child.ts");
    this.#child = spawn(
      "nsenter",
      [`--net=/run/netns/${this.#namespace}`, "--", process.execPath, this.#bundle.file, String(this.quiet)],
      {
        cwd: root,
      },
    );
    this.#child.stderr.pipe(process.stderr);
    this.#reader = createInterface({ input: this.#child.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  async #ask(request: Request): Promise<{ readonly error?: string; readonly seen?: Seen }> {
    await this.#start();
    this.#child?.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await this.#lines?.next();
    if (line === undefined || line.done === true) throw new Error("the child in the namespace has ended");
    const answer = JSON.parse(line.value) as { readonly error?: string; readonly seen?: Seen };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }

  load = (world: ConformanceWorld): Promise<unknown> => this.#ask({ do: "load", world: wire(world) });
  update = (world: ConformanceWorld): Promise<unknown> => this.#ask({ do: "update", world: wire(world) });

  forget = (): Promise<unknown> => this.#ask({ do: "forget" });

  async receive(at: At, frame: Uint8Array): Promise<Seen> {
    const { seen } = await this.#ask({ do: "receive", at, frame: Buffer.from(frame).toString("hex") });
    if (seen === undefined) throw new Error("nothing was seen");
    return seen;
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (child !== undefined) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.stdin.end();
      await ended;
      this.#reader?.close();
      execFileSync("ip", ["netns", "del", this.#namespace]);
    }
    this.#bundle?.remove();
  }
}

/** The host took something while it was to take nothing. */
class Taken extends Error {}

/** What the host takes is counted for all of it, and its timers make it tell itself things: what a packet causes comes again. */
export async function play(on: IptablesWorld, one: Case): Promise<void> {
  try {
    await playOnce(on, one);
  } catch (error) {
    if (!(error instanceof Taken)) throw error;
    await playOnce(on, one);
  }
}

async function playOnce(on: IptablesWorld, { world, steps }: Case): Promise<void> {
  let present = world ?? BASE;
  await on.load(present);
  for (const [i, step] of steps.entries()) {
    if ("wait" in step) throw new Error("time can't be made to pass in the kernel's connection tracking");
    if ("change" in step) await on.update((present = step.change));
    // No route leads a guest's packets to a tap that is nobody's.
    else if ("other" in step.at && step.at.tap === STRAY_TAP) continue;
    else check(step, await on.receive(step.at, step.frame), `step ${i + 1}: ${describeFrame(step.frame)}`, present);
  }
}

type Met = Extract<Step, { readonly expect: Expectation }>;
const text = (on: string, frame: Uint8Array): string =>
  `${on}: ${describeFrame(frame)} ${Buffer.from(frame).toString("hex")}`;

function check({ at, frame, expect: wanted }: Met, seen: Seen, what: string, world: ConformanceWorld): void {
  const got = seen.frames.map(({ on, frame: hex }) => text(on, Buffer.from(hex, "hex")));
  switch (wanted.verdict) {
    case "deliver": {
      const guest = GUESTS[wanted.to];
      const hostMac = world.taps.get(guest.tap)?.hostMac ?? "00:00:00:00:00:00";
      const routed = "host" in at || "other" in at ? frame : addressed(hop(frame), wanted.mac ?? guest.mac, hostMac);
      const from = (one: Uint8Array): Uint8Array => ("host" in at ? comparable(one) : one);
      const frames = seen.frames.map(({ on, frame: hex }) => text(on, from(Buffer.from(hex, "hex"))));
      expect(frames, `${what} is delivered to ${wanted.to}`).toEqual([text(guest.tap, from(routed))]);
      return;
    }
    case "forward":
      expect(
        seen.frames.map(({ on, frame: hex }) => `${on} ${hex.slice(28)}`),
        `${what} is forwarded`,
      ).toEqual([`up0 ${Buffer.from(hop(frame).subarray(14)).toString("hex")}`]);
      return;
    case "reply":
      expect(got, `${what} is answered`).toEqual([text("tap" in at ? at.tap : "", wanted.frame)]);
      return;
    case "host":
      // From an uplink it is none of our business: all that counts is that no guest gets it.
      if ("uplink" in at)
        expect(
          got.filter((one) => one.startsWith("tap")),
          `${what} reaches no guest`,
        ).toEqual([]);
      else
        expect({ host: seen.host, got }, `${what} reaches the host`).toEqual({
          host: true,
          got: got.filter((one) => "tap" in at && one.startsWith(`${at.tap}:`)),
        });
      return;
    case "stack":
      // The tap that the routes lead to has the last word: here it has let nobody in.
      if (wanted.why === "routed") {
        expect(seen.frames, `${what} passes no tap that did not ask for it`).toEqual([]);
        return;
      }
      expect(seen.frames.length, `${what} is taken care of by the stack (${wanted.why})`).toBeGreaterThan(0);
      if (wanted.why === "hop-limit")
        expect(
          seen.frames.map((one) => `${one.on} ${icmpOf(one.frame)}`),
          what,
        ).toEqual([`${"uplink" in at ? at.uplink : "tap" in at ? at.tap : ""} ${frame[12] === 8 ? "11" : "3"}`]);
      return;
    case "drop":
      // What comes to another interface of the host may be for the host.
      if ("other" in at) expect(got, `${what} is dropped (${wanted.reason})`).toEqual([]);
      else {
        expect(got, `${what} is dropped (${wanted.reason})`).toEqual([]);
        if (seen.host) throw new Taken(`${what} is dropped (${wanted.reason}): the host took it`);
      }
  }
}

/** The kernel gives what the host itself sends an identification, where it has none. */
function comparable(frame: Uint8Array): Uint8Array {
  if (frame[12] !== 0x08 || frame[13] !== 0) return frame;
  const out = Uint8Array.from(frame);
  out.set([0, 0], 18);
  out.set([0, 0], 24);
  return out;
}
const icmpOf = (hex: string): string =>
  String(parseInt(hex.slice(12 * 2 + 1 * 0, 12 * 2 + 4) === "0800" ? hex.slice(68, 70) : hex.slice(108, 110), 16));
