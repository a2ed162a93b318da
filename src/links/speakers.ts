/** Who has sent anything by its interface, in the network namespace of this process: the kernel's own counters, whatever enforces. */
import { readFileSync } from "node:fs";

/** Names of interfaces that have received a packet; of a tap: what its guest, or QEMU in its name, has sent (GARP, RARP, NA, anything). */
export function speakersOf(text: string): ReadonlySet<string> {
  // "  tap1: rx_bytes rx_packets …": names hold no white space and no colon (proc(5), /proc/net/dev).
  return new Set(
    text.split("\n").flatMap((line) => {
      const [, name, packets] = /^\s*([^\s:]+):\s*\d+\s+(\d+)/.exec(line) ?? [];
      return name !== undefined && Number(packets) > 0 ? [name] : [];
    }),
  );
}

export const speakers = (): ReadonlySet<string> => speakersOf(readFileSync("/proc/net/dev", "utf8"));
