/** The classes that rules name: counted, and hung on the selectors and prefixes that decide about them. */
import type { Prefix } from "../model/types.js";
import { type ClassKey } from "./desired.js";
import type { LabelIndex, SelectorRecord } from "./labels-index.js";
import { EVERYWHERE, type SideMatch } from "./match.js";

export interface ClassRecord {
  readonly key: ClassKey;
  readonly nets: readonly Prefix[];
  readonly notNets: readonly Prefix[];
  readonly selector: SelectorRecord | undefined;
  readonly notSelector: SelectorRecord | undefined;
  /** Where it begins and ends to hold by prefix; without selector and nets it begins everywhere. */
  readonly begins: readonly Prefix[];
  /** How many rules name it. */
  references: number;
}

/** Told of a class that comes or goes, after it was hung on its selectors or before it is taken off. */
export interface ClassListener {
  classAdded(record: ClassRecord): void;
  classRemoved(record: ClassRecord): void;
}

export class ClassBook {
  private readonly records = new Map<ClassKey, ClassRecord>();

  constructor(
    private readonly index: LabelIndex,
    private readonly listener: ClassListener,
  ) {}

  get(key: ClassKey): ClassRecord | undefined {
    return this.records.get(key);
  }

  /** Counted: every call needs one release. */
  acquire(match: SideMatch): ClassRecord {
    const known = this.records.get(match.key);
    if (known !== undefined) {
      known.references++;
      return known;
    }
    const everywhere = match.selector === undefined && match.nets.length === 0;
    const record: ClassRecord = {
      key: match.key,
      nets: match.nets,
      notNets: match.notNets,
      selector: match.selector === undefined ? undefined : this.index.acquire(match.selector),
      notSelector: match.notSelector === undefined ? undefined : this.index.acquire(match.notSelector),
      begins: everywhere ? [EVERYWHERE[4], EVERYWHERE[6]] : match.nets,
      references: 1,
    };
    this.records.set(match.key, record);
    record.selector?.positive.add(record);
    record.notSelector?.negative.add(record);
    this.listener.classAdded(record);
    return record;
  }

  release(record: ClassRecord): void {
    if (--record.references > 0) return;
    this.records.delete(record.key);
    this.listener.classRemoved(record);
    for (const selector of [record.selector, record.notSelector]) {
      if (selector === undefined) continue;
      selector.positive.delete(record);
      selector.negative.delete(record);
      this.index.release(selector);
    }
  }
}
