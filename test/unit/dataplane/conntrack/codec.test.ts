import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeEntry, encodeCreate, encodeDelete } from "../../../../src/dataplane/conntrack/codec.js";
import type { ConntrackEntry, ConntrackTuple } from "../../../../src/dataplane/conntrack/entry.js";
import { addressText } from "../../../../src/links/wire-address.js";
import { arbEntry } from "./arbitrary.js";

test("what is written is read as the same entry", () => {
  fc.assert(
    fc.property(arbEntry, (entry) => {
      expect(decodeEntry(encodeCreate(entry))).toEqual({ ...entry, id: 0, status: (entry.status | 8) >>> 0 });
    }),
  );
});

test("a message cut off anywhere is an error or another entry, never a crash of another kind", () => {
  fc.assert(
    fc.property(arbEntry, fc.double({ min: 0, max: 1, noNaN: true }), (entry, part) => {
      const body = encodeCreate(entry);
      const cut = body.subarray(0, Math.floor(part * body.length));
      try {
        decodeEntry(cut);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }),
  );
});

test("bytes of anything are an error or an entry, never a crash of another kind", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(2, 10), (bytes, family) => {
      try {
        decodeEntry(Buffer.from([family, 0, 0, 0, ...bytes]));
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }),
  );
});

test("other families are nobody's", () => {
  expect(decodeEntry(Buffer.from([7, 0, 0, 0]))).toBeUndefined();
  expect(decodeEntry(Buffer.alloc(0))).toBeUndefined();
});

/**
 * As the kernel (6.18) answered a dump: conntrack -I -p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1000 --dport 80 --state ESTABLISHED -t 100
 * -m 7 -u ASSURED,SEEN_REPLY
 */
test("an entry as the kernel writes it", () => {
  const tuple = (from: string, to: string, sport: string, dport: string, type: string): string =>
    `3400${type}80` +
    `14000180` +
    `08000100${from}` +
    `08000200${to}` +
    `1c000280` +
    `0500010006000000` +
    `06000200${sport}0000` +
    `06000300${dport}0000`;
  const body =
    `02000000` +
    tuple("0a000001", "0a000002", "03e8", "0050", "01") +
    tuple("0a000002", "0a000001", "0050", "03e8", "02") +
    `080003000000000e` +
    `0800070000000064` +
    `30000480` +
    `2c000180` +
    `0500010003000000` +
    `0500020007000000` +
    `0500030008000000` +
    `060004000a000000` +
    `0600050002000000` +
    `0800080000000007` +
    `08000c00deadbeef` +
    `08000b0000000001`;
  const original: ConntrackTuple = {
    source: addressText(Buffer.from([10, 0, 0, 1])),
    destination: addressText(Buffer.from([10, 0, 0, 2])),
    sourcePort: 1000,
    destinationPort: 80,
  };
  const expected: ConntrackEntry = {
    family: 4,
    protocol: 6,
    original,
    reply: {
      source: original.destination,
      destination: original.source,
      sourcePort: original.destinationPort,
      destinationPort: original.sourcePort,
    },
    status: 14,
    timeout: 100,
    mark: 7,
    zone: 0,
    id: 0xdeadbeef,
    tcp: { state: 3, windowScale: [7, 8], flags: [10, 2] },
  };
  expect(decodeEntry(Buffer.from(body, "hex"))).toEqual(expected);
});

test("a deletion names the tuple, the zone and the id, and nothing else", () => {
  fc.assert(
    fc.property(arbEntry, (entry) => {
      const bytes = encodeDelete(entry).toString("hex");
      const id = entry.id.toString(16).padStart(8, "0");
      if (entry.id !== 0) expect(bytes.endsWith(`08000c00${id}`)).toBe(true);
      else expect(bytes).not.toContain(`08000c00`);
    }),
  );
});
