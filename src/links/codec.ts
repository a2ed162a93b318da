/** rtnetlink messages between bytes and our types. Pure. Layouts: rtnetlink(7), linux/rtnetlink.h, linux/neighbour.h. */
import { AttrStream, getU32, parseAttributes, putU16, putU32 } from "netlink";
import type { Family } from "../model/types.js";
import type { HookChange, Link, LinkSettings, Neighbour, Route, TapNeighbour, TapRoute } from "./types.js";
import { addressBytes, addressText, macBytes, macText, prefixParts } from "./wire-address.js";

export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
  DELQDISC: 37,
  NEWTFILTER: 44,
  DELTFILTER: 45,
};
export const NLM = { REQUEST: 1, ACK: 4, DUMP_INTR: 0x10, REPLACE: 0x100, EXCL: 0x200, DUMP: 0x300, CREATE: 0x400 };
export const GROUP = { LINK: 1, NEIGH: 3, TC: 4, IPV4_ROUTE: 7, IPV6_ROUTE: 11 };
export const NUD_PERMANENT = 0x80;
export const TABLE_MAIN = 254;

const AF_INET = 2;
const AF_INET6 = 10;
const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;
const IFLA = { ADDRESS: 1, IFNAME: 3, MTU: 4, MASTER: 10, LINKINFO: 18, INFO_KIND: 1, AF_SPEC: 26 };
/** In IFLA_AF_SPEC by family: the attribute that has the values, and the places in it (linux/ip.h and linux/ipv6.h, DEVCONF_*). */
const SETTINGS: Readonly<
  Record<number, { attribute: number; name: string; places: Readonly<Record<string, number>> }>
> = {
  [AF_INET]: {
    attribute: 1,
    name: "ipv4",
    places: {
      forwarding: 0,
      proxy_arp: 2,
      accept_redirects: 3,
      send_redirects: 5,
      rp_filter: 7,
      accept_source_route: 8,
      route_localnet: 25,
    },
  },
  [AF_INET6]: {
    attribute: 2,
    name: "ipv6",
    places: { forwarding: 0, accept_ra: 3, accept_redirects: 4, proxy_ndp: 22, disable_ipv6: 26 },
  },
};
const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6, MULTIPATH: 9, TABLE: 15, VIA: 18 };
const RTN_UNICAST = 1;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const NDA = { DST: 1, LLADDR: 2, PROTOCOL: 12 };
/** Linux's metric of an IPv6 route that was added without one (IP6_RT_PRIO_USER). */
const IPV6_DEFAULT_METRIC = 1024;

const familyNumber = (family: Family): number => (family === 4 ? AF_INET : AF_INET6);
const familyName = (number: number): Family | undefined =>
  number === AF_INET ? 4 : number === AF_INET6 ? 6 : undefined;
/** A string attribute: up to its NUL. */
const text = (data: Buffer): string => data.toString("utf8").replace(/\0[^]*$/, "");

/** Upper half of the handles of ingress and clsact (linux/pkt_sched.h, TC_H_INGRESS). */
const INGRESS_HANDLE = 0xffff;

/** struct tcmsg (linux/rtnetlink.h): u8 family, 3 of padding, s32 ifindex, u32 handle, parent, info. Undefined: none of ours to know. */
export function parseHookChange(type: number, body: Buffer): HookChange | undefined {
  if ((type !== RTM.DELQDISC && type !== RTM.NEWTFILTER && type !== RTM.DELTFILTER) || body.length < 20)
    return undefined;
  const [ifindex = 0, handle = 0, parent = 0, info = 0] = [4, 8, 12, 16].map((at) => getU32(body.subarray(at, at + 4)));
  if (parent >>> 16 !== INGRESS_HANDLE) return undefined;
  if (type === RTM.DELQDISC) return { ifindex };
  return { ifindex, filter: { priority: info >>> 16, handle, gone: type === RTM.DELTFILTER } };
}

/** Body of a RTM_NEWLINK/DELLINK; undefined for what only tells of a bridge port or of IPv6 settings (family not 0). */
export function parseLink(body: Buffer): Link | undefined {
  if (body.length < 16 || body.readUInt8(0) !== 0) return undefined;
  const link = { name: "", mac: macText(Buffer.alloc(6)), mtu: 0, kind: "", master: 0, settings: {} as LinkSettings };
  parseAttributes(body.subarray(16), ({ type, data }) => {
    if (type === IFLA.ADDRESS && data.length === 6) link.mac = macText(data);
    else if (type === IFLA.IFNAME) link.name = text(data);
    else if (type === IFLA.MTU) link.mtu = getU32(data);
    else if (type === IFLA.MASTER) link.master = getU32(data);
    else if (type === IFLA.AF_SPEC) link.settings = parseSettings(data);
    else if (type === IFLA.LINKINFO)
      parseAttributes(data, (info) => {
        if (info.type === IFLA.INFO_KIND) link.kind = text(info.data);
      });
  });
  const flags = getU32(body.subarray(8, 12));
  return {
    ifindex: getU32(body.subarray(4, 8)),
    adminUp: (flags & IFF_UP) !== 0,
    up: (flags & IFF_UP) !== 0 && (flags & IFF_RUNNING) !== 0,
    ...link,
  };
}

function parseSettings(families: Buffer): LinkSettings {
  const settings: Record<string, number> = {};
  parseAttributes(families, (family) => {
    const known = SETTINGS[family.type];
    if (known === undefined) return;
    parseAttributes(family.data, ({ type, data }) => {
      if (type !== known.attribute) return;
      for (const [key, place] of Object.entries(known.places))
        if (data.length >= 4 * place + 4)
          settings[`${known.name}/${key}`] = getU32(data.subarray(4 * place, 4 * place + 4)) | 0;
    });
  });
  return settings;
}

interface Hop {
  ifindex: number;
  gateway?: Buffer;
}

const hopAttribute = (hop: Hop, type: number, data: Buffer): void => {
  if (type === RTA.OIF) hop.ifindex = getU32(data);
  else if (type === RTA.GATEWAY) hop.gateway = data;
  // struct rtvia: u16 family, then the address (an IPv4 route with an IPv6 gateway, RFC 5549)
  else if (type === RTA.VIA && (data.length === 6 || data.length === 18)) hop.gateway = data.subarray(2);
};

/** struct rtnexthop (u16 len, u8 flags, u8 hops, int ifindex) each followed by its attributes. */
function parseHops(data: Buffer): Hop[] {
  const hops: Hop[] = [];
  for (let at = 0; at + 8 <= data.length;) {
    const length = getU32(Buffer.concat([data.subarray(at, at + 2), Buffer.alloc(2)]));
    if (length < 8 || at + length > data.length) break;
    const hop: Hop = { ifindex: getU32(data.subarray(at + 4, at + 8)) };
    parseAttributes(data.subarray(at + 8, at + length), (a) => hopAttribute(hop, a.type, a.data));
    hops.push(hop);
    at += (length + 3) & ~3;
  }
  return hops;
}

/** Body of a RTM_NEWROUTE/DELROUTE; undefined for other families, and what isn't a unicast route. */
export function parseRoute(body: Buffer): Route | undefined {
  if (body.length < 12) return undefined;
  const family = familyName(body.readUInt8(0));
  if (family === undefined || body.readUInt8(7) !== RTN_UNICAST) return undefined;
  let destination: Buffer = Buffer.alloc(family === 4 ? 4 : 16);
  let table = body.readUInt8(4);
  let metric = 0;
  const single: Hop = { ifindex: 0 };
  let hops: Hop[] = [];
  parseAttributes(body.subarray(12), ({ type, data }) => {
    if (type === RTA.DST) destination = data;
    else if (type === RTA.PRIORITY) metric = getU32(data);
    else if (type === RTA.TABLE) table = getU32(data);
    else if (type === RTA.MULTIPATH) hops = parseHops(data);
    else hopAttribute(single, type, data);
  });
  if (single.ifindex !== 0) hops.push(single);
  const prefix = `${addressText(destination)}/${body.readUInt8(1)}` as Route["prefix"];
  const gateways = hops.flatMap((hop) =>
    hop.gateway === undefined ? [] : [{ ifindex: hop.ifindex, address: addressText(hop.gateway) }],
  );
  return {
    family,
    table,
    protocol: body.readUInt8(5),
    prefix,
    metric,
    tos: body.readUInt8(3),
    links: hops.map((hop) => hop.ifindex),
    gateways,
  };
}

/** Body of a RTM_NEWNEIGH/DELNEIGH; undefined for other families and entries without an Ethernet address. */
export function parseNeighbour(body: Buffer): Neighbour | undefined {
  const family = body.length < 12 ? undefined : familyName(body.readUInt8(0));
  if (family === undefined) return undefined;
  let address: Buffer | undefined;
  let mac: Buffer | undefined;
  let protocol = 0;
  parseAttributes(body.subarray(12), ({ type, data }) => {
    if (type === NDA.DST) address = data;
    else if (type === NDA.LLADDR && data.length === 6) mac = data;
    else if (type === NDA.PROTOCOL) protocol = data.readUInt8(0);
  });
  if (address === undefined) return undefined;
  const state = getU32(Buffer.concat([body.subarray(8, 10), Buffer.alloc(2)]));
  const ifindex = getU32(body.subarray(4, 8));
  return { family, ifindex, address: addressText(address), mac: macText(mac ?? Buffer.alloc(6)), state, protocol };
}

/** Body for RTM_NEWROUTE/DELROUTE of a unicast route in table main, scope link (IPv6 knows no scope). */
export function routeBody(route: TapRoute, protocol: number): Buffer {
  const { bytes, length } = prefixParts(route.prefix);
  const scope = route.family === 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  const out = new AttrStream();
  out.emit(
    Buffer.from([familyNumber(route.family), length, 0, 0, TABLE_MAIN, protocol, scope, RTN_UNICAST, 0, 0, 0, 0]),
  );
  out.push(RTA.DST, bytes);
  out.push(RTA.PRIORITY, putU32(route.metric));
  out.push(RTA.OIF, putU32(route.ifindex));
  return Buffer.concat(out.bufs);
}

/** Body for RTM_NEWNEIGH/DELNEIGH of a permanent neighbour. */
export function neighbourBody(entry: TapNeighbour, protocol: number): Buffer {
  const out = new AttrStream();
  out.emit([
    Buffer.from([familyNumber(entry.family), 0, 0, 0]),
    putU32(entry.ifindex),
    putU16(NUD_PERMANENT),
    Buffer.alloc(2),
  ]);
  out.push(NDA.DST, addressBytes(entry.address));
  out.push(NDA.LLADDR, macBytes(entry.mac));
  out.push(NDA.PROTOCOL, Buffer.from([protocol]));
  return Buffer.concat(out.bufs);
}

/** Bodies of dump requests: struct ifinfomsg, rtmsg and ndmsg with nothing but the family. */
export const linkDump = (): Buffer => Buffer.alloc(16);
export const familyDump = (family: Family): Buffer =>
  Buffer.concat([Buffer.from([familyNumber(family)]), Buffer.alloc(11)]);
/** The metric that the kernel gives a route of ours: IPv6 turns 0 into its default. */
export const kernelMetric = (family: Family, metric: number): number =>
  family === 6 && metric === 0 ? IPV6_DEFAULT_METRIC : metric;
