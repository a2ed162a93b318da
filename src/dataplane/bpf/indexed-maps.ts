/** Maps whose `remote` has its index (address-index.ts) beside it: whatever is written to `remote` is then written there. */
import { u32, type Bytes } from "../../abi/records.js";
import { AddressIndex } from "./address-index.js";
import type { Maps, Written } from "./maps.js";
import type { MapName } from "./plan.js";

type Entries = readonly (readonly [Bytes, Bytes | undefined])[];

export class IndexedMaps implements Maps {
  readonly #index: AddressIndex;
  #misled = false;

  constructor(
    private readonly maps: Maps,
    now: () => number = () => performance.now(),
  ) {
    this.#index = new AddressIndex(now);
  }

  get(map: MapName, key: Bytes): Bytes | undefined {
    return this.maps.get(map, key);
  }

  /** Of `remote`: mends the index as well, since whoever reads it all does not know what is there. */
  dump(map: MapName): Map<Bytes, Bytes> {
    const dump = this.maps.dump(map);
    if (map !== "remote") return dump;
    const wrong = this.#index.adopt(dump, {
      blocks: this.maps.dump("block"),
      lists: this.maps.dump("class_list"),
      members: (number) => this.maps.get("member", u32(number)),
    });
    this.#misled ||= wrong;
    this.#follow(() => undefined);
    return dump;
  }

  misled(): boolean {
    const misled = this.#misled;
    this.#misled = false;
    return misled;
  }

  write(map: MapName, entries: Entries, written: Written): void {
    if (map !== "remote") return this.maps.write(map, entries, written);
    let done = 0;
    try {
      this.maps.write(map, entries, (count) => {
        done += count;
        written(count);
      });
    } finally {
      // Of what was not reached nobody knows: the next pass reads all of it back.
      this.#index.follow(entries.slice(0, done));
      this.#follow(written);
    }
  }

  #follow(written: Written): void {
    const { lists, members, blocks, blocksGone } = this.#index.take();
    const write = (map: MapName, entries: Entries): void => {
      if (entries.length > 0) this.maps.write(map, entries, (count) => written(count, map));
    };
    write("class_list", lists);
    write("member", members);
    write("block", blocks);
    write("block", blocksGone);
  }
}
