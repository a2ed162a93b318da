/** The policy sets of one local endpoint: which policies select it, in what order, in which variants. */
import type { LocalWorkload, Tier } from "../model/types.js";
import type { OwnedPrefix, PlaneShape, PolicySetKey } from "./desired.js";
import type { LabelSetRecord } from "./labels-index.js";
import type { Membership } from "./membership.js";
import { cut, ownedOf } from "./owned.js";
import { type PolicyBook, type PolicyRecord, profileId, sideHolds, type Variant, variantOf } from "./policies.js";
import { wantedSet, type WantedSet } from "./sets.js";
import { inOrder, type TierOfPolicies } from "./tiers.js";

/** Name of the last plane. */
const PROFILES = "profiles";

export interface Enforcement {
  readonly owned: readonly OwnedPrefix[];
  /** The endpoint's own; those of its addresses that differ follow. */
  readonly sets: readonly [WantedSet, ...WantedSet[]];
  readonly missingProfile: string | undefined;
  readonly tooManyPlanes: boolean;
  /** A rule's local side names a selector: whose addresses are whose decides about the sets. */
  readonly byMembership: boolean;
}

/** Everything that applies to endpoints with the same labels and profiles, before local sides are settled. */
interface Applying {
  readonly tiers: readonly TierOfPolicies[];
  readonly profiles: readonly PolicyRecord[];
  readonly missingProfile: string | undefined;
  readonly withSides: readonly PolicyRecord[];
  /** The set where no local side says anything, or nothing holds. */
  readonly plain: { set: WantedSet; tooManyPlanes: boolean };
}

/** Lives for one compile: endpoints with the same labels and profiles share the work. */
export class Planner {
  private readonly applying = new Map<LabelSetRecord, Map<string, Applying>>();

  constructor(
    private readonly book: PolicyBook,
    private readonly membership: Membership,
    private readonly tiers: ReadonlyMap<string, Tier>,
    private readonly planeLimit: number,
  ) {}

  enforcement(workload: LocalWorkload, labels: LabelSetRecord): Enforcement {
    const applying = this.applyingTo(workload, labels);
    const { missingProfile, withSides } = applying;
    const owned = ownedOf(workload);
    if (withSides.length === 0) {
      return {
        owned,
        sets: [applying.plain.set],
        missingProfile,
        tooManyPlanes: applying.plain.tooManyPlanes,
        byMembership: false,
      };
    }
    const byMembership = withSides.some(({ sides }) =>
      sides.some((side) => side.selector !== undefined || side.notSelector !== undefined),
    );
    const pieces = cut(
      owned,
      withSides.flatMap(({ sides }) => sides),
      this.membership,
    );
    return { ...this.settle(applying, pieces), missingProfile, byMembership };
  }

  private settle(applying: Applying, owned: readonly OwnedPrefix[]) {
    const byKey = new Map<PolicySetKey, WantedSet>();
    const bits = new Map(applying.withSides.map((record) => [record, bitsOf(record, owned, this.membership)]));
    let tooManyPlanes = applying.plain.tooManyPlanes;
    const keys = owned.map((_, at) => {
      const built = this.build(applying, (record) => variantOf(record, bits.get(record)?.[at] ?? ""));
      tooManyPlanes ||= built.tooManyPlanes;
      byKey.set(built.set.shape.key, built.set);
      return built.set.shape.key;
    });
    const [own] = keys;
    if (own === undefined) return { owned, sets: [applying.plain.set] as const, tooManyPlanes };
    const [first = applying.plain.set, ...others] = byKey.values();
    const marked = owned.map((one, at) => {
      const set = keys[at];
      return set === undefined || set === own ? one : { ...one, set };
    });
    return { owned: marked, sets: [first, ...others] as const, tooManyPlanes };
  }

  private applyingTo({ profiles }: LocalWorkload, labels: LabelSetRecord): Applying {
    const byProfiles = this.applying.get(labels) ?? new Map<string, Applying>();
    this.applying.set(labels, byProfiles);
    const text = JSON.stringify(profiles);
    const known = byProfiles.get(text);
    if (known !== undefined) return known;
    const records = new Set([...labels.matching].flatMap(({ policies }) => [...policies]));
    const found = profiles.map((name) => this.book.get(profileId(name)));
    // Felix denies at a profile that is not there: those after it do not count.
    const missing = found.indexOf(undefined);
    const present = (missing < 0 ? found : found.slice(0, missing)).filter((record) => record !== undefined);
    const parts = {
      tiers: inOrder(records, this.tiers),
      profiles: present,
      missingProfile: missing < 0 ? undefined : profiles[missing],
      withSides: [...records, ...present].filter(({ sides }) => sides.length > 0),
    };
    const applying = {
      ...parts,
      plain: this.build(parts, (record) => variantOf(record, "0".repeat(record.sides.length))),
    };
    byProfiles.set(text, applying);
    return applying;
  }

  private build({ tiers, profiles }: Pick<Applying, "tiers" | "profiles">, variant: (record: PolicyRecord) => Variant) {
    const variants = new Map<PolicyRecord, Variant>();
    const keyOf = (record: PolicyRecord) => {
      const settled = variants.get(record) ?? variant(record);
      variants.set(record, settled);
      return settled.key;
    };
    const last: PlaneShape = { tier: PROFILES, policies: [...new Set(profiles)].map(keyOf), end: "deny" };
    const planes = (applies: "ingressApplies" | "egressApplies"): PlaneShape[] => [
      ...tiers.flatMap(({ tier, policies }) => {
        const asked = policies.filter(({ policy }) => policy[applies]);
        return asked.length === 0 ? [] : [{ tier: tier.name, policies: asked.map(keyOf), end: tier.end }];
      }),
      last,
    ];
    const [ingress, egress] = [planes("ingressApplies"), planes("egressApplies")];
    if (Math.max(ingress.length, egress.length) <= this.planeLimit) {
      return { set: wantedSet(ingress, egress, [...variants.values()]), tooManyPlanes: false };
    }
    const nothing: PlaneShape = { tier: PROFILES, policies: [], end: "deny" };
    return { set: wantedSet([nothing], [nothing], []), tooManyPlanes: true };
  }
}

/**
 * The variant bits of a policy for each owned prefix. Where a rule does not speak of a prefix's family its bit does not matter,
 * and is what the first prefix of the other family has: fewer sets.
 */
function bitsOf(record: PolicyRecord, owned: readonly OwnedPrefix[], membership: Membership): string[] {
  const columns = record.sides.map((side) => {
    const held = owned.map(({ prefix }) => sideHolds(side, membership, prefix));
    const indifferent = held.find((one) => one !== undefined) ?? false;
    return held.map((one) => ((one ?? indifferent) ? "1" : "0"));
  });
  return owned.map((_, at) => columns.map((column) => column[at]).join(""));
}
