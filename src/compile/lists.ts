/** Class lists, one object for equal lists, as long as anybody holds it. */
import type { ClassRecord } from "./classes.js";
import type { ClassKey, ClassList } from "./desired.js";

interface Entry {
  readonly list: ClassList;
  holders: number;
}

/** Lists that begin alike. Found key by key: a class of many prefixes has a long key, which is never to be copied for each of them. */
interface Branch {
  readonly longer: Map<ClassKey, Branch>;
  /** Of the list that ends here: as it is, and complete. */
  readonly entries: [Entry | undefined, Entry | undefined];
}

const newBranch = (): Branch => ({ longer: new Map(), entries: [undefined, undefined] });

export class ListPool {
  private readonly root = newBranch();
  private readonly byList = new Map<ClassList, Entry>();
  private fresh: Entry[] = [];

  /** Sorted and without repetition. Lives until the next `sweep` unless somebody holds it. */
  intern(records: Iterable<ClassRecord>, complete = false): ClassList {
    const classes = [...new Set(Array.from(records, (record) => record.key))].sort();
    let branch = this.root;
    for (const key of classes) {
      let longer = branch.longer.get(key);
      if (longer === undefined) branch.longer.set(key, (longer = newBranch()));
      branch = longer;
    }
    const at = complete ? 1 : 0;
    let entry = branch.entries[at];
    if (entry === undefined) {
      entry = { list: Object.freeze({ classes: Object.freeze(classes), complete }), holders: 0 };
      branch.entries[at] = entry;
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
      this.forget(entry.list);
      this.byList.delete(entry.list);
    }
    this.fresh = [];
  }

  private forget({ classes, complete }: ClassList): void {
    const path: Branch[] = [this.root];
    for (const key of classes) path.push(path.at(-1)?.longer.get(key) ?? newBranch());
    const last = path.at(-1);
    if (last !== undefined) last.entries[complete ? 1 : 0] = undefined;
    for (let i = classes.length; i > 0; i--) {
      const [branch, key] = [path[i], classes[i - 1]];
      if (branch === undefined || key === undefined || branch.longer.size > 0 || branch.entries.some(Boolean)) return;
      path[i - 1]?.longer.delete(key);
    }
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
