/** test/support/metadata.py in a namespace, and guests that ask it as cloud-init does. */
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { onLines, stop } from "../../src/demo/world/command.js";
import type { Guest } from "../../src/demo/world/guest.js";
import type { Namespace } from "../../src/demo/world/namespace.js";

const SCRIPT = fileURLToPath(new URL("metadata.py", import.meta.url));
export const METADATA = { 4: "169.254.169.254", 6: "[fe80::a9fe:a9fe%25eth0]" } as const;

export class MetadataServer {
  private constructor(private readonly child: ChildProcess) {}

  /** Listens when it resolves. */
  static async start(host: Namespace, port: number, ...addresses: readonly string[]): Promise<MetadataServer> {
    const argv = ["setpriv", "--pdeathsig", "KILL", "python3", SCRIPT, String(port), ...addresses];
    const child = host.spawn(argv, { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise<void>((resolve, reject) => {
      child.once("exit", () => reject(new Error("metadata.py ended")));
      if (child.stdout) onLines(child.stdout, (line) => line === "ready" && resolve());
    });
    return new MetadataServer(child);
  }

  stop(): Promise<void> {
    return stop(this.child, "SIGKILL");
  }
}

/** What curl got, or "exit N": 7 refused, 28 no answer in time. */
export async function ask(guest: Guest, url: string, ...more: readonly string[]): Promise<string> {
  try {
    return await guest.run([
      "curl",
      "-sS",
      "-g",
      "--noproxy",
      "*",
      "--connect-timeout",
      "2",
      "-m",
      "20",
      ...more,
      `http://${url}`,
    ]);
  } catch (error) {
    return `exit ${String((error as { status?: unknown }).status)}`;
  }
}
