/** What a process has used of the machine, and what the pinned maps hold of it. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { BpfMap } from "#libbpf";
import { ABI_VERSION } from "../abi/constants.js";
import { MAP_NAMES, mapPath } from "../dataplane/bpf/pins.js";

/** Ticks of /proc's times in a second: sysconf(_SC_CLK_TCK). */
const hertz = (): number => Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

export interface Spent {
  /** User and system time since it began, without its children. */
  readonly cpuSeconds: number;
  readonly residentMegabytes: number;
}

/** Of a process by its number (proc(5)). */
export function spent(pid: number): Spent {
  const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  // The name, in brackets, may hold spaces; utime and stime are fields 14 and 15.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / hertz(), residentMegabytes: Number(rss) / 1024 };
}

/** Nanoseconds that a process, all its threads, has been on a processor, in user or kernel. */
export function onProcessor(pid: number): number {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).reduce((sum, task) => {
    const [nanoseconds = ""] = readFileSync(join(tasks, task, "schedstat"), "utf8").split(" ");
    return sum + Number(nanoseconds);
  }, 0);
}

export function mapsMegabytes(pinDir: string): number {
  let bytes = 0n;
  for (const name of MAP_NAMES) {
    const map = BpfMap.open(mapPath(join(pinDir, `v${ABI_VERSION}`), name));
    bytes += map.memory();
    map.close();
  }
  return Number(bytes) / 2 ** 20;
}
