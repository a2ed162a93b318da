/**
 * A guest of a VM that is emulated beside it instead of in it: emulation within emulation had not booted after five minutes. Its emulator
 * has a tap in a namespace of its own, whose frames (test/support/plug.c) and whose serial line go through two ports of the VM to where
 * Machine.beside() joins them to the tap that the VM's agent enforces.
 */
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ended, stop } from "../../src/demo/world/command.js";
import { Namespace } from "../../src/demo/world/namespace.js";
import { emulator } from "../guest/machine.js";
import type { Image } from "../guest/image.js";
import { MACHINE, PORTS } from "./inside/machine.js";
import { splats } from "./judge.js";

/** Until the VM's emulator listens, in milliseconds. */
const LIMIT = 30_000;

export class Beside {
  readonly #directory = mkdtempSync(join(tmpdir(), "tb-vm-"));
  readonly #children: ChildProcess[] = [];
  #namespace: Namespace | undefined;
  #errors = "";
  #stopping = false;

  /** @param log where what its kernel says is written */
  constructor(
    private readonly image: Image,
    private readonly log: string,
  ) {}

  /** What the VM's emulator is to be told besides. */
  get argv(): string[] {
    return [
      ...["-device", "virtio-serial-pci"],
      ...Object.entries(PORTS).flatMap(([id, name]) => [
        ...["-chardev", `socket,id=${id},path=${this.#path(id)},server=on,wait=off`],
        ...["-device", `virtserialport,chardev=${id},name=${name}`],
      ]),
    ];
  }

  #path(id: string): string {
    return join(this.#directory, id);
  }

  /** Boots it when the VM's emulator has begun to listen. */
  async start(): Promise<void> {
    const begun = Date.now();
    while (!Object.keys(PORTS).every((id) => existsSync(this.#path(id)))) {
      if (Date.now() - begun > LIMIT) throw new Error("the VM's emulator does not listen");
      await sleep(100);
    }
    const namespace = (this.#namespace = await Namespace.create("beside"));
    const { tap } = MACHINE;
    // The host's own stack has no word here.
    await namespace.sysctl({ "net.ipv6.conf.default.disable_ipv6": 1 });
    await namespace.ip(`tuntap add dev ${tap} mode tap vnet_hdr`, `link set ${tap} arp off`, `link set ${tap} up`);
    const console = `unix:${this.#path("console")}`;
    this.#spawn(namespace, emulator(MACHINE, this.image, { log: this.log, console }));
    this.#spawn(namespace, ["build/plug", "packet", tap, this.#path("frames")]);
  }

  #spawn(namespace: Namespace, argv: readonly string[]): void {
    const child = namespace.spawn(argv, { stdio: ["ignore", "ignore", "pipe"] });
    child.stderr?.on("data", (chunk: Buffer) => (this.#errors += this.#stopping ? "" : chunk.toString()));
    child.once("error", (error) => (this.#errors += error.message));
    this.#children.push(child);
  }

  /** Ends it. What was wrong with it: what its kernel and its emulator complained of. */
  async stop(): Promise<string[]> {
    this.#stopping = true;
    for (const child of this.#children) {
      await stop(child, "SIGTERM");
      await ended(child);
    }
    await this.#namespace?.remove();
    rmSync(this.#directory, { recursive: true, force: true });
    const said = existsSync(this.log) ? splats(readFileSync(this.log, "latin1")) : [];
    return [
      ...said.map((line) => `the guest's kernel said: ${line}`),
      ...(this.#errors === "" ? [] : [`beside the VM: ${this.#errors.trim()}`]),
    ];
  }
}
