/** test/support/stream.py between two namespaces: much traffic, and what of it was lost. */
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { onLines, stop } from "../../src/demo/world/command.js";
import type { Namespace } from "../../src/demo/world/namespace.js";

/** Whatever is started here ends with the test, however that ends. */
const WITH_US = ["setpriv", "--pdeathsig", "KILL"];
const SCRIPT = fileURLToPath(new URL("stream.py", import.meta.url));

export interface Streamed {
  readonly udp: { readonly sent: number; readonly lost: number; readonly which: readonly number[] };
  readonly tcp: { readonly words: number; readonly error: string; readonly longest: number };
  readonly connections: { readonly made: number; readonly failed: number; readonly slow: number };
  readonly asked: { readonly made: number; readonly unanswered: number };
}

function start(
  namespace: Namespace,
  words: readonly string[],
): { child: ChildProcess; ready: Promise<void>; lines: string[] } {
  const child = namespace.spawn([...WITH_US, "python3", SCRIPT, ...words], { stdio: ["pipe", "pipe", "inherit"] });
  const lines: string[] = [];
  const ready = new Promise<void>((resolve, reject) => {
    child.once("exit", () => reject(new Error(`stream.py ${words.join(" ")} ended`)));
    if (child.stdout) onLines(child.stdout, (line) => (line === "ready" ? resolve() : lines.push(line)));
  });
  return { child, ready, lines };
}

/** What answers; ends with `stop`. */
export async function serve(namespace: Namespace): Promise<{ readonly stop: () => Promise<void> }> {
  const { child, ready } = start(namespace, ["serve"]);
  await ready;
  return { stop: () => stop(child) };
}

export interface Running<T> {
  /** Stops it, waits for what is still on its way, and counts. */
  readonly end: () => Promise<T>;
}

async function running<T>(from: Namespace, words: readonly string[]): Promise<Running<T>> {
  const { child, ready, lines } = start(from, words);
  await ready;
  return {
    end: async () => {
      const gone = new Promise((resolve) => child.once("close", resolve));
      child.stdin?.end();
      await gone;
      return JSON.parse(lines.at(-1) ?? "null") as T;
    },
  };
}

/** Traffic that runs and has been answered; `rate`: packets a second of its one UDP flow; all of it is so many times `slower`. */
export const stream = (from: Namespace, address: string, rate: number, slower = 1): Promise<Running<Streamed>> =>
  running(from, ["run", address, String(rate), String(slower)]);

/** Packets that nothing allows, and how many of them arrive. */
export async function forbidden(
  from: Namespace,
  to: Namespace,
  address: string,
): Promise<Running<{ sent: number; came: number }>> {
  const counting = await running<number>(to, ["count"]);
  const flood = await running<number>(from, ["flood", address]);
  return { end: async () => ({ sent: await flood.end(), came: await counting.end() }) };
}

/** 100 pings a second: how many were sent and answered. */
export function pings(from: Namespace, address: string): Running<{ sent: number; received: number }> {
  const child = from.spawn([...WITH_US, "ping", "-n", "-q", "-i", "0.01", address], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
  return {
    end: async () => {
      await stop(child, "SIGINT");
      const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
      return { sent: Number(sent), received: Number(received) };
    },
  };
}

/** iperf3 over one TCP connection, at a rate that leaves room for the rest: its error, "" when it was only interrupted, and its bytes. */
export async function iperf3(
  from: Namespace,
  to: Namespace,
  address: string,
): Promise<Running<{ error: string; bytes: number }>> {
  const server = to.spawn([...WITH_US, "iperf3", "-s", "-1"], { stdio: "ignore" });
  await expect.poll(() => to.run(["ss", "-Hltn", "sport = :5201"]), { timeout: 5_000 }).toContain("5201");
  const client = from.spawn([...WITH_US, "iperf3", "-J", "-b", "5M", "-t", "600", "-c", address], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  client.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
  return {
    end: async () => {
      const gone = new Promise((resolve) => client.once("close", resolve));
      await stop(client, "SIGINT");
      await gone;
      await stop(server);
      const { error = "", end } = JSON.parse(text) as { error?: string; end: { sum_sent?: { bytes: number } } };
      return { error: error.startsWith("interrupt") ? "" : error, bytes: end.sum_sent?.bytes ?? 0 };
    },
  };
}
