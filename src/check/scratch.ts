/**
 * A network namespace that ends with this process, to see how iptables, ipset and nft print what would be written: they print rules
 * otherwise than they were given, each version in its own way. Nothing of the host is touched.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { DataplaneError, UnsupportedError } from "../errors.js";
import { run as runProgram, type Runner } from "../dataplane/run.js";

const PATIENCE = 5_000;
const namespaceOf = (pid: number | "self"): string | undefined => {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
};

export class Scratch {
  private constructor(
    private readonly holder: ChildProcess,
    private readonly pid: number,
  ) {}

  /** @throws UnsupportedError, DataplaneError when namespaces can't be made (util-linux, CAP_SYS_ADMIN) */
  static async open(): Promise<Scratch> {
    const own = namespaceOf("self");
    // Ends when its input does, and that with this process however it ends.
    const holder = spawn("unshare", ["--net", "--", "cat"], { stdio: ["pipe", "ignore", "pipe"] });
    let said = "";
    let over = false;
    holder.stderr?.setEncoding("utf8").on("data", (text: string) => (said += text));
    holder.on("error", (error) => {
      said = error.message;
      over = true;
    });
    holder.on("exit", () => (over = true));
    const until = performance.now() + PATIENCE;
    while (!over && performance.now() < until) {
      const theirs = holder.pid === undefined ? undefined : namespaceOf(holder.pid);
      // Before unshare has done its work it is still in ours: nothing may be written there.
      if (holder.pid !== undefined && own !== undefined && theirs !== undefined && theirs !== own)
        return new Scratch(holder, holder.pid);
      await sleep(5);
    }
    holder.kill();
    if (/not permitted|ENOENT/i.test(said))
      throw new UnsupportedError(
        "NO_NAMESPACE",
        `no network namespace can be made to compare rules in: ${said.trim()}`,
      );
    throw new DataplaneError(
      "NO_NAMESPACE",
      `no network namespace was made within ${PATIENCE / 1000} s: ${said.trim()}`,
    );
  }

  /** Runs a program in it. */
  readonly run: Runner = (program, args, input) =>
    runProgram("nsenter", [`--net=/proc/${this.pid}/ns/net`, "--", program, ...args], input).then((result) =>
      // nsenter says it with 127 where execvp fails.
      result.status === 127 ? { ...result, status: undefined } : result,
    );

  /** Interfaces that stand for others of these names. False: there is no `ip`, or the kernel has neither dummies nor taps. */
  async links(names: readonly string[]): Promise<boolean> {
    for (const lines of [
      names.map((name) => `link add ${name} type dummy`),
      names.map((name) => `tuntap add dev ${name} mode tap`),
    ])
      if ((await this.run("ip", ["-batch", "-"], `${lines.join("\n")}\n`)).status === 0) return true;
    return names.length === 0;
  }

  async close(): Promise<void> {
    const gone =
      this.holder.exitCode !== null || this.holder.signalCode !== null
        ? undefined
        : new Promise((resolve) => this.holder.once("exit", resolve));
    this.holder.stdin?.end();
    this.holder.kill();
    await gone;
  }
}
