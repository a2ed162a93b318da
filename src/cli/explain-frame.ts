/** The packet that `explain` asks about, as a frame. Pure. */
import { addressBytes, macBytes } from "../model/cidr.js";
import { ICMP, ICMPV6, PORT_PROTOCOLS } from "../model/protocols.js";
import type { Address, Family, Mac } from "../model/types.js";

export interface FrameFields {
  readonly family: Family;
  readonly protocol: number;
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly icmp?: { readonly type: number; readonly code: number; readonly identifier?: number };
  readonly tcpFlags: number;
  readonly sourceMac: Mac;
  readonly destinationMac: Mac;
}

const ETHERTYPES: Readonly<Record<Family, number>> = { 4: 0x0800, 6: 0x86dd };
const HOPS = 64;

/** RFC 1071: of 16-bit words, big-endian; an odd byte at the end counts as if a zero followed. */
export function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) for (const [i, byte] of part.entries()) sum += i % 2 === 0 ? byte << 8 : byte;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** 16 bytes of an IPv4 address hold it in the last four. */
const bare = (address: Address, family: Family): Uint8Array => addressBytes(address).slice(family === 4 ? 12 : 0);

function layer4({ family, protocol, sourcePort, destinationPort, icmp, tcpFlags }: FrameFields): Buffer {
  if (icmp !== undefined && protocol === (family === 4 ? ICMP : ICMPV6)) {
    const header = Buffer.alloc(8);
    header[0] = icmp.type;
    header[1] = icmp.code;
    header.writeUInt16BE(icmp.identifier ?? 1, 4);
    header.writeUInt16BE(1, 6);
    return header;
  }
  if (!PORT_PROTOCOLS.has(protocol)) return Buffer.alloc(8);
  const header = Buffer.alloc(protocol === 6 ? 20 : protocol === 17 || protocol === 136 ? 8 : 12);
  header.writeUInt16BE(sourcePort, 0);
  header.writeUInt16BE(destinationPort, 2);
  if (protocol === 6) {
    header[12] = 5 << 4;
    header[13] = tcpFlags;
  } else if (protocol === 17 || protocol === 136) header.writeUInt16BE(8, 4);
  return header;
}

export function frameOf(fields: FrameFields): Buffer {
  const { family, protocol, source, destination, sourceMac, destinationMac } = fields;
  const payload = layer4(fields);
  const [from, to] = [bare(source, family), bare(destination, family)];
  const ethernet = Buffer.alloc(14);
  ethernet.set(macBytes(destinationMac), 0);
  ethernet.set(macBytes(sourceMac), 6);
  ethernet.writeUInt16BE(ETHERTYPES[family], 12);
  const ip = Buffer.alloc(family === 4 ? 20 : 40);
  if (family === 4) {
    ip[0] = 0x45;
    ip.writeUInt16BE(20 + payload.length, 2);
    ip[8] = HOPS;
    ip[9] = protocol;
    ip.set(from, 12);
    ip.set(to, 16);
    ip.writeUInt16BE(checksum(ip), 10);
  } else {
    ip[0] = 0x60;
    ip.writeUInt16BE(payload.length, 4);
    ip[6] = protocol;
    ip[7] = HOPS;
    ip.set(from, 8);
    ip.set(to, 24);
  }
  return Buffer.concat([ethernet, ip, payload]);
}
