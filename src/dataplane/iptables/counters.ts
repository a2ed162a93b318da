/** Packets that our rules dropped, by tap and reason, as iptables counts them; since the chain was written last. */
import { readFileSync } from "node:fs";
import type { Family } from "../../model/types.js";
import { run as runProgram, type Runner } from "../run.js";
import { IPTABLES, refused } from "./tools.js";
import { FAMILIES } from "./types.js";

export interface DropCount {
  /** Absent: of no known tap. */
  readonly tap?: string;
  /** A name of enum reason (bpf/abi.h): the same words in both dataplanes. */
  readonly reason: string;
  readonly packets: bigint;
  readonly chain: string;
  readonly family: Family;
  /** Seen from the guest. Absent: the chain does not say. */
  readonly direction?: "ingress" | "egress";
}

const OF_TAP: Readonly<Record<string, string>> = {
  from: "POLICY_EGRESS",
  to: "POLICY_INGRESS",
  src: "SPOOFED_ADDRESS",
};
const DIRECTIONS: readonly (readonly [RegExp, "ingress" | "egress"])[] = [
  [/^TRB-(?:from|src|Pe)(?:[-.]|$)/, "egress"],
  [/^TRB-(?:to|Pi|known|knownout)(?:[-.]|$)/, "ingress"],
];
/** Chain → reason for what is dropped in it. */
const FIXED: readonly (readonly [RegExp, string])[] = [
  [/^TRB-(?:src|from|to|known|knownout)(?:\.|$)/, "NO_ENDPOINT"],
  [/^TRB-raw$/, "UPLINK_SPOOFED"],
  [/^TRB-Pe-/, "DENIED_EGRESS"],
  [/^TRB-Pi-/, "DENIED_INGRESS"],
  [/^TRB-input$/, "HOST_UNREACHABLE_TO_GUEST"],
  [/^TRB-new/, "MARTIAN"],
  [/^TRB-(?:host)?error$/, "ICMP_ERROR_ABOUT_ERROR"],
  [/^TRB-hostsends$/, "HOST_TO_GUEST_OFF"],
];

/** @throws DataplaneError, UnsupportedError: what the program said */
export async function dropCounters(run: Runner = runProgram): Promise<DropCount[]> {
  const saved = await Promise.all(
    FAMILIES.flatMap((family) =>
      ["raw", "filter"].map(async (table) => {
        const result = await run(`${IPTABLES[family]}-save`, ["-c", "-t", table]);
        // Nothing dropped is something else than nothing known.
        if (result.status !== 0) throw refused(`read the counters of ${IPTABLES[family]} ${table}`, result);
        return parseDrops(result.stdout, family);
      }),
    ),
  );
  return saved.flat();
}

/** Why a rule of ours that drops does so, and of which tap it is. */
export function dropReason(chain: string, rule: string): { readonly reason: string; readonly tap?: string } {
  const [, kind = "", tap] = /^TRB-(from|to|src)-(.+)$/.exec(chain) ?? [];
  let reason = OF_TAP[kind] ?? FIXED.find(([pattern]) => pattern.test(chain))?.[1] ?? "MALFORMED";
  if (chain === "TRB-raw" && rule.includes("--rt-segsleft")) reason = "SOURCE_ROUTE";
  if (kind === "src" && /--sport \d+/.test(rule)) reason = "DHCP_SERVER";
  if (kind === "from" && /-d .* -j DROP/.test(rule)) reason = "SELF";
  if (chain.startsWith("TRB-new") && rule.includes("-here ")) reason = "RECEIVER_DOWN";
  return { reason, ...(tap === undefined ? {} : { tap }) };
}

export function parseDrops(text: string, family: Family = 4): DropCount[] {
  const counts: DropCount[] = [];
  for (const line of text.split("\n")) {
    const [, packets, chain, rule = ""] = /^\[(\d+):\d+\] -A (TRB-\S+) (.*)$/.exec(line) ?? [];
    if (packets === undefined || chain === undefined || packets === "0" || !/-j DROP$/.test(rule)) continue;
    const { reason, tap } = dropReason(chain, rule);
    const direction = DIRECTIONS.find(([pattern]) => pattern.test(chain))?.[1];
    counts.push({
      reason,
      packets: BigInt(packets),
      chain,
      family,
      ...(tap === undefined ? {} : { tap }),
      ...(direction === undefined ? {} : { direction }),
    });
  }
  return counts;
}

/** Entries of the host's connection tracking, all of them, and how many it may hold. */
export function connectionCounts(): { readonly used: number; readonly limit: number } {
  const read = (name: string): number => {
    try {
      return Number(readFileSync(`/proc/sys/net/netfilter/${name}`, "utf8"));
    } catch {
      return 0;
    }
  };
  return { used: read("nf_conntrack_count"), limit: read("nf_conntrack_max") };
}
