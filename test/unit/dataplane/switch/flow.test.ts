/** What is handed over from one dataplane to the other means there what it meant. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { sizeOf } from "../../../../src/abi/codec.js";
import { describeLayout } from "../../../../src/abi/description.js";
import { ConntrackStatus, TcpState } from "../../../../src/dataplane/conntrack/entry.js";
import {
  entryOfFlow,
  flowOfEntry,
  opensHigh,
  recordOfFlow,
  type Flow,
  type Phase,
} from "../../../../src/dataplane/switch/flow.js";
import { FlowReader, remainingSeconds } from "../../../../src/dataplane/switch/flow-record.js";
import { addressText } from "../../../../src/links/wire-address.js";
import type { Address, Family } from "../../../../src/model/types.js";
import { arbEntry } from "../conntrack/arbitrary.js";

const HZ = 250;
const port = fc.integer({ min: 0, max: 65_535 });

const arbFlow: fc.Arbitrary<Flow> = fc
  .record({
    family: fc.constantFrom<Family>(4, 6),
    kind: fc.constantFrom("tcp", "udp", "udplite", "icmp", "gre"),
    bytes: fc.tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.uint8Array({ minLength: 16, maxLength: 16 })),
    ports: fc.tuple(port, port),
    query: fc.record({ type: fc.nat(1), code: fc.nat(255), id: port }),
    tcp: fc.constantFrom<Phase>("FLOW_SYN_SENT", "FLOW_ESTABLISHED", "FLOW_FIN", "FLOW_CLOSING", "FLOW_CLOSED"),
    answered: fc.boolean(),
    finOpener: fc.boolean(),
    remaining: fc.integer({ min: 1, max: 100 }),
    byHost: fc.boolean(),
  })
  .map(({ family, kind, bytes, ports, query, tcp, answered, finOpener, remaining, byHost }) => {
    const of = (all: Uint8Array) =>
      addressText(family === 4 ? all.subarray(0, 4) : Uint8Array.of(0x20, ...all.subarray(1)));
    const ported = ["tcp", "udp", "udplite"].includes(kind);
    const phase: Phase =
      kind === "tcp"
        ? tcp
        : kind === "icmp"
          ? "FLOW_ICMP"
          : kind === "gre"
            ? "FLOW_OTHER"
            : answered
              ? "FLOW_REPLIED"
              : "FLOW_NEW";
    const types = family === 4 ? [8, 13] : [128, 139];
    const numbers = { tcp: 6, udp: 17, udplite: 136, icmp: family === 4 ? 1 : 58, gre: 47 } as Record<string, number>;
    const closing = phase === "FLOW_CLOSING";
    const fin = phase === "FLOW_FIN" ? { opener: finOpener, other: !finOpener } : { opener: closing, other: closing };
    return {
      family,
      protocol: numbers[kind] ?? 0,
      source: of(bytes[0]),
      destination: of(bytes[1]),
      sourcePort: ported ? ports[0] : 0,
      destinationPort: ported ? ports[1] : 0,
      ...(kind === "icmp" ? { query: { ...query, type: types[query.type] ?? 0 } } : {}),
      phase,
      answered,
      fin,
      remaining,
      byHost,
      translated: false,
    };
  })
  .filter(({ source, destination }) => source !== destination);

test("to the kernel's conntrack and back a flow is the same flow", () => {
  fc.assert(
    fc.property(arbFlow, (flow) => {
      const entry = entryOfFlow(flow, 0x4000);
      expect(entry?.mark).toBe(0x4000);
      expect(entry && flowOfEntry(entry, (address) => flow.byHost && address === flow.source)).toEqual(flow);
    }),
  );
});

test("to the flow table and back a flow is the same flow, with its ends where they were", () => {
  const reader = new FlowReader(describeLayout());
  fc.assert(
    fc.property(arbFlow, fc.nat(8000), fc.nat(8000), fc.boolean(), (flow, source, destination, pairMac) => {
      const bytes = recordOfFlow(flow, { source, destination, pairMac }, 120, HZ);
      const keySize = sizeOf("flow_key");
      expect(bytes.length).toBe(keySize + sizeOf("flow"));
      const record = reader.read(bytes, 0, bytes, keySize);
      expect(record?.endpoints).toEqual([source, destination]);
      // An age is a time, seen from now = age.
      const { remaining, ...rest } = flow;
      expect(record?.flow).toEqual(rest);
      expect(remainingSeconds(0, record?.seen ?? 0, 120 * HZ, HZ)).toBeCloseTo(remaining);
    }),
  );
});

test("any entry is a flow that opens the same way, or none", () => {
  fc.assert(
    fc.property(arbEntry, (entry) => {
      const flow = flowOfEntry(entry, () => false);
      if (flow === undefined) return;
      const { source, destination } = entry.original;
      expect([flow.source, flow.destination]).toEqual([source, flow.translated ? entry.reply.source : destination]);
      expect(recordOfFlow(flow, { source: 1, destination: 0, pairMac: false }, 1, HZ).length).toBeGreaterThan(0);
      expect(opensHigh(flow)).toBe(
        !opensHigh({ source: flow.destination, destination: flow.source }) || flow.source === flow.destination,
      );
    }),
  );
});

test("a connection to a floating IP is one to what it stands for, and is not handed to the kernel, which has it", () => {
  fc.assert(
    fc.property(arbFlow, (flow) => {
      const entry = entryOfFlow(flow, 0);
      if (entry === undefined || flow.byHost) return;
      const external = (flow.family === 4 ? "172.24.4.7" : "2001:db8:f::7") as Address;
      const translated = flowOfEntry(
        {
          ...entry,
          original: { ...entry.original, destination: external },
          status: entry.status | ConntrackStatus.DST_NAT,
        },
        () => false,
      );
      expect(translated).toEqual({ ...flow, translated: true });
      expect(translated && entryOfFlow(translated, 0)).toBeUndefined();
      const bytes = recordOfFlow({ ...flow, translated: true }, { source: 0, destination: 1, pairMac: false }, 120, HZ);
      expect(new FlowReader(describeLayout()).read(bytes, 0, bytes, sizeOf("flow_key"))?.flow.translated).toBe(true);
    }),
  );
});

test("no connection whose source is translated, that is expected, without a state or of SCTP is handed over", () => {
  fc.assert(
    fc.property(arbEntry, (entry) => {
      for (const bit of [ConntrackStatus.EXPECTED, ConntrackStatus.SRC_NAT])
        expect(
          flowOfEntry({ ...entry, status: (entry.status & ~ConntrackStatus.DST_NAT) | bit }, () => false),
        ).toBeUndefined();
    }),
  );
  fc.assert(
    fc.property(arbFlow, (flow) => {
      expect(entryOfFlow({ ...flow, protocol: 132 }, 0)).toBeUndefined();
      const entry = entryOfFlow(flow, 0);
      if (entry?.tcp === undefined) return;
      expect(flowOfEntry({ ...entry, tcp: { ...entry.tcp, state: TcpState.NONE } }, () => false)).toBeUndefined();
    }),
  );
});

test("an age goes round with jiffies, and a packet of the future is of now", () => {
  expect(remainingSeconds(0xffff_ff00, 0x100, 1000, 250)).toBeCloseTo((1000 - 0x200) / 250);
  expect(remainingSeconds(5, 0, 1000, 250)).toBe(4);
  expect(remainingSeconds(0, 1000, 1000, 250)).toBe(0);
});
