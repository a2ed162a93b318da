import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode, encode } from "../../../../src/abi/codec.js";
import { describeLayout, parseDescription, type LayoutDescription } from "../../../../src/abi/description.js";
import { FlowFlag, FlowState, STRUCTS } from "../../../../src/abi/layout.gen.js";
import { FlowConverter } from "../../../../src/dataplane/bpf/adopt-record.js";

const own = describeLayout();
const KEY = STRUCTS.flow_key.size;

/** Ours with fields elsewhere and other numbers, as a later build might have it. */
function other(): LayoutDescription {
  const flow = own.structs["flow"];
  if (flow === undefined) throw new Error("no struct flow");
  const fields = Object.fromEntries(
    Object.entries(flow.fields).map(([name, field]) => [name, { ...field, offset: field.offset + 16 }]),
  );
  return {
    ...own,
    abi: own.abi + 1,
    structs: {
      ...own.structs,
      flow: { size: flow.size + 24, fields: { note: { offset: 0, kind: "u64" }, ...fields } },
    },
    enums: {
      ...own.enums,
      FlowState: { ...own.enums["FlowState"], FLOW_ESTABLISHED: 11, FLOW_REPLIED: 4, FLOW_STRANGE: 2 },
      FlowFlag: { ...own.enums["FlowFlag"], FLOW_HOST: 2, FLOW_STATELESS_LO: 8 },
    },
  };
}

const address = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
const key = encode("flow_key", { address, port: [443, 50_000], protocol: 6, family: 4, asker: 0 });

function theirs(fields: Parameters<typeof encode<"flow">>[1], layout = other()): Buffer {
  return Buffer.concat([Buffer.alloc(16, 0xee), encode("flow", fields)], layout.structs["flow"]?.size ?? 0);
}

describe("a flow of another layout", () => {
  const numberOf = new Map([
    [3, 7],
    [9, 1],
  ]);

  it("comes over by the names of its fields, states and flags; rule, generations and slot do not", () => {
    const converter = new FlowConverter(other());
    const value = theirs({
      endpoint: [3, 0],
      state: 11,
      flags: FlowFlag.FLOW_OPENER_HI | 2,
      generation: [5, 6],
      host_generation: 7,
      rule: 8,
      slot: 99,
      last_seen: 0xfffffff0,
      packets: [1n, 2n],
      bytes: [3n, 2n ** 40n],
    });
    const record = converter.convert(key, 0, value, 0, numberOf);
    expect(record).toHaveLength(KEY + STRUCTS.flow.size);
    expect(record?.subarray(0, KEY)).toEqual(key);
    expect(decode("flow", record?.subarray(KEY) ?? Buffer.alloc(0))).toMatchObject({
      endpoint: [7, 0],
      state: FlowState.FLOW_ESTABLISHED,
      flags: FlowFlag.FLOW_OPENER_HI | FlowFlag.FLOW_HOST,
      generation: [0, 0],
      host_generation: 0,
      rule: 0,
      slot: 0,
      last_seen: 0xfffffff0,
      packets: [1n, 2n],
      bytes: [3n, 2n ** 40n],
    });
  });

  it.each([
    ["an end that is no endpoint of this host any more", { endpoint: [3, 4], state: 11 }],
    ["a state that we do not have", { endpoint: [3, 9], state: 2 }],
    ["no local end at all", { endpoint: [0, 0], state: 11 }],
  ] as const)("is judged anew: %s", (_, fields) => {
    expect(new FlowConverter(other()).convert(key, 0, theirs(fields), 0, numberOf)).toBeUndefined();
  });

  it("a layout without what makes a flow is refused, with the names", () => {
    const { flow_key, ...structs } = other().structs;
    expect(() => new FlowConverter({ ...other(), structs })).toThrow(/no struct flow_key/);
    const { port: _, ...fields } = flow_key?.fields ?? {};
    expect(() => new FlowConverter({ ...other(), structs: { ...structs, flow_key: { size: KEY, fields } } })).toThrow(
      /flow_key\.port/,
    );
    const narrow = { ...flow_key?.fields, address: { offset: 0, kind: "u32", length: 2 } };
    expect(
      () => new FlowConverter({ ...other(), structs: { ...structs, flow_key: { size: KEY, fields: narrow } } }),
    ).toThrow(/address/);
  });

  it("of this very layout comes over as it is", () => {
    const converter = new FlowConverter(own);
    const both = new Map(Array.from({ length: 8 }, (_, i) => [i + 1, i + 1] as const));
    const states = Object.entries(FlowState).flatMap(([name, state]) => (name === "FLOW_STATES" ? [] : [state]));
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 0, max: 8 }),
        fc.constantFrom(...states),
        fc.integer({ min: 0, max: 255 }),
        (a, b, state, flags) => {
          const fields = { endpoint: [a, b], state, flags, last_seen: 5, packets: [0n, 1n], bytes: [0n, 1n] } as const;
          expect(converter.convert(key, 0, encode("flow", fields), 0, both)).toEqual(
            Buffer.concat([key, encode("flow", fields)]),
          );
        },
      ),
    );
  });
});

describe("a description", () => {
  it("is read back as it was written", () => {
    expect(parseDescription(JSON.stringify(own))).toEqual(JSON.parse(JSON.stringify(own)));
  });

  it.each([
    ["no JSON", "{"],
    ["another format", JSON.stringify({ ...own, format: 2 })],
    [
      "a field beyond its struct",
      JSON.stringify({ ...own, structs: { flow: { size: 4, fields: { x: { offset: 2, kind: "u32" } } } } }),
    ],
    [
      "a field of an unknown kind",
      JSON.stringify({ ...own, structs: { flow: { size: 4, fields: { x: { offset: 0, kind: "u24" } } } } }),
    ],
    [
      "a negative offset",
      JSON.stringify({ ...own, structs: { flow: { size: 4, fields: { x: { offset: -4, kind: "u8" } } } } }),
    ],
    ["no enums", JSON.stringify({ ...own, enums: null })],
  ])("is not gone by: %s", (_, text) => {
    expect(parseDescription(text)).toBeUndefined();
  });
});
