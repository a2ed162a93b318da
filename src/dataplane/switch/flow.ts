/**
 * A tracked connection in words that are neither the kernel's conntrack nor the programs' flow table, and its translation from and to
 * both: what a switch between the dataplanes hands over. Pure.
 */
import { FlowFlag, FlowState } from "../../abi/layout.gen.js";
import { encode } from "../../abi/codec.js";
import { addressBytes } from "../../model/cidr.js";
import type { Address, Family } from "../../model/types.js";
import { METADATA_ADDRESS } from "../../model/services.js";
import { ConntrackStatus, TcpFlag, TcpState, type ConntrackEntry, type ConntrackTuple } from "../conntrack/entry.js";

export const TCP = 6;
const SCTP = 132;
const ICMP = 1;
const ICMPV6 = 58;
const UDP_LIKE: ReadonlySet<number> = new Set([17, 136]);
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);
/** ICMP and ICMPv6 requests → their replies (RFC 792, 4443, 4620). */
const REPLIES: Readonly<Record<Family, ReadonlyMap<number, number>>> = {
  4: new Map([
    [8, 0],
    [13, 14],
    [15, 16],
    [17, 18],
  ]),
  6: new Map([
    [128, 129],
    [139, 140],
  ]),
};

/** Names of enum flow_state that an entry can have. */
export type Phase = Exclude<keyof typeof FlowState, "FLOW_DEAD" | "FLOW_FRAGMENT" | "FLOW_STATES">;

export interface Flow {
  readonly family: Family;
  readonly protocol: number;
  /** Of who sent first. Ports are 0 where the protocol has none. */
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** An ICMP query. */
  readonly query?: { readonly type: number; readonly code: number; readonly id: number };
  readonly phase: Phase;
  /** The other end has sent something. */
  readonly answered: boolean;
  /** Who has sent a FIN. */
  readonly fin: { readonly opener: boolean; readonly other: boolean };
  /** Seconds that it may go on without a packet. */
  readonly remaining: number;
  /** The host itself opened it (S9). */
  readonly byHost: boolean;
  /** `destination` is what a floating IP stands for that its opener sends to: the kernel's NAT has it. */
  readonly translated: boolean;
}

/** How long our flows live, by phase, in seconds. */
export type Timeouts = Readonly<Record<Phase, number>>;

/** lo: the lower of the two addresses as numbers; of one address with itself, the opener. */
export function opensHigh({ source, destination }: Pick<Flow, "source" | "destination">): boolean {
  return Buffer.compare(addressBytes(source), addressBytes(destination)) > 0;
}

const phaseOfTcp: ReadonlyMap<number, Phase> = new Map([
  [TcpState.SYN_SENT, "FLOW_SYN_SENT"],
  [TcpState.SYN_SENT2, "FLOW_SYN_SENT"],
  [TcpState.SYN_RECV, "FLOW_SYN_SENT"],
  [TcpState.ESTABLISHED, "FLOW_ESTABLISHED"],
  [TcpState.FIN_WAIT, "FLOW_FIN"],
  [TcpState.CLOSE_WAIT, "FLOW_FIN"],
  [TcpState.LAST_ACK, "FLOW_CLOSING"],
  [TcpState.TIME_WAIT, "FLOW_CLOSING"],
  [TcpState.CLOSE, "FLOW_CLOSED"],
]);

/**
 * Undefined: not what the programs track (an ICMP message that is no query, what is asked of the metadata service). Of what NAT sends to
 * another address (a floating IP), that address is the destination.
 */
export function flowOfEntry(entry: ConntrackEntry, isHost: (address: Address) => boolean): Flow | undefined {
  const { family, protocol, original, status, tcp, timeout } = entry;
  const { source, icmp } = original;
  const translated = (status & ConntrackStatus.DST_NAT) !== 0;
  if ((status & ConntrackStatus.EXPECTED) !== 0 || original.destination === METADATA_ADDRESS[family]) return undefined;
  if ((status & ConntrackStatus.SRC_NAT) !== 0 && !translated) return undefined;
  const { destination, destinationPort } = translated
    ? { destination: entry.reply.source, destinationPort: entry.reply.sourcePort }
    : original;
  const isQuery = icmp !== undefined && REPLIES[family].has(icmp.type);
  if (isIcmp(family, protocol) && !isQuery) return undefined;
  const answered = (status & ConntrackStatus.SEEN_REPLY) !== 0;
  const phase = phaseOf(protocol, isQuery, answered, tcp?.state);
  if (phase === undefined) return undefined;
  const closing = phase === "FLOW_CLOSING";
  const [byOpener = 0, byOther = 0] = tcp?.flags ?? [];
  const ported = WITH_PORTS.has(protocol);
  return {
    family,
    protocol,
    source,
    destination,
    sourcePort: ported ? original.sourcePort : 0,
    destinationPort: ported ? destinationPort : 0,
    ...(isQuery ? { query: icmp } : {}),
    phase,
    answered,
    fin: {
      opener: closing || (phase === "FLOW_FIN" && (byOpener & TcpFlag.CLOSE_INIT) !== 0),
      other: closing || (phase === "FLOW_FIN" && (byOther & TcpFlag.CLOSE_INIT) !== 0),
    },
    remaining: timeout,
    byHost: isHost(source),
    translated,
  };
}

const isIcmp = (family: Family, protocol: number): boolean => protocol === (family === 4 ? ICMP : ICMPV6);

function phaseOf(protocol: number, isQuery: boolean, answered: boolean, tcp: number | undefined): Phase | undefined {
  if (protocol === TCP) return phaseOfTcp.get(tcp ?? TcpState.NONE);
  if (isQuery) return "FLOW_ICMP";
  if (!UDP_LIKE.has(protocol)) return "FLOW_OTHER";
  return answered ? "FLOW_REPLIED" : "FLOW_NEW";
}

/**
 * For the kernel. Undefined: SCTP, whose verification tags the programs do not know and the kernel would miss; what NAT has, since the
 * kernel tracks it already.
 * @param mark of the connection
 */
export function entryOfFlow(flow: Flow, mark: number): ConntrackEntry | undefined {
  const { family, protocol, source, destination, sourcePort, destinationPort, query, answered, remaining } = flow;
  if (protocol === SCTP || flow.translated) return undefined;
  const original: ConntrackTuple = { source, destination, sourcePort, destinationPort, ...(query && { icmp: query }) };
  const answer = query === undefined ? undefined : REPLIES[family].get(query.type);
  const reply: ConntrackTuple = {
    source: destination,
    destination: source,
    sourcePort: destinationPort,
    destinationPort: sourcePort,
    ...(query === undefined || answer === undefined ? {} : { icmp: { ...query, type: answer } }),
  };
  const confirmed = flow.phase !== "FLOW_NEW" && flow.phase !== "FLOW_SYN_SENT" && answered;
  return {
    family,
    protocol,
    original,
    reply,
    status:
      (answered ? ConntrackStatus.SEEN_REPLY : 0) |
      (confirmed && protocol !== ICMP && protocol !== ICMPV6 ? ConntrackStatus.ASSURED : 0),
    timeout: Math.max(1, Math.ceil(remaining)),
    mark,
    zone: 0,
    id: 0,
    ...(protocol === TCP ? { tcp: tcpOf(flow) } : {}),
  };
}

/** Nobody knows the windows of a connection that is handed over: neither end is held to them (RFC 7323 §2.3: at most 14 bits of scale). */
function tcpOf({ phase, answered, fin }: Flow): NonNullable<ConntrackEntry["tcp"]> {
  const flags = TcpFlag.BE_LIBERAL | TcpFlag.WINDOW_SCALE | TcpFlag.SACK_PERM;
  const ended = (is: boolean): number => flags | (is ? TcpFlag.CLOSE_INIT : 0);
  const states: Partial<Record<Phase, number>> = {
    FLOW_SYN_SENT: answered ? TcpState.SYN_RECV : TcpState.SYN_SENT,
    FLOW_ESTABLISHED: TcpState.ESTABLISHED,
    FLOW_FIN: TcpState.FIN_WAIT,
    FLOW_CLOSING: TcpState.TIME_WAIT,
    FLOW_CLOSED: TcpState.CLOSE,
  };
  return {
    state: states[phase] ?? TcpState.ESTABLISHED,
    flags: [ended(phase === "FLOW_FIN" && fin.opener), ended(phase === "FLOW_FIN" && fin.other)],
    windowScale: [14, 14],
  };
}

/** What a flow has on this host. */
export interface Ends {
  /** Numbers of the endpoints at the source and at the destination; 0: not on this host. */
  readonly source: number;
  readonly destination: number;
  /** An end has another MAC than its endpoint's. */
  readonly pairMac: boolean;
}

/**
 * A flow_key and a flow of this build, for bpf/adopt.bpf.c, with the age in jiffies in last_seen.
 * @param timeout of its phase, in seconds
 */
export function recordOfFlow(flow: Flow, ends: Ends, timeout: number, hz: number): Buffer {
  const { source, destination, sourcePort, destinationPort, query, protocol, family, phase, fin } = flow;
  const high = opensHigh(flow);
  const order = <T>(opener: T, other: T): [T, T] => (high ? [other, opener] : [opener, other]);
  const [lo, hi] = order(addressBytes(source), addressBytes(destination));
  const [finLo, finHi] = order(fin.opener, fin.other);
  const unconfirmed = phase === "FLOW_NEW" || phase === "FLOW_SYN_SENT";
  const halfOpen = ends.source === 0 && unconfirmed && !flow.byHost;
  const flags =
    (high ? FlowFlag.FLOW_OPENER_HI : 0) |
    (flow.byHost ? FlowFlag.FLOW_HOST : 0) |
    (finLo ? FlowFlag.FLOW_FIN_LO : 0) |
    (finHi ? FlowFlag.FLOW_FIN_HI : 0) |
    (halfOpen ? FlowFlag.FLOW_HALF_OPEN : 0) |
    (ends.pairMac || flow.translated ? FlowFlag.FLOW_PAIR_MAC : 0);
  return Buffer.concat([
    encode("flow_key", {
      address: Buffer.concat([lo, hi]),
      port: query === undefined ? order(sourcePort, destinationPort) : [query.id, (query.type << 8) | query.code],
      protocol,
      family,
      asker: query === undefined ? 0 : high ? 2 : 1,
    }),
    encode("flow", {
      endpoint: order(ends.source, ends.destination),
      state: FlowState[phase],
      flags,
      translated: flow.translated ? 1 : 0,
      last_seen: Math.max(0, Math.round((timeout - Math.min(flow.remaining, timeout)) * hz)),
      // One each way at least: who has answered is known by it.
      packets: order(1n, flow.answered ? 1n : 0n),
    }),
  ]);
}
