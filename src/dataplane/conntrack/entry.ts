/** A connection as the kernel's conntrack tracks it. Pure. Names and numbers: linux/netfilter/nf_conntrack_*.h. */
import type { Address, Family } from "../../model/types.js";

/** One direction of a connection. Ports and ICMP identifiers in host byte order. */
export interface ConntrackTuple {
  readonly source: Address;
  readonly destination: Address;
  /** TCP, UDP, UDP-Lite, SCTP and DCCP; GRE's keys (0 without PPTP); both 0 for what has none. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** ICMP in IPv4, ICMPv6 in IPv6. */
  readonly icmp?: { readonly type: number; readonly code: number; readonly id: number };
}

export const ConntrackStatus = {
  EXPECTED: 1,
  SEEN_REPLY: 2,
  /** Not the first to go when the table is full. */
  ASSURED: 4,
  CONFIRMED: 8,
  SRC_NAT: 16,
  DST_NAT: 32,
} as const;

export const TcpState = {
  NONE: 0,
  SYN_SENT: 1,
  SYN_RECV: 2,
  ESTABLISHED: 3,
  FIN_WAIT: 4,
  CLOSE_WAIT: 5,
  LAST_ACK: 6,
  TIME_WAIT: 7,
  CLOSE: 8,
  SYN_SENT2: 9,
} as const;

export const TcpFlag = {
  WINDOW_SCALE: 1,
  SACK_PERM: 2,
  CLOSE_INIT: 4,
  /** Sequence numbers of this direction are not checked against the window. */
  BE_LIBERAL: 8,
} as const;

export interface TcpInfo {
  /** One of TcpState. */
  readonly state: number;
  /** TcpFlag of the two directions. */
  readonly flags: readonly [original: number, reply: number];
  readonly windowScale: readonly [original: number, reply: number];
}

export interface SctpInfo {
  /** enum sctp_conntrack: 0 none, 1 closed, 2 cookie-wait, 3 cookie-echoed, 4 established, 5-7 shutdown, 8-9 heartbeat. */
  readonly state: number;
  readonly tag: readonly [original: number, reply: number];
}

export interface ConntrackCount {
  readonly packets: bigint;
  readonly bytes: bigint;
}

export interface ConntrackEntry {
  readonly family: Family;
  readonly protocol: number;
  /** Of who sent first. */
  readonly original: ConntrackTuple;
  /** What answers look like; the other way round of `original` unless there is NAT. */
  readonly reply: ConntrackTuple;
  /** ConntrackStatus bits. */
  readonly status: number;
  /** Seconds until it ends without a packet. */
  readonly timeout: number;
  readonly mark: number;
  readonly zone: number;
  /** Tells it from another with the same tuple before or after; 0: not known. */
  readonly id: number;
  /** Packets and bytes of the two directions; only with net.netfilter.nf_conntrack_acct. */
  readonly counts?: readonly [original: ConntrackCount, reply: ConntrackCount];
  readonly tcp?: TcpInfo;
  readonly sctp?: SctpInfo;
}

/** Whether either direction is translated. */
export function isTranslated({ status }: ConntrackEntry): boolean {
  return (status & (ConntrackStatus.SRC_NAT | ConntrackStatus.DST_NAT)) !== 0;
}
