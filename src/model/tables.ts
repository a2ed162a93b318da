/** Everything the model holds, by kind, and what the present event has changed of it. */
import { DeltaBuilder } from "./delta.js";
import { EndpointTable } from "./endpoint-table.js";
import { LabelInterner } from "./labels.js";
import { RuleTable } from "./rule-table.js";
import { same } from "./same.js";
import type {
  ClusterInfo,
  FelixSettings,
  LabelSet,
  LiveMigration,
  Model,
  NetworkSet,
  Policy,
  PolicyId,
  Profile,
  Subnet,
  Tier,
} from "./types.js";

/** Kinds that are kept as they were parsed. */
interface PlainMaps {
  readonly tiers: Map<string, Tier>;
  readonly networkSets: Map<string, NetworkSet>;
  readonly subnets: Map<string, Subnet>;
  readonly migrations: Map<string, LiveMigration>;
}

export class Tables {
  readonly labels = new LabelInterner();
  private readonly doubts = {
    tiers: new Set<string>(),
    sets: new Map<string, ReadonlyMap<string, string> | undefined>(),
  };
  readonly policies = new RuleTable<PolicyId, Policy>(this.doubts);
  readonly profiles = new RuleTable<string, Profile>(this.doubts);
  readonly endpoints = new EndpointTable(this.labels, this.profiles.values);
  readonly plain: PlainMaps = { tiers: new Map(), networkSets: new Map(), subnets: new Map(), migrations: new Map() };
  readonly clusters = new Map<string, ClusterInfo>();
  readonly felix = new Map<string, FelixSettings>();
  /** Of the present event. */
  delta = new DeltaBuilder();
  private doubtsChanged = false;

  put<F extends keyof PlainMaps>(
    field: F,
    id: string,
    value: PlainMaps[F] extends Map<string, infer V extends object> ? V : never,
  ): void {
    const map = this.plain[field] as Map<string, typeof value>;
    if (!same(map.get(id), value)) this.delta[field].add(id);
    map.set(id, value);
  }

  drop(field: keyof PlainMaps, id: string): void {
    if (this.plain[field].delete(id)) this.delta[field].add(id);
  }

  /** ClusterInformation or FelixConfiguration; undefined removes it. */
  setting<T extends object>(map: Map<string, T>, name: string, value: T | undefined): void {
    if (!same(map.get(name), value)) this.delta.settings = true;
    if (value === undefined) map.delete(name);
    else map.set(name, value);
  }

  profileChanged(name: string): void {
    this.delta.profiles.add(name);
    for (const id of this.endpoints.relabel(name)) this.delta.endpoints.add(id);
  }

  /** Says whether a tier is one that could not be read. */
  doubtTier(name: string, doubtful: boolean): void {
    if (doubtful === this.doubts.tiers.has(name)) return;
    if (doubtful) this.doubts.tiers.add(name);
    else this.doubts.tiers.delete(name);
    this.doubtsChanged = true;
  }

  /** Says whether a network set could not be read in full; `labels` as far as they are known. */
  doubtSet(id: string, doubtful: boolean, labels?: ReadonlyMap<string, string>): void {
    if (!doubtful && !this.doubts.sets.has(id)) return;
    if (doubtful) this.doubts.sets.set(id, labels);
    else this.doubts.sets.delete(id);
    this.doubtsChanged = true;
  }

  /** Closes the present event; its delta. */
  finish(): DeltaBuilder {
    if (this.doubtsChanged) {
      this.doubtsChanged = false;
      for (const id of this.policies.reconsider()) this.delta.policies.add(id);
      for (const name of this.profiles.reconsider()) this.delta.profiles.add(name);
    }
    if (this.labels.wantsSweep) this.labels.sweep(this.usedLabels());
    const { delta } = this;
    this.delta = new DeltaBuilder();
    return delta;
  }

  view(hostname: string): Model {
    const cluster = this.clusters.get("default");
    const settings = [this.felix.get("default"), this.felix.get(`node.${hostname}`)].filter((one) => one !== undefined);
    return {
      hostname,
      endpoints: this.endpoints.endpoints,
      locals: this.endpoints.locals,
      policies: this.policies.values,
      profiles: this.profiles.values,
      ...this.plain,
      ...(cluster !== undefined && { cluster }),
      ...(settings.length > 0 && { felix: Object.assign({}, ...settings) as FelixSettings }),
    };
  }

  private usedLabels(): ReadonlySet<LabelSet> {
    const used = new Set<LabelSet>();
    for (const { labels } of this.endpoints.endpoints.values()) used.add(labels);
    for (const { labels } of this.plain.networkSets.values()) used.add(labels);
    return used;
  }
}
