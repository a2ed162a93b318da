/**
 * Conntrack entries between the messages of ctnetlink (linux/netfilter/nfnetlink_conntrack.h; each begins with struct nfgenmsg) and
 * our type. Pure.
 */
import { addressBytes, addressText } from "../../links/wire-address.js";
import type { Address, Family } from "../../model/types.js";
import { attribute, be16, be32, eachAttribute, nested, u8 } from "./attributes.js";
import {
  ConntrackStatus,
  type ConntrackCount,
  type ConntrackEntry,
  type ConntrackTuple,
  type SctpInfo,
  type TcpInfo,
} from "./entry.js";

/** NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*. */
export const CT = { NEW: 0x100, GET: 0x101, DELETE: 0x102 } as const;

const AF_INET = 2;
const AF_INET6 = 10;
const GENERIC = 4;

const CTA = {
  TUPLE_ORIG: 1,
  TUPLE_REPLY: 2,
  STATUS: 3,
  PROTOINFO: 4,
  TIMEOUT: 7,
  MARK: 8,
  COUNTERS_ORIG: 9,
  COUNTERS_REPLY: 10,
  ID: 12,
  ZONE: 18,
} as const;
const COUNTERS = { PACKETS: 1, BYTES: 2 } as const;
const TUPLE = { IP: 1, PROTO: 2 } as const;
const IP = { V4_SRC: 1, V4_DST: 2, V6_SRC: 3, V6_DST: 4 } as const;
const PROTO = {
  NUM: 1,
  SRC_PORT: 2,
  DST_PORT: 3,
  ICMP_ID: 4,
  ICMP_TYPE: 5,
  ICMP_CODE: 6,
  ICMPV6_ID: 7,
  ICMPV6_TYPE: 8,
  ICMPV6_CODE: 9,
} as const;
const PROTOINFO = { TCP: 1, SCTP: 3 } as const;
const TCP = { STATE: 1, WSCALE_ORIGINAL: 2, WSCALE_REPLY: 3, FLAGS_ORIGINAL: 4, FLAGS_REPLY: 5 } as const;
const SCTP = { STATE: 1, VTAG_ORIGINAL: 2, VTAG_REPLY: 3 } as const;

/** GRE (47) has keys in their place. */
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 47, 132, 136]);
const ICMP = 1;
const ICMPV6 = 58;

interface Draft {
  source: Buffer | undefined;
  destination: Buffer | undefined;
  protocol: number;
  sourcePort: number;
  destinationPort: number;
  type: number;
  code: number;
  id: number;
  isIcmp: boolean;
}

const text = (bytes: Buffer | undefined): Address => addressText(bytes ?? Buffer.alloc(0));

function tupleOf(draft: Draft): ConntrackTuple {
  const { sourcePort, destinationPort, type, code, id } = draft;
  return {
    source: text(draft.source),
    destination: text(draft.destination),
    sourcePort,
    destinationPort,
    ...(draft.isIcmp ? { icmp: { type, code, id } } : {}),
  };
}

function decodeTuple(bytes: Buffer, from: number, to: number): Draft {
  const draft: Draft = {
    source: undefined,
    destination: undefined,
    protocol: 0,
    sourcePort: 0,
    destinationPort: 0,
    type: 0,
    code: 0,
    id: 0,
    isIcmp: false,
  };
  eachAttribute(bytes, from, to, (outer, start, end) => {
    if (outer === TUPLE.IP)
      eachAttribute(bytes, start, end, (type, at, until) => {
        if (type === IP.V4_SRC || type === IP.V6_SRC) draft.source = bytes.subarray(at, until);
        else if (type === IP.V4_DST || type === IP.V6_DST) draft.destination = bytes.subarray(at, until);
      });
    else if (outer === TUPLE.PROTO)
      eachAttribute(bytes, start, end, (type, at) => {
        draft.isIcmp ||= type >= PROTO.ICMP_ID && type <= PROTO.ICMPV6_CODE;
        if (type === PROTO.NUM) draft.protocol = bytes.readUInt8(at);
        else if (type === PROTO.SRC_PORT) draft.sourcePort = bytes.readUInt16BE(at);
        else if (type === PROTO.DST_PORT) draft.destinationPort = bytes.readUInt16BE(at);
        else if (type === PROTO.ICMP_ID || type === PROTO.ICMPV6_ID) draft.id = bytes.readUInt16BE(at);
        else if (type === PROTO.ICMP_TYPE || type === PROTO.ICMPV6_TYPE) draft.type = bytes.readUInt8(at);
        else if (type === PROTO.ICMP_CODE || type === PROTO.ICMPV6_CODE) draft.code = bytes.readUInt8(at);
      });
  });
  return draft;
}

function decodeInfo(bytes: Buffer, from: number, to: number): { tcp?: TcpInfo; sctp?: SctpInfo } {
  const found: { tcp?: TcpInfo; sctp?: SctpInfo } = {};
  eachAttribute(bytes, from, to, (protocol, start, end) => {
    const flags: [number, number] = [0, 0];
    const windowScale: [number, number] = [0, 0];
    const tag: [number, number] = [0, 0];
    let state = 0;
    eachAttribute(bytes, start, end, (type, at) => {
      if (type === TCP.STATE) state = bytes.readUInt8(at);
      else if (protocol === PROTOINFO.TCP) {
        if (type === TCP.WSCALE_ORIGINAL) windowScale[0] = bytes.readUInt8(at);
        else if (type === TCP.WSCALE_REPLY) windowScale[1] = bytes.readUInt8(at);
        else if (type === TCP.FLAGS_ORIGINAL) flags[0] = bytes.readUInt8(at);
        else if (type === TCP.FLAGS_REPLY) flags[1] = bytes.readUInt8(at);
      } else if (type === SCTP.VTAG_ORIGINAL) tag[0] = bytes.readUInt32BE(at);
      else if (type === SCTP.VTAG_REPLY) tag[1] = bytes.readUInt32BE(at);
    });
    if (protocol === PROTOINFO.TCP) found.tcp = { state, flags, windowScale };
    else if (protocol === PROTOINFO.SCTP) found.sctp = { state, tag };
  });
  return found;
}

/**
 * Body of an IPCTNL_MSG_CT_NEW, as a dump answers. Undefined: not of IPv4 or IPv6. @throws RangeError when it is cut off
 */
export function decodeEntry(body: Buffer): ConntrackEntry | undefined {
  const number = body.length < GENERIC ? 0 : body.readUInt8(0);
  const family: Family | undefined = number === AF_INET ? 4 : number === AF_INET6 ? 6 : undefined;
  if (family === undefined) return undefined;
  let original: Draft | undefined;
  let reply: Draft | undefined;
  const numbers = { status: 0, timeout: 0, mark: 0, zone: 0, id: 0 };
  let info: { tcp?: TcpInfo; sctp?: SctpInfo } = {};
  const counts: (ConntrackCount | undefined)[] = [];
  eachAttribute(body, GENERIC, body.length, (type, at, end) => {
    if (type === CTA.TUPLE_ORIG) original = decodeTuple(body, at, end);
    else if (type === CTA.TUPLE_REPLY) reply = decodeTuple(body, at, end);
    else if (type === CTA.STATUS) numbers.status = body.readUInt32BE(at);
    else if (type === CTA.TIMEOUT) numbers.timeout = body.readUInt32BE(at);
    else if (type === CTA.MARK) numbers.mark = body.readUInt32BE(at);
    else if (type === CTA.ZONE) numbers.zone = body.readUInt16BE(at);
    else if (type === CTA.ID) numbers.id = body.readUInt32BE(at);
    else if (type === CTA.COUNTERS_ORIG) counts[0] = decodeCount(body, at, end);
    else if (type === CTA.COUNTERS_REPLY) counts[1] = decodeCount(body, at, end);
    else if (type === CTA.PROTOINFO) info = decodeInfo(body, at, end);
  });
  if (original === undefined || reply === undefined) throw new RangeError("a conntrack entry without its two tuples");
  return {
    family,
    protocol: original.protocol,
    original: tupleOf(original),
    reply: tupleOf(reply),
    ...numbers,
    ...(counts[0] === undefined || counts[1] === undefined ? {} : { counts: [counts[0], counts[1]] as const }),
    ...info,
  };
}

function decodeCount(body: Buffer, from: number, to: number): ConntrackCount {
  const count = { packets: 0n, bytes: 0n };
  eachAttribute(body, from, to, (type, at) => {
    if (type === COUNTERS.PACKETS) count.packets = body.readBigUInt64BE(at);
    else if (type === COUNTERS.BYTES) count.bytes = body.readBigUInt64BE(at);
  });
  return count;
}

function header(family: Family | 0): Buffer {
  return Buffer.from([family === 4 ? AF_INET : family === 6 ? AF_INET6 : 0, 0, 0, 0]);
}

function encodeTuple(type: number, family: Family, protocol: number, tuple: ConntrackTuple): Buffer {
  const [from, to] = family === 4 ? [IP.V4_SRC, IP.V4_DST] : [IP.V6_SRC, IP.V6_DST];
  const proto = [u8(PROTO.NUM, protocol)];
  const { icmp } = tuple;
  if (icmp !== undefined && (protocol === ICMP || protocol === ICMPV6)) {
    const shift = protocol === ICMP ? 0 : PROTO.ICMPV6_ID - PROTO.ICMP_ID;
    proto.push(
      be16(PROTO.ICMP_ID + shift, icmp.id),
      u8(PROTO.ICMP_TYPE + shift, icmp.type),
      u8(PROTO.ICMP_CODE + shift, icmp.code),
    );
  } else if (WITH_PORTS.has(protocol)) {
    proto.push(be16(PROTO.SRC_PORT, tuple.sourcePort), be16(PROTO.DST_PORT, tuple.destinationPort));
  }
  return nested(
    type,
    nested(TUPLE.IP, attribute(from, addressBytes(tuple.source)), attribute(to, addressBytes(tuple.destination))),
    nested(TUPLE.PROTO, ...proto),
  );
}

function encodeInfo({ tcp, sctp }: ConntrackEntry): Buffer[] {
  // struct nf_ct_tcp_flags: the flags, and which of them are meant.
  if (tcp !== undefined)
    return [
      nested(
        CTA.PROTOINFO,
        nested(
          PROTOINFO.TCP,
          u8(TCP.STATE, tcp.state),
          u8(TCP.WSCALE_ORIGINAL, tcp.windowScale[0]),
          u8(TCP.WSCALE_REPLY, tcp.windowScale[1]),
          attribute(TCP.FLAGS_ORIGINAL, Uint8Array.of(tcp.flags[0], 0xff)),
          attribute(TCP.FLAGS_REPLY, Uint8Array.of(tcp.flags[1], 0xff)),
        ),
      ),
    ];
  if (sctp === undefined) return [];
  return [
    nested(
      CTA.PROTOINFO,
      nested(
        PROTOINFO.SCTP,
        u8(SCTP.STATE, sctp.state),
        be32(SCTP.VTAG_ORIGINAL, sctp.tag[0]),
        be32(SCTP.VTAG_REPLY, sctp.tag[1]),
      ),
    ),
  ];
}

const zoneOf = ({ zone }: ConntrackEntry): Buffer[] => (zone === 0 ? [] : [be16(CTA.ZONE, zone)]);

/** Body of an IPCTNL_MSG_CT_NEW. The id is the kernel's to give; every entry that is created is CONFIRMED, and has to say so. */
export function encodeCreate(entry: ConntrackEntry): Buffer {
  const { family, protocol } = entry;
  return Buffer.concat([
    header(family),
    encodeTuple(CTA.TUPLE_ORIG, family, protocol, entry.original),
    encodeTuple(CTA.TUPLE_REPLY, family, protocol, entry.reply),
    be32(CTA.STATUS, entry.status | ConntrackStatus.CONFIRMED),
    be32(CTA.TIMEOUT, entry.timeout),
    be32(CTA.MARK, entry.mark),
    ...zoneOf(entry),
    ...encodeInfo(entry),
  ]);
}

/** Body of an IPCTNL_MSG_CT_DELETE of exactly this entry: one that took its tuple since has another id. */
export function encodeDelete(entry: ConntrackEntry): Buffer {
  return Buffer.concat([
    header(entry.family),
    encodeTuple(CTA.TUPLE_ORIG, entry.family, entry.protocol, entry.original),
    ...zoneOf(entry),
    ...(entry.id === 0 ? [] : [be32(CTA.ID, entry.id)]),
  ]);
}

/** Body of an IPCTNL_MSG_CT_NEW that gives an entry that exists another mark. */
export function encodeMark(entry: ConntrackEntry, mark: number): Buffer {
  return Buffer.concat([
    header(entry.family),
    encodeTuple(CTA.TUPLE_ORIG, entry.family, entry.protocol, entry.original),
    ...zoneOf(entry),
    be32(CTA.MARK, mark),
  ]);
}

/** Body of an IPCTNL_MSG_CT_GET with NLM_F_DUMP. 0: both families. */
export const encodeDump = (family: Family | 0): Buffer => header(family);
