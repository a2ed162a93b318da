/**
 * Members of the classes, as a hash:net set holds them. The longest prefix of an address decides (Linux 3.1 looks from the longest
 * down, and "nomatch" ends the search), which is just what ClassList means: an address has the classes of its longest prefix
 * unless its list is complete. Pure.
 */
import type { ClassKey, DesiredDelta, DesiredState } from "../../compile/desired.js";
import { family, prefixLength, prefixOf, prefixToAddress } from "../../model/cidr.js";
import type { Address, Family, Prefix } from "../../model/types.js";

type State = Pick<DesiredState, "addresses" | "prefixes">;
/** Of one family. */
type Members = Map<string, string>;

export class MemberTable {
  /** Class and family → element without and with its option. */
  readonly #sets = new Map<string, Members>();
  /** What an address contributes. */
  readonly #held = new Map<Address, readonly string[]>();

  of(key: ClassKey, of: Family): ReadonlySet<string> {
    return new Set(this.#sets.get(`${of} ${key}`)?.values());
  }

  /** @param delta absent: everything may have changed. Classes whose members differ, or undefined for "any". */
  update(state: State, delta?: DesiredDelta): ReadonlySet<ClassKey> | undefined {
    if (delta === undefined || delta.prefixes.size > 0) {
      this.#sets.clear();
      this.#held.clear();
      for (const prefix of state.prefixes.keys()) this.#putPrefix(state, prefix);
      for (const address of state.addresses.keys()) this.#putAddress(state, address);
      return undefined;
    }
    const touched = new Set<ClassKey>();
    for (const address of delta.addresses) {
      for (const slot of this.#held.get(address) ?? []) {
        this.#sets.get(slot)?.delete(address);
        touched.add(slot.slice(2) as ClassKey);
      }
      this.#held.delete(address);
      for (const slot of this.#putAddress(state, address)) touched.add(slot.slice(2) as ClassKey);
    }
    return touched;
  }

  #putPrefix(state: State, prefix: Prefix): void {
    const of = family(prefix);
    const classes = state.prefixes.get(prefix)?.classes ?? [];
    const around = covering(state, prefixToAddress(prefix), prefixLength(prefix) - 1);
    for (const part of sayable(prefix)) {
      for (const key of classes) this.#put(of, key, part, "");
      for (const key of around) if (!classes.includes(key)) this.#put(of, key, part, " nomatch");
    }
  }

  #putAddress(state: State, address: Address): readonly string[] {
    const list = state.addresses.get(address);
    if (list === undefined) return [];
    const of = family(address);
    const slots = list.classes.map((key) => this.#put(of, key, address, ""));
    if (list.complete)
      for (const key of covering(state, address, of === 4 ? 32 : 128))
        if (!list.classes.includes(key)) slots.push(this.#put(of, key, address, " nomatch"));
    if (slots.length > 0) this.#held.set(address, slots);
    return slots;
  }

  #put(of: Family, key: ClassKey, element: string, option: string): string {
    const slot = `${of} ${key}`;
    let members = this.#sets.get(slot);
    if (members === undefined) this.#sets.set(slot, (members = new Map<string, string>()));
    // An address listed by itself is more than the same as a prefix.
    members.set(element, `${element}${option}`);
    return slot;
  }
}

/** Classes of the longest prefix of at most this length that holds the address. */
function covering(state: State, address: Address, longest: number): readonly ClassKey[] {
  if (state.prefixes.size === 0) return [];
  for (let length = longest; length >= 0; length--) {
    const list = state.prefixes.get(prefixOf(address, length));
    if (list !== undefined) return list.classes;
  }
  return [];
}

const HALVES: Readonly<Record<string, readonly string[]>> = {
  "0.0.0.0/0": ["0.0.0.0/1", "128.0.0.0/1"],
  "::/0": ["::/1", "8000::/1"],
};

/** As ipset prints it: a single address without its length; everything in halves, since no set holds a prefix of length 0. */
export function sayable(prefix: Prefix): readonly string[] {
  return HALVES[prefix] ?? [prefix.replace(/(?<=\..*)\/32$|(?<=:.*)\/128$/, "")];
}
