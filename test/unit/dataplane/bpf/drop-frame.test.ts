/** What is read of a dropped frame's first bytes, and of the record that carries them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encode, sizeOf } from "../../../../src/abi/codec.js";
import { Direction, Limits, Reason } from "../../../../src/abi/layout.gen.js";
import { frameOf } from "../../../../src/cli/explain-frame.js";
import { factsOf } from "../../../../src/dataplane/bpf/drop-frame.js";
import { parseDrop } from "../../../../src/dataplane/bpf/drop-watch.js";
import type { Address, Mac } from "../../../../src/model/types.js";

const MACS = { sourceMac: "fa:16:3e:00:00:01" as Mac, destinationMac: "fe:16:3e:00:00:01" as Mac };
const v4 = fc.ipV4() as fc.Arbitrary<Address>;
const fields = fc.record({
  source: v4,
  destination: v4,
  protocol: fc.constantFrom(6, 17, 132, 136, 33),
  sourcePort: fc.integer({ min: 0, max: 65535 }),
  destinationPort: fc.integer({ min: 0, max: 65535 }),
});
const frame = (of: Partial<Parameters<typeof frameOf>[0]>): Buffer =>
  frameOf({
    family: 4,
    protocol: 17,
    source: "10.65.0.1" as Address,
    destination: "10.65.0.2" as Address,
    sourcePort: 1000,
    destinationPort: 53,
    tcpFlags: 2,
    ...MACS,
    ...of,
  });

describe("a frame's first bytes", () => {
  it("say its five-tuple, whole or cut after the ports", () => {
    fc.assert(
      fc.property(fields, fc.integer({ min: 42, max: 200 }), (of, length) => {
        expect(factsOf(frame(of).subarray(0, length))).toMatchObject({
          family: 4,
          protocol: of.protocol,
          source: { address: of.source, port: of.sourcePort, mac: MACS.sourceMac },
          destination: { address: of.destination, port: of.destinationPort, mac: MACS.destinationMac },
        });
      }),
    );
  });
  it("are never too odd to be read as far as they go", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: Limits.DROP_FRAME }), (bytes) => void factsOf(bytes)));
    const heads = fc.constantFrom(0x0800, 0x86dd, 0x0806, 0x8100);
    fc.assert(
      fc.property(heads, fc.uint8Array({ minLength: 14, maxLength: Limits.DROP_FRAME }), (type, bytes) => {
        bytes[12] = type >> 8;
        bytes[13] = type & 255;
        const { source, destination } = factsOf(bytes);
        expect([source.mac, destination.mac].every((mac) => /^(?:[\da-f]{2}:){5}[\da-f]{2}$/.test(mac))).toBe(true);
      }),
    );
  });
  it("have what is special of ICMP, ARP, fragments, tags and other ethertypes", () => {
    expect(factsOf(frame({ protocol: 1, icmp: { type: 8, code: 0 } })).icmp).toEqual({ type: 8, code: 0 });
    const arp = Buffer.from(
      "ffffffffffff fa163e000001 0806 0001 0800 06 04 0002 fa163e000099 0a410009 000000000000 0a410001".replaceAll(
        " ",
        "",
      ),
      "hex",
    );
    expect(factsOf(arp)).toMatchObject({
      arp: { operation: 2, senderMac: "fa:16:3e:00:00:99" },
      source: { address: "10.65.0.9", mac: "fa:16:3e:00:00:01" },
      destination: { address: "10.65.0.1" },
    });
    expect(factsOf(arp.subarray(0, 30))).toMatchObject({ arp: null, etherType: 0x0806 });
    const later = frame({});
    later.writeUInt16BE(185, 20);
    expect(factsOf(later)).toMatchObject({ fragmentOffset: 1480, protocol: 17, source: { port: 0 } });
    const tagged = Buffer.concat([arp.subarray(0, 12), Buffer.from([0x81, 0, 0, 7]), frame({}).subarray(12)]);
    expect(factsOf(tagged)).toMatchObject({ family: 4, destination: { port: 53 } });
    expect(factsOf(Buffer.concat([arp.subarray(0, 12), Buffer.from([0x88, 0xcc, 1])]))).toMatchObject({
      etherType: 0x88cc,
      family: null,
      source: { address: null },
    });
    expect(factsOf(Buffer.alloc(5)).etherType).toBe(null);
  });
});

describe("the programs' record of a drop", () => {
  const bytes = encode("drop_event", {
    time: 5_000_000n,
    endpoint: 3,
    reason: Reason.POLICY_INGRESS,
    rule: 0,
    ifindex: 9,
    length: 1500,
    vlan: 0x1007,
    captured: 42,
    direction: Direction.INGRESS,
    frame: Buffer.concat([frame({}).subarray(0, 42), Buffer.alloc(Limits.DROP_FRAME - 42, 0xee)]),
  });
  it("is what it says; what was not captured is not looked at", () => {
    expect(parseDrop(bytes, 7_000_000n)).toMatchObject({
      at: 5_000_000n,
      drop: {
        time: 12,
        reason: "POLICY_INGRESS",
        direction: "ingress",
        vlan: 7,
        length: 1500,
        protocol: 17,
        ifindex: 9,
      },
    });
  });
  it("of another length is none, and an unknown reason has its number", () => {
    expect(parseDrop(bytes.subarray(0, sizeOf("drop_event") - 1), 0n)).toBeUndefined();
    const newer = Buffer.from(bytes);
    newer.writeUInt32LE(60, 12);
    expect(parseDrop(newer, 0n)?.drop.reason).toBe("REASON_60");
  });
});
