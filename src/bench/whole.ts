/** Measurements that need a namespace and a process of their own, and what is found with a big cloud and many taps. */
import { fileURLToPath } from "node:url";
import { Namespace } from "../demo/world/namespace.js";
import type { ReadFigures } from "./etcd-read.js";
import type { Figure } from "./figures.js";
import type { Scale } from "./scale.js";
import { reason } from "./reason.js";

export interface Found<T> {
  readonly found?: T;
  readonly why?: string;
}

/** What a mode of the benchmark printed, or why it failed; each runs in a namespace and process of its own. */
export type Apart = <T>(mode: "--latency" | "--burst" | "--scale" | "--restart", what: object) => Promise<Found<T>>;

/** A mode that was not measured, and why. */
export const LEFT_OUT: Found<never> = { why: "left out of a QUICK run" };

/** Process groups of what runs now: an agent and an etcd among them, which don't end with whoever started them. */
const groups = new Set<number>();

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Has ended.
  }
}

process.once("exit", () => groups.forEach(killGroup));

/** What a program printed, in a namespace of its own. It and all that it started have `timeout` milliseconds. */
async function printed(argv: readonly string[], timeout: number): Promise<string> {
  const namespace = await Namespace.create("bench");
  const child = namespace.spawn(argv, { stdio: ["ignore", "pipe", "pipe"] });
  const pid = child.pid ?? 0;
  groups.add(pid);
  let [out, said, late] = ["", "", false];
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-2_000)));
  const timer = setTimeout(() => {
    late = true;
    killGroup(pid);
  }, timeout);
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject).once("close", resolve);
    });
    if (late) throw new Error(`not within ${timeout / 1000} s${said === "" ? "" : `: ${said}`}`);
    if (status !== 0) throw new Error(said.trim() || `ended with status ${String(status)}`);
    return out;
  } finally {
    clearTimeout(timer);
    killGroup(pid);
    groups.delete(pid);
    await namespace.remove();
  }
}

export function apartIn(main: string, timeout: number): Apart {
  return async <T>(mode: string, what: object): Promise<Found<T>> => {
    try {
      return { found: JSON.parse(await printed([process.execPath, main, mode, JSON.stringify(what)], timeout)) as T };
    } catch (error) {
      return { why: reason(error) };
    }
  };
}

/** A process that only reads and compiles, and watches its event loop. */
async function reading(endpoints: number, timeout: number): Promise<Found<ReadFigures>> {
  try {
    const script = fileURLToPath(new URL("etcd-read.js", import.meta.url));
    const text = await printed([process.execPath, script, String(endpoints)], timeout);
    return { found: JSON.parse(text.trim().split("\n").at(-1) ?? "") as ReadFigures };
  } catch (error) {
    return { why: reason(error) };
  }
}

const MEMBERS = 100_000;

export async function scaleFigures(apart: Apart, quick: boolean, timeout: number): Promise<Figure[]> {
  const figure = (name: string, value: number | undefined, unit: string, vs: string, why?: string): Figure =>
    value === undefined
      ? { name, value: null, unit, vs, why: why ?? "not measured" }
      : { name, value: Math.round(value * 10) / 10, unit, vs };
  const many = await apart<Scale>("--scale", { taps: 1000, members: 0 });
  const late: Found<Scale> = quick ? LEFT_OUT : await apart<Scale>("--scale", { taps: 1000, members: 0, late: true });
  const big = await apart<Scale>("--scale", { taps: 2, members: MEMBERS });
  const read: Found<ReadFigures> = quick ? LEFT_OUT : await reading(MEMBERS, timeout);
  const cloud = "100,000 remote endpoints in etcd";
  return [
    figure("taps_1000_start_s", many.found?.seconds, "s", "cold start of the agent, 1,000 taps", many.why),
    figure("taps_1000_status_s", many.found?.statusSeconds, "s", "from then until etcd has their status", many.why),
    figure("taps_1000_late_s", late.found?.seconds, "s", "1,000 taps appear under a running agent", late.why),
    figure("sync_100k_s", big.found?.seconds, "s", cloud, big.why),
    figure("loop_stood_still_ms", read.found?.stoodStill, "ms", `reading and compiling ${cloud}`, read.why),
    figure("agent_rss_mb", big.found?.residentMegabytes, "MB", cloud, big.why),
    figure("maps_mb", big.found?.mapsMegabytes, "MB", cloud, big.why),
  ];
}
