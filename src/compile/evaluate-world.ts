/** Who owns which address, on this host and elsewhere: the model and the host's links, looked at plainly. */
import { contains, isSingle, prefixLength } from "../model/cidr.js";
import { floatingIps } from "../model/floating.js";
import type { Address, Endpoint, EndpointId, LocalWorkload, Mac, Model, Prefix } from "../model/types.js";
import type { Interfaces, Tap } from "./evaluate-types.js";

export interface Owned {
  readonly prefix: Prefix;
  readonly kind: "fixed" | "pair";
  readonly mac: Mac;
}

export class World {
  constructor(
    readonly model: Model,
    readonly interfaces: Interfaces,
    private readonly held: ReadonlySet<EndpointId> = new Set(),
  ) {}

  /** Of several endpoints that claim a tap the one with the lowest id has it. */
  atTap(name: string): LocalWorkload | undefined {
    return [...this.model.locals.values()]
      .filter((one) => one.interfaceName === name)
      .sort((a, b) => (a.id < b.id ? -1 : 1))[0];
  }

  /** The model could not understand it, or another endpoint has its tap. */
  isBlocked(workload: LocalWorkload): boolean {
    return workload.blocked !== undefined || this.atTap(workload.interfaceName) !== workload;
  }

  tapOf(workload: LocalWorkload): Tap | undefined {
    return this.interfaces.taps.get(workload.interfaceName);
  }

  /** The longest of its prefixes that holds the address; between equals fixed comes before pairs. */
  owned(workload: LocalWorkload, address: Address): Owned | undefined {
    const all: Owned[] = [
      ...workload.fixed.map((prefix) => ({ prefix, kind: "fixed" as const, mac: workload.mac })),
      ...workload.pairs.map(({ prefix, mac }) => ({ prefix, kind: "pair" as const, mac: mac ?? workload.mac })),
    ];
    return longest(all.filter(({ prefix }) => contains(prefix, address)));
  }

  /**
   * Local endpoints to which the address may be delivered, by id: those with the longest prefix that holds it, of them those that
   * can be reached, where there are any. None when an endpoint of another host has a longer one.
   */
  receivers(address: Address): { readonly ids: readonly EndpointId[]; readonly prefix: Prefix } | undefined {
    const hits = [...this.model.locals.values()].flatMap((workload) => {
      const hit = this.owned(workload, address);
      return hit === undefined || this.held.has(workload.id) ? [] : [{ id: workload.id, prefix: hit.prefix }];
    });
    const best = longest(hits);
    if (best === undefined) return undefined;
    const elsewhere = longest(this.remoteHits(address));
    if (elsewhere !== undefined && prefixLength(elsewhere.prefix) > prefixLength(best.prefix)) return undefined;
    const all = hits
      .filter(({ prefix }) => prefix === best.prefix)
      .map(({ id }) => id)
      .sort((a, b) => (a < b ? -1 : 1));
    const reachable = all.filter((id) => this.canReceive(id));
    return { ids: reachable.length > 0 ? reachable : all, prefix: best.prefix };
  }

  private canReceive(id: EndpointId): boolean {
    const workload = this.model.locals.get(id);
    return (
      workload !== undefined && workload.adminUp && !this.isBlocked(workload) && this.tapOf(workload) !== undefined
    );
  }

  /**
   * Whose an address is that local guests have and no endpoint of another host. Single addresses only: a pair of 0.0.0.0/0
   * proves nothing about who sends.
   */
  onlyLocal(address: Address): EndpointId | undefined {
    const hit = this.receivers(address);
    const shared = this.remoteHits(address).some(({ prefix }) => isSingle(prefix));
    return hit !== undefined && isSingle(hit.prefix) && !shared ? hit.ids[0] : undefined;
  }

  /** What a floating IP stands for that leads to a guest with a tap (S8). */
  standsFor(external: Address): Address | undefined {
    const isOwned = (address: Address): boolean =>
      [...this.model.endpoints.values()].some(({ prefixes }) =>
        prefixes.some((prefix) => isSingle(prefix) && contains(prefix, address)),
      );
    for (const [id, nats] of floatingIps(this.model.locals.values(), isOwned).byEndpoint)
      for (const nat of nats) if (nat.external === external && this.canReceive(id)) return nat.internal;
    return undefined;
  }

  /** Whether an endpoint other than this one has the address. */
  isElsewhere(workload: LocalWorkload, address: Address): boolean {
    return [...this.model.endpoints.values()].some(
      (other) => other.id !== workload.id && other.prefixes.some((prefix) => contains(prefix, address)),
    );
  }

  private remoteHits(address: Address): { prefix: Prefix }[] {
    return [...this.model.endpoints.values()]
      .filter((endpoint: Endpoint) => !this.model.locals.has(endpoint.id))
      .flatMap(({ prefixes }) => prefixes.filter((prefix) => contains(prefix, address)).map((prefix) => ({ prefix })));
  }
}

function longest<T extends { readonly prefix: Prefix }>(hits: readonly T[]): T | undefined {
  return hits.reduce<T | undefined>(
    (best, hit) => (best === undefined || prefixLength(hit.prefix) > prefixLength(best.prefix) ? hit : best),
    undefined,
  );
}
