/**
 * `block`, `member` and `class_list`: what `remote` says of IPv4 addresses, where a first packet finds it in cache (abi.h). All of it follows
 * from `remote`; an address that has no place in it (no block or list is left) is found in `remote`. Pure, but for the clock.
 */
import { Limits, STRUCTS } from "../../abi/layout.gen.js";
import { readU32, u32, type Bytes } from "../../abi/records.js";
import { NumbersAtRest } from "./numbers-at-rest.js";

/** In the order in which they are to be written. Value undefined: the key goes. */
export interface IndexWrites {
  /** What numbers stand for, before anything names them. */
  readonly lists: readonly (readonly [Bytes, Bytes])[];
  readonly members: readonly (readonly [Bytes, Bytes])[];
  readonly blocks: readonly (readonly [Bytes, Bytes])[];
  readonly blocksGone: readonly (readonly [Bytes, undefined])[];
}

/** What the kernel holds; members by block number. */
export interface IndexDump {
  readonly blocks: ReadonlyMap<Bytes, Bytes>;
  readonly lists: ReadonlyMap<Bytes, Bytes>;
  readonly members: (number: number) => Bytes | undefined;
}

interface Block {
  readonly number: number;
  readonly lists: Uint16Array;
  used: number;
}

interface List {
  readonly number: number;
  users: number;
}

/** ::ffff:0:0/96, as `remote` has its keys. */
export const MAPPED = "\0\0\0\0\0\0\0\0\0\0\xff\xff";
const PLACES = STRUCTS.members.size / 2;
/** So many addresses of 24 equal bits are worth a block. */
const SEVERAL = 4;

const topOf = (address: Bytes): string | undefined =>
  address.startsWith(MAPPED) ? address.slice(MAPPED.length, -1) : undefined;

export class AddressIndex {
  #blocks = new Map<string, Block>();
  #lists = new Map<Bytes, List>();
  /** What the numbers of #lists stand for. */
  #values = new Map<number, Bytes>();
  readonly #blockNumbers: NumbersAtRest;
  readonly #listNumbers: NumbersAtRest;
  #newLists: [Bytes, Bytes][] = [];
  readonly #dirty = new Set<string>();
  /** Blocks that the kernel does not know yet. */
  readonly #unwritten = new Set<string>();
  #gone: string[] = [];
  #wrong = false;

  constructor(now: () => number) {
    this.#blockNumbers = new NumbersAtRest(1, Limits.MAX_BLOCKS, now);
    this.#listNumbers = new NumbersAtRest(1, Limits.MAX_CLASS_LISTS, now);
  }

  /**
   * `remote` says this from now on; value undefined: nothing. A block or a list is begun only where several addresses come at once, and a block
   * stays when it is empty, so that one change of one member is one write here; adopt() sees to the rest.
   */
  follow(changes: readonly (readonly [address: Bytes, value: Bytes | undefined])[]): void {
    const coming = new Map<string, number>();
    for (const [address, value] of changes) {
      const top = topOf(address);
      if (top === undefined || value === undefined || this.#blocks.has(top)) continue;
      const count = (coming.get(top) ?? 0) + 1;
      coming.set(top, count);
      if (count === SEVERAL) this.#newBlock(top);
    }
    for (const [address, value] of changes) this.#place(address, value, changes.length >= SEVERAL);
  }

  #place(address: Bytes, value: Bytes | undefined, newLists: boolean): void {
    const top = topOf(address);
    const block = top === undefined ? undefined : this.#blocks.get(top);
    if (top === undefined || block === undefined) return;
    const place = address.charCodeAt(address.length - 1);
    const was = block.lists[place] ?? 0;
    const list = value === undefined || !(newLists || this.#lists.has(value)) ? 0 : this.#use(value);
    if (was !== 0) this.#leave(was);
    if (list === was) return;
    block.lists[place] = list;
    block.used += Number(list !== 0) - Number(was !== 0);
    this.#dirty.add(top);
  }

  /** What must be written since the last call. */
  take(): IndexWrites {
    const members: [Bytes, Bytes][] = [];
    const blocks: [Bytes, Bytes][] = [];
    for (const top of this.#dirty) {
      const block = this.#blocks.get(top);
      if (block === undefined) continue;
      members.push([u32(block.number), bytesOf(block.lists)]);
      if (this.#unwritten.delete(top)) blocks.push([blockKey(top), u32(block.number)]);
    }
    this.#dirty.clear();
    const [lists, blocksGone] = [this.#newLists, this.#gone.map((top) => [blockKey(top), undefined] as const)];
    this.#newLists = [];
    this.#gone = [];
    return { lists, members, blocks, blocksGone };
  }

  /**
   * Takes over what the kernel holds, as far as it is what `remote` says; take() then tells what must be mended. Returns whether some place said
   * otherwise than `remote`: flows may have been judged by it.
   */
  adopt(remote: ReadonlyMap<Bytes, Bytes>, dump: IndexDump): boolean {
    this.#wrong = false;
    this.#blocks = new Map();
    this.#lists = new Map();
    this.#values = new Map();
    this.#newLists = [];
    this.#gone = [];
    this.#dirty.clear();
    this.#unwritten.clear();
    const values = new Map([...dump.lists].map(([key, value]) => [readU32(key), value]));
    const unbelieved: string[] = [];
    const taken = new Set<number>();
    for (const [key, value] of dump.blocks) {
      const [top, number] = [key.slice(0, 3), readU32(value)];
      // Two blocks of one number, or none: not our writing.
      const bytes = taken.has(number) || number === 0 ? undefined : dump.members(number);
      if (bytes === undefined) {
        unbelieved.push(top);
        this.#wrong = true;
        continue;
      }
      taken.add(number);
      this.#blocks.set(top, this.#adoptBlock(top, number, bytes, values, remote));
    }
    this.#blockNumbers.rebuild(taken);
    this.#listNumbers.rebuild(new Set(this.#values.keys()), values.keys());
    for (const [address, value] of remote) {
      const top = topOf(address);
      if (top === undefined) continue;
      const block = this.#blocks.get(top) ?? this.#newBlock(top);
      if ((block?.lists[address.charCodeAt(address.length - 1)] ?? 0) === 0) this.#place(address, value, true);
    }
    this.#gone = unbelieved.filter((top) => !this.#blocks.has(top));
    for (const [top, { used, number }] of this.#blocks) {
      if (used > 0) continue;
      this.#blocks.delete(top);
      if (!this.#unwritten.delete(top)) this.#gone.push(top);
      this.#blockNumbers.giveBack(number);
    }
    return this.#wrong;
  }

  /** Keeps the places that say what `remote` says. */
  #adoptBlock(
    top: string,
    number: number,
    bytes: Bytes,
    values: ReadonlyMap<number, Bytes>,
    remote: ReadonlyMap<Bytes, Bytes>,
  ): Block {
    const block = { number, lists: listsOf(bytes), used: 0 };
    for (let place = 0; place < PLACES; place++) {
      const list = block.lists[place] ?? 0;
      if (list === 0) continue;
      const value = values.get(list);
      if (value === undefined || remote.get(`${MAPPED}${top}${String.fromCharCode(place)}` as Bytes) !== value) {
        block.lists[place] = 0;
        this.#dirty.add(top);
        this.#wrong = true;
        continue;
      }
      // What lies under a number that was given back is still there: two numbers may stand for one list, of which one is kept.
      const kept = this.#lists.get(value) ?? this.#enter(value, list);
      kept.users++;
      block.used++;
      if (kept.number === list) continue;
      block.lists[place] = kept.number;
      this.#dirty.add(top);
    }
    return block;
  }

  #newBlock(top: string): Block | undefined {
    const number = this.#blockNumbers.take();
    if (number === undefined) return undefined;
    const block = { number, lists: new Uint16Array(PLACES), used: 0 };
    this.#blocks.set(top, block);
    this.#unwritten.add(top);
    return block;
  }

  /** The number of a list; 0 when none is left. */
  #use(value: Bytes): number {
    const known = this.#lists.get(value);
    if (known !== undefined) {
      known.users++;
      return known.number;
    }
    const number = this.#listNumbers.take();
    if (number === undefined) return 0;
    this.#enter(value, number).users++;
    this.#newLists.push([u32(number), value]);
    return number;
  }

  #enter(value: Bytes, number: number): List {
    const list = { number, users: 0 };
    this.#lists.set(value, list);
    this.#values.set(number, value);
    return list;
  }

  #leave(number: number): void {
    const value = this.#values.get(number);
    const list = value === undefined ? undefined : this.#lists.get(value);
    if (value === undefined || list === undefined || --list.users > 0) return;
    this.#lists.delete(value);
    this.#values.delete(number);
    this.#listNumbers.giveBack(number);
  }
}

const blockKey = (top: string): Bytes => `${top}\0` as Bytes;

/** Uint16Array is in the machine's order, as the maps are. */
const bytesOf = (lists: Uint16Array): Bytes =>
  Buffer.from(lists.buffer, lists.byteOffset, lists.byteLength).toString("latin1") as Bytes;

function listsOf(bytes: Bytes): Uint16Array {
  const lists = new Uint16Array(PLACES);
  Buffer.from(bytes, "latin1").copy(Buffer.from(lists.buffer));
  return lists;
}
