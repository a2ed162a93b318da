/** Netlink attributes between bytes and numbers (linux/netlink.h, struct nlattr). Netfilter's integers are in network byte order. Pure. */

const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;
const HEADER = 4;

/**
 * Calls `visit` with the type of each attribute (without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER) and where its value begins and
 * ends. @throws RangeError for one that is cut off
 */
export function eachAttribute(
  bytes: Buffer,
  from: number,
  to: number,
  visit: (type: number, start: number, end: number) => void,
): void {
  let at = from;
  while (at + HEADER <= to) {
    const length = bytes.readUInt16LE(at);
    if (length < HEADER || at + length > to)
      throw new RangeError(`netlink attribute of ${length} bytes with ${to - at} left`);
    visit(bytes.readUInt16LE(at + 2) & TYPE_MASK, at + HEADER, at + length);
    at += (length + 3) & ~3;
  }
}

export function attribute(type: number, value: Uint8Array): Buffer {
  const made = Buffer.alloc((HEADER + value.length + 3) & ~3);
  made.writeUInt16LE(HEADER + value.length, 0);
  made.writeUInt16LE(type, 2);
  made.set(value, HEADER);
  return made;
}

export function nested(type: number, ...inner: readonly Uint8Array[]): Buffer {
  return attribute(type | NESTED, Buffer.concat(inner));
}

export const u8 = (type: number, value: number): Buffer => attribute(type, Uint8Array.of(value));
export const be16 = (type: number, value: number): Buffer =>
  attribute(type, Uint8Array.of((value >>> 8) & 0xff, value & 0xff));

export function be32(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return attribute(type, bytes);
}
