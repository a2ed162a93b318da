/** Frames of a guest's interface past its own stack: build/wire (test/support/wire.c). */
import type { ChildProcess } from "node:child_process";
import { onLines, stop } from "../../src/demo/world/command.js";
import type { Namespace } from "../../src/demo/world/namespace.js";
import { helper } from "../../src/demo/world/pump.js";

/** struct virtio_net_hdr of 10 bytes: nothing asked for. */
export const NO_OFFLOAD = Buffer.alloc(10);

/**
 * virtio-net header that asks the receiver to finish a checksum: from `start` to the end of the frame, put in `start + offset`.
 * Bytes are the machine's (little-endian), as for a legacy device.
 */
export function needsChecksum(start: number, offset: number): Buffer {
  const header = Buffer.alloc(10);
  header.writeUInt8(1, 0);
  header.writeUInt16LE(start, 6);
  header.writeUInt16LE(offset, 8);
  return header;
}

export interface Received {
  readonly header: Buffer;
  readonly frame: Buffer;
}

export class Wire {
  readonly received: Received[] = [];
  private readonly replies: ((line: string) => void)[] = [];
  private readonly waiting = new Set<() => void>();

  private constructor(private readonly child: ChildProcess) {}

  static async open(namespace: Namespace, device = "eth0"): Promise<Wire> {
    const child = namespace.spawn([helper("wire"), device], { stdio: ["pipe", "pipe", "inherit"] });
    const wire = new Wire(child);
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`wire on ${device} of ${namespace.name} ended`)));
      if (child.stdout) onLines(child.stdout, (line) => (line === "ready" ? resolve() : wire.onLine(line)));
    });
    return wire;
  }

  private onLine(line: string): void {
    const [header, frame] = line.split("/");
    if (header === undefined || frame === undefined) {
      this.replies.shift()?.(line);
      return;
    }
    this.received.push({ header: Buffer.from(header, "hex"), frame: Buffer.from(frame, "hex") });
    for (const look of [...this.waiting]) look();
  }

  /** Puts a frame on the wire, as the guest's network card would. Throws what the kernel refuses. */
  async send(frame: Uint8Array, header: Uint8Array = NO_OFFLOAD): Promise<void> {
    const reply = new Promise<string>((resolve) => this.replies.push(resolve));
    this.child.stdin?.write(`${Buffer.from(header).toString("hex")}/${Buffer.from(frame).toString("hex")}\n`);
    const text = await reply;
    if (text !== "sent") throw new Error(`the frame was not sent: ${text}`);
  }

  /** The first frame, of those that came and those that come, that fits; undefined after `timeout` milliseconds. */
  async receive(fits: (received: Received) => boolean, timeout = 1_000): Promise<Received | undefined> {
    const known = this.received.find(fits);
    if (known) return known;
    return new Promise((resolve) => {
      const done = (result: Received | undefined): void => {
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(result);
      };
      const look = (): void => {
        const last = this.received.at(-1);
        if (last && fits(last)) done(last);
      };
      const timer = setTimeout(() => done(undefined), timeout);
      this.waiting.add(look);
    });
  }

  close(): Promise<void> {
    return stop(this.child);
  }
}
