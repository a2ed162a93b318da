/** Any conntrack entry that the kernel could hold. */
import fc from "fast-check";
import type { ConntrackEntry, ConntrackTuple } from "../../../../src/dataplane/conntrack/entry.js";
import { addressText } from "../../../../src/links/wire-address.js";
import type { Address, Family } from "../../../../src/model/types.js";

const byte = fc.integer({ min: 0, max: 255 });
const port = fc.integer({ min: 0, max: 65_535 });
const word = fc.nat(0xffff_ffff);
const pair = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<[T, T]> => fc.tuple(one, one);

const address = (family: Family): fc.Arbitrary<Address> =>
  fc.uint8Array({ minLength: family === 4 ? 4 : 16, maxLength: family === 4 ? 4 : 16 }).map(addressText);

function tuple(family: Family, protocol: number): fc.Arbitrary<ConntrackTuple> {
  const ends = { source: address(family), destination: address(family) };
  const none = { sourcePort: fc.constant(0), destinationPort: fc.constant(0) };
  if (protocol === 1 || protocol === 58)
    return fc.record({ ...ends, ...none, icmp: fc.record({ type: byte, code: byte, id: port }) });
  const ported = [6, 17, 33, 132, 136].includes(protocol);
  return fc.record({ ...ends, ...(ported ? { sourcePort: port, destinationPort: port } : none) });
}

export const arbEntry: fc.Arbitrary<ConntrackEntry> = fc
  .constantFrom<[Family, number]>([4, 6], [6, 6], [4, 17], [6, 17], [4, 1], [6, 58], [4, 132], [6, 132], [4, 47])
  .chain(([family, protocol]) =>
    fc.record({
      family: fc.constant(family),
      protocol: fc.constant(protocol),
      original: tuple(family, protocol),
      reply: tuple(family, protocol),
      status: word,
      timeout: word,
      mark: word,
      zone: port,
      id: word,
      ...(protocol === 6
        ? { tcp: fc.record({ state: fc.nat(9), flags: pair(byte), windowScale: pair(fc.nat(14)) }) }
        : {}),
      ...(protocol === 132 ? { sctp: fc.record({ state: fc.nat(9), tag: pair(word) }) } : {}),
    }),
  );
