/** What a label set means for the addresses that carry it, worked out once for all of them. */
import type { ClassRecord } from "./classes.js";
import type { ClassList } from "./desired.js";
import type { LabelSetRecord, SelectorRecord } from "./labels-index.js";
import type { ListPool } from "./lists.js";

export interface SetView {
  /** Matching selectors that some class names. */
  readonly selectors: readonly SelectorRecord[];
  /** Classes of an exact address, whatever the address; undefined: none. */
  readonly list: ClassList | undefined;
  /** Classes that depend on the address as well (nets, notNets, notSelector). */
  readonly conditional: readonly ClassRecord[];
  /** Its addresses' lists depend on the prefixes around them: a class excludes a selector that matters here. */
  readonly watched: boolean;
}

export class Views {
  private readonly views = new Map<LabelSetRecord, SetView>();

  constructor(private readonly lists: ListPool) {}

  of(set: LabelSetRecord): SetView {
    const known = this.views.get(set);
    return known ?? this.refresh(set);
  }

  known(set: LabelSetRecord): SetView | undefined {
    return this.views.get(set);
  }

  refresh(set: LabelSetRecord): SetView {
    const old = this.views.get(set);
    const selectors = [...set.matching].filter(({ positive, negative }) => positive.size + negative.size > 0);
    const classes = selectors.flatMap(({ positive }) => [...positive]);
    const plain = classes.filter(isPlain);
    const conditional = classes.filter((one) => !isPlain(one));
    const view: SetView = {
      selectors,
      list: plain.length === 0 ? undefined : this.lists.intern(plain),
      conditional,
      watched:
        selectors.some(({ negative }) => negative.size > 0) || conditional.some((one) => one.notSelector !== undefined),
    };
    this.lists.move(old?.list, view.list);
    this.views.set(set, view);
    return view;
  }

  forget(set: LabelSetRecord): void {
    this.lists.move(this.views.get(set)?.list, undefined);
    this.views.delete(set);
  }
}

function isPlain(record: ClassRecord): boolean {
  return record.nets.length + record.notNets.length === 0 && record.notSelector === undefined;
}
