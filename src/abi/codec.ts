/** Objects ↔ the bytes of the structs in layout.gen.ts. With records.ts the only code that knows offsets. Pure. */
import { STRUCTS } from "./layout.gen.js";

type Structs = typeof STRUCTS;
export type StructName = keyof Structs;
type Fields<S extends StructName> = Structs[S]["fields"];

/** Byte strings (`__u8 x[n]`) and nested structs (an address, a lock) are Uint8Array; arrays of structs are joined. */
type FieldType<F> = F extends { kind: "u8"; length: number }
  ? Uint8Array
  : F extends { kind: "u16" | "u32"; length: number }
    ? readonly number[]
    : F extends { kind: "u64"; length: number }
      ? readonly bigint[]
      : F extends { kind: "u8" | "u16" | "u32" }
        ? number
        : F extends { kind: "u64" }
          ? bigint
          : Uint8Array;

/** What a struct says: every field, by the name it has in bpf/abi.h. */
export type RecordOf<S extends StructName> = { readonly [K in keyof Fields<S>]: FieldType<Fields<S>[K]> };

interface Field {
  readonly offset: number;
  readonly kind: string;
  readonly length?: number;
}

/** BPF maps are in the machine's own byte order. */
export const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const WIDTH: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4, u64: 8 };

export function sizeOf(name: StructName): number {
  return STRUCTS[name].size;
}

interface Slot {
  readonly key: string;
  readonly offset: number;
  readonly kind: string;
  /** Bytes of one number, and of the whole field. */
  readonly width: number;
  readonly bytes: number;
  /** Numbers in an array; undefined for a single one. */
  readonly length: number | undefined;
  readonly raw: boolean;
}

function slot(key: string, { offset, kind, length }: Field): Slot {
  const raw = !(kind in WIDTH) || (kind === "u8" && length !== undefined);
  const width = WIDTH[kind] ?? (kind in STRUCTS ? STRUCTS[kind as StructName].size : 4);
  return { key, offset, kind, width, bytes: width * (length ?? 1), length, raw };
}

/** Worked out once: 100,000 addresses are encoded at start. */
const SLOTS = new Map(
  Object.entries(STRUCTS).map(([name, { fields }]) => [
    name,
    Object.entries(fields as Record<string, Field>).map(([key, field]) => slot(key, field)),
  ]),
);

function slotsOf(name: StructName): readonly Slot[] {
  return SLOTS.get(name) ?? [];
}

function put(buffer: Buffer, width: number, offset: number, value: number | bigint): void {
  if (width === 8) {
    if (LITTLE_ENDIAN) buffer.writeBigUInt64LE(BigInt(value), offset);
    else buffer.writeBigUInt64BE(BigInt(value), offset);
  } else if (width === 1) buffer.writeUInt8(Number(value), offset);
  else if (LITTLE_ENDIAN) buffer.writeUIntLE(Number(value), offset, width);
  else buffer.writeUIntBE(Number(value), offset, width);
}

function get(buffer: Buffer, width: number, offset: number): number | bigint {
  if (width === 8) return LITTLE_ENDIAN ? buffer.readBigUInt64LE(offset) : buffer.readBigUInt64BE(offset);
  return LITTLE_ENDIAN ? buffer.readUIntLE(offset, width) : buffer.readUIntBE(offset, width);
}

/** Bytes of a struct; fields that are not given are 0. Throws RangeError when a number or byte string does not fit its field. */
export function encode<S extends StructName>(name: S, record: Partial<RecordOf<S>>): Buffer {
  const buffer = Buffer.alloc(sizeOf(name));
  const given = record as Readonly<
    Record<string, number | bigint | Uint8Array | readonly (number | bigint)[] | undefined>
  >;
  for (const { key, offset, width, bytes, length } of slotsOf(name)) {
    const value = given[key];
    if (value === undefined) continue;
    if (value instanceof Uint8Array) {
      if (value.length > bytes) throw new RangeError(`${name}.${key} holds ${bytes} bytes, not ${value.length}`);
      buffer.set(value, offset);
    } else if (typeof value === "object") {
      const room = length ?? 1;
      if (value.length > room) throw new RangeError(`${name}.${key} holds ${room} numbers, not ${value.length}`);
      value.forEach((item, i) => put(buffer, width, offset + i * width, item));
    } else {
      put(buffer, width, offset, value);
    }
  }
  return buffer;
}

/** Inverse of encode. Throws RangeError unless `buffer` has exactly the struct's length. */
export function decode<S extends StructName>(name: S, buffer: Buffer): RecordOf<S> {
  if (buffer.length !== sizeOf(name)) {
    throw new RangeError(`struct ${name} has ${sizeOf(name)} bytes, not ${buffer.length}`);
  }
  const record: Record<string, unknown> = {};
  for (const { key, offset, width, bytes, length, raw } of slotsOf(name)) {
    if (raw) record[key] = Uint8Array.prototype.slice.call(buffer, offset, offset + bytes);
    else if (length === undefined) record[key] = get(buffer, width, offset);
    else record[key] = Array.from({ length }, (_, i) => get(buffer, width, offset + i * width));
  }
  return record as RecordOf<S>;
}
