/** The kernel's jiffies, their rate and the timeouts: what an entry's last_seen is compared with. */
import { findHz, readJiffies } from "../dataplane/bpf/hz.js";
import type { FlowClock } from "../dataplane/bpf/read-flows.js";
import type { PinnedState } from "../dataplane/bpf/read.js";
import { parse } from "../abi/records.js";

export async function flowClock(state: PinnedState): Promise<FlowClock> {
  const { hz } = await findHz();
  return { now: readJiffies() ?? newest(state), hz, timeouts: [...state.control().timeout] };
}

/** Where the kernel does not tell: the last packet of any flow was just now. */
function newest(state: PinnedState): number {
  let latest = 0;
  for (const [, value] of state.tables.entries("flow")) {
    const { last_seen } = parse("flow", value);
    if (((last_seen - latest) | 0) > 0) latest = last_seen;
  }
  return latest;
}
