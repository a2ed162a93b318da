/** A model of the maps, and of how the programs ask them (bpf/policy.h), in TypeScript. */
import { Action, ClassesFlag, ClassNumber, PlaneFlag } from "../../../../src/abi/layout.gen.js";
import { PROTOCOL_ANY, WAY_IPV6, WAY_LOG } from "../../../../src/abi/constants.js";
import { addressKey, parse, prefixKey, record, u32, type Bytes } from "../../../../src/abi/records.js";
import { protocolGroup } from "../../../../src/dataplane/bpf/masks.js";
import type { Maps } from "../../../../src/dataplane/bpf/maps.js";
import { MAPS } from "../../../../src/abi/layout.gen.js";
import type { MapName } from "../../../../src/dataplane/bpf/plan.js";
import { addressToPrefix, family, prefixOf } from "../../../../src/model/cidr.js";
import type { Address } from "../../../../src/model/types.js";
import { DataplaneError } from "../../../../src/errors.js";

export class MemoryMaps implements Maps {
  readonly maps = new Map<MapName, Map<Bytes, Bytes>>();
  /** Called after every single write. */
  onWrite: (map: MapName) => void = () => undefined;
  /** Room by map, where it is less than plenty. */
  readonly room = new Map<MapName, number>();
  writes = 0;

  of(name: MapName): Map<Bytes, Bytes> {
    let map = this.maps.get(name);
    if (map === undefined) this.maps.set(name, (map = new Map()));
    return map;
  }

  get(name: MapName, key: Bytes): Bytes | undefined {
    const value = this.of(name).get(key);
    const { type, valueSize } = MAPS[name];
    return value ?? (type === 2 ? ("\0".repeat(valueSize) as Bytes) : undefined);
  }

  dump(name: MapName): Map<Bytes, Bytes> {
    return new Map(this.of(name));
  }

  write(
    name: MapName,
    entries: readonly (readonly [Bytes, Bytes | undefined])[],
    written: (count: number) => void,
  ): void {
    let done = 0;
    for (const [key, value] of entries) {
      const { keySize, valueSize } = MAPS[name];
      if (key.length !== keySize || (value !== undefined && value.length !== valueSize))
        throw new Error(`wrong size in ${name}`);
      if (value === undefined) this.of(name).delete(key);
      else {
        if (!this.of(name).has(key) && this.of(name).size >= (this.room.get(name) ?? Infinity)) {
          written(done);
          throw new DataplaneError("MAP_FULL", `map ${name} is full`);
        }
        this.of(name).set(key, value);
      }
      done++;
      this.writes++;
      this.onWrite(name);
    }
    written(done);
  }
}

export interface Packet {
  readonly direction: 0 | 1;
  readonly remote: Address;
  readonly protocol: number;
  readonly port: number;
  readonly sourcePort: number;
}

export interface Verdict {
  readonly allowed: boolean;
  readonly stateless: boolean;
  readonly rule: number;
  readonly log: number;
}

const chains = new Map<Address, readonly Bytes[]>();

/** Keys of all prefixes that an LPM lookup of the address could find, longest first. */
function chainOf(address: Address): readonly Bytes[] {
  let chain = chains.get(address);
  if (chain === undefined) chains.set(address, (chain = [...chainKeys(address)]));
  return chain;
}

function longest(maps: MemoryMaps, address: Address): Bytes | undefined {
  const prefixes = maps.of("prefix");
  const key = chainOf(address).find((prefix) => prefixes.has(prefix));
  return key === undefined ? undefined : prefixes.get(key);
}

function* chainKeys(address: Address): IterableIterator<Bytes> {
  for (let length = family(address) === 4 ? 32 : 128; length >= 0; length--) yield prefixKey(prefixOf(address, length));
  if (family(address) === 6) return;
  // Inside ::ffff:0:0/96: what an LPM lookup of the mapped address would go on to.
  for (let length = 95; length >= 0; length--) {
    const bytes = new Uint8Array(16);
    if (length > 80) bytes[10] = 0xff;
    if (length > 88) bytes[11] = (0xff << (96 - length)) & 0xff;
    else if (length > 80) bytes[10] = (0xff << (88 - length)) & 0xff;
    yield record("prefix_key", { prefixlen: length, address: bytes });
  }
}

/** What the index says of an address, as find_classes() of bpf/policy.h asks it. */
export function indexed(maps: MemoryMaps, address: Address): Bytes | undefined {
  if (family(address) !== 4) return undefined;
  const key = addressKey(address);
  const number = maps.of("block").get(`${key.slice(12, 15)}\0` as Bytes);
  const members = number === undefined ? undefined : maps.of("member").get(number);
  const list = members === undefined ? 0 : (parse("members", members).list[key.charCodeAt(15)] ?? 0);
  return list === 0 ? undefined : maps.of("class_list").get(u32(list));
}

/** Line for line what judge() of bpf/policy.h does. */
export function ask(maps: MemoryMaps, set: number, packet: Packet): Verdict {
  const exact = indexed(maps, packet.remote) ?? maps.of("remote").get(addressKey(packet.remote));
  const exactClasses = exact === undefined ? undefined : parse("classes", exact);
  const prefix =
    exactClasses !== undefined && (exactClasses.flags & ClassesFlag.CLASSES_COMPLETE) !== 0
      ? undefined
      : longest(maps, packet.remote);
  const prefixClasses = prefix === undefined ? undefined : parse("classes", prefix);
  const classes = [
    ClassNumber.CLASS_ANY,
    ...(exactClasses?.number.slice(0, exactClasses.count) ?? []),
    ...(prefixClasses?.number.slice(0, prefixClasses.count) ?? []),
  ];
  const way = packet.direction | (family(packet.remote) === 6 ? WAY_IPV6 : 0);
  let log = 0;
  for (let number = 0; number < 16; number++) {
    const value = maps.of("plane").get(record("plane_key", { policy_set: set, direction: packet.direction, number }));
    if (value === undefined) break;
    const plane = parse("plane", value);
    const lengths = plane.lengths[protocolGroup(packet.protocol)] ?? 0;
    const each = function* (mask: number): Iterable<number> {
      for (let length = 0; length <= 16; length++) if ((mask >>> length) & 1) yield length;
    };
    const masked = (port: number, length: number): number => port & (0xffff0000 >> length) & 0xffff;
    const lookup = (fields: {
      class: number;
      port: number;
      length: number;
      protocol: number;
      way: number;
      source_class: number;
    }): { order: number; rule: number; action: number; flags: number } | undefined => {
      const entry = maps.of("policy").get(record("policy_key", { policy_set: set, plane: number, ...fields }));
      return entry === undefined ? undefined : parse("policy_entry", entry);
    };
    let source = 0;
    if ((plane.flags & PlaneFlag.PLANE_SOURCE_PORTS) !== 0) {
      for (const length of each(plane.source_lengths)) {
        source =
          lookup({
            class: ClassNumber.CLASS_SOURCE_PORT,
            port: masked(packet.sourcePort, length),
            length,
            protocol: packet.protocol,
            way,
            source_class: 0,
          })?.rule ?? 0;
        if (source !== 0) break;
      }
    }
    const best = (
      half: number,
      allowOnly: boolean,
    ): { order: number; rule: number; action: number; flags: number } | undefined => {
      let found: { order: number; rule: number; action: number; flags: number } | undefined;
      const consider = (entry: typeof found): boolean => {
        if (entry === undefined || (found !== undefined && entry.order >= found.order)) return false;
        found = entry;
        return allowOnly && (entry.flags & 1) === 0;
      };
      for (const one of classes) {
        for (const sourceClass of source === 0 ? [0] : [0, source]) {
          for (const length of each(lengths)) {
            if (
              consider(
                lookup({
                  class: one,
                  port: masked(packet.port, length),
                  length,
                  protocol: packet.protocol,
                  way: half,
                  source_class: sourceClass,
                }),
              )
            )
              return found;
          }
          if (
            (plane.flags & PlaneFlag.PLANE_ANY_PROTOCOL) !== 0 &&
            consider(
              lookup({ class: one, port: 0, length: 0, protocol: PROTOCOL_ANY, way: half, source_class: sourceClass }),
            )
          )
            return found;
        }
      }
      return found;
    };
    const decided = best(way, (plane.flags & PlaneFlag.PLANE_ALLOW_ONLY) !== 0);
    if ((plane.flags & PlaneFlag.PLANE_LOG) !== 0) {
      const logged = best(way | WAY_LOG, false);
      if (logged !== undefined && logged.order < (decided?.order ?? Infinity)) log ||= logged.rule;
    }
    const action = decided?.action ?? plane.end;
    if (action === Action.ACTION_PASS) continue;
    return {
      allowed: action === Action.ACTION_ALLOW,
      stateless: ((decided?.flags ?? 0) & 1) !== 0,
      rule: decided?.rule ?? 0,
      log,
    };
  }
  return { allowed: false, stateless: false, rule: 0, log };
}

export const hostPrefix = addressToPrefix;
