/** The hypervisor's part: build/pump (test/support/pump.c), which carries frames between a tap and a guest's interface. */
import { accessSync } from "node:fs";
import { UnsupportedError } from "../../errors.js";
import { inPackage } from "../../root.js";
import { onLines, start, stop } from "./command.js";
import type { Namespace } from "./namespace.js";

export interface Plug {
  /** Name and MAC of the host's side. */
  readonly tap: string;
  readonly tapMac: string;
  readonly guest: Namespace;
  readonly guestInterface: string;
  readonly guestMac: string;
  readonly mtu: number;
}

/** A helper built from test/support by make. */
export function helper(name: string): string {
  const path = inPackage(`build/${name}`);
  try {
    accessSync(path);
  } catch (cause) {
    throw new UnsupportedError("NO_HELPER", `${path} is missing: make build/${name}`, { cause });
  }
  return path;
}

export class Pump {
  private constructor(
    readonly pid: number,
    readonly gone: Promise<void>,
    /** Ends the pump; taps that it made go with it. */
    readonly stop: () => Promise<void>,
  ) {}

  /** Resolves when every tap is up. `offload` false: the taps' readers are given finished checksums and no GSO. */
  static async start(host: Namespace, plugs: readonly Plug[], offload = true): Promise<Pump> {
    const pairs = plugs.flatMap((plug) => [
      plug.tap,
      plug.tapMac,
      plug.guest.path,
      plug.guestInterface,
      plug.guestMac,
      String(plug.mtu),
    ]);
    const child = start([helper("pump"), ...(offload ? [] : ["--no-offload"]), "--host", host.path, ...pairs], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string) => reject(new UnsupportedError("NO_TAP", `no tap could be made: ${why}`));
      child.once("error", (error) => fail(error.message));
      child.once("exit", () => fail(stderr.trim() || "the pump ended"));
      if (child.stdout) onLines(child.stdout, (line) => line === "ready" && resolve());
    });
    return new Pump(child.pid ?? 0, gone, () => stop(child));
  }
}
