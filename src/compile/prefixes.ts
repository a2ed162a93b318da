/**
 * The classes that hold by prefix. A node stands where an owner's prefix, a net of a class or its exception is; its list is
 * all that holds for an address whose longest prefix it is. Addresses whose own lists depend on that are here as `watch`.
 */
import type { Address, Prefix } from "../model/types.js";
import type { ClassRecord } from "./classes.js";
import type { ClassList } from "./desired.js";
import type { LabelIndex, Owner, SelectorRecord } from "./labels-index.js";
import type { ClassChanges, ListPool } from "./lists.js";
import { Trie, type TrieNode } from "./trie.js";
import type { Views } from "./views.js";

export interface PrefixData {
  readonly prefix: Prefix;
  readonly owners: Owner[];
  readonly begins: Set<ClassRecord>;
  readonly ends: Set<ClassRecord>;
  watch: Address | undefined;
  /** As last handed on, and as it will be; undefined: nothing is handed on for it. */
  list: ClassList | undefined;
  next: ClassList | undefined;
}

export type PrefixNode = TrieNode<PrefixData>;

export class PrefixTable {
  /** As handed on: part of the DesiredState. */
  readonly prefixes = new Map<Prefix, ClassList>();
  private readonly trie = new Trie<PrefixData>();
  private readonly dirty = new Set<PrefixNode>();
  private touched = new Set<PrefixNode>();

  constructor(
    private readonly index: LabelIndex,
    private readonly views: Views,
    private readonly lists: ListPool,
  ) {}

  /** The node of a prefix, made when missing, and marked: whatever lies under it is judged again by the next `refresh`. */
  touch(prefix: Prefix): PrefixNode & { data: PrefixData } {
    const node = this.trie.insert(prefix);
    node.data ??= {
      prefix,
      owners: [],
      begins: new Set(),
      ends: new Set(),
      watch: undefined,
      list: undefined,
      next: undefined,
    };
    this.dirty.add(node);
    return node as PrefixNode & { data: PrefixData };
  }

  find(prefix: Prefix): PrefixNode | undefined {
    return this.trie.find(prefix);
  }

  /** Owners of the prefix and of those around it. */
  *ownersAround(prefix: Prefix): Iterable<Owner> {
    for (let at = this.trie.longest(prefix); at !== undefined; at = at.parent) yield* at.data?.owners ?? [];
  }

  /** What lies in a prefix, itself included. */
  *within(prefix: Prefix): Iterable<PrefixData> {
    const pending = [this.trie.under(prefix)];
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (node.data !== undefined) yield node.data;
      for (const child of [node.left, node.right]) if (child !== undefined) pending.push(child);
    }
  }

  /** Works out `next` of everything under marked nodes, and says which watched addresses are there. */
  refresh(): Address[] {
    const watched: Address[] = [];
    const walk = (node: PrefixNode | undefined): void => {
      if (node === undefined || this.touched.has(node)) return;
      this.touched.add(node);
      if (node.data !== undefined) {
        node.data.next = this.isNamed(node.data) ? this.judge(node) : undefined;
        if (node.data.watch !== undefined) watched.push(node.data.watch);
      }
      walk(node.left);
      walk(node.right);
    };
    for (const node of this.dirty) walk(node);
    this.dirty.clear();
    return watched;
  }

  /** What holds by prefix at a node: as it will be (after `refresh`), and as it was (before `commit`). */
  nextAt(node: PrefixNode): ClassList | undefined {
    return nearest(node, (data) => data.next);
  }

  oldAt(node: PrefixNode): ClassList | undefined {
    return nearest(node, (data) => data.list);
  }

  /** Makes `next` what is handed on. Returns the prefixes that differ. */
  commit(changes: ClassChanges): Set<Prefix> {
    const differing = new Set<Prefix>();
    for (const node of this.touched) {
      if (node.data === undefined || node.data.list === node.data.next) continue;
      changes.note(this.oldAt(node), this.nextAt(node));
      differing.add(node.data.prefix);
    }
    for (const node of this.touched) {
      if (node.data === undefined) continue;
      const { prefix, list, next } = node.data;
      this.lists.move(list, next);
      node.data.list = next;
      if (next === undefined) this.prefixes.delete(prefix);
      else if (next !== list) this.prefixes.set(prefix, next);
    }
    for (const node of this.touched) {
      if (node.data === undefined || !isUnused(node.data)) continue;
      node.data = undefined;
      this.trie.discard(node);
    }
    this.touched = new Set();
    return differing;
  }

  /** Selectors that some covering prefix of the node (or its own) is in. */
  selectorsAt(node: PrefixNode): Set<SelectorRecord> {
    const selectors = new Set<SelectorRecord>();
    for (let at: PrefixNode | undefined = node; at !== undefined; at = at.parent) {
      for (const owner of at.data?.owners ?? []) {
        for (const selector of this.views.of(this.index.of(owner)).selectors) selectors.add(selector);
      }
    }
    return selectors;
  }

  /** An owner's prefix that no class asks about needs no entry. */
  private isNamed({ begins, ends, owners }: PrefixData): boolean {
    return (
      begins.size + ends.size > 0 || owners.some((owner) => this.views.of(this.index.of(owner)).selectors.length > 0)
    );
  }

  private judge(node: PrefixNode): ClassList {
    const selectors = this.selectorsAt(node);
    const begun = new Set<ClassRecord>();
    const ended = new Set<ClassRecord>();
    for (let at: PrefixNode | undefined = node; at !== undefined; at = at.parent) {
      for (const record of at.data?.begins ?? []) begun.add(record);
      for (const record of at.data?.ends ?? []) ended.add(record);
    }
    const holding: ClassRecord[] = [];
    const consider = (record: ClassRecord): void => {
      if (record.begins.length > 0 && !begun.has(record)) return;
      if (ended.has(record) || (record.notSelector !== undefined && selectors.has(record.notSelector))) return;
      holding.push(record);
    };
    for (const record of begun) if (record.selector === undefined) consider(record);
    for (const { positive } of selectors) for (const record of positive) consider(record);
    return this.lists.intern(holding);
  }
}

function isUnused({ owners, begins, ends, watch }: PrefixData): boolean {
  return owners.length + begins.size + ends.size === 0 && watch === undefined;
}

function nearest(node: PrefixNode, pick: (data: PrefixData) => ClassList | undefined): ClassList | undefined {
  for (let at: PrefixNode | undefined = node; at !== undefined; at = at.parent) {
    const list = at.data === undefined ? undefined : pick(at.data);
    if (list !== undefined) return list;
  }
  return undefined;
}
