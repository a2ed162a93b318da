/** What the compiler must agree with: sides judged straight from the model, and addresses looked up as a packet would be. */
import { addressToPrefix, contains, family, prefixLength } from "../../../src/model/cidr.js";
import { ANY_CLASS, type ClassKey, type DesiredState } from "../../../src/compile/desired.js";
import { evaluate, parseSelector } from "../../../src/model/selector.js";
import type { Address, Model, Prefix, RuleSide } from "../../../src/model/types.js";

/** Whether some endpoint or network set that the selector matches has the address. */
export function isIn(model: Model, selector: string, address: Address): boolean {
  const parsed = parseSelector(selector);
  return [...model.endpoints.values(), ...model.networkSets.values()].some(
    ({ labels, prefixes }) => evaluate(parsed, labels.labels) && prefixes.some((one) => contains(one, address)),
  );
}

export function sideHolds(model: Model, side: RuleSide, address: Address): boolean {
  return (
    (side.selector === undefined || isIn(model, side.selector, address)) &&
    (side.notSelector === undefined || !isIn(model, side.notSelector, address)) &&
    (side.nets.length === 0 || side.nets.some((net) => contains(net, address))) &&
    !side.notNets.some((net) => contains(net, address))
  );
}

/** Classes of an address by D2: its exact entry, and unless that is complete those of its longest prefix. */
export function classesOf(state: DesiredState, address: Address): ReadonlySet<ClassKey> {
  const exact = state.addresses.get(address);
  let longest: Prefix | undefined;
  for (const prefix of state.prefixes.keys()) {
    if (!contains(prefix, address)) continue;
    if (longest === undefined || prefixLength(prefix) > prefixLength(longest)) longest = prefix;
  }
  const byPrefix = longest === undefined ? [] : (state.prefixes.get(longest)?.classes ?? []);
  return new Set([ANY_CLASS, ...(exact?.classes ?? []), ...(exact?.complete === true ? [] : byPrefix)]);
}

export function isOf(address: Address, families: readonly number[]): boolean {
  return families.includes(family(addressToPrefix(address)));
}
