/**
 * Maps that this process has just made, until it writes to one: nothing has a number yet, so that arrays of hundreds of thousands of
 * elements need not be read to know that they hold nothing of what has.
 */
import type { Bytes } from "../../abi/records.js";
import type { Maps, Written } from "./maps.js";
import type { MapName } from "./plan.js";

const ARRAYS: ReadonlySet<MapName> = new Set(["endpoint", "tap_slot", "class_list", "drop", "rule_hit"]);

export class FreshMaps implements Maps {
  #fresh = true;

  constructor(private readonly maps: Maps) {}

  get(map: MapName, key: Bytes): Bytes | undefined {
    return this.maps.get(map, key);
  }

  dump(map: MapName): Map<Bytes, Bytes> {
    return this.#fresh && ARRAYS.has(map) ? new Map() : this.maps.dump(map);
  }

  write(map: MapName, entries: readonly (readonly [Bytes, Bytes | undefined])[], written: Written): void {
    this.#fresh = false;
    this.maps.write(map, entries, written);
  }
}
