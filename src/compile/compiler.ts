/** Model → DesiredState, step by step: the work for a change is in proportion to what it changes. Pure. */
import { BigMap } from "../model/big-map.js";
import type { Endpoint, EndpointId, Model, ModelDelta, NetworkSet, PolicyId } from "../model/types.js";
import type { Problem } from "../problems.js";
import { quote } from "../text.js";
import type { DesiredDelta, DesiredState, Move } from "./desired.js";
import type { Owner } from "./labels-index.js";
import { Locals } from "./locals.js";
import { Membership } from "./membership.js";
import { Planner } from "./planes.js";
import { PolicyBook, type PolicyRecord, profileId } from "./policies.js";
import { PolicySets } from "./sets.js";
import { isKnownTier } from "./tiers.js";

export interface CompilerOptions {
  /** Most tiers (the profiles' plane included) that may apply to an endpoint in one direction; MAX_PLANES of the ABI. */
  readonly planeLimit?: number;
}

export class Compiler {
  /** Live: `apply` changes these maps in place. The values in them never change, they are replaced. */
  readonly desired: DesiredState;
  private readonly membership = new Membership();
  private readonly book = new PolicyBook(this.membership);
  private readonly sets = new PolicySets();
  private readonly locals = new Locals(
    this.sets,
    (prefix) =>
      this.membership.endpointsAt(prefix).some((owner) => "node" in owner && owner.node !== this.model?.hostname),
    (prefix) => this.membership.endpointsAt(prefix).some((owner) => "node" in owner),
  );
  private readonly endpoints = new BigMap<EndpointId, Endpoint>();
  private readonly networkSets = new Map<string, NetworkSet>();
  private readonly planeLimit: number;
  private model: Model | undefined;

  constructor({ planeLimit = 16 }: CompilerOptions = {}) {
    this.planeLimit = planeLimit;
    this.desired = {
      endpoints: this.locals.endpoints,
      sets: this.sets.sets,
      policies: this.sets.policies,
      addresses: this.membership.addresses,
      prefixes: this.membership.prefixes,
      alsoRemote: this.locals.alsoRemote,
    };
  }

  /**
   * Brings `desired` up to `model`. The delta must name whatever differs from the model of the last call; the first call takes
   * everything and does not look at it.
   */
  apply(model: Model, delta: ModelDelta): DesiredDelta {
    const changed = changedIn(this.model === undefined ? model : delta);
    this.model = model;
    const ids = [...this.putPolicies(model, changed), ...this.putProfiles(model, changed)];
    if (changed.tiers.length > 0) this.locals.mark(() => true);
    for (const id of changed.networkSets) this.replace(this.networkSets, id, model.networkSets.get(id));
    for (const id of changed.endpoints) this.putEndpoint(model, id);
    const endpoints = this.locals.flush(new Planner(this.book, this.membership, model.tiers, this.planeLimit));
    const { sets, policies } = this.sets.flush(ids, (id) => this.book.get(id));
    const { addresses, prefixes, classes } = this.membership.flush();
    const narrowed = new Set([
      ...[...classes.lost].filter((key) => this.sets.isNamed(key)),
      ...[...classes.gained].filter((key) => this.sets.isRefused(key)),
    ]);
    return { endpoints, sets, policies, addresses, prefixes, narrowed };
  }

  /** From now on; the next delta must name each endpoint whose move is another. */
  setMoves(moves: ReadonlyMap<EndpointId, Move>): void {
    this.locals.moves = moves;
  }

  /** What is wrong now. */
  problems(): Problem[] {
    const { policies, tiers } = this.model ?? { policies: new Map<never, never>(), tiers: new Map<never, never>() };
    const unknown = [...policies.values()].filter(({ tier }) => !isKnownTier(tier, tiers));
    return [
      ...unknown.map(({ key, tier }) => ({
        where: key,
        code: "UNKNOWN_TIER",
        what: `tier ${quote(tier)} is not in the datastore`,
        consequence: 'it is asked before the tier "default", and denies what its policies do not decide',
      })),
      ...this.locals.problems(),
    ];
  }

  private putPolicies(model: Model, { policies }: Changed): readonly PolicyId[] {
    for (const id of policies) {
      const old = this.book.get(id);
      const next = this.book.putPolicy(id, model.policies.get(id));
      if (!sameShape(old, next)) {
        this.locals.mark((labels) =>
          [old, next].some((one) => one?.selector !== undefined && labels.matching.has(one.selector)),
        );
      }
      this.book.release(old);
    }
    return policies;
  }

  private putProfiles(model: Model, { profiles }: Changed): string[] {
    for (const name of profiles) {
      const old = this.book.get(profileId(name));
      const next = this.book.putProfile(name, model.profiles.get(name));
      if (!sameShape(old, next)) this.locals.mark((_, workload) => workload.profiles.includes(name));
      this.book.release(old);
    }
    return profiles.map(profileId);
  }

  private putEndpoint(model: Model, id: EndpointId): void {
    const next = this.replace(this.endpoints, id, model.endpoints.get(id));
    const local = model.locals.get(id);
    if (local !== undefined || this.desired.endpoints.has(id)) {
      this.locals.put(id, local, next && this.membership.index.of(next));
    }
  }

  private replace<K, T extends Owner>(held: Map<K, T>, id: K, next: T | undefined): T | undefined {
    const old = held.get(id);
    this.membership.replace(old, next);
    if (next === undefined) held.delete(id);
    else held.set(id, next);
    for (const owner of [old, next]) if (owner !== undefined) this.locals.ownerChanged(owner);
    return next;
  }
}

/** Whether the sets that hold a policy stay the same: only its rules may differ. */
function sameShape(a: PolicyRecord | undefined, b: PolicyRecord | undefined): boolean {
  if (a === undefined || b === undefined || a.sides.length + b.sides.length > 0) return false;
  const [x, y] = [a.policy, b.policy];
  return (
    a.selector === b.selector &&
    x?.tier === y?.tier &&
    x?.order === y?.order &&
    x?.stateful === y?.stateful &&
    x?.ingressApplies === y?.ingressApplies &&
    x?.egressApplies === y?.egressApplies
  );
}

/** The names in what changed that matter here. */
interface Changed {
  readonly endpoints: readonly EndpointId[];
  readonly policies: readonly PolicyId[];
  readonly profiles: readonly string[];
  readonly tiers: readonly string[];
  readonly networkSets: readonly string[];
}

function changedIn({
  endpoints,
  policies,
  profiles,
  tiers,
  networkSets,
}: Pick<Model, keyof Changed> | ModelDelta): Changed {
  return {
    endpoints: [...endpoints.keys()],
    policies: [...policies.keys()],
    profiles: [...profiles.keys()],
    tiers: [...tiers.keys()],
    networkSets: [...networkSets.keys()],
  };
}
