/**
 * What crosses the border, in TypeScript's terms: canonical addresses, prefixes and MACs in, bytes out, and back. Pure.
 * Keys and values are handed on as latin1 strings ("binary text"): they are compared, hashed and kept in Maps by content.
 */
import { addressBytes, addressFromBytes, macBytes, mappedLength, prefixBytes, prefixFromBytes } from "../model/cidr.js";
import type { Address, Mac, Prefix } from "../model/types.js";
import { decode, encode, LITTLE_ENDIAN, type RecordOf, type StructName } from "./codec.js";
import { STRUCTS } from "./layout.gen.js";

/** Bytes of a key or a value, one character (0..255) a byte. */
export type Bytes = string & { readonly __brand: "Bytes" };

export function toBytes(buffer: Buffer): Bytes {
  return buffer.toString("latin1") as Bytes;
}

export function fromBytes(bytes: Bytes): Buffer {
  return Buffer.from(bytes, "latin1");
}

export function record<S extends StructName>(name: S, fields: Partial<RecordOf<S>>): Bytes {
  return toBytes(encode(name, fields));
}

export function parse<S extends StructName>(name: S, bytes: Bytes): RecordOf<S> {
  return decode(name, fromBytes(bytes));
}

export function u32(value: number): Bytes {
  if (value >>> 0 !== value) throw new RangeError(`${value} is not a number of 32 bits`);
  const [a, b, c, d] = [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
  return (LITTLE_ENDIAN ? String.fromCharCode(a, b, c, d) : String.fromCharCode(d, c, b, a)) as Bytes;
}

export function readU32(bytes: Bytes, offset = 0): number {
  const at = (i: number): number => bytes.charCodeAt(offset + (LITTLE_ENDIAN ? i : 3 - i));
  return (at(0) | (at(1) << 8) | (at(2) << 16) | (at(3) << 24)) >>> 0;
}

export function addressKey(address: Address): Bytes {
  return toBytes(Buffer.from(addressBytes(address)));
}

export function readAddress(bytes: Bytes): Address {
  return addressFromBytes(fromBytes(bytes));
}

/** prefix_key; an IPv4 length is 96 longer than it is written (abi.h: addresses are IPv4-mapped). */
export function prefixKey(prefix: Prefix): Bytes {
  return record("prefix_key", { prefixlen: mappedLength(prefix), address: prefixBytes(prefix) });
}

/** Prefix of 16 address bytes and a length in the mapped space; lengths below 96 are IPv6 whatever the bytes. */
function prefixFromMapped(bytes: Uint8Array, mapped: number): Prefix {
  const v4 = mapped >= 96 && addressFromBytes(bytes).indexOf(":") < 0;
  return prefixFromBytes(bytes, v4 ? mapped - 96 : mapped);
}

export function readPrefix(bytes: Bytes): Prefix {
  const key = parse("prefix_key", bytes);
  return prefixFromMapped(key.address, key.prefixlen);
}

/** source_key: the endpoint number comes in network order, since an LPM key is compared from its first byte on. */
export function sourceKey(endpoint: number, prefix: Prefix): Bytes {
  const order = Buffer.alloc(4);
  order.writeUInt32BE(endpoint);
  const number = LITTLE_ENDIAN ? order.readUInt32LE() : endpoint;
  return record("source_key", { prefixlen: 32 + mappedLength(prefix), endpoint: number, address: prefixBytes(prefix) });
}

export function readSource(bytes: Bytes): { readonly endpoint: number; readonly prefix: Prefix } {
  const key = parse("source_key", bytes);
  const order = fromBytes(u32(key.endpoint));
  return { endpoint: order.readUInt32BE(), prefix: prefixFromMapped(key.address, key.prefixlen - 32) };
}

const NO_MAC = new Uint8Array(6);

/** 6 bytes; absent: all zero, "the endpoint's own". */
export function macOrOwn(mac: Mac | undefined): Uint8Array {
  return mac === undefined ? NO_MAC : macBytes(mac);
}

/** Undefined when all zero. */
export function readMac(bytes: Uint8Array): Mac | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":") as Mac;
}

const SET = STRUCTS.policy_key.fields.policy_set.offset;
const PLANE = STRUCTS.policy_key.fields.plane.offset;
const DIRECTION_IN_WAY = STRUCTS.policy_key.fields.way.offset;

/**
 * A policy key as a policy alone knows it (set 0, plane 0), put into the set and plane where it applies. Spliced, not encoded: a rule of a
 * policy that 1,000 sets hold is encoded once.
 */
export function placePolicyKey(key: Bytes, policySet: number, plane: number): Bytes {
  return (key.slice(0, SET) +
    u32(policySet) +
    key.slice(SET + 4, PLANE) +
    String.fromCharCode(plane) +
    key.slice(PLANE + 1)) as Bytes;
}

export function policySetOf(key: Bytes): number {
  return readU32(key, SET);
}

export function policyPlaneOf(key: Bytes): number {
  return key.charCodeAt(PLANE);
}

export function policyWayOf(key: Bytes): number {
  return key.charCodeAt(DIRECTION_IN_WAY);
}
