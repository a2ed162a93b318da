/** The real context: files, pinned maps, interfaces, firewall. Modules that load native code are imported when a command needs them. */
import { readFileSync } from "node:fs";
import { agentRuns, lockHolder } from "../agent/lock.js";
import { readStatus } from "../agent/status.js";
import type { Config } from "../config/schema.js";
import { guardOptions } from "../agent/wire/guard.js";
import { OBJECTS } from "../dataplane/bpf/built.js";
import { hostAddresses } from "../dataplane/conntrack/host-addresses.js";
import { guardStatus, ensureGuard, removeGuard } from "../dataplane/guard.js";
import { inPackage } from "../root.js";
import { printable } from "../text.js";
import type { Context, GuardState } from "./context.js";
import { parsePacketCounts } from "./top.js";

const VERSION = (JSON.parse(readFileSync(inPackage("package.json"), "utf8")) as { readonly version: string }).version;

export function realContext(): Context {
  const { NO_COLOR, TERM } = process.env;
  for (const stream of [process.stdout, process.stderr]) stream.on("error", brokenPipe);
  return {
    version: VERSION,
    environment: process.env,
    uid: process.geteuid?.() ?? -1,
    colours: process.stdout.isTTY && !NO_COLOR && TERM !== "dumb",
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    readText,
    openState: async (pinDir, runDir) => (await import("./open-pinned.js")).openState(pinDir, runDir),
    openMaps: async (pinDir, runDir) => (await import("./open-pinned.js")).openMaps(pinDir, runDir),
    openRules: async (config) => (await import("./open-rules.js")).openRules(config),
    flowClock: async (state) => (await import("./flow-clock.js")).flowClock(state),
    sweepFlows: async (...what) => (await import("../dataplane/bpf/sweep.js")).sweepFlows(...what),
    watchDrops: async (...wish) => (await import("../dataplane/bpf/drop-watch.js")).watchDrops(...wish),
    explain: async (...question) => (await import("../dataplane/bpf/explain.js")).explainPacket(...question),
    isOwnBuild: async (tables, { markShift }) =>
      (await import("../dataplane/bpf/objects.js")).isOfThisBuild(tables.raw("name"), OBJECTS, markShift),
    readModel: async (loaded) => (await import("./read-model.js")).readModel(loaded),
    links: async () => (await import("../links/read-links.js")).readLinks(),
    hostAddresses,
    routes: async (protocol) => (await import("../links/read-links.js")).readRoutes(protocol),
    now: () => performance.now(),
    terminal: () =>
      process.stdout.isTTY && TERM !== "dumb"
        ? { rows: process.stdout.rows, columns: process.stdout.columns }
        : undefined,
    packetCounts: () => parsePacketCounts(readFileSync("/proc/self/net/dev", "utf8")),
    pause,
    readStatus,
    agentRuns,
    lockHolder,
    interfaceNames,
    runAgent: async (loaded) => (await import("../agent/run.js")).runAgent(loaded, VERSION),
    runDemo: async (words) => (await import("../demo/main.js")).demo(words),
    openTaps: async (config) => (await import("./clean.js")).openTaps(config),
    cleanup: async (config) => (await import("./clean.js")).clean(config),
    takeover: async (loaded, options) => {
      const { createLog } = await import("../telemetry/log.js");
      const log = createLog("error", "text"); // problems are counted, and named by torbie status
      return (await import("../incumbent/takeover.js")).takeover(loaded, VERSION, log, options);
    },
    handback: async (...options) => (await import("../incumbent/handback.js")).handback(...options),
    datastore: async (loaded) => (await import("./datastore-access.js")).datastoreAccess(loaded),
    check: async (loaded) => (await import("../check/run.js")).check(loaded),
    repair: async (loaded) => {
      const { createLog } = await import("../telemetry/log.js");
      return (await import("../check/repair.js")).repair(loaded, VERSION, createLog("warn", "text"));
    },
    doctor: async (config) => (await import("../doctor/run.js")).doctor(config),
    guard,
  };
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

let stop: () => void = () => undefined;
const stopped = new Promise<void>((resolve) => (stop = resolve));
let listening = false;

/** Who read what we print has seen enough ("… | head"): what goes on ends, as by Ctrl-C, and nothing is said. */
function brokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
  stop();
}

/** Stops at the first SIGINT or SIGTERM; the next one ends the process as usual. */
function pause(milliseconds: number): Promise<boolean> {
  if (!listening) for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stop);
  listening = true;
  const asked = stopped;
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(true), milliseconds);
    void asked.then(() => {
      clearTimeout(timer);
      resolve(false);
    });
  });
}

async function interfaceNames(): Promise<ReadonlyMap<number, string>> {
  const { readLinks } = await import("../links/read-links.js");
  return new Map((await readLinks()).map(({ ifindex, name }) => [ifindex, name]));
}

function guard(config: Config): ReturnType<Context["guard"]> {
  const options = guardOptions(config);
  return {
    install: async () => (await ensureGuard(options)).changed.length > 0,
    remove: async () => (await removeGuard(options)).length > 0,
    show: async (): Promise<GuardState> => {
      const { standing, means, claimed, asleep, dropped, problems } = await guardStatus(options);
      return {
        state: standing ? "on" : means === "none" ? "off" : "altered",
        detail: [
          `by ${means}`,
          `taps that may pass: ${claimed.map(printable).join(", ") || "none"}`,
          ...(asleep ? ["asleep for IP, since our iptables rules drop what comes from any other tap"] : []),
          ...Object.entries(dropped).map(([chain, packets]) => `${printable(chain)}: ${packets} packets dropped`),
          ...problems.map(({ what, consequence }) => `${printable(what)}: ${printable(consequence)}`),
        ],
      };
    },
  };
}
