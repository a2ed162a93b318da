/**
 * From an interface's name to the chain that is its own, in a tree of chains by shared beginnings: with random names of
 * hexadecimal digits, 16 branches a level, so a packet meets some 8 rules a level and log16(n) levels. Pure.
 */
import type { Chain } from "./types.js";

/** Rules that a chain may have before it is split. */
const MOST = 8;

/**
 * @param root name of the chain that is entered, from which its branches' names are made
 * @param leaves by interface name: the chain to go on with; its end returns to whoever jumped to `root`
 * @param last what ends every chain of the tree: what becomes of an interface that is not in it
 */
export function dispatchTree(
  root: string,
  way: "-i" | "-o",
  leaves: ReadonlyMap<string, string>,
  first: Chain,
  last: Chain,
): Map<string, Chain> {
  const chains = new Map<string, Chain>();
  const build = (chain: string, names: readonly string[], before: Chain): void => {
    const rules = [...before];
    if (names.length <= MOST) for (const name of names) rules.push(`${way} ${name} -g ${leaves.get(name) ?? root}`);
    else {
      const shared = sharedBeginning(names);
      for (const [beginning, group] of grouped(names, shared.length + 1)) {
        const [only] = group;
        if (group.length === 1 && only !== undefined) rules.push(`${way} ${only} -g ${leaves.get(only) ?? root}`);
        else {
          const child = `${root}.${beginning}`;
          rules.push(`${way} ${beginning}+ -g ${child}`);
          build(child, group, []);
        }
      }
    }
    chains.set(chain, [...rules, ...last]);
  };
  build(root, [...leaves.keys()].sort(), first);
  return chains;
}

function sharedBeginning(names: readonly string[]): string {
  const [first = "", last = ""] = [names[0], names.at(-1)]; // sorted: what these share, all share
  let length = 0;
  while (length < first.length && first[length] === last[length]) length++;
  return first.slice(0, length);
}

/** A name that ends where others go on comes first, alone: it is named whole. */
function grouped(names: readonly string[], length: number): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const beginning = name.slice(0, length);
    groups.set(beginning, [...(groups.get(beginning) ?? []), name]);
  }
  return groups;
}
