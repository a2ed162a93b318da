/** `drop watch`: dropped packets as they are dropped. The programs tell of them only while somebody listens. */
import type { DroppedPacket } from "../dataplane/bpf/drop-watch.js";
import type { PinnedState } from "../dataplane/bpf/read.js";
import { DataplaneError } from "../errors.js";
import { escape } from "../text.js";
import { CommandError, EXIT, UsageError, type Command, type Invocation } from "./command.js";
import { countOf } from "./count.js";
import type { RulesView } from "./context.js";
import { COUNTED_FLAGS, directionAsked, kernelFilter, packetFilter, PACKET_FLAGS } from "./drop-filter.js";
import { dropsOfChains, grownBy, type ChainCount } from "./drop-counts.js";
import { dropLine, dropNames, dropShape } from "./drop-text.js";
import { STATE_SETTINGS, withMaps } from "./endpoint.js";
import { jsonLine } from "./output.js";

const COMMAND = "drop watch";
const RATE = 100;
/** Milliseconds between two looks at what is due besides what the ring brings. */
const TICK = 250;
/** Ticks between two readings of what ports are called. */
const NAMES_EVERY = 20;

export const dropWatch: Command = {
  name: COMMAND,
  summary: "Print packets as they are dropped, and why, until Ctrl-C.",
  detail: [
    "The programs tell of a drop only while this runs, at most --rate a second for the whole host, so a flood costs little; how many were",
    "not told is printed. --port and --reason are asked in the kernel and the rate is spent on what fits them; the other filters only choose",
    "what is printed. One at a time runs on a host. Works while the agent is down; if it is killed, the programs stop telling within 5 s.",
    "Where iptables enforces no single packet can be told: then it prints what the counters of each chain grew by, once a second, and",
    "--address and --protocol are refused. What nft drops at a tap's ingress (MACs, ARP, ND) is not counted there. --json prints an object a",
    "line.",
  ],
  arguments: [],
  flags: [
    ...COUNTED_FLAGS,
    ...PACKET_FLAGS,
    { name: "rate", value: "COUNT", doc: `At most so many a second (default ${RATE}; at least 10).` },
    { name: "count", value: "COUNT", doc: "End after so many lines." },
    { name: "seconds", value: "SECONDS", doc: "End after so long." },
  ],
  settings: STATE_SETTINGS,
  jsonLines: true,
  examples: ["torbie drop watch --port web1", "torbie drop watch --reason policy-ingress --seconds 10 --json"],
  run: async (invocation) => {
    const { context } = invocation;
    const limits = {
      count: countOf(invocation, COMMAND, "count") ?? Infinity,
      until: context.now() + (countOf(invocation, COMMAND, "seconds") ?? Infinity) * 1000,
    };
    const rate = countOf(invocation, COMMAND, "rate") ?? RATE;
    if (rate < 10)
      throw new UsageError(`torbie ${COMMAND}: --rate: at least 10, of which each tenth of a second gets one`);
    const fits = packetFilter(invocation, COMMAND);
    const rules = await context.openRules(invocation.config().config);
    if (rules !== undefined)
      try {
        await watchChains(invocation, rules, limits);
      } finally {
        rules.close();
      }
    else await withMaps(invocation, (state) => watchPackets(invocation, state, { ...limits, rate, fits }));
    return EXIT.ok;
  },
};

interface Limits {
  readonly count: number;
  /** Monotonic milliseconds. */
  readonly until: number;
}

interface Wish extends Limits {
  readonly rate: number;
  readonly fits: (drop: DroppedPacket) => boolean;
}

async function watchPackets(
  invocation: Invocation,
  state: PinnedState,
  { count, until, rate, fits }: Wish,
): Promise<void> {
  const { context, json } = invocation;
  let names = dropNames(state, await context.interfaceNames());
  let left = count;
  const explained = new Set<string>();
  const onDrop = (drop: DroppedPacket): void => {
    if (left <= 0 || !fits(drop)) return;
    left--;
    if (!json && !explained.has(drop.reason)) {
      explained.add(drop.reason);
      context.err(`${drop.reason}: ${drop.sentence}\n`);
    }
    context.out(json ? jsonLine(dropShape(drop, names)) : dropLine(drop, names));
  };
  const watch = await context
    .watchDrops(state.tables, kernelFilter(invocation, COMMAND, names.ports, rate), onDrop)
    .catch(refused);
  if (!json) context.err(`watching what is dropped, at most ${rate} a second; Ctrl-C ends\n`);
  const tellMissed = (): void => {
    const missed = watch.missed();
    if (missed === 0n) return;
    if (json) context.out(jsonLine({ what: "missed", packets: missed }));
    else context.err(`${missed} more were dropped and not told (--rate ${rate}); --port and --reason narrow it\n`);
  };
  try {
    for (let tick = 1; left > 0 && context.now() < until; tick++) {
      if (!(await context.pause(Math.max(1, Math.min(TICK, until - context.now()))))) break;
      if (tick % 4 === 0) tellMissed();
      if (tick % NAMES_EVERY === 0) names = dropNames(state, await context.interfaceNames());
      try {
        watch.refresh();
      } catch (error) {
        refused(error);
      }
    }
    tellMissed();
  } finally {
    watch.close();
  }
}

function refused(error: unknown): never {
  if (error instanceof DataplaneError && error.code === "WATCHED")
    throw new CommandError(EXIT.refused, error.code, error.message, error);
  throw error;
}

/** What iptables can tell: how far counters grew. */
async function watchChains(invocation: Invocation, rules: RulesView, { count, until }: Limits): Promise<void> {
  const { context, json, flags } = invocation;
  for (const flag of ["address", "protocol"])
    if (flags.has(flag))
      throw new CommandError(
        EXIT.unsupported,
        "NO_PACKETS",
        `torbie ${COMMAND}: --${flag}: iptables enforces here, which counts drops by chain and keeps no packet: use --port, --reason or --direction`,
      );
  const direction = directionAsked(invocation, COMMAND);
  const look = async (): Promise<ChainCount[]> =>
    (await dropsOfChains(invocation, COMMAND, rules)).filter(
      (one) => direction === undefined || one.direction === direction,
    );
  if (!json)
    context.err("iptables enforces: what its chains' counters grow by, once a second; no single packet can be told\n");
  let before = await look();
  let left = count;
  while (left > 0 && context.now() < until) {
    if (!(await context.pause(Math.max(1, Math.min(1000, until - context.now()))))) break;
    const now = await look();
    for (const grown of grownBy(before, now).slice(0, left)) {
      left--;
      const time = new Date().toISOString();
      const { port, reason, groups, family, chain, packets } = grown;
      const groupText = groups.length > 0 ? `; groups ${groups.join(", ")}` : "";
      context.out(
        json
          ? jsonLine({ what: "drops", time, ...grown })
          : `${time.slice(11, 19)} ${escape(`${reason} ${grown.direction ?? "-"} ${port ?? "(no port known)"}: ${packets} packets, IPv${family}, chain ${chain}${groupText}`)}\n`,
      );
    }
    before = now;
  }
}
