/** The BPF dataplane: maps first, then programs on the hooks. */
import { NOTHING_SERVED, type Served } from "../../model/services.js";
import type { DesiredDelta, DesiredState } from "../../compile/desired.js";
import type { HookChange } from "../../links/types.js";
import type { EndpointId } from "../../model/types.js";
import { DataplaneError } from "../../errors.js";
import type { Steps } from "../../steps.js";
import type { ApplyReport, Backend, Interfaces } from "../backend.js";
import { Attacher, chooseMode, type AttachMode, type ForeignProgram, type Role } from "./attach.js";
import { built, OBJECTS } from "./built.js";
import { Engine, type EngineReport } from "./engine.js";
import { FormerTakeover, type Former, type FormerReport } from "./former.js";
import { FreshMaps } from "./fresh-maps.js";
import { findHz } from "./hz.js";
import { IndexedMaps } from "./indexed-maps.js";
import { KernelMaps } from "./maps.js";
import { openObjects, type ObjectOptions, type Objects } from "./objects.js";
import { DEFAULT_PIN_DIR } from "./pins.js";
import { findPredecessors } from "./predecessor.js";
import { readBackAll, type ReadBack } from "./read-back.js";
import { Takeover, type TakeoverReport } from "./takeover.js";

export interface BpfOptions {
  /** In a bpffs; made when missing. Default: /sys/fs/bpf/torbie/v<ABI>. */
  readonly pinDir?: string;
  /** Object files, best first; default: those of build/. */
  readonly objects?: readonly string[];
  /** The object that takes flows over from another layout; default: that of build/. */
  readonly adoptObject?: string;
  /** Entries of the flow table, 16 to 16 M; used when the maps are made, not for maps that are adopted. Default: 262,144. */
  readonly flows?: number;
  /** Entries of `remote`, likewise. */
  readonly remoteAddresses?: number;
  /** For tests: entries of other maps than bpf/maps.h says. */
  readonly sizes?: ObjectOptions["sizes"];
  /** 0 (default) or 16. */
  readonly markShift?: number;
  readonly attach?: AttachMode | "auto";
  /** Seconds by enum flow_state, e.g. { FLOW_REPLIED: 60 }. */
  readonly timeouts?: Readonly<Record<string, number>>;
  /** S9: what the host itself sends to its guests passes. Default: true. */
  readonly hostToGuest?: boolean;
  /** S7: services of the host that guests reach. Default: DHCP alone. */
  readonly served?: Served;
  /** Things worth telling the operator once. */
  readonly warn?: (message: string) => void;
  /** What a build of another layout had enforced has been taken over. */
  readonly onTakeover?: (report: TakeoverReport) => void;
  /** What enforces now, until the first apply with policy has succeeded: what it tracks is copied. Not called: nothing else enforces. */
  readonly former?: Former;
  /** Our programs enforce: what `former` did may go. */
  readonly onSwitch?: (report: FormerReport) => void;
}

interface Place {
  readonly name: string;
  readonly ifindex: number;
  readonly role: Role;
}
type Failures = { where: string; error: Error }[];

export class BpfBackend implements Backend {
  readonly name = "bpf";
  /** Taps and uplinks of these interfaces that all have our programs. */
  #attached: { readonly interfaces: Interfaces; readonly names: ReadonlySet<string> } | undefined;
  /** Who is told what the present apply does. */
  #steps: Steps | undefined;
  #enforced: { readonly from: readonly unknown[]; readonly ids: ReadonlySet<EndpointId> } | undefined;

  private constructor(
    /** Maps and programs, for whoever must run them (tests, bench). */
    readonly objects: Objects,
    private readonly engine: Engine,
    private readonly attacher: Attacher,
    readonly attachMode: AttachMode,
    private readonly pinDir: string,
    /** Present as long as programs of another layout enforce. */
    private takeover: Takeover | undefined,
    private readonly onTakeover: (report: TakeoverReport) => void,
    /** Present as long as another dataplane enforces. */
    private former: FormerTakeover | undefined,
    private readonly onSwitch: (report: FormerReport) => void,
  ) {}

  /**
   * Loads or adopts. Throws UnsupportedError (NOT_ROOT, NO_BPFFS, NO_OBJECT, BPF_…) when this machine can't, DataplaneError (PINNED_…) when what
   * is pinned is not what this version writes. One writer at a time: the caller holds the lock.
   */
  static async open(options: BpfOptions = {}): Promise<BpfBackend> {
    const pinDir = options.pinDir ?? DEFAULT_PIN_DIR;
    const hz = await findHz();
    if (hz.from === "assumed")
      options.warn?.(
        `the kernel's HZ can't be found out: 250 is assumed; if it is another, flows end sooner or later than configured`,
      );
    // Before anything is pinned: where there is no hook another dataplane has to find none of it.
    const mode = chooseMode(options.attach ?? "auto");
    const objects = await openObjects({
      pinDir,
      objects: options.objects ?? OBJECTS,
      ...(options.flows === undefined ? {} : { flows: options.flows }),
      ...(options.remoteAddresses === undefined ? {} : { remoteAddresses: options.remoteAddresses }),
      ...(options.sizes === undefined ? {} : { sizes: options.sizes }),
      ...(options.markShift === undefined ? {} : { markShift: options.markShift }),
    });
    const flowLimit = objects.maps.get("flow")?.info.maxEntries ?? 0;
    for (const [map, wanted] of [["flow", options.flows] as const, ["remote", options.remoteAddresses] as const]) {
      const pinned = objects.maps.get(map)?.info.maxEntries ?? 0;
      if (wanted !== undefined && pinned !== wanted)
        options.warn?.(
          `the map \`${map}\` that is pinned has room for ${pinned} entries and stays; ${wanted} takes effect after \`torbie cleanup\``,
        );
    }
    const settings = {
      flowLimit,
      hz: hz.hz,
      timeouts: options.timeouts ?? {},
      hostToGuest: options.hostToGuest ?? true,
      served: options.served ?? NOTHING_SERVED,
    };
    const adoptObject = options.adoptObject ?? built("adopt.bpf.o");
    const predecessors = findPredecessors(pinDir);
    const maps = new KernelMaps(objects.maps);
    // What is taken over is written past the engine.
    const fresh = !objects.adopted && predecessors.length === 0 && options.former === undefined;
    return new BpfBackend(
      objects,
      new Engine(new IndexedMaps(fresh ? new FreshMaps(maps) : maps), settings),
      new Attacher(objects.programs, mode, pinDir),
      mode,
      pinDir,
      predecessors.length === 0 ? undefined : new Takeover(predecessors, objects.maps, adoptObject),
      options.onTakeover ?? (() => undefined),
      options.former && new FormerTakeover(options.former, objects.maps, adoptObject, hz.hz, options.timeouts ?? {}),
      options.onSwitch ?? (() => undefined),
    );
  }

  /** Pin directories of builds of other layouts, whose programs enforce until the first apply with policy has succeeded. */
  get takingOverFrom(): readonly string[] {
    return this.takeover?.from ?? [];
  }

  /** @throws DataplaneError only while taking over: what could not be written, and that the former programs go on */
  async apply(
    desired: DesiredState,
    interfaces: Interfaces,
    delta?: DesiredDelta,
    steps?: Steps,
  ): Promise<ApplyReport> {
    this.#steps = steps;
    const started = performance.now();
    const failures: Failures = [];
    const writes: Record<string, number> = {};
    let written: ReadonlySet<EndpointId> = new Set();
    const take = (report: EngineReport): void => {
      Object.assign(writes, report.writes);
      failures.push(...report.failures);
      written = report.written;
    };
    if (this.takeover !== undefined) take(await this.#prepare(this.takeover, desired, interfaces));
    else if (this.former !== undefined) take(await this.#fill(this.former, desired, interfaces));
    else {
      try {
        take(await this.engine.apply(desired, interfaces, delta, steps));
      } catch (error) {
        failures.push({ where: "policy", error: error instanceof Error ? error : new Error(String(error)) });
      }
    }
    steps?.begin("attach");
    const attached =
      this.takeover !== undefined
        ? await this.#swap(this.takeover, interfaces, failures, writes)
        : this.former !== undefined
          ? await this.#switch(this.former, desired, interfaces, failures, writes)
          : this.#attach(interfaces, delta === undefined, failures, writes);
    const enforced = this.#enforcedOf(desired, delta, written, attached);
    const totalWrites = Object.values(writes).reduce((sum, count) => sum + count, 0);
    return { writes, totalWrites, milliseconds: performance.now() - started, failures, enforced };
  }

  /** Those that are written and attached; the same object where nothing has changed, so that others need not compare. */
  #enforcedOf(
    desired: DesiredState,
    delta: DesiredDelta | undefined,
    written: ReadonlySet<EndpointId>,
    attached: ReadonlySet<string>,
  ): ReadonlySet<EndpointId> {
    const from = [desired, written, attached];
    const known = this.#enforced;
    if (known !== undefined && delta?.endpoints.size === 0 && known.from.every((one, i) => one === from[i]))
      return known.ids;
    const ids = new Set([...written].filter((id) => attached.has(desired.endpoints.get(id)?.interfaceName ?? "")));
    this.#enforced = { from, ids };
    return ids;
  }

  /** Fills our maps, so that nothing changes for any packet when our programs come; and copies flows while the former ones run on. */
  async #prepare(takeover: Takeover, desired: DesiredState, interfaces: Interfaces): Promise<EngineReport> {
    const fill = async (): Promise<EngineReport> => {
      const report = await this.engine.apply(desired, interfaces, undefined, this.#steps);
      const failed = report.failures.find(({ where }) => where.startsWith("map "));
      if (failed !== undefined) throw failed.error;
      return report;
    };
    takeover.begin();
    try {
      let report = await fill();
      // Who holds a shared address is put into its entry; the second pass gives it that one's policy set and MAC.
      if (takeover.followShared() > 0) report = await fill();
      this.#steps?.begin("copy flows of the former build");
      await takeover.copyFlows(true);
      await takeover.copyFlows(false);
      return report;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new DataplaneError(
        "TAKEOVER",
        `the programs of another build (${takeover.from.join(", ")}) go on enforcing what they know: ${why}`,
        { cause: error, retryable: true },
      );
    }
  }

  /** As #prepare(), where rules enforced. */
  async #fill(former: FormerTakeover, desired: DesiredState, interfaces: Interfaces): Promise<EngineReport> {
    try {
      const report = await this.engine.apply(desired, interfaces, undefined, this.#steps);
      const failed = report.failures.find(({ where }) => where.startsWith("map "));
      if (failed !== undefined) throw failed.error;
      // A switch the other way that was cut short has left our programs on their hooks.
      const running = [...this.#places(interfaces)].some(({ ifindex, role }) => this.attacher.isGuarded(ifindex, role));
      this.#steps?.begin("copy connections", former.former.name);
      await former.copyFlows(desired, running);
      await former.copyFlows(desired, running);
      return report;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new DataplaneError("SWITCH", `${former.former.name} goes on enforcing what it knows: ${why}`, {
        cause: error,
        retryable: true,
      });
    }
  }

  async #switch(
    former: FormerTakeover,
    desired: DesiredState,
    interfaces: Interfaces,
    failures: Failures,
    writes: Record<string, number>,
  ): Promise<ReadonlySet<string>> {
    const began = performance.now();
    for (const { ifindex, role } of this.#places(interfaces)) {
      try {
        this.attacher.ensureIngress(ifindex, role);
      } catch {
        continue; // said by #attach()
      }
    }
    const attached = this.#attach(interfaces, true, failures, writes);
    this.#steps?.begin("copy connections", former.former.name);
    await former.copyFlows(desired, true);
    const missing = [...this.#places(interfaces)].filter(({ name }) => !attached.has(name));
    if (missing.length > 0) return attached; // the rules stay, and all of it is done again
    const report = former.finish(performance.now() - began);
    this.former = undefined;
    writes["flow"] = (writes["flow"] ?? 0) + report.adopted + report.merged;
    this.onSwitch(report);
    return attached;
  }

  /** Our programs in the place of the former ones, and the flows that changed while they were put there. */
  async #swap(
    takeover: Takeover,
    interfaces: Interfaces,
    failures: Failures,
    writes: Record<string, number>,
  ): Promise<ReadonlySet<string>> {
    // All looking comes before, or after: what is opened while some hooks are theirs and some ours may need a second try.
    const places = [...this.#places(interfaces)];
    const replaceable = places.filter(({ ifindex, role }) => this.attacher.isReplaceable(ifindex, role));
    const began = performance.now();
    const hasLinks = takeover.hasLinks;
    for (const { ifindex, role } of hasLinks ? places : [])
      for (const { direction, program } of this.attacher.hooks(role))
        takeover.inheritLink(this.pinDir, ifindex, direction, program);
    for (const { ifindex, role } of replaceable) {
      try {
        this.attacher.replace(ifindex, role);
      } catch {
        continue; // said by #attach()
      }
    }
    this.#steps?.begin("copy flows of the former build");
    await takeover.copyFlows(false);
    let milliseconds = performance.now() - began;
    const attached = this.#attach(interfaces, true, failures, writes);
    this.#steps?.begin("copy flows of the former build");
    await takeover.copyFlows(false);
    if (replaceable.length < places.length) milliseconds = performance.now() - began;
    writes["attach"] = (writes["attach"] ?? 0) + replaceable.length;
    const missing = [...this.#places(interfaces)].filter(({ name }) => !attached.has(name));
    const isGone = ({ ifindex, role }: (typeof missing)[number]): boolean => !this.attacher.isGuarded(ifindex, role);
    if (!missing.every(isGone)) return attached; // one of theirs is still on: theirs stay, and all of it is done again
    if (takeover.followShared() > 0) this.engine.doubt();
    const report = takeover.finish(milliseconds);
    this.takeover = undefined;
    writes["flow"] = (writes["flow"] ?? 0) + report.adopted + report.merged;
    this.onTakeover(report);
    return attached;
  }

  /** Attaches taps before anything is known about them: what has no entry in the maps passes nothing. */
  block(interfaces: Interfaces): Promise<{ writes: number; failures: Failures }> {
    const failures: Failures = [];
    const writes: Record<string, number> = {};
    // What another dataplane enforces stays with it, unknown taps too: its rules let nothing of them pass.
    if (this.former !== undefined) return Promise.resolve({ writes: 0, failures });
    // What programs of another build guard stays theirs until our maps are filled.
    const free = ({ ifindex, role }: Place): boolean => !this.attacher.isGuarded(ifindex, role);
    const places = this.takeover === undefined ? undefined : [...this.#places(interfaces)].filter(free);
    this.#attach(interfaces, false, failures, writes, places);
    return Promise.resolve({ writes: writes["attach"] ?? 0, failures });
  }

  /** Names of the taps and uplinks that have our programs. */
  #attach(
    interfaces: Interfaces,
    verify: boolean,
    failures: Failures,
    writes: Record<string, number>,
    only?: readonly Place[],
  ): ReadonlySet<string> {
    const places = only ?? [...this.#places(interfaces)];
    const last = this.#attached;
    if (!verify && last?.interfaces === interfaces && this.attacher.isSure) return last.names;
    this.#attached = undefined;
    const before = failures.length;
    let count = this.attacher.release(
      new Map([...this.#places(interfaces)].map(({ ifindex, role }) => [ifindex, role])),
    );
    const attached = new Set<string>();
    for (const { name, ifindex, role } of places) {
      this.#steps?.begin("attach", name);
      try {
        count += this.attacher.ensure(ifindex, role, verify);
        attached.add(name);
      } catch (error) {
        failures.push({ where: name, error: error instanceof Error ? error : new Error(String(error)) });
      }
    }
    if (count > 0) writes["attach"] = count;
    if (failures.length === before && only === undefined) this.#attached = { interfaces, names: attached };
    return attached;
  }

  *#places(interfaces: Interfaces): IterableIterator<Place> {
    for (const { name, ifindex } of interfaces.taps.values()) yield { name, ifindex, role: "tap" };
    for (const { name, ifindex } of interfaces.uplinks) yield { name, ifindex, role: "uplink" };
  }

  /** Somebody changed tc filters; undefined: any interface's may have been. The next apply looks there. False: of no concern to us. */
  hookChanged(change: HookChange | undefined): boolean {
    return this.attacher.doubt(change);
  }

  /** Programs of others on our hooks; those that run before ours may let packets by. */
  foreign(interfaces: Interfaces): ForeignProgram[] {
    return [...this.#places(interfaces)].flatMap(({ ifindex, role }) => this.attacher.foreign(ifindex, role));
  }

  /** Those that the kernel has, whole, on the tap that they have now. */
  readBack<T extends ReadBack>(items: readonly T[]): Promise<readonly T[]> {
    return readBackAll(items, new KernelMaps(this.objects.maps), this.attacher);
  }

  close(): Promise<void> {
    this.takeover?.close();
    this.former?.close();
    this.objects.close();
    return Promise.resolve();
  }
}
