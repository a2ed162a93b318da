/**
 * A path-compressed binary trie of prefixes, one tree per family (a compressed Patricia tree: Morrison, JACM 1968). Nodes may
 * be there for their data or only as a fork; who empties a node gives it back with `discard`.
 */
import { family, mappedLength, prefixBytes } from "../model/cidr.js";
import type { Family, Prefix } from "../model/types.js";

export class TrieNode<T> {
  parent: TrieNode<T> | undefined;
  left: TrieNode<T> | undefined;
  right: TrieNode<T> | undefined;
  /** Undefined: only a fork. */
  data: T | undefined;

  /** Bits as four signed 32-bit words, the highest first, and how many of them count (IPv4: 96..128). */
  constructor(
    readonly w0: number,
    readonly w1: number,
    readonly w2: number,
    readonly w3: number,
    readonly length: number,
  ) {}
}

export class Trie<T> {
  private readonly roots: Record<Family, TrieNode<T> | undefined> = { 4: undefined, 6: undefined };

  /** The node of exactly this prefix, made when missing. */
  insert(prefix: Prefix): TrieNode<T> {
    const tree = family(prefix);
    const made = nodeOf<T>(prefix);
    let parent: TrieNode<T> | undefined;
    let current = this.roots[tree];
    while (current !== undefined) {
      const common = commonBits(current, made);
      if (common < current.length) return this.fork(tree, current, made, common);
      if (current.length === made.length) return current;
      parent = current;
      current = childTowards(current, made);
    }
    this.attach(tree, parent, made);
    return made;
  }

  find(prefix: Prefix): TrieNode<T> | undefined {
    const wanted = nodeOf<T>(prefix);
    let current = this.roots[family(prefix)];
    while (current !== undefined && current.length <= wanted.length && commonBits(current, wanted) === current.length) {
      if (current.length === wanted.length) return current;
      current = childTowards(current, wanted);
    }
    return undefined;
  }

  /** The node with data that covers the prefix, itself included, and is longest; walk `parent` for the others. */
  longest(prefix: Prefix): TrieNode<T> | undefined {
    const wanted = nodeOf<T>(prefix);
    let best: TrieNode<T> | undefined;
    let current = this.roots[family(prefix)];
    while (current !== undefined && current.length <= wanted.length && commonBits(current, wanted) === current.length) {
      if (current.data !== undefined) best = current;
      if (current.length === wanted.length) break;
      current = childTowards(current, wanted);
    }
    return best;
  }

  /** The top of what lies under a prefix, itself included. */
  under(prefix: Prefix): TrieNode<T> | undefined {
    const wanted = nodeOf<T>(prefix);
    let current = this.roots[family(prefix)];
    while (current !== undefined && current.length < wanted.length && commonBits(current, wanted) === current.length) {
      current = childTowards(current, wanted);
    }
    return current !== undefined && commonBits(current, wanted) === wanted.length ? current : undefined;
  }

  /** Takes a node without data out, and the fork above it when that forks no more. */
  discard(node: TrieNode<T>): void {
    if (node.data !== undefined || (node.left !== undefined && node.right !== undefined)) return;
    const { parent } = node;
    const child = node.left ?? node.right;
    const tree: Family = this.roots[4] !== undefined && rootOf(node) === this.roots[4] ? 4 : 6;
    if (child !== undefined) child.parent = parent;
    if (parent === undefined) this.roots[tree] = child;
    else if (parent.left === node) parent.left = child;
    else parent.right = child;
    if (parent !== undefined && child === undefined) this.discard(parent);
  }

  private fork(tree: Family, current: TrieNode<T>, made: TrieNode<T>, common: number): TrieNode<T> {
    const { parent } = current;
    const top = common === made.length ? made : truncated(made, common);
    this.attach(tree, parent, top);
    place(top, current);
    if (top !== made) place(top, made);
    return made;
  }

  private attach(tree: Family, parent: TrieNode<T> | undefined, node: TrieNode<T>): void {
    if (parent !== undefined) return place(parent, node);
    node.parent = undefined;
    this.roots[tree] = node;
  }
}

function place<T>(parent: TrieNode<T>, node: TrieNode<T>): void {
  node.parent = parent;
  if (bit(node, parent.length) === 0) parent.left = node;
  else parent.right = node;
}

function rootOf<T>(node: TrieNode<T>): TrieNode<T> {
  let current = node;
  while (current.parent !== undefined) current = current.parent;
  return current;
}

function nodeOf<T>(prefix: Prefix): TrieNode<T> {
  const bytes = prefixBytes(prefix);
  const word = (at: number): number =>
    ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
  return new TrieNode<T>(word(0), word(4), word(8), word(12), mappedLength(prefix));
}

function truncated<T>(node: TrieNode<T>, length: number): TrieNode<T> {
  const keep = (word: number, from: number): number =>
    length >= from + 32 ? word : length <= from ? 0 : word & (-1 << (32 - (length - from)));
  return new TrieNode<T>(keep(node.w0, 0), keep(node.w1, 32), keep(node.w2, 64), keep(node.w3, 96), length);
}

/** Leading bits that agree, at most the shorter's length. */
function commonBits<T>(a: TrieNode<T>, b: TrieNode<T>): number {
  const most = Math.min(a.length, b.length);
  let bits = 96 + Math.clz32(a.w3 ^ b.w3);
  if (a.w0 !== b.w0) bits = Math.clz32(a.w0 ^ b.w0);
  else if (a.w1 !== b.w1) bits = 32 + Math.clz32(a.w1 ^ b.w1);
  else if (a.w2 !== b.w2) bits = 64 + Math.clz32(a.w2 ^ b.w2);
  return Math.min(bits, most);
}

function bit<T>(node: TrieNode<T>, at: number): number {
  const word = at < 32 ? node.w0 : at < 64 ? node.w1 : at < 96 ? node.w2 : node.w3;
  return (word >>> (31 - (at & 31))) & 1;
}

function childTowards<T>(node: TrieNode<T>, target: TrieNode<T>): TrieNode<T> | undefined {
  return bit(target, node.length) === 0 ? node.left : node.right;
}
