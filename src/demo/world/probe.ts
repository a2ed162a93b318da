/** A guest's workload: build/probe (test/support/probe.c), which answers on ports and tries to reach others. */
import type { ChildProcess } from "node:child_process";
import { TorbieError } from "../../errors.js";
import { onLines, stop } from "./command.js";
import type { Namespace } from "./namespace.js";
import { helper } from "./pump.js";

export interface Reached {
  readonly result: "ok" | "timeout" | "refused" | "unreachable" | "error";
  /** "ok": TTL or hop limit with which our packet (tcp, udp) or its reply (ping) arrived, where it is known. */
  readonly hops?: number;
  readonly text: string;
}

export type Attempt =
  | { readonly kind: "tcp" | "udp"; readonly address: string; readonly port: number; readonly timeout?: number }
  | { readonly kind: "ping"; readonly address: string; readonly timeout?: number };

/** One retransmission of a SYN (1 s) fits in. */
const PATIENCE = 1_300;

function parse(words: readonly string[]): Reached {
  const [result = "error", detail = ""] = words;
  const text = words.join(" ");
  const known = (["ok", "timeout", "refused", "unreachable"] as const).find((name) => name === result) ?? "error";
  return /^\d+$/.test(detail) ? { result: known, hops: Number(detail), text } : { result: known, text };
}

export class Probe {
  private readonly waiting = new Map<string, (reached: Reached) => void>();
  private next = 0;

  private constructor(private readonly child: ChildProcess) {}

  /** @param ports "tcp/80", "udp/53", on every address of the namespace */
  static async start(namespace: Namespace, ports: readonly string[]): Promise<Probe> {
    const child = namespace.spawn([helper("probe"), ...ports], { stdio: ["pipe", "pipe", "pipe"] });
    const probe = new Probe(child);
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-2_000)));
    child.stdin?.on("error", () => undefined); // its exit says more
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", () => {
        reject(new TorbieError("PROBE_FAILED", `probe in ${namespace.name}: ${stderr.trim() || "ended"}`));
        for (const done of probe.waiting.values()) done({ result: "error", text: "error the probe ended" });
        probe.waiting.clear();
      });
      if (child.stdout) {
        onLines(child.stdout, (line) => {
          if (line === "ready") resolve();
          else probe.onAnswer(line);
        });
      }
    });
    return probe;
  }

  private onAnswer(line: string): void {
    const [id = "", ...words] = line.split(" ");
    this.waiting.get(id)?.(parse(words));
    this.waiting.delete(id);
  }

  private send(words: string): Promise<Reached> {
    const id = String(this.next++);
    return new Promise((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        resolve({ result: "error", text: "error the probe ended" });
        return;
      }
      this.waiting.set(id, resolve);
      this.child.stdin?.write(`${id} ${words}\n`);
    });
  }

  attempt(to: Attempt): Promise<Reached> {
    const timeout = to.timeout ?? PATIENCE;
    return this.send(
      to.kind === "ping" ? `ping ${to.address} ${timeout}` : `${to.kind} ${to.address} ${to.port} ${timeout}`,
    );
  }

  tcp(address: string, port: number, timeout?: number): Promise<Reached> {
    return this.attempt({ kind: "tcp", address, port, ...(timeout === undefined ? {} : { timeout }) });
  }

  udp(address: string, port: number, timeout?: number): Promise<Reached> {
    return this.attempt({ kind: "udp", address, port, ...(timeout === undefined ? {} : { timeout }) });
  }

  ping(address: string, timeout?: number): Promise<Reached> {
    return this.attempt({ kind: "ping", address, ...(timeout === undefined ? {} : { timeout }) });
  }

  /** Answers on a further port: "tcp/8080". */
  listen(port: string): Promise<Reached> {
    return this.send(`listen ${port}`);
  }

  stop(): Promise<void> {
    return stop(this.child);
  }
}
