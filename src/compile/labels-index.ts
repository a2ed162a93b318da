/**
 * Which selectors match which label sets. A selector is judged once per label set, not per endpoint, and only where the label
 * that it requires is there.
 */
import { evaluate, NAMESPACE_LABEL, ORCHESTRATOR_LABEL, parseSelector, requirement } from "../model/selector.js";
import type { Requirement, Selector } from "../model/selector.js";
import type { Endpoint, LabelSet, NetworkSet } from "../model/types.js";
import type { ClassRecord } from "./classes.js";
import type { PolicyRecord } from "./policies.js";

/** What has labels and addresses. */
export type Owner = Endpoint | NetworkSet;

/** A selector in use, with whatever names it. */
export interface SelectorRecord {
  readonly text: string;
  readonly selector: Selector;
  readonly sets: Set<LabelSetRecord>;
  /** Classes that ask for it, and that exclude it. */
  readonly positive: Set<ClassRecord>;
  readonly negative: Set<ClassRecord>;
  /** Policies that apply to what it matches. */
  readonly policies: Set<PolicyRecord>;
  references: number;
}

/** A label set in use. */
export interface LabelSetRecord {
  readonly labels: LabelSet;
  readonly members: Set<Owner>;
  readonly matching: Set<SelectorRecord>;
}

/** Labels that nearly everything has: useless to look up by. */
const COMMON: ReadonlySet<string> = new Set([NAMESPACE_LABEL, ORCHESTRATOR_LABEL]);

export class LabelIndex {
  private readonly selectors = new Map<string, SelectorRecord>();
  private readonly sets = new Map<LabelSet, LabelSetRecord>();
  /** By bucket (see bucketsOf): selectors that need it, label sets that have it. */
  private readonly selectorsBy = new Buckets<SelectorRecord>();
  private readonly setsBy = new Buckets<LabelSetRecord>();

  /** Counted: every call needs one release. The text must parse (the model has parsed it before). */
  acquire(text: string): SelectorRecord {
    const known = this.selectors.get(text);
    if (known !== undefined) {
      known.references++;
      return known;
    }
    const record: SelectorRecord = {
      text,
      selector: parseSelector(text),
      sets: new Set(),
      positive: new Set(),
      negative: new Set(),
      policies: new Set(),
      references: 1,
    };
    this.selectors.set(text, record);
    for (const bucket of requiredBuckets(record.selector)) {
      this.selectorsBy.add(bucket, record);
      for (const set of this.setsBy.get(bucket)) match(record, set);
    }
    return record;
  }

  release(record: SelectorRecord): void {
    if (--record.references > 0) return;
    this.selectors.delete(record.text);
    for (const bucket of requiredBuckets(record.selector)) this.selectorsBy.remove(bucket, record);
    for (const set of record.sets) set.matching.delete(record);
  }

  /** The record of an owner's labels, the owner among its members. */
  join(owner: Owner): LabelSetRecord {
    let record = this.sets.get(owner.labels);
    if (record === undefined) {
      record = { labels: owner.labels, members: new Set(), matching: new Set() };
      this.sets.set(owner.labels, record);
      for (const bucket of presentBuckets(owner.labels)) {
        this.setsBy.add(bucket, record);
        for (const selector of this.selectorsBy.get(bucket)) match(selector, record);
      }
    }
    record.members.add(owner);
    return record;
  }

  leave(owner: Owner): void {
    const record = this.of(owner);
    record.members.delete(owner);
    if (record.members.size > 0) return;
    this.sets.delete(owner.labels);
    for (const bucket of presentBuckets(owner.labels)) this.setsBy.remove(bucket, record);
    for (const selector of record.matching) selector.sets.delete(record);
  }

  /** The record of something that has joined. */
  of(owner: Owner): LabelSetRecord {
    const record = this.sets.get(owner.labels);
    if (record === undefined) throw new Error(`no label set ${owner.labels.id}: it has not joined`);
    return record;
  }
}

function match(selector: SelectorRecord, set: LabelSetRecord): void {
  if (set.matching.has(selector) || !evaluate(selector.selector, set.labels.labels)) return;
  set.matching.add(selector);
  selector.sets.add(set);
}

/** A label name, or name and value; "" stands for "any label set". NUL cannot be in a label name of a selector. */
function bucketOf(key: string, value?: string): string {
  return value === undefined ? `k${key}` : `v${key}\0${value}`;
}

function requiredBuckets(selector: Selector): readonly string[] {
  const terms = selector.root.op === "&&" ? selector.root.terms : [selector.root];
  const choices = terms.flatMap((root) => requirement({ text: "", root }) ?? []).sort((a, b) => cost(a) - cost(b));
  const best = choices[0];
  if (best === undefined) return [""];
  return best.values === undefined ? [bucketOf(best.key)] : best.values.map((value) => bucketOf(best.key, value));
}

function cost({ key, values }: Requirement): number {
  if (values?.length === 0) return -1;
  return (COMMON.has(key) ? 1000 : 0) + Math.min(values?.length ?? 100, 100);
}

function presentBuckets({ labels }: LabelSet): string[] {
  return ["", ...[...labels].flatMap(([key, value]) => [bucketOf(key), bucketOf(key, value)])];
}

class Buckets<T> {
  private readonly map = new Map<string, Set<T>>();

  get(bucket: string): Iterable<T> {
    return this.map.get(bucket) ?? [];
  }

  add(bucket: string, item: T): void {
    const items = this.map.get(bucket);
    if (items === undefined) this.map.set(bucket, new Set([item]));
    else items.add(item);
  }

  remove(bucket: string, item: T): void {
    const items = this.map.get(bucket);
    if (items?.delete(item) === true && items.size === 0) this.map.delete(bucket);
  }
}
