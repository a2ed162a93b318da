/** A frame with bytes changed gets its checksums right again, as far as it still has the shape: what is tested is the judge, not the sum. */
import { checksum } from "./packet.js";

const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

function put(frame: Uint8Array, at: number, sum: number): void {
  frame[at] = sum >> 8;
  frame[at + 1] = sum & 255;
}

/** Where the checksum is, by protocol; of those that have the Internet checksum over all (RFC 1071). */
const FIELD: Readonly<Record<number, number>> = { 1: 2, 6: 16, 17: 6, 33: 6, 58: 2 };

export function repair(frame: Uint8Array): void {
  const type = u16(frame, 12);
  if (type === 0x0800) {
    const header = ((frame[14] ?? 0) & 15) * 4;
    const l4 = 14 + header;
    const end = 14 + u16(frame, 16);
    if ((frame[14] ?? 0) >> 4 !== 4 || header < 20 || end > frame.length || end < l4) return;
    put(frame, 24, 0);
    put(frame, 24, checksum(frame.subarray(14, l4)));
    if ((u16(frame, 20) & 0x3fff) === 0) upper(frame, frame[23] ?? 0, l4, end, frame.subarray(26, 34), 4);
  } else if (type === 0x86dd) {
    const end = 54 + u16(frame, 18);
    if (end <= frame.length) upper(frame, frame[20] ?? 0, 54, end, frame.subarray(22, 54), 6);
  }
}

function upper(frame: Uint8Array, protocol: number, l4: number, end: number, ends: Uint8Array, family: 4 | 6): void {
  const field = FIELD[protocol];
  if (field === undefined || l4 + field + 2 > end || (protocol === 1 && family === 6)) return;
  const length = end - l4;
  const pseudo =
    protocol === 1
      ? []
      : [...ends, length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255, 0, 0, 0, protocol];
  put(frame, l4 + field, 0);
  const sum = checksum(Uint8Array.from([...pseudo, ...frame.subarray(l4, end)]));
  put(frame, l4 + field, protocol === 17 && sum === 0 ? 0xffff : sum);
}
