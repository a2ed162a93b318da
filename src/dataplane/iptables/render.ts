/** DesiredState and the taps that are there → everything that must stand in the kernel. Pure. */
import type { ClassKey, DesiredDelta, DesiredState } from "../../compile/desired.js";
import { contains, family, isSingle, prefixToAddress } from "../../model/cidr.js";
import type { Family, Prefix } from "../../model/types.js";
import type { Interfaces } from "../backend.js";
import {
  endpointSets,
  fromChain,
  liveEndpoints,
  openChain,
  relatedChain,
  renderFrom,
  renderOpen,
  renderRelated,
  renderSource,
  renderTo,
  sourceChain,
  toChain,
  type Live,
} from "./endpoints.js";
import {
  FORWARD,
  forwardChain,
  filterChains,
  FROM,
  hereSet,
  hooks,
  HOST_SENDS,
  KNOWN,
  KNOWN_OUT,
  localSet,
  NEVER,
  NEW,
  OPEN,
  neverSet,
  rawChains,
  RELATED,
  SOURCE,
  TO,
} from "./filter.js";
import { Composition } from "./composition.js";
import { heldChains, holdersOf, renderHold, sharedSet, type Holders } from "./holders.js";
import { CLOSED_LINK, linkLocal, renderLink } from "./link-rules.js";
import { MemberTable, sayable } from "./members.js";
import { classSet, isSayable } from "./names.js";
import { PerEndpoint } from "./per-endpoint.js";
import { SetChains, verdictChains } from "./policy.js";
import { dispatchTree } from "./tree.js";
import {
  bitsOf,
  FAMILIES,
  marked,
  type Bits,
  type Chain,
  type Rendered,
  type RenderedSet,
  type RenderedTable,
  type RenderOptions,
  type TableName,
} from "./types.js";

/** What depends on endpoints and taps, not on rules. */
interface TapPart {
  readonly live: readonly Live[];
  readonly holders: Holders;
  readonly problems: Rendered["problems"];
  readonly sets: readonly RenderedSet[];
  readonly raw: Readonly<Record<Family, RenderedTable>>;
  readonly filter: Readonly<Record<Family, ReadonlyMap<string, Chain>>>;
  readonly links: Rendered["links"];
}

/** Remembers what the last state came to, so that a change of a rule or of a member costs that rule or member. */
export class Renderer {
  readonly #members = new MemberTable();
  readonly #bits: Bits;
  readonly #hooks: Readonly<Record<TableName, ReadonlyMap<string, Chain>>>;
  #taps: TapPart | undefined;
  #interfaces = "";
  readonly #classes = new Map<string, RenderedSet>();
  readonly #known = new PerEndpoint();
  readonly #sets: SetChains;
  readonly #verdicts: ReadonlyMap<string, Chain>;
  #composition: Composition | undefined;

  constructor(private readonly options: RenderOptions) {
    this.#bits = bitsOf(options.markShift);
    this.#sets = new SetChains(this.#bits);
    this.#verdicts = verdictChains(this.#bits);
    this.#hooks = { raw: hooks(options, "raw"), filter: hooks(options, "filter") };
  }

  /** @param delta what differs from the state of the last call; absent: anything */
  render(desired: DesiredState, interfaces: Interfaces, delta?: DesiredDelta): Rendered {
    const members = this.#members.update(desired, delta);
    if (members === undefined) this.#classes.clear();
    for (const key of members ?? []) for (const of of FAMILIES) this.#classes.delete(classSet(key, of));
    const present = JSON.stringify([...interfaces.taps.values()].map(({ name, mac, ifindex }) => [name, mac, ifindex]));
    if (delta === undefined || delta.endpoints.size > 0 || present !== this.#interfaces) this.#taps = undefined;
    this.#interfaces = present;
    const former = this.#taps === undefined ? undefined : this.#composition;
    const means = { bits: this.#bits, options: this.options, known: this.#known };
    const part = (this.#taps ??= tapPart(desired, interfaces, means));
    const touched = delta === undefined || members === undefined ? undefined : former?.follow(desired, delta, members);
    const composition = touched !== undefined && former !== undefined ? former : this.#compose(desired, part);
    this.#composition = composition;
    const table = (of: Family): Record<TableName, RenderedTable> => ({
      raw: part.raw[of],
      filter: { chains: composition.chains[of], hooks: this.#hooks.filter },
    });
    return {
      sets: composition.sets,
      tables: { 4: table(4), 6: table(6) },
      links: part.links,
      problems: part.problems,
      ...(touched === undefined ? {} : { touched }),
    };
  }

  #compose(desired: DesiredState, part: TapPart): Composition {
    const chains = (of: Family): Map<string, Chain> => new Map([...part.filter[of], ...this.#verdicts]);
    return new Composition(
      {
        sets: new Map(part.sets.map((set) => [set.name, set])),
        chains: { 4: chains(4), 6: chains(6) },
        classSet: (key, of) => this.#class(key, of),
        forward: {
          name: FORWARD,
          render: (of, anyStateless) => forwardChain(of, this.#bits, this.options, anyStateless, part.holders),
        },
      },
      desired,
      endpointSets(part.live),
      this.#sets,
    );
  }

  #class(key: ClassKey, of: Family): RenderedSet {
    const name = classSet(key, of);
    let set = this.#classes.get(name);
    if (set === undefined) {
      set = { name, type: "hash:net", family: of, members: this.#members.of(key, of) };
      this.#classes.set(name, set);
    }
    return set;
  }
}

/** What is the same for all of a renderer's endpoints, and what it remembers of them. */
interface Means {
  readonly bits: Bits;
  readonly options: RenderOptions;
  readonly known: PerEndpoint;
}

function tapPart(desired: DesiredState, interfaces: Interfaces, means: Means): TapPart {
  const { bits, options, known } = means;
  const { live, problems } = liveEndpoints(desired, interfaces);
  const holders = holdersOf(desired, live, bits);
  const sets: RenderedSet[] = [];
  const raw = {} as Record<Family, RenderedTable>;
  const filter = {} as Record<Family, ReadonlyMap<string, Chain>>;
  for (const of of FAMILIES) {
    const { local, here } = addresses(desired, of);
    sets.push(
      { name: neverSet(of), type: "hash:net", family: of, members: new Set(NEVER[of]) },
      { name: localSet(of), type: "hash:ip", family: of, members: local },
      { name: hereSet(of), type: "hash:ip", family: of, members: here },
      {
        name: sharedSet(of),
        type: "hash:net",
        family: of,
        members: new Set([...holders.shared].filter((one) => family(one) === of).flatMap(sayable)),
      },
    );
    const chains = filterChains(of, bits, options);
    taps(live, of, means, chains, holders);
    for (const [name, chain] of heldChains(holders, NEW, bits)) chains.set(name, chain);
    filter[of] = chains;
    const rawOf = rawChains(of, options);
    for (const one of live)
      rawOf.set(
        sourceChain(one.tap),
        known.chain(one.endpoint, `source ${of}`, one.hostMac, () => renderSource(one, of, linkLocal(one.hostMac))),
      );
    for (const [name, chain] of dispatchTree(SOURCE, "-i", named(live, sourceChain), [], ["-j DROP"]))
      rawOf.set(name, chain);
    raw[of] = { chains: rawOf, hooks: hooks(options, "raw") };
  }
  return {
    live,
    holders,
    problems,
    sets,
    raw,
    filter,
    links: links(desired, interfaces, live, means),
  };
}

const named = (live: readonly Live[], chain: (tap: string) => string): Map<string, string> =>
  new Map(live.map(({ tap }) => [tap, chain(tap)]));

function taps(
  live: readonly Live[],
  of: Family,
  { bits, known }: Means,
  chains: Map<string, Chain>,
  holders: Holders,
): void {
  const clear = [`-j MARK --set-xmark ${marked(0, (bits.allow | bits.pass | bits.stateless) >>> 0)}`];
  const open = live.filter(({ endpoint }) => !endpoint.portSecurity);
  const trees = [
    dispatchTree(FROM, "-i", named(live, fromChain), clear, ["-j DROP"]),
    dispatchTree(TO, "-o", named(live, toChain), clear, ["-j DROP"]),
    dispatchTree(RELATED, "-i", named(live, relatedChain), [], []),
    dispatchTree(OPEN, "-i", named(open, openChain), [], []),
    dispatchTree(
      KNOWN,
      "-o",
      named(live, () => "TRB-nothing"),
      [],
      ["-j DROP"],
    ),
    dispatchTree(
      KNOWN_OUT,
      "-o",
      named(live, () => HOST_SENDS),
      [],
      ["-j DROP"],
    ),
  ];
  for (const tree of trees) for (const [name, chain] of tree) chains.set(name, chain);
  for (const one of live) {
    const { endpoint } = one;
    const hold = renderHold(one, of, holders, bits);
    const from = known.chain(endpoint, `from ${of}`, "", () => renderFrom(one, of, bits));
    chains.set(fromChain(one.tap), hold.length === 0 ? from : [...hold, ...from]);
    chains.set(
      toChain(one.tap),
      known.chain(endpoint, `to ${of}`, "", () => renderTo(one, of, bits)),
    );
    chains.set(
      relatedChain(one.tap),
      known.chain(endpoint, `related ${of}`, "", () => renderRelated(one, of, bits)),
    );
  }
  for (const one of open) chains.set(openChain(one.tap), renderOpen(one, of));
}

/** Single addresses of this host's endpoints, up or not: here; those that nobody elsewhere has: local. */
function addresses(desired: DesiredState, of: Family): { local: Set<string>; here: Set<string> } {
  const local = new Set<string>();
  const here = new Set<string>();
  for (const { owned, move } of desired.endpoints.values())
    for (const { prefix } of move === "held" ? [] : owned) {
      if (family(prefix) !== of || !isSingle(prefix)) continue;
      here.add(prefixToAddress(prefix));
      if (!desired.alsoRemote.has(prefix)) local.add(prefixToAddress(prefix));
    }
  return { local, here };
}

function links(
  desired: DesiredState,
  { taps: present }: Interfaces,
  live: readonly Live[],
  means: Means,
): ReadonlyMap<string, readonly string[]> {
  const result = new Map<string, readonly string[]>();
  const holders = new Map<Prefix, number>();
  for (const { owned } of desired.endpoints.values())
    for (const prefix of new Set(owned.map((one) => one.prefix))) holders.set(prefix, (holders.get(prefix) ?? 0) + 1);
  const shared = (prefix: Prefix): boolean =>
    (holders.get(prefix) ?? 0) > 1 || (isSingle(prefix) && desired.alsoRemote.has(prefix)) || inOther(prefix);
  /** A prefix, some address of which another endpoint has by itself. */
  const inOther = (prefix: Prefix): boolean =>
    !isSingle(prefix) && [...holders.keys()].some((other) => other !== prefix && contains(prefix, other));
  for (const name of present.keys()) if (isSayable(name)) result.set(name, CLOSED_LINK);
  for (const one of live) result.set(one.tap, linkOf(one, shared, means));
  return result;
}

function linkOf(
  live: Live,
  shared: (prefix: Prefix) => boolean,
  { bits, known, options: { served } }: Means,
): readonly string[] {
  const { endpoint, tap, hostMac, ifindex } = live;
  const said = JSON.stringify([
    tap,
    ifindex,
    hostMac,
    served?.metadata,
    endpoint.owned.map(({ prefix }) => shared(prefix)),
  ]);
  return known.chain(endpoint, "link", said, () => renderLink(live, shared, bits, served?.metadata ?? []));
}
