/** What may fill up: locked memory, the flow table, the other maps, the kernel's conntrack. */
import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { pinsIn } from "../agent/wire/pins.js";
import type { Config } from "../config/schema.js";
import { mapsDir } from "../dataplane/bpf/pins.js";
import { openPinned } from "../dataplane/bpf/read.js";
import { connectionCounts } from "../dataplane/iptables/counters.js";
import { parse, u32 } from "../abi/records.js";
import { finding, type Finding } from "./finding.js";

const NEARLY_FULL = 0.8;
/** BPF_F_NO_PREALLOC hash maps and tries: what only the agent writes, and what can be full. */
const FILLED = new Set(["hash", "lpm_trie"]);

export function findLimits(config: Config, dataplane: "bpf" | "iptables"): Finding[] {
  return [
    lockedMemory(readFileSync("/proc/self/limits", "utf8"), release()),
    ...(existsSync(mapsDir(pinsIn(config.pinDir))) ? pinned(config) : []),
    ...conntrack(dataplane),
  ];
}

/** Before 5.11 maps count as locked memory. Pure. */
export function lockedMemory(limits: string, kernel: string): Finding {
  const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1] ?? "unknown";
  const [major = 0, minor = 0] = kernel.split(".").map(Number);
  const counts = major < 5 || (major === 5 && minor < 11);
  const few = soft !== "unlimited" && Number(soft) < 512 << 20;
  if (!counts)
    return finding("limits", "ok", "locked memory", `${soft} bytes; this kernel does not count maps in (5.11)`);
  return few
    ? finding(
        "limits",
        "fault",
        "locked memory",
        `${soft} bytes, and before Linux 5.11 maps count in`,
        "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit (ours has it)",
      )
    : finding("limits", "ok", "locked memory", `${soft} bytes`);
}

function pinned(config: Config): Finding[] {
  const state = openPinned(pinsIn(config.pinDir));
  try {
    const found: Finding[] = [];
    const { maxEntries } = state.tables.info("flow");
    const pool = state.tables.get("pool", u32(0));
    const used = pool === undefined ? 0 : Number(parse("pool", pool).used);
    found.push(
      use(
        "flow",
        used,
        maxEntries,
        "raise flows, which takes effect after torbie cleanup or a reboot; torbie flow show",
      ),
    );
    if (maxEntries !== config.flows)
      found.push(
        finding(
          "limits",
          "note",
          "map flow",
          `${maxEntries} entries are pinned, flows is ${config.flows}`,
          "it takes effect when the maps are made: after torbie cleanup or a reboot",
        ),
      );
    for (const name of state.tables.names) {
      const info = state.tables.info(name);
      if (name === "flow" || !FILLED.has(info.type)) continue;
      let count = 0;
      for (const _entry of state.tables.entries(name)) count++;
      if (count >= NEARLY_FULL * info.maxEntries)
        found.push(
          use(
            name,
            count,
            info.maxEntries,
            "fewer rules, members or endpoints on this host; nothing more fits in when it is full",
          ),
        );
    }
    if (found.length === 1) found.push(finding("limits", "ok", "other maps", "none is nearly full (torbie map list)"));
    return found;
  } finally {
    state.close();
  }
}

/** Pure. */
export function use(map: string, used: number, size: number, advice: string): Finding {
  const text = `${used} of ${size} entries (${((100 * used) / size).toFixed(1)}%)`;
  if (used >= size * 0.95) return finding("limits", "fault", `map ${map}`, text, advice);
  return used >= NEARLY_FULL * size
    ? finding("limits", "warning", `map ${map}`, text, advice)
    : finding("limits", "ok", `map ${map}`, text);
}

function conntrack(dataplane: "bpf" | "iptables"): Finding[] {
  const { used, limit } = connectionCounts();
  if (dataplane === "bpf")
    return limit > 0
      ? [finding("limits", "ok", "conntrack", `${used} of ${limit}; judged packets of the programs skip it`)]
      : [];
  if (limit === 0)
    return [
      finding(
        "limits",
        "warning",
        "conntrack",
        "the kernel tracks nothing here",
        "modprobe nf_conntrack; with iptables it decides what is established",
      ),
    ];
  const { what: _map, ...rest } = use(
    "",
    used,
    limit,
    "sysctl -w net.netfilter.nf_conntrack_max=…: one table for all guests and the host",
  );
  return [{ ...rest, what: "conntrack" }];
}
