/** `make run`: the demo as a program. Arguments: [--once] [--policy-dir DIR] [--dataplane NAME], default the checkout's examples/. */
import { accessSync, constants, statSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ConfigError, TorbieError, UnsupportedError } from "../errors.js";
import { inPackage } from "../root.js";
import { escape } from "../text.js";
import { runDemo } from "./run.js";

const EXAMPLES = inPackage("examples");

function checkMachine(): void {
  if (process.getuid?.() !== 0) {
    throw new UnsupportedError(
      "NOT_ROOT",
      "the demo makes network namespaces and taps and loads BPF: run it as root (sudo make run)",
    );
  }
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
  } catch (cause) {
    throw new UnsupportedError(
      "NO_TUN",
      "/dev/net/tun cannot be opened: modprobe tun, or give this container the device",
      { cause },
    );
  }
}

function checkDirectory(directory: string): void {
  let isDirectory = false;
  try {
    isDirectory = statSync(directory).isDirectory();
  } catch (cause) {
    throw new ConfigError("NO_DIRECTORY", `--policy-dir ${escape(directory)}: there is no such directory`, { cause });
  }
  if (!isDirectory) throw new ConfigError("NO_DIRECTORY", `--policy-dir ${escape(directory)} is not a directory`);
}

function checkDataplane(word: string | undefined): string | undefined {
  if (word === undefined || ["auto", "bpf", "iptables"].includes(word)) return word;
  throw new ConfigError("BAD_DATAPLANE", `--dataplane ${escape(word)}: auto, bpf or iptables`);
}

/** @returns the exit status */
export async function demo(words: readonly string[]): Promise<number> {
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal).on("SIGHUP", onSignal);
  const progress = (text: string): void => {
    if (process.stdout.isTTY) process.stderr.write(`\r\u001b[K${text}`);
  };
  try {
    const { values } = parseArgs({
      args: [...words],
      options: {
        once: { type: "boolean", default: false },
        "policy-dir": { type: "string", default: EXAMPLES },
        dataplane: { type: "string" },
      },
    });
    checkMachine();
    const policyDir = resolve(values["policy-dir"]);
    checkDirectory(policyDir);
    const print = (text: string): void => {
      progress("");
      process.stdout.write(text);
    };
    await runDemo({
      policyDir,
      once: values.once,
      dataplane: checkDataplane(values.dataplane),
      print,
      progress,
      signal: stop.signal,
    });
    return 0;
  } catch (error) {
    progress("");
    const known =
      error instanceof TorbieError || (error as { code?: unknown }).code === "ERR_PARSE_ARGS_UNKNOWN_OPTION";
    process.stderr.write(`torbie demo: ${known ? (error as Error).message : String((error as Error).stack)}\n`);
    return 1;
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal).off("SIGHUP", onSignal);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(await demo(process.argv.slice(2)));
