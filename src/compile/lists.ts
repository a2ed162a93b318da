/** Class lists, one object for equal lists, as long as anybody holds it. */
import type { ClassRecord } from "./classes.js";
import type { ClassKey, ClassList } from "./desired.js";

interface Entry {
  readonly text: string;
  readonly list: ClassList;
  holders: number;
}

export class ListPool {
  private readonly byText = new Map<string, Entry>();
  private readonly byList = new Map<ClassList, Entry>();
  private fresh: Entry[] = [];

  /** Sorted and without repetition. Lives until the next `sweep` unless somebody holds it. */
  intern(records: Iterable<ClassRecord>, complete = false): ClassList {
    const classes = [...new Set(Array.from(records, (record) => record.key))].sort();
    const text = JSON.stringify([complete, classes]);
    let entry = this.byText.get(text);
    if (entry === undefined) {
      entry = { text, list: Object.freeze({ classes: Object.freeze(classes), complete }), holders: 0 };
      this.byText.set(text, entry);
      this.byList.set(entry.list, entry);
      this.fresh.push(entry);
    }
    return entry.list;
  }

  /** Moves one hold from one list to another; either may be absent. */
  move(from: ClassList | undefined, to: ClassList | undefined): void {
    const [old, next] = [this.entry(from), this.entry(to)];
    if (next !== undefined) next.holders++;
    if (old !== undefined && --old.holders === 0) this.fresh.push(old);
  }

  /** Forgets lists that nobody holds. */
  sweep(): void {
    for (const entry of this.fresh) {
      if (entry.holders > 0) continue;
      this.byText.delete(entry.text);
      this.byList.delete(entry.list);
    }
    this.fresh = [];
  }

  private entry(list: ClassList | undefined): Entry | undefined {
    return list === undefined ? undefined : this.byList.get(list);
  }
}

/** Classes that something left and entered. */
export class ClassChanges {
  readonly lost = new Set<ClassKey>();
  readonly gained = new Set<ClassKey>();
  /** Pairs of lists that were compared before: many addresses change alike. */
  private readonly seen = new Map<ClassList | undefined, Set<ClassList | undefined>>();

  note(old: ClassList | undefined, next: ClassList | undefined): void {
    if (old === next) return;
    let partners = this.seen.get(old);
    if (partners === undefined) this.seen.set(old, (partners = new Set()));
    if (partners.has(next)) return;
    partners.add(next);
    this.noteClasses(old?.classes ?? [], next?.classes ?? []);
  }

  noteClasses(old: readonly ClassKey[], next: readonly ClassKey[]): void {
    const [before, after] = [new Set(old), new Set(next)];
    for (const key of before) if (!after.has(key)) this.lost.add(key);
    for (const key of after) if (!before.has(key)) this.gained.add(key);
  }
}
