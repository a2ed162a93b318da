/** A guest that is a virtual machine: a kernel under qemu's emulation with virtio-net on a tap, told what to do by its serial line. */
import type { ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ended, onLines, stop } from "../../src/demo/world/command.js";
import { tapMac, type GuestSpec } from "../../src/demo/world/guest.js";
import type { Namespace } from "../../src/demo/world/namespace.js";
import { PATIENCE } from "../../src/demo/world/patience.js";
import { splats } from "../vm/judge.js";
import type { Image } from "./image.js";

const LOGS = fileURLToPath(new URL("../../build/guest", import.meta.url));
/** Megabytes, besides its image, which it unpacks. */
const MEMORY = 192;
/** Milliseconds, under emulation on a busy machine; for whoever is told of it in an emulated machine, VM_PATIENCE times as long. */
const BOOT = 120_000;
const COMMAND = 30_000;
/** One retransmission of a SYN (1 s) fits in. */
const ATTEMPT = 1_500;
/** However slow the machine is that it asks through: it does not wait for an agent to start. */
const ATTEMPT_MOST = 4_500;
/** What a card that does nothing in hardware lacks. */
const PLAIN = ["csum", "gso", "guest_csum", "guest_tso4", "guest_tso6", "guest_ufo", "host_tso4", "host_tso6"];

/** Command line of a guest's emulator; `console`: what qemu(1) calls a character device. */
export function emulator(spec: GuestSpec, image: Image, to: { log: string; console: string }): string[] {
  const { tap, mac, offload = true } = spec;
  const features = offload ? "" : PLAIN.map((feature) => `,${feature}=off`).join("");
  const megabytes = MEMORY + 3 * (statSync(image.initramfs).size >> 20);
  return [
    ...["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "1"],
    ...["-m", String(megabytes), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-kernel", image.kernel, "-initrd", image.initramfs],
    ...["-append", "console=ttyS0 panic=-1 oops=panic quiet loglevel=5 mitigations=off"],
    ...["-netdev", `tap,id=net,ifname=${tap},script=no,downscript=no,vhost=off`],
    ...["-device", `virtio-net-pci,netdev=net,mac=${mac},romfile=${features}`],
    ...["-device", "virtio-rng-pci", "-serial", `file:${to.log}`, "-serial", to.console],
  ];
}

async function makeTap(host: Namespace, { tap, mac, mtu = 1500 }: GuestSpec): Promise<void> {
  await host.ip(
    `tuntap add dev ${tap} mode tap vnet_hdr`,
    `link set ${tap} address ${tapMac(mac)} mtu ${mtu}`,
    `link set ${tap} up`,
  );
}

export interface Said {
  readonly status: number;
  readonly text: string;
}

export class Machine {
  private readonly waiting = new Map<string, { resolve: (said: Said) => void; reject: (error: Error) => void }>();
  private lines: string[] = [];
  private next = 1;
  /** Why it takes no command any more. */
  private over: Error | undefined;

  private constructor(
    readonly spec: GuestSpec,
    private readonly host: Namespace,
    private readonly child: ChildProcess,
    private readonly log: string,
  ) {}

  /** Makes the tap as Nova does, boots, and resolves when commands are taken. `offload` of the specification false: see PLAIN. */
  static async boot(host: Namespace, spec: GuestSpec, image: Image): Promise<Machine> {
    await makeTap(host, spec);
    mkdirSync(LOGS, { recursive: true });
    const log = join(LOGS, `${spec.name}.kernel.log`);
    return Machine.follow(host, spec, emulator(spec, image, { log, console: "stdio" }), log);
  }

  /**
   * One that is emulated on the machine that emulates this one (test/vm/beside.ts): makes its tap here, and joins it to the stream of its
   * frames. Resolves when commands are taken. What its kernel says is for the other machine to read.
   */
  static async beside(
    host: Namespace,
    spec: GuestSpec,
    streams: { frames: string; console: string },
  ): Promise<Machine> {
    await makeTap(host, spec);
    return Machine.follow(host, spec, ["build/plug", "tap", spec.tap, streams.frames, streams.console], "");
  }

  private static async follow(
    host: Namespace,
    spec: GuestSpec,
    argv: readonly string[],
    log: string,
  ): Promise<Machine> {
    const { name } = spec;
    const child = host.spawn(argv, { stdio: ["pipe", "pipe", "pipe"] });
    const machine = new Machine(spec, host, child, log);
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin?.on("error", () => undefined); // its end says more
    const because = (why: string): Error =>
      new Error(`${name}: ${why} ${stderr.trim()}\n${machine.kernelLog().slice(-2_000)}`);
    child.once("close", () => machine.end(because("it has ended")));
    try {
      await new Promise<void>((resolve, reject) => {
        const fail = (why: string): void => {
          clearTimeout(timer);
          reject(because(why));
        };
        const limit = BOOT * PATIENCE;
        const timer = setTimeout(() => fail(`not booted after ${limit} ms`), limit);
        child.once("error", (error) => fail(error.message));
        child.once("close", () => fail("it ended"));
        if (child.stdout)
          onLines(child.stdout, (line) => {
            if (line.startsWith("guest: booted ")) {
              clearTimeout(timer);
              resolve();
            } else machine.onLine(line.replace(/\r$/, ""));
          });
      });
    } catch (error) {
      await machine.remove();
      throw error;
    }
    return machine;
  }

  private onLine(line: string): void {
    const [, number, status] = /^(\d+) status (\d+)$/.exec(line) ?? [];
    if (number === undefined) {
      this.lines.push(line);
      return;
    }
    this.waiting.get(number)?.resolve({ status: Number(status), text: this.lines.join("\n").trim() });
    this.waiting.delete(number);
    this.lines = [];
  }

  private end(error: Error): void {
    this.over = error;
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  /** Runs a line of its shell; one after the other. Throws when it takes longer than `timeout` milliseconds, and when the machine has ended. */
  say(command: string, timeout = COMMAND): Promise<Said> {
    const number = String(this.next++);
    const limit = timeout * PATIENCE;
    if (this.over !== undefined) return Promise.reject(this.over);
    return new Promise((resolve, reject) => {
      const done = (): void => clearTimeout(timer);
      const fail = (error: Error): void => {
        done();
        reject(error);
      };
      const timer = setTimeout(
        () => fail(new Error(`${this.spec.name}: '${command}' took more than ${limit} ms: ${this.lines.join("\n")}`)),
        limit,
      );
      this.waiting.set(number, {
        resolve: (said) => {
          done();
          resolve(said);
        },
        reject: fail,
      });
      this.child.stdin?.write(`${number} ${command}\n`);
    });
  }

  /** What a command printed. Throws when it fails. */
  async run(command: string, timeout?: number): Promise<string> {
    const { status, text } = await this.say(command, timeout);
    if (status !== 0) throw new Error(`${this.spec.name}: '${command}': status ${status}: ${text}`);
    return text;
  }

  /** What its probe made of each, tried at once ("tcp ADDRESS PORT"): "ok", "timeout", "refused", "unreachable". */
  async attempt(...words: readonly string[]): Promise<string[]> {
    const said = await this.run(
      `attempt ${words.map((one) => `'${one} ${Math.min(ATTEMPT * PATIENCE, ATTEMPT_MOST)}'`).join(" ")}`,
    );
    return said.split("\n").map((line) => line.split(" ")[0] ?? "");
  }

  kernelLog(): string {
    try {
      return readFileSync(this.log, "latin1");
    } catch {
      return ""; // it has not come so far, or it is not emulated here
    }
  }

  /** Lines of its kernel's log that tell of a fault. */
  splats(): string[] {
    return splats(this.kernelLog());
  }

  /** As when it is destroyed: qemu ends, and the tap goes. */
  async remove(): Promise<void> {
    await stop(this.child, "SIGTERM");
    await ended(this.child);
    await this.host.ip(`link del ${this.spec.tap}`);
  }
}
