/**
 * Which address is in which class: keeps `addresses` and `prefixes` of the DesiredState in step with owners (endpoints, network
 * sets) and classes. Changes are noted as they come and worked out together by `flush`.
 */
import { BigMap } from "../model/big-map.js";
import { addressToPrefix, contains, isSingle, prefixToAddress } from "../model/cidr.js";
import type { Address, Prefix } from "../model/types.js";
import { ClassBook, type ClassRecord } from "./classes.js";
import type { ClassKey, ClassList } from "./desired.js";
import { LabelIndex, type LabelSetRecord, type Owner, type SelectorRecord } from "./labels-index.js";
import { ClassChanges, ListPool } from "./lists.js";
import { isEndpoint, Owners } from "./owners.js";
import { PrefixTable } from "./prefixes.js";
import { Views } from "./views.js";

export interface MembershipChange {
  readonly addresses: ReadonlySet<Address>;
  readonly prefixes: ReadonlySet<Prefix>;
  readonly classes: ClassChanges;
}

export class Membership {
  readonly index = new LabelIndex();
  readonly classes = new ClassBook(this.index, {
    classAdded: (record) => this.hang(record, "add"),
    classRemoved: (record) => this.hang(record, "delete"),
  });
  readonly addresses = new BigMap<Address, ClassList>();
  private readonly owners = new Owners();
  private readonly lists = new ListPool();
  private readonly views = new Views(this.lists);
  private readonly table = new PrefixTable(this.index, this.views, this.lists);
  private readonly dirtySets = new Set<LabelSetRecord>();
  /** May name an address twice: settling it again changes nothing. */
  private dirtyAddresses: Address[] = [];

  get prefixes(): ReadonlyMap<Prefix, ClassList> {
    return this.table.prefixes;
  }

  /** Puts an owner in the place of another; either may be absent. */
  replace(old: Owner | undefined, next: Owner | undefined): void {
    // Joining first keeps a label set that only these two share.
    if (next !== undefined) this.index.join(next);
    if (old !== undefined && next !== undefined && sameMembership(old, next)) {
      this.placeAll(old, next);
      if (old !== next) this.index.leave(old);
      return;
    }
    if (old !== undefined) this.remove(old);
    if (next !== undefined) for (const prefix of next.prefixes) this.place(prefix, undefined, next);
  }

  /** Owners other than network sets that have exactly this prefix. */
  endpointsAt(prefix: Prefix): readonly Owner[] {
    if (isSingle(prefix)) return this.owners.at(prefixToAddress(prefix));
    return (this.table.find(prefix)?.data?.owners ?? []).filter(isEndpoint);
  }

  /** Whether the selector has the whole prefix as a member, whoever owns it. */
  selects({ sets }: SelectorRecord, prefix: Prefix): boolean {
    const owners = isSingle(prefix) ? this.owners.at(prefixToAddress(prefix)) : [];
    return [...owners, ...this.table.ownersAround(prefix)].some((owner) => sets.has(this.index.of(owner)));
  }

  /** Prefixes (not endpoints' single addresses) within one, that a selector has as members. */
  prefixesWithin({ sets }: SelectorRecord, prefix: Prefix): Prefix[] {
    return [...this.table.within(prefix)]
      .filter(({ owners }) => owners.some((owner) => sets.has(this.index.of(owner))))
      .map((data) => data.prefix);
  }

  flush(): MembershipChange {
    for (const set of this.dirtySets) this.refreshSet(set);
    this.dirtySets.clear();
    for (const address of this.dirtyAddresses) this.watch(address);
    for (const address of this.table.refresh()) this.dirtyAddresses.push(address);
    const changes = new ClassChanges();
    const differing = new Set<Address>();
    for (const address of this.dirtyAddresses) {
      if (this.settle(address, changes)) differing.add(address);
    }
    this.dirtyAddresses = [];
    const prefixes = this.table.commit(changes);
    this.lists.sweep();
    return { addresses: differing, prefixes, classes: changes };
  }

  private remove(old: Owner): void {
    for (const prefix of old.prefixes) this.place(prefix, old, undefined);
    const set = this.index.of(old);
    this.index.leave(old);
    if (set.members.size > 0) return;
    this.dirtySets.delete(set);
    this.views.forget(set);
  }

  private placeAll(old: Owner, next: Owner): void {
    for (const prefix of old.prefixes) {
      if (isExact(next, prefix)) this.owners.replace(prefixToAddress(prefix), old, next);
      else swap(this.table.find(prefix)?.data?.owners ?? [], old, next);
    }
  }

  private place(prefix: Prefix, old: Owner | undefined, next: Owner | undefined): void {
    if (isExact((next ?? old) as Owner, prefix)) {
      const address = prefixToAddress(prefix);
      this.owners.replace(address, old, next);
      this.dirtyAddresses.push(address);
    } else swap(this.table.touch(prefix).data.owners, old, next);
  }

  private hang(record: ClassRecord, verb: "add" | "delete"): void {
    for (const prefix of record.begins) this.table.touch(prefix).data.begins[verb](record);
    for (const prefix of record.notNets) this.table.touch(prefix).data.ends[verb](record);
    for (const selector of [record.selector, record.notSelector]) {
      for (const set of selector?.sets ?? []) this.dirtySets.add(set);
    }
  }

  private refreshSet(set: LabelSetRecord): void {
    const old = this.views.known(set);
    const next = this.views.refresh(set);
    const plain = old !== undefined && old.list === next.list && old.conditional.length + next.conditional.length === 0;
    const addressesStay = plain && !old.watched && !next.watched;
    for (const owner of set.members) {
      for (const prefix of owner.prefixes) {
        if (!isExact(owner, prefix)) this.table.touch(prefix);
        else if (!addressesStay) this.dirtyAddresses.push(prefixToAddress(prefix));
      }
    }
  }

  /** Keeps a node in the prefix table for an address whose list depends on the prefixes around it. */
  private watch(address: Address): void {
    const isWatched = (owner: Owner): boolean => this.views.of(this.index.of(owner)).watched;
    const only = this.owners.only(address);
    const wanted = only === undefined ? this.owners.at(address).some(isWatched) : isWatched(only);
    if (!wanted && !this.owners.watched.has(address)) return;
    this.table.touch(addressToPrefix(address)).data.watch = wanted ? address : undefined;
    if (wanted) this.owners.watched.add(address);
    else this.owners.watched.delete(address);
  }

  private settle(address: Address, changes: ClassChanges): boolean {
    const old = this.addresses.get(address);
    const next = this.judge(address);
    const node =
      this.owners.watched.has(address) || old?.complete === true
        ? this.table.find(addressToPrefix(address))
        : undefined;
    if (node === undefined) changes.note(old, next);
    else changes.noteClasses(withInherited(old, this.table.oldAt(node)), withInherited(next, this.table.nextAt(node)));
    if (old === next) return false;
    this.lists.move(old, next);
    if (next === undefined) this.addresses.delete(address);
    else this.addresses.set(address, next);
    return true;
  }

  private judge(address: Address): ClassList | undefined {
    const only = this.owners.only(address);
    const view = only && this.views.of(this.index.of(only));
    if (view !== undefined && view.conditional.length === 0 && !view.watched) return view.list;
    const views = this.owners.at(address).map((owner) => this.views.of(this.index.of(owner)));
    const selectors = new Set(views.flatMap((view) => view.selectors));
    const holding = this.holding(address, selectors);
    if (![...selectors].some(({ negative }) => negative.size > 0)) return nonEmpty(this.lists.intern(holding));
    return this.withoutNegated(address, selectors, holding);
  }

  private holding(address: Address, selectors: ReadonlySet<SelectorRecord>): ClassRecord[] {
    const node = this.owners.watched.has(address) ? this.table.find(addressToPrefix(address)) : undefined;
    const covering = node === undefined ? new Set<SelectorRecord>() : this.table.selectorsAt(node);
    const holds = ({ nets, notNets, notSelector }: ClassRecord): boolean =>
      (nets.length === 0 || nets.some((net) => contains(net, address))) &&
      !notNets.some((net) => contains(net, address)) &&
      !(notSelector !== undefined && (selectors.has(notSelector) || covering.has(notSelector)));
    return [...selectors].flatMap(({ positive }) => [...positive].filter(holds));
  }

  /** An address in a negated selector must not get the classes of its prefix that exclude it: then its list is complete. */
  private withoutNegated(
    address: Address,
    selectors: ReadonlySet<SelectorRecord>,
    holding: ClassRecord[],
  ): ClassList | undefined {
    const node = this.table.find(addressToPrefix(address));
    const inherited = (node && this.table.nextAt(node))?.classes ?? [];
    const records = inherited.map((key) => this.classes.get(key)).filter((record) => record !== undefined);
    const kept = records.filter(({ notSelector }) => notSelector === undefined || !selectors.has(notSelector));
    if (kept.length === records.length) return nonEmpty(this.lists.intern(holding));
    return this.lists.intern([...holding, ...kept], true);
  }
}

function isExact(owner: Owner, prefix: Prefix): boolean {
  return isEndpoint(owner) && isSingle(prefix);
}

function sameMembership(a: Owner, b: Owner): boolean {
  return (
    a.labels === b.labels &&
    a.prefixes.length === b.prefixes.length &&
    a.prefixes.every((prefix, i) => prefix === b.prefixes[i])
  );
}

/** All classes of an address, given its own list and that of its longest prefix. */
function withInherited(list: ClassList | undefined, inherited: ClassList | undefined): readonly ClassKey[] {
  const own = list?.classes ?? [];
  return list?.complete === true ? own : [...own, ...(inherited?.classes ?? [])];
}

function nonEmpty(list: ClassList): ClassList | undefined {
  return list.classes.length > 0 || list.complete ? list : undefined;
}

function swap(owners: Owner[], old: Owner | undefined, next: Owner | undefined): void {
  const at = old === undefined ? -1 : owners.indexOf(old);
  if (at < 0) {
    if (next !== undefined) owners.push(next);
  } else if (next === undefined) owners.splice(at, 1);
  else owners[at] = next;
}
