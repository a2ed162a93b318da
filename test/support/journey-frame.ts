/** The frame of a packet that opens a flow. */
import type { Journey } from "./neutron.js";
import { isIcmp } from "./neutron-api.js";
import { eth, PROTOCOL, type Frame } from "./packet.js";
import { familyOf } from "./prefix.js";

/** Source ports, and identifiers of echo requests: those from a tap are none that answers to the outside have. */
const SOURCE = { outside: 40_000, tap: 40_001 } as const;

export function frameOf({ at, from, to, packet }: Journey, macs: { from: string; to: string }, text: Buffer): Frame {
  const { protocol, port, type, code = 0 } = packet;
  const family = familyOf(to);
  const outer = eth(macs);
  const own = at === undefined ? SOURCE.outside : SOURCE.tap;
  const plain = (number?: number): Frame =>
    family === 4
      ? outer.ip4({ src: from, dst: to, ...(number === undefined ? {} : { proto: number }) })
      : outer.ip6({ src: from, dst: to, ...(number === undefined ? {} : { next: number }) });
  if (isIcmp(protocol) && type !== undefined) {
    const echo = { type, code, id: own };
    return (protocol === PROTOCOL.icmp ? plain().icmp(echo) : plain().icmp6(echo)).payload(text);
  }
  const ports = { sport: own, dport: port ?? 0 };
  switch (port === undefined ? undefined : protocol) {
    case PROTOCOL.tcp:
      return plain()
        .tcp({ ...ports, flags: "S" })
        .payload(text);
    case PROTOCOL.udp:
      return plain().udp(ports).payload(text);
    case PROTOCOL.udplite:
      return plain().udplite(ports).payload(text);
    case PROTOCOL.sctp:
      return plain().sctp(ports).payload(text);
    case PROTOCOL.dccp:
      return plain().dccp(ports).payload(text);
    default:
      // Zeros first: no version, flag or length that a reader of, say, GRE could take offence at.
      return plain(protocol).payload(Buffer.concat([Buffer.alloc(16), text]));
  }
}
