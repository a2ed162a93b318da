/** A TCP connection between two guests that stays open, and says whether it still carries anything. */
import type { ChildProcess } from "node:child_process";
import { expect } from "vitest";
import { onLines, stop } from "../../src/demo/world/command.js";
import type { Guest } from "../../src/demo/world/guest.js";

export class Conversation {
  private readonly heard = new Set<string>();
  private readonly waiting = new Set<() => void>();
  private said = 0;

  private constructor(
    private readonly server: ChildProcess,
    private readonly client: ChildProcess,
  ) {
    if (client.stdout) {
      onLines(client.stdout, (line) => {
        this.heard.add(line);
        for (const look of [...this.waiting]) look();
      });
    }
  }

  /** `to` must not answer on that port already. */
  static async open(
    from: Pick<Guest, "namespace">,
    to: Guest,
    family: 4 | 6,
    port: number,
    address: string = to.address(family),
  ): Promise<Conversation> {
    const quiet = { stdio: ["pipe", "pipe", "ignore"] } as const;
    const server = to.namespace.spawn(["socat", `TCP${family}-LISTEN:${port},reuseaddr,fork`, "EXEC:/bin/cat"], {
      stdio: "ignore",
    });
    await expect.poll(() => to.run(["ss", "-Hltn", `sport = :${port}`]), { timeout: 5_000 }).toContain(String(port));
    const target = family === 4 ? `TCP4:${address}:${port}` : `TCP6:[${address}]:${port}`;
    const client = from.namespace.spawn(["socat", "-", `${target},connect-timeout=5`], {
      ...quiet,
      stdio: [...quiet.stdio],
    });
    return new Conversation(server, client);
  }

  /** Says something new; whether it comes back within `timeout` milliseconds. */
  async answers(timeout = 2_000): Promise<boolean> {
    const line = `line ${this.said++}`;
    this.client.stdin?.write(`${line}\n`);
    return new Promise((resolve) => {
      const done = (result: boolean): void => {
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(result);
      };
      const look = (): void => {
        if (this.heard.has(line)) done(true);
      };
      const timer = setTimeout(() => done(false), timeout);
      this.waiting.add(look);
      look();
    });
  }

  async close(): Promise<void> {
    await Promise.all([stop(this.client), stop(this.server)]);
  }
}
