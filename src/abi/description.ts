/**
 * The layout of what is pinned, as data that is pinned beside it: a build of another layout, older or newer, reads by it what must not be
 * lost. It works by name, and so a field, flag or state keeps its meaning under its name for ever; another meaning takes another name.
 * Pure.
 */
import { ABI_VERSION } from "./constants.js";
import { LITTLE_ENDIAN } from "./codec.js";
import { FlowFlag, FlowState, LocalFlag, MAPS, NameKind, STRUCTS } from "./layout.gen.js";

export interface FieldShape {
  readonly offset: number;
  /** "u8" … "u64", or the name of a struct. */
  readonly kind: string;
  readonly length?: number;
}
export interface StructShape {
  readonly size: number;
  readonly fields: Readonly<Record<string, FieldShape>>;
}
export interface LayoutDescription {
  readonly format: 1;
  readonly abi: number;
  readonly structs: Readonly<Record<string, StructShape>>;
  readonly maps: Readonly<Record<string, { readonly keySize: number; readonly valueSize: number }>>;
  readonly enums: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** Of this build. */
export function describeLayout(): LayoutDescription {
  const maps = Object.entries(MAPS).map(([name, { keySize, valueSize }]) => [name, { keySize, valueSize }]);
  return {
    format: 1,
    abi: ABI_VERSION,
    structs: STRUCTS,
    maps: Object.fromEntries(maps) as LayoutDescription["maps"],
    enums: { FlowState, FlowFlag, LocalFlag, NameKind },
  };
}

const WIDTHS: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4, u64: 8, bpf_spin_lock: 4 };

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const every = <T>(value: unknown, check: (entry: unknown) => entry is T): value is Record<string, T> =>
  isObject(value) && Object.values(value).every(check);

/** What another build pinned; undefined when it says nothing that this one could go by. */
export function parseDescription(text: string): LayoutDescription | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const isField = (field: unknown): field is FieldShape =>
    isObject(field) &&
    isCount(field["offset"]) &&
    typeof field["kind"] === "string" &&
    (field["length"] === undefined || isCount(field["length"]));
  const isStruct = (struct: unknown): struct is StructShape =>
    isObject(struct) && isCount(struct["size"]) && every(struct["fields"], isField);
  const isMap = (map: unknown): map is LayoutDescription["maps"][string] =>
    isObject(map) && isCount(map["keySize"]) && isCount(map["valueSize"]);
  const isEnum = (names: unknown): names is Record<string, number> => every(names, isCount);
  if (!isObject(value) || value["format"] !== 1 || !isCount(value["abi"])) return undefined;
  const { structs, maps, enums } = value;
  if (!every(structs, isStruct) || !every(maps, isMap) || !every(enums, isEnum)) return undefined;
  const fits = Object.values(structs).every(({ size, fields }) =>
    Object.values(fields).every((field) => field.offset + bytesOf(structs, field) <= size),
  );
  return fits ? { format: 1, abi: value["abi"], structs, maps, enums } : undefined;
}

function bytesOf(structs: LayoutDescription["structs"], { kind, length = 1 }: FieldShape): number {
  const own = Object.hasOwn(structs, kind) ? structs[kind]?.size : undefined;
  return (WIDTHS[kind] ?? own ?? Infinity) * length;
}

/** Reads fields of one struct by name, in a buffer that holds many. Fields that the layout does not have read as undefined. */
export class StructReader {
  readonly size: number;
  readonly #fields: Readonly<Record<string, FieldShape>>;
  readonly #structs: LayoutDescription["structs"];

  /** @throws RangeError when the layout has no such struct */
  constructor({ structs }: LayoutDescription, name: string) {
    const struct = Object.hasOwn(structs, name) ? structs[name] : undefined;
    if (struct === undefined) throw new RangeError(`the layout has no struct ${name}`);
    this.size = struct.size;
    this.#fields = struct.fields;
    this.#structs = structs;
  }

  has(field: string): boolean {
    return Object.hasOwn(this.#fields, field);
  }

  /** A number, or the one at `index` of an array. u64 too, as a number: counters beyond 2^53 lose their last digits. */
  number(buffer: Buffer, at: number, field: string, index = 0): number | undefined {
    const shape = this.has(field) ? this.#fields[field] : undefined;
    const width = shape === undefined ? undefined : WIDTHS[shape.kind];
    if (shape === undefined || width === undefined || index >= (shape.length ?? 1)) return undefined;
    const offset = at + shape.offset + index * width;
    if (width === 8) return Number(LITTLE_ENDIAN ? buffer.readBigUInt64LE(offset) : buffer.readBigUInt64BE(offset));
    return LITTLE_ENDIAN ? buffer.readUIntLE(offset, width) : buffer.readUIntBE(offset, width);
  }

  /** Of the whole field; 0: there is none. */
  bytesOf(field: string): number {
    const shape = this.has(field) ? this.#fields[field] : undefined;
    return shape === undefined ? 0 : bytesOf(this.#structs, shape);
  }

  /** The field as it is, arrays and nested structs whole. */
  bytes(buffer: Buffer, at: number, field: string): Buffer | undefined {
    const shape = this.has(field) ? this.#fields[field] : undefined;
    if (shape === undefined) return undefined;
    const from = at + shape.offset;
    return buffer.subarray(from, from + bytesOf(this.#structs, shape));
  }
}

/** Numbers of one layout's enum → numbers of this build's, by name; what has no counterpart is missing. */
export function translate(
  theirs: Readonly<Record<string, number>> | undefined,
  ours: Readonly<Record<string, number>>,
): ReadonlyMap<number, number> {
  const pairs = Object.entries(theirs ?? {}).flatMap(([name, number]): [number, number][] => {
    const own = Object.hasOwn(ours, name) ? ours[name] : undefined;
    return own === undefined ? [] : [[number, own]];
  });
  return new Map(pairs);
}
