/** How many jiffies a second has: flows are timed in jiffies, and the kernel tells nobody directly. */
import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { gunzipSync } from "node:zlib";

export interface Hz {
  readonly hz: number;
  readonly from: "config" | "measured" | "assumed";
}

const USUAL = [100, 250, 300, 500, 1000, 1024];

/** CONFIG_HZ of a kernel configuration. */
export function hzOfConfig(text: string): number | undefined {
  const match = /^CONFIG_HZ=(\d+)$/m.exec(text);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

/** The first CPU's "jiffies:" and the list's "now at … nsecs" of /proc/timer_list. */
export function jiffiesOfTimerList(
  text: string,
): { readonly jiffies: bigint; readonly nanoseconds: bigint } | undefined {
  const [jiffies, now] = [/^\s*jiffies:\s+(\d+)/m.exec(text), /^now at (\d+) nsecs/m.exec(text)];
  return jiffies?.[1] === undefined || now?.[1] === undefined
    ? undefined
    : { jiffies: BigInt(jiffies[1]), nanoseconds: BigInt(now[1]) };
}

/** The usual rate nearest to what was counted, if it is near at all. */
export function nearestHz(counted: number): number | undefined {
  const best = USUAL.reduce((a, b) => (Math.abs(b - counted) < Math.abs(a - counted) ? b : a));
  return Math.abs(best - counted) < best * 0.1 ? best : undefined;
}

/** From the kernel's configuration, else counted over 200 ms, else 250 (Debian's and most distributions'). */
export async function findHz(): Promise<Hz> {
  for (const file of ["/proc/config.gz", `/boot/config-${release()}`, `/lib/modules/${release()}/config`]) {
    try {
      if (!existsSync(file)) continue;
      const bytes = readFileSync(file);
      const hz = hzOfConfig((file.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("latin1"));
      if (hz !== undefined) return { hz, from: "config" };
    } catch {
      continue; // unreadable: the next source
    }
  }
  try {
    const first = jiffiesOfTimerList(readFileSync("/proc/timer_list", "latin1"));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const second = jiffiesOfTimerList(readFileSync("/proc/timer_list", "latin1"));
    if (first !== undefined && second !== undefined && second.nanoseconds > first.nanoseconds) {
      const hz = nearestHz(
        Number(second.jiffies - first.jiffies) / (Number(second.nanoseconds - first.nanoseconds) / 1e9),
      );
      if (hz !== undefined) return { hz, from: "measured" };
    }
  } catch {
    // no timer list (CONFIG_PROC_FS off, lockdown): assumed below
  }
  return { hz: 250, from: "assumed" };
}

/** Low 32 bits of jiffies now, as the programs see them; undefined where /proc/timer_list can't be read. */
export function readJiffies(): number | undefined {
  try {
    const found = jiffiesOfTimerList(readFileSync("/proc/timer_list", "latin1"));
    return found === undefined ? undefined : Number(BigInt.asUintN(32, found.jiffies));
  } catch {
    return undefined;
  }
}
