/** The BPF dataplane, as the rest of Torbie sees it. */
export { BpfBackend, type BpfOptions } from "./backend.js";
export { cleanup, type CleanupReport } from "./cleanup.js";
export { readEvents, type LogEvent } from "./events.js";
export { DEFAULT_PIN_DIR } from "./pins.js";
export { probe, type ProbeResult } from "./probe.js";
export { openPinned, type FlowSummary, type PinnedDrop, type PinnedEndpoint, type PinnedState } from "./read.js";
export type { PinnedPlane, PinnedPolicy, PinnedRule } from "./read-policy.js";
export { explainReason, REASON_SENTENCES } from "./reasons.js";
