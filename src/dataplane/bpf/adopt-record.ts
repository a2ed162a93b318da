/**
 * A flow of another layout as a record of this one, by the names of fields (src/abi/description.ts). Generations, rule, tag and slot are
 * not taken along: they are this build's to give (bpf/adopt.bpf.c). Pure.
 */
import { encode } from "../../abi/codec.js";
import { StructReader, translate, type LayoutDescription } from "../../abi/description.js";
import { FlowFlag, FlowState } from "../../abi/layout.gen.js";

/** Without these a flow is not the same flow. */
const KEY_FIELDS = ["address", "port", "protocol", "family", "asker"] as const;
const FLOW_FIELDS = ["endpoint", "state", "flags", "last_seen"] as const;

/** Bytes of the two addresses of a flow. */
const ADDRESSES = 32;

export class FlowConverter {
  readonly #key: StructReader;
  readonly #flow: StructReader;
  readonly #states: ReadonlyMap<number, number>;
  readonly #flags: readonly (readonly [number, number])[];

  /** @throws RangeError when the layout lacks what makes a flow */
  constructor(layout: LayoutDescription) {
    this.#key = new StructReader(layout, "flow_key");
    this.#flow = new StructReader(layout, "flow");
    const missing = [
      ...KEY_FIELDS.filter((field) => !this.#key.has(field)).map((field) => `flow_key.${field}`),
      ...FLOW_FIELDS.filter((field) => !this.#flow.has(field)).map((field) => `flow.${field}`),
    ];
    if (missing.length > 0) throw new RangeError(`the layout has no ${missing.join(", ")}`);
    if (this.#key.bytesOf("address") !== ADDRESSES) throw new RangeError("the layout's addresses are not of 16 bytes");
    this.#states = translate(layout.enums["FlowState"], FlowState);
    this.#flags = [...translate(layout.enums["FlowFlag"], FlowFlag)];
  }

  get keySize(): number {
    return this.#key.size;
  }
  get valueSize(): number {
    return this.#flow.size;
  }

  /** What, besides the key, tells whether a flow has changed in a way that matters: packets and times do not. */
  fingerprint(values: Buffer, at: number): number {
    return (this.#flow.number(values, at, "state") ?? 0) * 256 + (this.#flow.number(values, at, "flags") ?? 0);
  }

  /**
   * A flow_key and a flow of this build, one after the other. `numberOf`: this build's number of an endpoint of theirs. Undefined: an end
   * is no endpoint of this host any more, or its state has no counterpart: then its next packet is judged as a first one.
   */
  convert(
    keys: Buffer,
    keyAt: number,
    values: Buffer,
    valueAt: number,
    numberOf: ReadonlyMap<number, number>,
  ): Buffer | undefined {
    const key = (field: string): number => this.#key.number(keys, keyAt, field) ?? 0;
    const flow = (field: string, index = 0): number => this.#flow.number(values, valueAt, field, index) ?? 0;
    const endpoint = [0, 1].map((i) => {
      const theirs = flow("endpoint", i);
      return theirs === 0 ? 0 : numberOf.get(theirs);
    });
    const [lo, hi] = endpoint;
    const state = this.#states.get(flow("state"));
    if (lo === undefined || hi === undefined || (lo === 0 && hi === 0) || state === undefined) return undefined;
    const theirs = flow("flags");
    const flags = this.#flags.reduce((sum, [bit, ours]) => (theirs & bit ? sum | ours : sum), 0);
    const address = this.#key.bytes(keys, keyAt, "address");
    if (address === undefined) return undefined;
    return Buffer.concat([
      encode("flow_key", {
        address,
        port: [this.#key.number(keys, keyAt, "port", 0) ?? 0, this.#key.number(keys, keyAt, "port", 1) ?? 0],
        protocol: key("protocol"),
        family: key("family"),
        asker: key("asker"),
      }),
      encode("flow", {
        endpoint: [lo, hi],
        state,
        flags,
        last_seen: flow("last_seen"),
        translated: flow("translated"),
        packets: [BigInt(flow("packets", 0)), BigInt(flow("packets", 1))],
        bytes: [BigInt(flow("bytes", 0)), BigInt(flow("bytes", 1))],
      }),
    ]);
  }
}
