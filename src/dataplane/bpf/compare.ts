/** Every entry of the maps that is otherwise than desired. Reads only: what reading back in full would write is kept and looked at. */
import { LITTLE_ENDIAN } from "../../abi/codec.js";
import { MAPS, STRUCTS } from "../../abi/layout.gen.js";
import { readU32, u32, type Bytes } from "../../abi/records.js";
import type { DesiredState } from "../../compile/desired.js";
import type { Interfaces } from "../backend.js";
import { MAPPED } from "./address-index.js";
import type { Maps, Written } from "./maps.js";
import { planEverything } from "./plan-full.js";
import { controlOf, planUplinks, type EngineSettings } from "./plan-host.js";
import { planNames } from "./plan-names.js";
import { PHASES, Plan, type MapName, type PhaseName } from "./plan.js";

export interface MapDifference {
  readonly map: MapName;
  readonly key: Bytes;
  /** Undefined: the kernel has no such entry. */
  readonly is: Bytes | undefined;
  /** Undefined: nobody wants it. */
  readonly wanted: Bytes | undefined;
}

type Readable = Pick<Maps, "get" | "dump">;

/** Counters are zeroed when a number is given out again: that follows from another difference and is none. */
const COUNTERS: ReadonlySet<MapName> = new Set(["rule_hit", "drop"]);

/** @throws DataplaneError when numbers would run out */
export function compareMaps(
  maps: Readable,
  settings: EngineSettings,
  desired: DesiredState,
  interfaces: Interfaces,
): readonly MapDifference[] {
  const kept = new KeptWrites(maps);
  const plan = new Plan();
  const next = planEverything(plan, kept, desired, interfaces, true);
  planUplinks(plan, next.shadows, interfaces);
  planNames(plan, next.registry, kept);
  for (const phase of Object.keys(PHASES) as PhaseName[])
    for (const { map, entries } of plan.batches(phase)) kept.write(map, entries);
  kept.write("control", [[u32(0), controlOf(settings, next, desired, 0)]]);
  return [...kept.differences(), ...indexDifferences(maps)];
}

/** Places of the index (address-index.ts) that say otherwise than `remote` does. What it leaves out is found in `remote`, and no difference. */
function indexDifferences(maps: Readable): MapDifference[] {
  const found: MapDifference[] = [];
  const [remote, lists] = [maps.dump("remote"), maps.dump("class_list")];
  const seen = new Set<Bytes>();
  for (const [key, number] of maps.dump("block")) {
    const is = maps.get("member", number);
    if (is === undefined || readU32(number) === 0 || seen.has(number)) {
      found.push({ map: "block", key, is: number, wanted: undefined });
      continue;
    }
    seen.add(number);
    const wanted = Buffer.from(is, "latin1");
    for (let place = 0; place * 2 < wanted.length; place++) {
      const list = LITTLE_ENDIAN ? wanted.readUInt16LE(place * 2) : wanted.readUInt16BE(place * 2);
      const said = list === 0 ? undefined : lists.get(u32(list));
      const address = `${MAPPED}${key.slice(0, 3)}${String.fromCharCode(place)}` as Bytes;
      if (list !== 0 && (said === undefined || remote.get(address) !== said)) wanted.fill(0, place * 2, place * 2 + 2);
    }
    const text = wanted.toString("latin1") as Bytes;
    if (text !== is) found.push({ map: "member", key: number, is, wanted: text });
  }
  return found;
}

/** Writes go no further; of several to one key the last counts. */
class KeptWrites implements Maps {
  readonly #writes = new Map<MapName, Map<Bytes, Bytes | undefined>>();

  constructor(private readonly maps: Readable) {}

  get(map: MapName, key: Bytes): Bytes | undefined {
    return this.maps.get(map, key);
  }
  dump(map: MapName): Map<Bytes, Bytes> {
    return this.maps.dump(map);
  }
  write(map: MapName, entries: Parameters<Maps["write"]>[1], written?: Written): void {
    let writes = this.#writes.get(map);
    if (writes === undefined) this.#writes.set(map, (writes = new Map()));
    for (const [key, value] of entries) writes.set(key, value);
    written?.(entries.length);
  }

  differences(): MapDifference[] {
    const found: MapDifference[] = [];
    for (const [map, writes] of this.#writes)
      if (!COUNTERS.has(map))
        for (const [key, wanted] of writes) {
          const is = this.maps.get(map, key);
          if (plain(map, is) !== plain(map, wanted))
            found.push({ map, key, is: present(map, is), wanted: present(map, wanted) });
        }
    return found;
  }
}

/** BPF_MAP_TYPE_ARRAY: it has all its elements, and one that is zero is not there. */
const ARRAY = 2;

const present = (map: MapName, bytes: Bytes | undefined): Bytes | undefined =>
  bytes !== undefined && MAPS[map].type === ARRAY && /^\0*$/.test(bytes) ? undefined : bytes;

/** Generations move whenever something changes, and say nothing about what is right. */
function plain(map: MapName, bytes: Bytes | undefined): Bytes | undefined {
  if (bytes === undefined || (map !== "control" && map !== "endpoint")) return bytes;
  const { offset } = STRUCTS[map].fields.generation;
  return `${bytes.slice(0, offset)}\0\0\0\0${bytes.slice(offset + 4)}` as Bytes;
}
