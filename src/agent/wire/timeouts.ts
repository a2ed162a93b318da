/** The settings of timeouts as `enum flow_state` (bpf/abi.h) names them. Pure. */
import type { Config } from "../../config/schema.js";

/** Seconds, by name of the state. */
export function flowTimeouts(config: Config): Readonly<Record<string, number>> {
  return {
    FLOW_NEW: config.timeoutNew,
    FLOW_REPLIED: config.timeoutReplied,
    FLOW_SYN_SENT: config.timeoutSynSent,
    FLOW_ESTABLISHED: config.timeoutEstablished,
    FLOW_CLOSING: config.timeoutClosing,
    FLOW_CLOSED: config.timeoutClosed,
    FLOW_ICMP: config.timeoutIcmp,
    FLOW_FIN: config.timeoutFin,
    FLOW_OTHER: config.timeoutOther,
    FLOW_FRAGMENT: config.timeoutFragment,
  };
}
