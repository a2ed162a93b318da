/** The BPF programs as an Implementation: a child in a network namespace of its own does the work (kernel-child.ts). */
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import { release } from "node:os";
import type { At, Outcome } from "../../src/compile/evaluate-types.js";
import { NOTHING_SERVED } from "../../src/model/services.js";
import { bundle, type Bundle } from "../support/bundle.js";
import type { Request, WireWorld } from "./kernel-child.js";
import type { Implementation } from "./runner.js";
import { UPLINK_MACS, type ConformanceWorld } from "./world.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

interface Answer {
  readonly error?: string;
  readonly outcome?: Outcome & { readonly frame?: string };
}

export function wire(world: ConformanceWorld): WireWorld {
  const {
    hostname,
    resources,
    uplinks,
    hostAddresses,
    unreachable,
    hostToGuest = true,
    served = NOTHING_SERVED,
  } = world;
  const taps = [...world.taps].map(([name, { hostMac, mtu }]) => ({ name, hostMac, mtu }));
  return {
    hostname,
    resources,
    taps,
    uplinks,
    uplinkMac: UPLINK_MACS.to,
    hostAddresses,
    unreachable,
    hostToGuest,
    served,
  };
}

/** Whether a test run may say by which interface a packet came: 6.1 lets it, 5.10 refuses with EINVAL. */
function takesIngress(): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 1);
}

let worlds = 0;
/** More than a case of the table has. */
const CASE_FLOWS = 256;
/** For conversations, and where a table is filled. */
export const MANY_FLOWS = 4096;

class KernelImplementation implements Implementation {
  readonly provides = new Set([
    "vlan-metadata",
    "time",
    "services",
    "nat",
    ...(takesIngress() ? ["ingress-interface"] : []),
  ]);
  readonly #namespace = `tb-${process.pid}-conf${worlds++}`;
  #child: ChildProcessWithoutNullStreams | undefined;
  #lines: AsyncIterator<string> | undefined;
  #reader: Interface | undefined;
  #bundle: Bundle | undefined;

  constructor(
    readonly name: string,
    private readonly object: string,
    private readonly rehearsed: string | undefined,
    private readonly flows: number,
  ) {}

  async #start(): Promise<void> {
    if (this.#child !== undefined) return;
    execFileSync("ip", ["netns", "add", this.#namespace]);
    execFileSync("ip", ["-n", this.#namespace, "link", "set", "lo", "up"]);
    this.#bundle = await bundle("test/conformance/kernel-child.ts");
    const more = [String(this.flows), ...(this.rehearsed === undefined ? [] : [join(root, this.rehearsed)])];
    this.#child = spawn(
      "nsenter",
      [
        `--net=/run/netns/${this.#namespace}`,
        "--",
        process.execPath,
        this.#bundle.file,
        join(root, this.object),
        ...more,
      ],
      { cwd: root },
    );
    this.#child.stderr.pipe(process.stderr);
    this.#reader = createInterface({ input: this.#child.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  async #ask(request: Request): Promise<Answer> {
    await this.#start();
    this.#child?.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await this.#lines?.next();
    if (line === undefined || line.done === true) throw new Error("the child in the namespace has ended");
    const answer = JSON.parse(line.value) as Answer;
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }

  async load(world: ConformanceWorld): Promise<void> {
    await this.#ask({ do: "load", world: wire(world) });
  }

  async update(world: ConformanceWorld): Promise<void> {
    await this.#ask({ do: "update", world: wire(world) });
  }

  async receive(at: At, frame: Uint8Array, now: number): Promise<Outcome> {
    const { outcome } = await this.#ask({ do: "receive", at, frame: Buffer.from(frame).toString("hex"), now });
    if (outcome === undefined) throw new Error("no outcome");
    return outcome.frame === undefined
      ? outcome
      : ({ ...outcome, frame: new Uint8Array(Buffer.from(outcome.frame as unknown as string, "hex")) } as Outcome);
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

/**
 * @param object path of the built object, from the repository's root
 * @param flows entries of the flow table
 * @param rehearsed that of an object that goes over every packet before the programs do, and must come to the same, changing nothing
 */
export function kernelImplementation(
  name: string,
  object: string,
  rehearsed?: string,
  flows = CASE_FLOWS,
): Implementation {
  return new KernelImplementation(name, object, rehearsed, flows);
}
