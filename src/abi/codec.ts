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

function fieldsOf(name: StructName): readonly (readonly [string, Field])[] {
  return Object.entries(STRUCTS[name].fields as Record<string, Field>);
}

function bytesOf(field: Field): number {
  const width = WIDTH[field.kind] ?? (field.kind in STRUCTS ? STRUCTS[field.kind as StructName].size : 4);
  return width * (field.length ?? 1);
}

function isBytes(field: Field): boolean {
  return !(field.kind in WIDTH) || (field.kind === "u8" && field.length !== undefined);
}

function put(buffer: Buffer, kind: string, offset: number, value: number | bigint): void {
  if (kind === "u64") {
    if (LITTLE_ENDIAN) buffer.writeBigUInt64LE(BigInt(value), offset);
    else buffer.writeBigUInt64BE(BigInt(value), offset);
  } else if (LITTLE_ENDIAN) buffer.writeUIntLE(Number(value), offset, WIDTH[kind] ?? 4);
  else buffer.writeUIntBE(Number(value), offset, WIDTH[kind] ?? 4);
}

function get(buffer: Buffer, kind: string, offset: number): number | bigint {
  if (kind === "u64") return LITTLE_ENDIAN ? buffer.readBigUInt64LE(offset) : buffer.readBigUInt64BE(offset);
  const width = WIDTH[kind] ?? 4;
  return LITTLE_ENDIAN ? buffer.readUIntLE(offset, width) : buffer.readUIntBE(offset, width);
}

/** Bytes of a struct; fields that are not given are 0. Throws RangeError when a number or byte string does not fit its field. */
export function encode<S extends StructName>(name: S, record: Partial<RecordOf<S>>): Buffer {
  const buffer = Buffer.alloc(sizeOf(name));
  const given = record as Readonly<
    Record<string, number | bigint | Uint8Array | readonly (number | bigint)[] | undefined>
  >;
  for (const [key, field] of fieldsOf(name)) {
    const value = given[key];
    if (value === undefined) continue;
    if (value instanceof Uint8Array) {
      if (value.length > bytesOf(field))
        throw new RangeError(`${name}.${key} holds ${bytesOf(field)} bytes, not ${value.length}`);
      buffer.set(value, field.offset);
    } else if (typeof value === "object") {
      if (value.length > (field.length ?? 1))
        throw new RangeError(`${name}.${key} holds ${field.length ?? 1} numbers, not ${value.length}`);
      value.forEach((item, i) => put(buffer, field.kind, field.offset + i * (WIDTH[field.kind] ?? 4), item));
    } else {
      put(buffer, field.kind, field.offset, value);
    }
  }
  return buffer;
}

/** Inverse of encode. Throws RangeError unless `buffer` has exactly the struct's length. */
export function decode<S extends StructName>(name: S, buffer: Buffer): RecordOf<S> {
  if (buffer.length !== sizeOf(name))
    throw new RangeError(`struct ${name} has ${sizeOf(name)} bytes, not ${buffer.length}`);
  const record: Record<string, unknown> = {};
  for (const [key, field] of fieldsOf(name)) {
    if (isBytes(field))
      record[key] = Uint8Array.prototype.slice.call(buffer, field.offset, field.offset + bytesOf(field));
    else if (field.length === undefined) record[key] = get(buffer, field.kind, field.offset);
    else
      record[key] = Array.from({ length: field.length }, (_, i) =>
        get(buffer, field.kind, field.offset + i * (WIDTH[field.kind] ?? 4)),
      );
  }
  return record as RecordOf<S>;
}
