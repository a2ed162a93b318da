import fc from "fast-check";
import { expect, test } from "vitest";
import { Trie, type TrieNode } from "../../../src/compile/trie.js";
import { contains, prefixFromBytes, prefixLength } from "../../../src/model/cidr.js";
import type { Prefix } from "../../../src/model/types.js";

/** Few distinct bits, so that prefixes nest and fork a lot. */
const v4 = fc
  .tuple(fc.array(fc.constantFrom(0, 1, 128, 255), { minLength: 4, maxLength: 4 }), fc.integer({ min: 0, max: 32 }))
  .map(([bytes, length]) =>
    prefixFromBytes(Uint8Array.from([...Array<number>(10).fill(0), 255, 255, ...bytes]), length),
  );
const v6 = fc
  .tuple(fc.array(fc.constantFrom(0, 1, 128, 255), { minLength: 16, maxLength: 16 }), fc.integer({ min: 0, max: 128 }))
  .map(([bytes, length]) => prefixFromBytes(Uint8Array.from([0xfd, ...bytes.slice(1)]), length));
const prefix = fc.oneof(v4, v6, fc.constantFrom("0.0.0.0/0" as Prefix, "::/0" as Prefix));

function underneath(node: TrieNode<Prefix> | undefined): Prefix[] {
  return node === undefined
    ? []
    : [...(node.data === undefined ? [] : [node.data]), ...underneath(node.left), ...underneath(node.right)];
}

test("finds what was put in and not taken out, the longest around a prefix, and all within it", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(prefix, fc.boolean()), { maxLength: 40 }),
      fc.array(prefix, { maxLength: 10 }),
      (steps, asked) => {
        const trie = new Trie<Prefix>();
        const present = new Set<Prefix>();
        for (const [one, keep] of steps) {
          trie.insert(one).data = one;
          present.add(one);
          if (keep) continue;
          const node = trie.find(one);
          if (node === undefined) return expect.fail(`${one} is lost`);
          node.data = undefined;
          trie.discard(node);
          present.delete(one);
        }
        for (const one of [...present, ...asked]) {
          const around = [...present]
            .filter((other) => contains(other, one))
            .sort((a, b) => prefixLength(b) - prefixLength(a));
          expect(trie.longest(one)?.data).toBe(around[0]);
          expect(trie.find(one)?.data).toBe(present.has(one) ? one : undefined);
          expect(underneath(trie.under(one)).sort()).toEqual(
            [...present].filter((other) => contains(one, other)).sort(),
          );
          const chain: (Prefix | undefined)[] = [];
          for (let at = trie.longest(one); at !== undefined; at = at.parent)
            if (at.data !== undefined) chain.push(at.data);
          expect(chain).toEqual(around);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("an emptied trie holds no forks", () => {
  const trie = new Trie<Prefix>();
  const all = ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.0.0/8"] as Prefix[];
  for (const one of all) trie.insert(one).data = one;
  for (const one of all) {
    const node = trie.find(one);
    if (node === undefined) return expect.fail(`${one} is lost`);
    node.data = undefined;
    trie.discard(node);
  }
  expect(trie.under("0.0.0.0/0" as Prefix)).toBeUndefined();
});
