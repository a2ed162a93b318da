/** Whose an exact address is. Nearly always one endpoint's, so one is kept without a list around it. */
import { BigMap } from "../model/big-map.js";
import type { Address, Endpoint } from "../model/types.js";
import type { Owner } from "./labels-index.js";

export class Owners {
  /** Addresses that have a node in the prefix table. */
  readonly watched = new Set<Address>();
  private readonly byAddress = new BigMap<Address, Owner | Owner[]>();

  at(address: Address): readonly Owner[] {
    const held = this.byAddress.get(address);
    if (held === undefined) return [];
    return Array.isArray(held) ? held : [held];
  }

  /** The owner where there is just one. */
  only(address: Address): Owner | undefined {
    const held = this.byAddress.get(address);
    return Array.isArray(held) ? undefined : held;
  }

  replace(address: Address, old: Owner | undefined, next: Owner | undefined): void {
    const held = this.byAddress.get(address);
    if (next !== undefined && held === old) {
      this.byAddress.set(address, next);
      return;
    }
    const owners = this.at(address).filter((owner) => owner !== old);
    if (next !== undefined) owners.push(next);
    const [only, second] = owners;
    if (only === undefined) this.byAddress.delete(address);
    else this.byAddress.set(address, second === undefined ? only : owners);
  }
}

export function isEndpoint(owner: Owner): owner is Endpoint {
  return "node" in owner;
}
