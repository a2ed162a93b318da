/** One line that says what a frame is, for failing tests. Reads only what is there. */
import { ETHERTYPE, PROTOCOL } from "./packet.js";

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(PROTOCOL).map(([name, number]) => [number, name]));

export function describeFrame(frame: Uint8Array): string {
  const u8 = (at: number): number => frame[at] ?? 0;
  const u16 = (at: number): number => u8(at) * 256 + u8(at + 1);
  const mac = (at: number): string =>
    [...frame.subarray(at, at + 6)].map((octet) => octet.toString(16).padStart(2, "0")).join(":");
  const v4 = (at: number): string => [...frame.subarray(at, at + 4)].join(".");
  const v6 = (at: number): string =>
    Array.from({ length: 8 }, (_, i) => u16(at + 2 * i).toString(16))
      .join(":")
      .replace(/(^|:)0(:0)+(:|$)/, "::");
  const parts = [`${mac(6)} > ${mac(0)}`];
  let at = 12;
  while (u16(at) === ETHERTYPE.vlan) {
    parts.push(`vlan ${u16(at + 2) & 0xfff}`);
    at += 4;
  }
  const type = u16(at);
  at += 2;
  if (type === ETHERTYPE.arp) {
    parts.push(`arp op ${u16(at + 6)} ${mac(at + 8)} ${v4(at + 14)} asks/tells ${mac(at + 18)} ${v4(at + 24)}`);
  } else if (type === ETHERTYPE.ip4) {
    const word = u16(at + 6);
    parts.push(`${v4(at + 12)} > ${v4(at + 16)} ttl ${u8(at + 8)} len ${u16(at + 2)}`);
    if ((word & 0x3fff) !== 0)
      parts.push(`frag id ${u16(at + 4)} offset ${(word & 0x1fff) * 8}${(word & 0x2000) === 0 ? "" : "+"}`);
    const l4 = at + (u8(at) & 15) * 4;
    if ((u8(at) & 15) !== 5) parts.push("options");
    parts.push(...((word & 0x1fff) === 0 ? upper(u8(at + 9), l4, u8, u16, v6) : [`proto ${u8(at + 9)}`]));
  } else if (type === ETHERTYPE.ip6) {
    parts.push(`${v6(at + 8)} > ${v6(at + 24)} hop ${u8(at + 7)} len ${u16(at + 4)}`);
    let next = u8(at + 6);
    let offset = 0;
    for (at += 40; [0, 43, 44, 60].includes(next) && at < frame.length && offset === 0;) {
      if (next === 44) offset = u16(at + 2) & 0xfff8;
      parts.push(
        next === 44
          ? `frag id ${u16(at + 4) * 65536 + u16(at + 6)} offset ${offset}${(u8(at + 3) & 1) === 0 ? "" : "+"}`
          : `header ${next}`,
      );
      const length = next === 44 ? 8 : (u8(at + 1) + 1) * 8;
      next = u8(at);
      at += length;
    }
    parts.push(...(offset === 0 ? upper(next, at, u8, u16, v6) : [`proto ${next}`]));
  } else {
    parts.push(`ethertype 0x${type.toString(16).padStart(4, "0")}`);
  }
  return `${parts.join(", ")} (${frame.length} bytes)`;
}

function upper(
  protocol: number,
  at: number,
  u8: (at: number) => number,
  u16: (at: number) => number,
  v6: (at: number) => string,
): string[] {
  const name = NAMES.get(protocol) ?? `proto ${protocol}`;
  if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmp6) {
    const target =
      protocol === PROTOCOL.icmp6 && (u8(at) === 135 || u8(at) === 136)
        ? ` target ${v6(at + 8)}`
        : ` id ${u16(at + 4)}`;
    return [`${name} ${u8(at)}/${u8(at + 1)}${target}`];
  }
  const ported: readonly number[] = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.udplite, PROTOCOL.dccp];
  if (!ported.includes(protocol)) return [name];
  const flags =
    protocol === PROTOCOL.tcp ? ` [${[..."FSRPAU"].filter((_, i) => (u8(at + 13) & (1 << i)) !== 0).join("")}]` : "";
  return [`${name} ${u16(at)} > ${u16(at + 2)}${flags}`];
}
