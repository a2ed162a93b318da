import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode, encode, sizeOf } from "../../../src/abi/codec.js";
import * as constants from "../../../src/abi/constants.js";
import { Limits, MAPS, Reason, STRUCTS } from "../../../src/abi/layout.gen.js";
import {
  placePolicyKey,
  policySetOf,
  prefixKey,
  readPrefix,
  readSource,
  record,
  sourceKey,
  toBytes,
  u32,
  readU32,
  parse,
} from "../../../src/abi/records.js";
import { REASON_SENTENCES, explainReason } from "../../../src/dataplane/bpf/reasons.js";
import { prefixOf } from "../../../src/model/cidr.js";
import type { Address, Prefix } from "../../../src/model/types.js";

const header = readFileSync(new URL("../../../bpf/abi.h", import.meta.url), "utf8");
const addresses = fc.oneof(fc.ipV4(), fc.constantFrom("fd00::1", "2001:db8::5", "::", "::1", "fe80::1"));

describe("constants that BTF can't carry", () => {
  it("are those of bpf/abi.h", () => {
    const said = (name: string): number => Number(new RegExp(`${name}\\s*=?\\s*(\\d+)`).exec(header)?.[1]);
    expect(said("#define ABI_VERSION")).toBe(constants.ABI_VERSION);
    expect(said("PROTOCOL_ANY =")).toBe(constants.PROTOCOL_ANY);
    expect(said("WAY_IPV6 =")).toBe(constants.WAY_IPV6);
    expect(said("WAY_LOG =")).toBe(constants.WAY_LOG);
  });
});

describe("records", () => {
  it("come back as they went", () => {
    const entry = { order: 0xffffffff, rule: 7, action: 2, flags: 1, pad: 0 };
    expect(decode("policy_entry", encode("policy_entry", entry))).toEqual(entry);
    const flow = decode("flow", encode("flow", { packets: [1n, 2n ** 63n], state: 4 }));
    expect(flow).toMatchObject({ packets: [1n, 2n ** 63n], state: 4, rule: 0 });
  });

  it("refuse what does not fit", () => {
    expect(() => encode("source", { mac: new Uint8Array(7) })).toThrow(RangeError);
    expect(() => encode("policy_key", { port: 65536 })).toThrow(RangeError);
    expect(() => encode("classes", { number: new Array<number>(8).fill(1) })).toThrow(RangeError);
    expect(() => decode("name", Buffer.alloc(3))).toThrow(/256 bytes/);
  });

  it("hold prefixes of both families, and endpoints in network order", () => {
    fc.assert(
      fc.property(
        addresses,
        fc.integer({ min: 0, max: 128 }),
        fc.integer({ min: 1, max: 8191 }),
        (address, bits, endpoint) => {
          const prefix = prefixOf(address as Address, address.includes(":") ? bits : bits % 33);
          expect(readPrefix(prefixKey(prefix))).toBe(prefix);
          expect(readSource(sourceKey(endpoint, prefix))).toEqual({ endpoint, prefix });
        },
      ),
    );
    expect(sourceKey(0x0102, "10.0.0.0/8" as Prefix).slice(4, 8)).toBe("\0\0\x01\x02");
    expect(readU32(prefixKey("10.0.0.0/8" as Prefix))).toBe(104);
  });

  it("put a policy's key into a set and plane by splicing", () => {
    const fields = { class: 99, port: 80, length: 16, protocol: 6, way: 3, source_class: 2 };
    const placed = placePolicyKey(record("policy_key", fields), 0xdeadbeef, 5);
    expect(placed).toBe(record("policy_key", { ...fields, policy_set: 0xdeadbeef, plane: 5 }));
    expect(policySetOf(placed)).toBe(0xdeadbeef);
    expect(parse("policy_key", placed)).toMatchObject(fields);
    expect(readU32(u32(4_000_000_000))).toBe(4_000_000_000);
    expect(toBytes(Buffer.from([255, 0]))).toBe("\xff\0");
  });
});

describe("layout", () => {
  it("gives each map the size of its structs", () => {
    for (const [name, map] of Object.entries(MAPS)) {
      if (map.value in STRUCTS)
        expect([name, map.valueSize]).toEqual([name, sizeOf(map.value as keyof typeof STRUCTS)]);
    }
    expect(Limits.MAX_REASONS).toBeGreaterThanOrEqual(Reason.REASONS);
  });
});

describe("reasons", () => {
  it("have one sentence each, and none is left over", () => {
    const names = Object.keys(Reason).filter((name) => name !== "REASON_NONE" && name !== "REASONS");
    expect(Object.keys(REASON_SENTENCES).sort()).toEqual(names.sort());
    expect(new Set(Object.values(REASON_SENTENCES)).size).toBe(names.length);
    for (const sentence of Object.values(REASON_SENTENCES)) expect(sentence).toMatch(/^[A-Z].*\.$/);
    expect(explainReason(Reason.VLAN_TAGGED).name).toBe("VLAN_TAGGED");
    expect(explainReason(63)).toMatchObject({ name: "REASON_63" });
  });
});
