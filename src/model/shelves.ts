/** For each kind: how it is parsed, where it is put, and how it is taken away. */
import type { RawValue } from "../datastore/types.js";
import { networkSetId, policyId, splitEndpointName, type Kind } from "./keys.js";
import { LabelReader } from "./labels.js";
import { parseEndpoint } from "./parse-endpoint.js";
import { parsePolicy } from "./parse-policy.js";
import { parseProfile, parseTier } from "./parse-profile.js";
import { parseNetworkSet } from "./parse-set.js";
import { parseCluster, parseFelix, parseMigration } from "./parse-settings.js";
import { parseSubnet } from "./parse-subnet.js";
import type { ProblemBook } from "./problem-book.js";
import type { Outcome } from "./report.js";
import type { Tables } from "./tables.js";
import type { EndpointId } from "./types.js";

/** A value's place in the datastore. */
export interface Place {
  readonly key: string;
  readonly origin: string;
  readonly name: string;
  readonly namespace: string | undefined;
}

export interface Shelf {
  put(place: Place, raw: RawValue): void;
  remove(place: Place): void;
}

interface ShelfOf<T> {
  has(place: Place): boolean;
  parse(place: Place, raw: RawValue): Outcome<T>;
  set(place: Place, value: T, standsIn: boolean): void;
  /** @param unreadable the key is still there, and nothing can be made of it */
  remove(place: Place, unreadable: boolean): void;
}

/** @param hostname whose endpoints are kept in full */
export function makeShelves(tables: Tables, book: ProblemBook, hostname: string): Readonly<Record<Kind, Shelf>> {
  const shelf = <T>(of: ShelfOf<T>): Shelf => ({
    put(place, raw) {
      const outcome = of.parse(place, raw);
      const verdict = book.judge(place.key, place.origin, outcome, of.has(place));
      if (verdict.do === "set") of.set(place, verdict.value, verdict.standsIn);
      else if (verdict.do === "remove") of.remove(place, outcome.faults.length > 0);
    },
    remove: (place) => of.remove(place, false),
  });
  const policies = shelf(policyShelf(tables));
  const sets = shelf(networkSetShelf(tables));
  return {
    WorkloadEndpoint: shelf(endpointShelf(tables, hostname)),
    NetworkPolicy: policies,
    GlobalNetworkPolicy: policies,
    NetworkSet: sets,
    GlobalNetworkSet: sets,
    Profile: shelf({
      has: ({ name }) => tables.profiles.values.has(name),
      parse: ({ key, origin, name }, raw) => parseProfile(key, origin, name, raw),
      set: ({ name }, profile) => void (tables.profiles.set(name, profile) && tables.profileChanged(name)),
      remove: ({ name }) => void (tables.profiles.delete(name) && tables.profileChanged(name)),
    }),
    Tier: shelf({
      has: ({ name }) => tables.plain.tiers.has(name),
      parse: ({ key, origin, name }, raw) => parseTier(key, origin, name, raw),
      set({ name }, tier, standsIn) {
        tables.put("tiers", name, tier);
        tables.doubtTier(name, standsIn);
      },
      remove({ name }) {
        tables.drop("tiers", name);
        tables.doubtTier(name, false);
      },
    }),
    Subnet: shelf({
      has: ({ name }) => tables.plain.subnets.has(name),
      parse: ({ key, origin, name }, raw) => parseSubnet(key, origin, name, raw),
      set: ({ name }, subnet) => tables.put("subnets", name, subnet),
      remove: ({ name }) => tables.drop("subnets", name),
    }),
    LiveMigration: shelf({
      has: ({ name, namespace = "" }) => tables.plain.migrations.has(`${namespace}/${name}`),
      parse: ({ key, origin, name, namespace = "" }, raw) => parseMigration(key, origin, namespace, name, raw),
      set: (_, migration) => tables.put("migrations", migration.name, migration),
      remove: ({ name, namespace = "" }) => tables.drop("migrations", `${namespace}/${name}`),
    }),
    ClusterInformation: shelf({
      has: ({ name }) => tables.clusters.has(name),
      parse: ({ key, origin, name }, raw) => parseCluster(key, origin, name, raw),
      set: ({ name }, cluster) => tables.setting(tables.clusters, name, cluster),
      remove: ({ name }) => tables.setting(tables.clusters, name, undefined),
    }),
    FelixConfiguration: shelf({
      has: ({ name }) => tables.felix.has(name),
      parse: ({ key, origin, name }, raw) => parseFelix(key, origin, name, raw),
      set: ({ name }, settings) => tables.setting(tables.felix, name, settings),
      remove: ({ name }) => tables.setting(tables.felix, name, undefined),
    }),
  };
}

/** Hosts that one text each is kept for. */
const MOST_NODES = 16_384;

function endpointShelf(tables: Tables, hostname: string): ShelfOf<Parameters<Tables["endpoints"]["put"]>[0]> {
  const labelReader = new LabelReader();
  const nodes = new Map<string, string>();
  // A part of the key, which is kept anyway: a copy for each of 100,000 endpoints is worth 14 MB.
  const idOf = ({ key, namespace = "", name }: Place): EndpointId =>
    key.slice(-(namespace.length + 1 + name.length)) as EndpointId;
  /** The one text that stands for all equal ones. */
  const same = (node: string): string => {
    const known = nodes.get(node);
    if (nodes.size >= MOST_NODES) nodes.clear();
    if (known === undefined) nodes.set(node, node);
    return known ?? node;
  };
  return {
    has: (place) => tables.endpoints.endpoints.has(idOf(place)),
    parse(place, raw) {
      const { key, origin, namespace = "", name } = place;
      const parts = splitEndpointName(name);
      if (parts !== undefined) {
        const whole = { id: idOf(place), key, origin, namespace, name, parts: { ...parts, node: same(parts.node) } };
        return parseEndpoint(whole, raw, parts.node === hostname, labelReader);
      }
      const what = "the name is not <node>-<orchestrator>-<workload>-<endpoint> with hyphens doubled";
      return {
        faults: [{ path: "", code: "BAD_KEY", what }],
        problems: [],
        closedMeans: "there is no such endpoint: its tap stays blocked",
      };
    },
    set(_, draft) {
      if (tables.endpoints.put(draft)) tables.delta.endpoints.add(draft.id);
    },
    remove(place) {
      if (tables.endpoints.delete(idOf(place))) tables.delta.endpoints.add(idOf(place));
    },
  };
}

function policyShelf(tables: Tables): ShelfOf<Parameters<Tables["policies"]["set"]>[1]> {
  return {
    has: ({ name, namespace }) => tables.policies.values.has(policyId(name, namespace)),
    parse: (place, raw) => parsePolicy(place, raw),
    set(_, policy) {
      if (tables.policies.set(policy.id, policy)) tables.delta.policies.add(policy.id);
    },
    remove({ name, namespace }) {
      const id = policyId(name, namespace);
      if (tables.policies.delete(id)) tables.delta.policies.add(id);
    },
  };
}

function networkSetShelf(tables: Tables): ShelfOf<NonNullable<ReturnType<typeof parseNetworkSet>["value"]>> {
  return {
    has: ({ name, namespace }) => tables.plain.networkSets.has(networkSetId(name, namespace)),
    parse: ({ key, origin, name, namespace }, raw) => parseNetworkSet(key, origin, name, namespace, raw),
    set(_, draft, standsIn) {
      tables.put("networkSets", draft.id, { ...draft, labels: tables.labels.intern(draft.labels) });
      tables.doubtSet(draft.id, standsIn, draft.labels);
    },
    remove({ name, namespace }, unreadable) {
      tables.drop("networkSets", networkSetId(name, namespace));
      tables.doubtSet(networkSetId(name, namespace), unreadable);
    },
  };
}
