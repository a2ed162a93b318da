/** Classes of an address or prefix → entries of `remote` and `prefix` (D2), with composites where there are too many. Pure. */
import { ClassesFlag, ClassNumber, Limits, NameKind } from "../../abi/layout.gen.js";
import { parse, record, type Bytes } from "../../abi/records.js";
import { ANY_CLASS, type ClassKey, type ClassList } from "../../compile/desired.js";
import type { Registry } from "./registry.js";

/**
 * Numbers of classes and of composites. An address in more classes than a value holds has the first ones and one composite that stands for the
 * rest; every rule of a member class is written under the composite as well.
 */
export class ClassTable {
  readonly #composites = new Map<string, readonly ClassKey[]>();
  readonly #byMember = new Map<ClassKey, Set<string>>();
  #values = new Map<ClassList, Bytes>();

  constructor(private readonly registry: Registry) {}

  /** A class's own number, then those of the composites that hold it. */
  numbers(key: ClassKey): readonly number[] {
    if (key === ANY_CLASS) return [ClassNumber.CLASS_ANY];
    const composites = [...(this.#byMember.get(key) ?? [])].sort();
    return [key as string, ...composites].map((text) => this.registry.number(NameKind.NAME_CLASS, text));
  }

  /** Makes the composites that a list needs; the members of those that are new, whose rules must now be written under them too. */
  prepare(list: ClassList): readonly ClassKey[] {
    const tail = split(list).tail;
    const text = compositeText(tail);
    if (tail.length === 0 || this.#composites.has(text)) return [];
    this.#composites.set(text, tail);
    for (const member of tail) {
      const set = this.#byMember.get(member);
      if (set === undefined) this.#byMember.set(member, new Set([text]));
      else set.add(text);
    }
    return tail;
  }

  /** Value of a list; the same list object is encoded once. */
  value(list: ClassList): Bytes {
    let value = this.#values.get(list);
    if (value === undefined) {
      const { head, tail } = split(list);
      const texts = tail.length === 0 ? head : [...head, compositeText(tail)];
      value = encodeClasses(
        texts.map((text) => this.registry.number(NameKind.NAME_CLASS, text)),
        list.complete,
      );
      this.#values.set(list, value);
    }
    return value;
  }

  /** Lets go of the lists; the next apply may have others. */
  forgetLists(): void {
    this.#values = new Map();
  }
}

function split(list: ClassList): { head: readonly string[]; tail: readonly ClassKey[] } {
  const classes = list.classes.filter((key) => key !== ANY_CLASS);
  if (classes.length <= Limits.CLASSES_PER_ADDRESS) return { head: classes, tail: [] };
  const sorted = [...classes].sort();
  return { head: sorted.slice(0, Limits.CLASSES_PER_ADDRESS - 1), tail: sorted.slice(Limits.CLASSES_PER_ADDRESS - 1) };
}

/** What a composite's number stands for, told apart from every class text by its first word. */
function compositeText(members: readonly ClassKey[]): string {
  return `all of ${JSON.stringify(members)}`;
}

function encodeClasses(numbers: readonly number[], complete: boolean): Bytes {
  return record("classes", {
    number: numbers,
    count: numbers.length,
    flags: complete ? ClassesFlag.CLASSES_COMPLETE : 0,
  });
}

export const NO_CLASSES = encodeClasses([], false);

export function classNumbers(value: Bytes): { readonly numbers: readonly number[]; readonly complete: boolean } {
  const classes = parse("classes", value);
  return {
    numbers: classes.number.slice(0, classes.count),
    complete: (classes.flags & ClassesFlag.CLASSES_COMPLETE) !== 0,
  };
}

/** Both lists at once. Undefined when they do not fit into one value: then one write goes straight from one to the other. */
export function uniteClasses(before: Bytes | undefined, after: Bytes | undefined): Bytes | undefined {
  if (before === undefined || after === undefined) return before ?? after;
  const [a, b] = [classNumbers(before), classNumbers(after)];
  const numbers = [...new Set([...a.numbers, ...b.numbers])];
  // Complete as soon as either is: classes of the longest prefix hold in neither or only in one of the two answers.
  return numbers.length > Limits.CLASSES_PER_ADDRESS ? undefined : encodeClasses(numbers, a.complete || b.complete);
}

/** Whether a class of `before` is missing in `after`. */
export function losesClasses(before: Bytes | undefined, after: Bytes | undefined): boolean {
  if (before === undefined) return false;
  const kept = after === undefined ? [] : classNumbers(after).numbers;
  return classNumbers(before).numbers.some((number) => !kept.includes(number));
}
