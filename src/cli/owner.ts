/** Whose an address is. Pure. */
import { isSingle, contains } from "../model/cidr.js";
import type { Address, Prefix } from "../model/types.js";

interface Owned {
  readonly number: number;
  readonly sources: readonly { readonly prefix: Prefix }[];
}

/** Number of the port that an address is of; of several the lowest, 0: of none. */
export function ownerOf(endpoints: readonly Owned[]): (address: Address) => number {
  const single = new Map<string, number>();
  const wide: { readonly prefix: Prefix; readonly number: number }[] = [];
  for (const { number, sources } of endpoints)
    for (const { prefix } of sources)
      if (!isSingle(prefix)) wide.push({ prefix, number });
      else {
        const address = prefix.slice(0, prefix.lastIndexOf("/"));
        single.set(address, Math.min(number, single.get(address) ?? number));
      }
  return (address) => single.get(address) ?? wide.find(({ prefix }) => contains(prefix, address))?.number ?? 0;
}
