/** Entries of any map in words: every field of its structs by name, and numbers as what they stand for. Pure. */
import {
  ActionNames,
  ClassNumber,
  DirectionNames,
  EndpointFlag,
  EntryFlag,
  ClassesFlag,
  ControlFlag,
  FlowFlag,
  FlowStateNames,
  LocalFlag,
  Limits,
  MAPS,
  NameKind,
  PlaneFlag,
  STRUCTS,
} from "../../abi/layout.gen.js";
import { decode, type StructName } from "../../abi/codec.js";
import { PROTOCOL_ANY, WAY_IPV6, WAY_LOG } from "../../abi/constants.js";
import {
  fromBytes,
  readAddress,
  readMac,
  readPrefix,
  readSource,
  readU32,
  toBytes,
  type Bytes,
} from "../../abi/records.js";
import { protocolName } from "../../model/protocols.js";
import type { MapName } from "./plan.js";
import { explainReason } from "./reasons.js";

/** Who is who: what the maps' numbers stand for. */
export interface Names {
  /** Text of a number (enum name_kind); undefined: it has none. */
  readonly name: (kind: number, number: number) => string | undefined;
  /** Endpoint number → what people call that port. */
  readonly port: (number: number) => string | undefined;
  /** ifindex → interface. */
  readonly interface: (ifindex: number) => string | undefined;
}

/** JSON, but for bigint. */
export type Plain = string | number | bigint | null | readonly Plain[] | { readonly [key: string]: Plain };
export type Fields = Readonly<Record<string, Plain>>;

export interface Decoded {
  readonly key: Fields;
  readonly value: Fields;
}

export function decodeEntry(map: MapName, key: Bytes, value: Bytes, names: Names): Decoded {
  const { key: keyKind, value: valueKind } = MAPS[map];
  return { key: side(map, "key", keyKind, key, names), value: side(map, "value", valueKind, value, names) };
}

const numbered = (number: number, name: string | undefined): string | number =>
  name === undefined ? number : `${name} (${number})`;
const portOf = (names: Names, number: number): Plain => (number === 0 ? null : numbered(number, names.port(number)));
const linkOf = (names: Names, ifindex: number): Plain =>
  ifindex === 0 ? null : numbered(ifindex, names.interface(ifindex));

/** Maps whose key or value is a bare number. */
const SCALARS: Readonly<Record<string, (bytes: Bytes, names: Names) => Fields>> = {
  "tap.key": (bytes, names) => ({ interface: linkOf(names, readU32(bytes)) }),
  "tap.value": (bytes, names) => ({ endpoint: portOf(names, readU32(bytes)) }),
  "block.key": (bytes) => ({ prefix: `${[...fromBytes(bytes)].join(".")}/24` }),
  "block.value": (bytes) => ({ block: readU32(bytes) }),
  "member.key": (bytes) => ({ block: readU32(bytes) }),
  "class_list.key": (bytes) => ({ list: readU32(bytes) }),
  "tap_slot.key": (bytes) => ({ slot: readU32(bytes) }),
  "uplink.key": (bytes, names) => ({ interface: linkOf(names, readU32(bytes)) }),
  "uplink.value": (bytes) => ({ redirect: readU32(bytes) }),
  "endpoint.key": (bytes, names) => ({ endpoint: portOf(names, readU32(bytes)) }),
  "account.key": (bytes, names) => ({ endpoint: portOf(names, readU32(bytes)) }),
  "flow_slot.key": (bytes) => ({ slot: readU32(bytes) }),
  "rule_hit.key": (bytes, names) => ({
    rule: numbered(readU32(bytes), names.name(NameKind.NAME_RULE, readU32(bytes))),
  }),
  "rule_hit.value": (bytes) => ({ hits: fromBytes(bytes).readBigUInt64LE() }),
  "drop.key": (bytes, names) => ({
    endpoint: portOf(names, Math.floor(readU32(bytes) / Limits.MAX_REASONS)),
    reason: explainReason(readU32(bytes) % Limits.MAX_REASONS).name,
  }),
  "floating.key": (bytes) => ({ floatingIp: readAddress(bytes) }),
  "floating.value": (bytes) => ({ standsFor: readAddress(bytes) }),
  "drop.value": (bytes) => ({ packets: fromBytes(bytes).readBigUInt64LE() }),
};

function side(map: MapName, which: "key" | "value", kind: string, bytes: Bytes, names: Names): Fields {
  const scalar = SCALARS[`${map}.${which}`];
  if (scalar !== undefined) return scalar(bytes, names);
  if (kind === "u32") return { index: readU32(bytes) };
  if (kind === "u64") return { value: fromBytes(bytes).readBigUInt64LE() };
  if (kind === "none" || !(kind in STRUCTS)) return {};
  if (kind === "address") return { address: readAddress(bytes) };
  if (kind === "prefix_key") return { prefix: readPrefix(bytes) };
  if (kind === "source_key") {
    const { endpoint, prefix } = readSource(bytes);
    return { endpoint: portOf(names, endpoint), prefix };
  }
  return structure(kind as StructName, bytes, names);
}

function structure(kind: StructName, bytes: Bytes, names: Names): Fields {
  const decoded = decode(kind, fromBytes(bytes)) as unknown as Readonly<Record<string, unknown>>;
  const fields: Record<string, Plain> = {};
  for (const [name, value] of Object.entries(decoded)) {
    if (/^pad\d*$/.test(name) || name === "lock") continue;
    fields[name] = field(kind, name, value, decoded, names);
  }
  return fields;
}

type Flags = Readonly<Record<string, number>>;
const FLAGS: Readonly<Record<string, Flags>> = {
  control: ControlFlag,
  endpoint: EndpointFlag,
  local: LocalFlag,
  classes: ClassesFlag,
  plane: PlaneFlag,
  policy_entry: EntryFlag,
  flow: FlowFlag,
};
/** "present, admin down" of ENDPOINT_PRESENT | ENDPOINT_ADMIN_DOWN. */
function flagsText(kind: string, value: number): Plain {
  const known = FLAGS[kind];
  if (known === undefined) return value;
  const set = Object.entries(known).filter(([, bit]) => (value & bit) !== 0);
  const left = set.reduce((rest, [, bit]) => rest & ~bit, value);
  const words = set.map(([name]) =>
    name
      .slice(name.indexOf("_") + 1)
      .toLowerCase()
      .replaceAll("_", " "),
  );
  return [...words, ...(left === 0 ? [] : [`0x${left.toString(16)}`])].join(", ");
}

const short = (name: string | undefined, number: number): string =>
  name === undefined
    ? String(number)
    : name
        .slice(name.indexOf("_") + 1)
        .toLowerCase()
        .replaceAll("_", " ");
export const stateName = (state: number): string => short(FlowStateNames[state], state);

/** The kind of number that a field holds, by its name: one noun means one thing in all of bpf/abi.h. */
function field(
  kind: string,
  name: string,
  value: unknown,
  all: Readonly<Record<string, unknown>>,
  names: Names,
): Plain {
  if (Array.isArray(value)) {
    if (kind === "members")
      return (value as number[]).flatMap((list, last) => (list === 0 ? [] : [`.${last} list ${list}`]));
    const listed =
      kind === "classes" ? (value as number[]).slice(0, Number(all["count"])) : (value as (number | bigint)[]);
    return listed.map((one) => field(kind, kind === "classes" ? "class" : name, one, all, names));
  }
  if (value instanceof Uint8Array) return bytesText(kind, name, value, all);
  const number = Number(value);
  switch (name) {
    case "endpoint":
    case "owner":
      return portOf(names, number);
    case "ifindex":
      return linkOf(names, number);
    case "policy_set":
      return number === 0 ? null : numbered(number, names.name(NameKind.NAME_POLICY_SET, number));
    case "class":
      return className(number, names);
    case "source_class":
      return number === 0 ? null : numbered(number, names.name(NameKind.NAME_SOURCE_CLASS, number));
    case "rule":
      if (number === 0 || all["class"] === ClassNumber.CLASS_SOURCE_PORT) return number || null;
      return numbered(number, names.name(NameKind.NAME_RULE, number));
    case "protocol":
      return number === PROTOCOL_ANY && kind === "policy_key" ? "any" : protocolName(number);
    case "state":
      return stateName(number);
    case "action":
    case "end":
      return short(ActionNames[number], number);
    case "direction":
      return (DirectionNames[number] ?? String(number)).toLowerCase();
    case "way":
      return `${(number & 1) === 1 ? "egress" : "ingress"} IPv${(number & WAY_IPV6) !== 0 ? 6 : 4}${(number & WAY_LOG) !== 0 ? " log" : ""}`;
    case "flags":
      return flagsText(kind, number);
    case "kind":
      return kind === "name_key" ? (NAME_KINDS[number] ?? number) : number;
  }
  return typeof value === "bigint" ? value : number;
}

const NAME_KINDS: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(NameKind).map(([name, number]) => [number, name.slice(5).toLowerCase().replaceAll("_", " ")]),
);

export function className(number: number, names: Names): Plain {
  if (number === ClassNumber.CLASS_ANY) return "any";
  if (number === ClassNumber.CLASS_SOURCE_PORT) return "source port";
  return numbered(number, names.name(NameKind.NAME_CLASS, number));
}

function bytesText(kind: string, name: string, value: Uint8Array, all: Readonly<Record<string, unknown>>): Plain {
  if (name === "mac" || name === "host_mac") return readMac(value) ?? null;
  if (name === "text") return Buffer.from(value).subarray(0, Number(all["length"])).toString("utf8");
  if (name === "key" && kind === "flow_slot") return value.every((byte) => byte === 0) ? null : hex(value);
  const addresses = name === "address" || name === "source" || name === "destination";
  if (addresses && value.length % 16 === 0) {
    const list = Array.from({ length: value.length / 16 }, (_, i) =>
      readAddress(toBytes(Buffer.from(value.subarray(i * 16, (i + 1) * 16)))),
    );
    return list.length === 1 ? (list[0] ?? null) : list;
  }
  return hex(value);
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
