/** Plans `remote` and `prefix` from what is there to what is wanted. Pure, but for `current`, which reads a map. */
import { addressKey, prefixKey, readAddress, readPrefix, type Bytes } from "../../abi/records.js";
import type { ClassList, DesiredState } from "../../compile/desired.js";
import { mappedLength, prefixLength, prefixOf, prefixToAddress } from "../../model/cidr.js";
import type { Address, Prefix } from "../../model/types.js";
import { losesClasses, NO_CLASSES, uniteClasses, type ClassTable } from "./images-classes.js";
import { ALL_IPV4, coversMapped } from "./mapped.js";
import type { Plan } from "./plan.js";

export interface AddressWork {
  readonly addresses: Iterable<Address>;
  readonly prefixes: Iterable<Prefix>;
  /** What the kernel holds for exactly this address, exactly this prefix. */
  readonly exact: (address: Bytes) => Bytes | undefined;
  readonly own: (prefix: Bytes) => Bytes | undefined;
  /** Some endpoint moves to another policy set in the same plan: classes of both sets must hold at that moment. */
  readonly flips: boolean;
}

/** An address without classes is left out, unless that must keep it from taking those of its prefix. */
export function addressValue(list: ClassList | undefined, table: ClassTable): Bytes | undefined {
  return list === undefined || (list.classes.length === 0 && !list.complete) ? undefined : table.value(list);
}

/** Whether IPv4 needs an entry of its own so that it does not fall to an IPv6 prefix (see mapped.ts). */
export function needsGuard(prefixes: DesiredState["prefixes"]): boolean {
  if (prefixes.has(ALL_IPV4)) return false;
  for (const prefix of prefixes.keys()) if (coversMapped(prefix)) return true;
  return false;
}

/** Returns whether an address or prefix lost a class. */
export function planAddresses(plan: Plan, desired: DesiredState, table: ClassTable, work: AddressWork): boolean {
  const prefixes = new Set(work.prefixes);
  if (prefixes.size > 0) prefixes.add(ALL_IPV4);
  const guard = prefixes.size > 0 && needsGuard(desired.prefixes);
  const wantedPrefix = (prefix: Prefix): Bytes | undefined => {
    const list = desired.prefixes.get(prefix);
    if (list !== undefined) return table.value(list);
    return guard && prefix === ALL_IPV4 ? NO_CLASSES : undefined;
  };
  /** Any change of a prefix may take a class from an address in it. */
  let lost = false;
  const ups: { prefix: Prefix; key: Bytes; value: Bytes }[] = [];
  const downs: { prefix: Prefix; key: Bytes }[] = [];
  for (const prefix of prefixes) {
    const key = prefixKey(prefix);
    const [was, value] = [work.own(key), wantedPrefix(prefix)];
    if (was === value) continue;
    lost = true;
    let united: Bytes | undefined;
    // With a flip classes of both sets must hold; without, addresses of a prefix that goes must find both at the one that stays.
    if (work.flips)
      united = uniteClasses(
        was ?? covering(prefix, (outer) => work.own(prefixKey(outer))),
        value ?? covering(prefix, wantedPrefix),
      );
    else if (was !== undefined && value !== undefined) united = uniteClasses(was, value);
    if (united !== undefined && united !== was && (work.flips || united !== value))
      plan.set("prefixesUnited", "prefix", key, united);
    if (value === undefined) downs.push({ prefix, key });
    else if (!work.flips || united !== value) ups.push({ prefix, key, value });
  }
  for (const { key, value } of ups.sort((a, b) => mappedLength(b.prefix) - mappedLength(a.prefix)))
    plan.set("prefixesUp", "prefix", key, value);
  for (const { key } of downs.sort((a, b) => mappedLength(a.prefix) - mappedLength(b.prefix)))
    plan.delete("prefixesDown", "prefix", key);
  const both = lost;
  for (const address of work.addresses) {
    const key = addressKey(address);
    const [was, value] = [work.exact(key), addressValue(desired.addresses.get(address), table)];
    if (was === value) continue;
    lost ||= losesClasses(was, value);
    if (work.flips || both) {
      const united = uniteClasses(was, value);
      if (united !== undefined && united !== was) plan.set("addressesUnited", "remote", key, united);
      if (united === value) continue;
    }
    const phase = both ? "addressesSettled" : "addresses";
    if (value === undefined) plan.delete(phase, "remote", key);
    else plan.set(phase, "remote", key, value);
  }
  return lost;
}

/** The value of the longest prefix around this one: what its addresses take without it. */
function covering(prefix: Prefix, valueOf: (prefix: Prefix) => Bytes | undefined): Bytes | undefined {
  const address = prefixToAddress(prefix);
  for (let length = prefixLength(prefix) - 1; length >= 0; length--) {
    const value = valueOf(prefixOf(address, length));
    if (value !== undefined) return value;
  }
  return undefined;
}

/** Keys of a full dump that nothing wants any more, as text. */
export function unwantedAddresses(dump: Iterable<Bytes>, desired: DesiredState): Address[] {
  return [...dump].map(readAddress).filter((address) => !desired.addresses.has(address));
}

export function unwantedPrefixes(dump: Iterable<Bytes>, desired: DesiredState): Prefix[] {
  return [...dump].map(readPrefix).filter((prefix) => !desired.prefixes.has(prefix));
}
