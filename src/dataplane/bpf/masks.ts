/** Which port prefix lengths, and which extra probes, a plane's entries need: the kernel asks only for those. Pure. */
import { Action, PlaneFlag, ProtocolGroup } from "../../abi/layout.gen.js";
import { parse, record, type Bytes } from "../../abi/records.js";
import { PROTOCOL_ANY } from "../../abi/constants.js";

const GROUPS: Readonly<Record<number, number>> = {
  6: ProtocolGroup.GROUP_TCP,
  17: ProtocolGroup.GROUP_UDP,
  1: ProtocolGroup.GROUP_ICMP,
  58: ProtocolGroup.GROUP_ICMPV6,
  132: ProtocolGroup.GROUP_SCTP,
  136: ProtocolGroup.GROUP_UDPLITE,
  33: ProtocolGroup.GROUP_DCCP,
};
/** IANA numbers whose packets have ports. */
export const PORT_PROTOCOLS: readonly number[] = [6, 17, 33, 132, 136];

export function protocolGroup(protocol: number): number {
  return GROUPS[protocol] ?? ProtocolGroup.GROUP_OTHER;
}

export interface Masks {
  /** By protocol group; bit n: entries of port prefix length n exist. */
  readonly lengths: number[];
  sourceLengths: number;
  anyProtocol: boolean;
  anyClass: boolean;
}

export function noMasks(): Masks {
  return {
    lengths: new Array<number>(ProtocolGroup.PROTOCOL_GROUPS).fill(0),
    sourceLengths: 0,
    anyProtocol: false,
    anyClass: false,
  };
}

/** Notes that entries of this protocol and length exist. */
export function noteEntry(masks: Masks, protocol: number, length: number): void {
  if (protocol === PROTOCOL_ANY) {
    masks.anyProtocol = true;
    return;
  }
  const group = protocolGroup(protocol);
  masks.lengths[group] = ((masks.lengths[group] ?? 0) | (1 << length)) >>> 0;
}

export function uniteMasks(all: readonly Masks[]): Masks {
  const united = noMasks();
  for (const masks of all) {
    masks.lengths.forEach((bits, group) => (united.lengths[group] = ((united.lengths[group] ?? 0) | bits) >>> 0));
    united.sourceLengths = (united.sourceLengths | masks.sourceLengths) >>> 0;
    united.anyProtocol ||= masks.anyProtocol;
    united.anyClass ||= masks.anyClass;
  }
  return united;
}

export function sameMasks(a: Masks, b: Masks): boolean {
  return (
    a.sourceLengths === b.sourceLengths &&
    a.anyProtocol === b.anyProtocol &&
    a.anyClass === b.anyClass &&
    a.lengths.every((bits, group) => bits === b.lengths[group])
  );
}

/** Whatever `some` ask for, `all` ask for too. */
export function coversMasks(all: Masks, some: Masks): boolean {
  return (
    (some.sourceLengths & ~all.sourceLengths) === 0 &&
    (all.anyProtocol || !some.anyProtocol) &&
    (all.anyClass || !some.anyClass) &&
    some.lengths.every((bits, group) => (bits & ~(all.lengths[group] ?? 0)) === 0)
  );
}

export interface PlaneTraits {
  readonly end: "deny" | "pass";
  readonly allowOnly: boolean;
  readonly sourcePorts: boolean;
  readonly log: boolean;
  /** Rules that allow all of IPv4, of IPv6, if there are any: numbers, 0 none. */
  readonly everything?: readonly [number, number];
}

export function planeValue(masks: Masks, traits: PlaneTraits): Bytes {
  const flags =
    (traits.allowOnly ? PlaneFlag.PLANE_ALLOW_ONLY : 0) |
    (masks.anyProtocol ? PlaneFlag.PLANE_ANY_PROTOCOL : 0) |
    (masks.anyClass ? PlaneFlag.PLANE_ANY_CLASS : 0) |
    (traits.sourcePorts ? PlaneFlag.PLANE_SOURCE_PORTS : 0) |
    (traits.log ? PlaneFlag.PLANE_LOG : 0);
  return record("plane", {
    lengths: masks.lengths,
    source_lengths: masks.sourceLengths,
    everything: traits.everything ?? [0, 0],
    end: traits.end === "pass" ? Action.ACTION_PASS : Action.ACTION_DENY,
    flags,
  });
}

/**
 * A plane that asks for whatever either asks for: right for both while entries are being added or removed. It allows everything as long as the
 * former one did; where the next one does, its entry says so until it is there.
 */
export function unitePlanes(before: Bytes, after: Bytes): Bytes {
  const [a, b] = [parse("plane", before), parse("plane", after)];
  return record("plane", {
    ...b,
    lengths: b.lengths.map((bits, group) => (bits | (a.lengths[group] ?? 0)) >>> 0),
    source_lengths: (a.source_lengths | b.source_lengths) >>> 0,
    everything: a.everything,
    flags: b.flags | (a.flags & (PlaneFlag.PLANE_ANY_PROTOCOL | PlaneFlag.PLANE_ANY_CLASS)),
  });
}
