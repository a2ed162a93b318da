/** test/support/stream.py between two namespaces: much traffic, and what of it was lost. */
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { onLines, stop } from "../../src/demo/world/command.js";
import type { Namespace } from "../../src/demo/world/namespace.js";

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
  const child = namespace.spawn(["python3", SCRIPT, ...words], { stdio: ["pipe", "pipe", "inherit"] });
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

/** Traffic that runs and has been answered; `end` stops it, waits for what is still on its way, and counts. */
export async function stream(from: Namespace, address: string): Promise<{ readonly end: () => Promise<Streamed> }> {
  const { child, ready, lines } = start(from, ["run", address]);
  await ready;
  return {
    end: async () => {
      const gone = new Promise((resolve) => child.once("close", resolve));
      child.stdin?.end();
      await gone;
      return JSON.parse(lines.at(-1) ?? "null") as Streamed;
    },
  };
}
