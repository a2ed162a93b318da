/** The endpoints of this host as they must be enforced. */
import { addressToPrefix, isSingle } from "../model/cidr.js";
import { floatingIps, type Floating } from "../model/floating.js";
import type { EndpointId, LocalWorkload, Prefix } from "../model/types.js";
import type { Problem } from "../problems.js";
import { quote } from "../text.js";
import type { DesiredEndpoint, Move, PolicySetKey } from "./desired.js";
import type { LabelSetRecord, Owner } from "./labels-index.js";
import { isEndpoint } from "./owners.js";
import type { Enforcement, Planner } from "./planes.js";
import type { PolicySets } from "./sets.js";

interface LocalRecord {
  readonly workload: LocalWorkload;
  readonly labels: LabelSetRecord;
  enforcement: Enforcement | undefined;
  held: readonly PolicySetKey[];
}

export class Locals {
  readonly endpoints = new Map<EndpointId, DesiredEndpoint>();
  readonly alsoRemote = new Set<Prefix>();
  private readonly records = new Map<EndpointId, LocalRecord>();
  private readonly byInterface = new Map<string, Set<EndpointId>>();
  private readonly byPrefix = new Map<Prefix, Set<EndpointId>>();
  /** Endpoints whose sets depend on who owns their addresses. */
  private readonly byMembership = new Set<EndpointId>();
  private dirty = new Set<EndpointId>();
  /** Of endpoints that name floating IPs. */
  private readonly named = new Set<EndpointId>();
  /** What live migrations do to endpoints; who is named otherwise than before is to be put or marked. */
  moves: ReadonlyMap<EndpointId, Move> = new Map();
  private floating: Floating = { byEndpoint: new Map(), problems: [] };
  private wrong: readonly Problem[] | undefined;
  /** Whose `alsoRemote` must be looked at again. */
  private questioned = new Set<Prefix>();

  /**
   * @param isElsewhere whether an endpoint of another host has exactly this prefix
   * @param isOwned whether any endpoint has exactly this prefix
   */
  constructor(
    private readonly sets: PolicySets,
    private readonly isElsewhere: (prefix: Prefix) => boolean,
    private readonly isOwned: (prefix: Prefix) => boolean = () => false,
  ) {}

  put(id: EndpointId, workload: LocalWorkload | undefined, labels: LabelSetRecord | undefined): void {
    const old = this.records.get(id);
    if (old !== undefined) this.claim(old.workload.interfaceName, id, false);
    if (workload === undefined || labels === undefined) this.records.delete(id);
    else {
      this.records.set(id, { workload, labels, enforcement: old?.enforcement, held: old?.held ?? [] });
      this.claim(workload.interfaceName, id, true);
    }
    if (old !== undefined && !this.records.has(id)) this.hold(id, old, undefined);
    if ((workload?.nats.length ?? 0) > 0 && this.records.has(id)) this.named.add(id);
    else this.named.delete(id);
    this.dirty.add(id);
  }

  /** Endpoints to be compiled again: all that the condition picks. */
  mark(picks: (labels: LabelSetRecord, workload: LocalWorkload) => boolean): void {
    for (const [id, { labels, workload }] of this.records) if (picks(labels, workload)) this.dirty.add(id);
  }

  /** What an endpoint or network set owns or is labelled changed: it had or has these prefixes. */
  ownerChanged(owner: Owner): void {
    for (const prefix of owner.prefixes) {
      const ids = this.byPrefix.get(prefix);
      if (ids !== undefined) this.questioned.add(prefix);
      for (const id of ids ?? []) if (this.byMembership.has(id)) this.dirty.add(id);
      // Other than an endpoint's single address, it may lie around or within anything (see owned.ts).
      if (!isSingle(prefix) || !isEndpoint(owner)) for (const id of this.byMembership) this.dirty.add(id);
    }
  }

  /** Compiles what is marked. Returns the endpoints that differ. */
  flush(planner: Planner): Set<EndpointId> {
    const differing = new Set<EndpointId>();
    this.settleFloating();
    if (this.dirty.size > 0) this.wrong = undefined;
    for (const id of this.dirty) {
      const record = this.records.get(id);
      if (record !== undefined) this.hold(id, record, planner.enforcement(record.workload, record.labels));
      const [old, next] = [this.endpoints.get(id), record && this.desired(id, record)];
      if (old?.workload === next?.workload && JSON.stringify(old) === JSON.stringify(next)) continue;
      differing.add(id);
      if (next === undefined) this.endpoints.delete(id);
      else this.endpoints.set(id, next);
    }
    this.dirty = new Set();
    for (const prefix of this.questioned) this.settleElsewhere(prefix, differing);
    this.questioned = new Set();
    return differing;
  }

  /** As of the last flush. */
  problems(): readonly Problem[] {
    return (this.wrong ??= [
      ...[...this.records].flatMap(([id, record]) => [...this.problemsOf(id, record)]),
      ...this.floating.problems,
    ]);
  }

  private *problemsOf(id: EndpointId, { workload, enforcement }: LocalRecord): Iterable<Problem> {
    const where = workload.key;
    const winner = this.rival(id, workload);
    if (winner !== undefined) {
      yield {
        where,
        code: "INTERFACE_CLAIMED_TWICE",
        what: `interface ${quote(workload.interfaceName)} belongs to ${quote(winner.key)} as well`,
        consequence: `this endpoint passes nothing; ${quote(winner.key)} has the interface`,
      };
    }
    if (enforcement?.missingProfile !== undefined) {
      yield {
        where,
        code: "UNKNOWN_PROFILE",
        what: `profile ${quote(enforcement.missingProfile)} is not in the datastore`,
        consequence: "neither it nor the profiles after it allow anything",
      };
    }
    if (enforcement?.tooManyPlanes === true) {
      yield {
        where,
        code: "TOO_MANY_TIERS",
        what: "policies of more tiers apply to it than can be enforced",
        consequence: "its security groups allow nothing",
      };
    }
  }

  /** The endpoint that has the interface instead of this one: the lowest id wins. */
  private rival(id: EndpointId, { interfaceName }: LocalWorkload): LocalWorkload | undefined {
    let lowest = id;
    for (const other of this.byInterface.get(interfaceName) ?? []) if (other < lowest) lowest = other;
    return lowest === id ? undefined : this.records.get(lowest)?.workload;
  }

  private desired(id: EndpointId, { workload, enforcement }: LocalRecord): DesiredEndpoint | undefined {
    if (enforcement === undefined) return undefined;
    const winner = this.rival(id, workload);
    const floating = this.floating.byEndpoint.get(id);
    const move = this.moves.get(id);
    const blocked = workload.blocked ?? (winner && `its interface belongs to ${quote(winner.key)} as well`);
    return {
      id,
      workload,
      interfaceName: workload.interfaceName,
      mac: workload.mac,
      owned: enforcement.owned,
      set: enforcement.sets[0].shape.key,
      portSecurity: workload.portSecurity,
      adminUp: workload.adminUp,
      ...(move === undefined ? {} : { move }),
      ...(floating === undefined ? {} : { floating }),
      ...(blocked === undefined ? {} : { blocked }),
    };
  }

  /** Who has which floating IP may depend on any endpoint of the cloud: those for whom it is different now are compiled again. */
  private settleFloating(): void {
    if (this.named.size + this.floating.byEndpoint.size + this.floating.problems.length === 0) return;
    const workloads = [...this.named].flatMap((id) => this.records.get(id)?.workload ?? []);
    const next = floatingIps(workloads, (external) => this.isOwned(addressToPrefix(external)));
    const before = this.floating;
    for (const id of new Set([...before.byEndpoint.keys(), ...next.byEndpoint.keys()]))
      if (JSON.stringify(before.byEndpoint.get(id)) !== JSON.stringify(next.byEndpoint.get(id))) this.dirty.add(id);
    if (JSON.stringify(before.problems) !== JSON.stringify(next.problems)) this.wrong = undefined;
    this.floating = next;
  }

  private claim(interfaceName: string, id: EndpointId, add: boolean): void {
    const claims = this.byInterface.get(interfaceName) ?? new Set();
    if (add) claims.add(id);
    else claims.delete(id);
    if (claims.size > 0) this.byInterface.set(interfaceName, claims);
    else this.byInterface.delete(interfaceName);
    for (const other of claims) this.dirty.add(other);
  }

  /** Moves its holds from the sets and prefixes it had to those it has now. */
  private hold(id: EndpointId, record: LocalRecord, next: Enforcement | undefined): void {
    for (const set of next?.sets ?? []) this.sets.hold(set);
    for (const key of record.held) this.sets.drop(key);
    for (const { prefix } of record.enforcement?.owned ?? []) {
      this.questioned.add(prefix);
      const ids = this.byPrefix.get(prefix);
      if (ids?.delete(id) === true && ids.size === 0) this.byPrefix.delete(prefix);
    }
    for (const { prefix } of next?.owned ?? []) {
      this.questioned.add(prefix);
      this.byPrefix.set(prefix, (this.byPrefix.get(prefix) ?? new Set()).add(id));
    }
    record.enforcement = next;
    if (next?.byMembership === true) this.byMembership.add(id);
    else this.byMembership.delete(id);
    record.held = next?.sets.map(({ shape }) => shape.key) ?? [];
  }

  /**
   * A pair that is more than one address never shows that its sender is local: 0.0.0.0/0 is a common one, and would make the
   * whole world's packets look spoofed on the uplink. The same goes for a piece cut out of it.
   */
  private settleElsewhere(prefix: Prefix, differing: Set<EndpointId>): void {
    const ids = this.byPrefix.get(prefix) ?? new Set<EndpointId>();
    const isOwn = (id: EndpointId): boolean => this.records.get(id)?.workload.prefixes.includes(prefix) ?? false;
    const shared = ids.size > 0 && (!isSingle(prefix) || ![...ids].some(isOwn) || this.isElsewhere(prefix));
    if (shared === this.alsoRemote.has(prefix)) return;
    if (shared) this.alsoRemote.add(prefix);
    else this.alsoRemote.delete(prefix);
    for (const id of ids) differing.add(id);
  }
}
