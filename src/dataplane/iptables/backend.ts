/** The iptables dataplane: rules and sets are data here too, rendered from the desired state and written as the difference. */
import type { DesiredDelta, DesiredState } from "../../compile/desired.js";
import type { EndpointId } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import type { Steps } from "../../steps.js";
import { settledTap, type ApplyReport, type Backend, type Interfaces } from "../backend.js";
import { run as runProgram, type Runner } from "../run.js";
import { chainOf, LINK_TABLE } from "./link-rules.js";
import { IPTABLES, findTools, otherBackEnd, runStep, type Tools } from "./tools.js";
import { nothingStands, planSteps, type Standing, type Step } from "./plan.js";
import { readLinks, readTable } from "./read-back.js";
import { readAll, Written, type Reading } from "./reading.js";
import { printsOf, survivors } from "./survivors.js";
import { Renderer } from "./render.js";
import { FAMILIES, sameChain, TABLES, type Rendered, type RenderOptions, type Touched } from "./types.js";

export interface IptablesOptions extends Pick<
  RenderOptions,
  "prefixes" | "excluded" | "markShift" | "hostToGuest" | "served"
> {
  /** D3: ends what is no longer allowed; called after every change. Says how many connections that were. */
  readonly revoke?: (desired: DesiredState, delta: DesiredDelta | undefined) => Promise<number>;
  readonly run?: Runner;
}

export class IptablesBackend implements Backend {
  readonly name = "iptables";
  readonly #renderer: Renderer;
  #standing: Standing = nothingStands();
  readonly #prints = new Map<string, readonly string[]>();
  #problems: readonly Problem[] = [];
  #rendered: Rendered | undefined;
  #unrevoked = true;
  /** What stands is all that was rendered last. */
  #settled = false;
  /** Told of what is written: by readings that go on or wait to be used. */
  readonly #listening = new Set<Written>();
  #ahead: Reading | undefined;
  #printing: Promise<void> | undefined;
  /** Of the taps whose nft chains stand: the kernel may have taken a chain away with its tap (before Linux 6.16 it does). */
  #ifindexes: ReadonlyMap<string, number> = new Map();
  /** Things found otherwise than we left them, ever. */
  drifts = 0;

  private constructor(
    readonly tools: Tools,
    private readonly run: Runner,
    private readonly options: IptablesOptions,
  ) {
    this.#renderer = new Renderer(options);
  }

  /** @throws UnsupportedError: what this machine lacks and what to do about it */
  static async open(options: IptablesOptions): Promise<IptablesBackend> {
    const run = options.run ?? runProgram;
    return new IptablesBackend(await findTools(run), run, options);
  }

  /** Rules of a former agent stand: guests were protected before this process. */
  async stands(): Promise<boolean> {
    return (await readTable(this.run, 4, "raw")).has("TRB-raw");
  }

  problems(): readonly Problem[] {
    return this.#problems;
  }

  /** What was rendered last. */
  get rendered(): Rendered | undefined {
    return this.#rendered;
  }

  async apply(desired: DesiredState, interfaces: Interfaces, delta?: DesiredDelta, told?: Steps): Promise<ApplyReport> {
    told?.begin("render rules");
    const began = performance.now();
    const writes: Record<string, number> = {};
    const failures: { where: string; error: Error }[] = [];
    const wanted = this.#renderer.render(desired, interfaces, delta);
    this.#rendered = wanted;
    try {
      this.#forgetReplaced(interfaces);
      told?.begin("read rules back");
      if (delta === undefined) await this.#readBack();
      told?.begin("plan rules");
      const only = this.#settled ? wanted.touched : undefined;
      this.#settled = false;
      const steps = planSteps(this.#standing, wanted, only);
      await this.#write(steps, wanted, writes, told, only);
      this.#settled = true;
      // Where nothing had to be written, all was found as it was printed before.
      if (delta === undefined && steps.length > 0) {
        told?.begin("read rules back");
        const first = this.#prints.size === 0;
        this.#printing = this.#print();
        // Later it is nobody's business but the next reading's.
        if (first) await this.#printing;
      }
    } catch (error) {
      failures.push({ where: "iptables", error: error instanceof Error ? error : new Error(String(error)) });
    }
    const enforced = failures.length > 0 ? new Set<EndpointId>() : this.#enforced(desired, interfaces);
    told?.begin("end connections that are no longer allowed");
    if (failures.length === 0) await this.#revoke(desired, delta, writes, failures);
    if (delta === undefined) this.#problems = await otherBackEnd(this.run, this.tools);
    const totalWrites = Object.values(writes).reduce((sum, count) => sum + count, 0);
    return { writes, totalWrites, milliseconds: performance.now() - began, failures, enforced };
  }

  /** Reads all that stands, for the next apply() that is to look at it; changes may be applied meanwhile. Never fails: that one would. */
  async readAhead(): Promise<void> {
    this.#forget(this.#ahead);
    this.#ahead = undefined;
    await this.idle();
    this.#ahead = await this.#read().catch(() => undefined);
  }

  /** Resolves when what was written last has been read; what somebody changes before that may be taken for ours. */
  async idle(): Promise<void> {
    await this.#printing;
  }

  /** What is written is noted until forget(). */
  async #read(): Promise<Reading> {
    const written = new Written();
    this.#listening.add(written);
    try {
      return await readAll(this.run, written);
    } catch (error) {
      this.#listening.delete(written);
      throw error;
    }
  }

  #forget(reading: Reading | undefined): void {
    if (reading !== undefined) this.#listening.delete(reading.written);
  }

  /** Before anything is known: taps pass nothing. What a former agent left is left alone; taps that it did not know are closed. */
  async block(interfaces: Interfaces): Promise<{ writes: number; failures: { where: string; error: Error }[] }> {
    const nothing = { endpoints: new Map(), sets: new Map(), policies: new Map() };
    const empty = { ...nothing, addresses: new Map(), prefixes: new Map(), alsoRemote: new Set() } as DesiredState;
    const closed = new Renderer(this.options).render(empty, interfaces);
    try {
      const standing = nothingStands();
      const links = await readLinks(this.run);
      for (const [tap, rules] of closed.links) if (links.has(chainOf(tap))) standing.links.set(tap, rules);
      let steps = planSteps(standing, closed);
      if (await this.stands()) steps = steps.filter(({ tool }) => tool === "nft");
      for (const step of steps) await runStep(this.run, step);
      return { writes: steps.reduce((sum, { writes }) => sum + writes, 0), failures: [] };
    } catch (error) {
      return {
        writes: 0,
        failures: [{ where: "iptables", error: error instanceof Error ? error : new Error(String(error)) }],
      };
    }
  }

  #enforced(desired: DesiredState, { taps }: Interfaces): ReadonlySet<EndpointId> {
    const unsayable = new Set(this.#rendered?.problems.map(({ where }) => where));
    return new Set(
      [...desired.endpoints.values()]
        .filter(
          ({ interfaceName }) =>
            settledTap(taps, interfaceName) !== undefined &&
            !unsayable.has(`interface ${JSON.stringify(interfaceName)}`),
        )
        .map(({ id }) => id),
    );
  }

  async #revoke(
    desired: DesiredState,
    delta: DesiredDelta | undefined,
    writes: Record<string, number>,
    failures: { where: string; error: Error }[],
  ): Promise<void> {
    if (this.options.revoke === undefined) return;
    try {
      // What could not be done is done in full.
      const ended = await this.options.revoke(desired, this.#unrevoked ? undefined : delta);
      this.#unrevoked = false;
      if (ended > 0) writes["connections ended"] = ended;
    } catch (error) {
      this.#unrevoked = true;
      failures.push({ where: "conntrack", error: error instanceof Error ? error : new Error(String(error)) });
    }
  }

  /** Each step is whole or not at all, but for sets; what a failed one left is not known. */
  async #write(
    steps: readonly Step[],
    wanted: Rendered,
    writes: Record<string, number>,
    told: Steps | undefined,
    only: Touched | undefined,
  ): Promise<void> {
    for (const group of this.tools.mode === "nft" ? together(steps) : steps.map((step) => [step])) {
      told?.begin("write", group.map(nameOf).join(", "));
      // Both families of a table at once, where no lock is theirs in common; all have ended before anything is said of any.
      const done = await Promise.allSettled(group.map((step) => runStep(this.run, step)));
      const failed = done.find((one) => one.status === "rejected");
      if (failed !== undefined) {
        for (const written of this.#listening) written.all = true;
        this.#standing = nothingStands();
        this.#prints.clear();
        throw failed.reason;
      }
      for (const step of group) writes[nameOf(step)] = (writes[nameOf(step)] ?? 0) + step.writes;
    }
    if (steps.length === 0) return;
    for (const written of this.#listening) written.note(only);
    if (only === undefined) this.#nowStands(wanted);
    else this.#nowStandsToo(wanted, only);
  }

  #nowStandsToo(wanted: Rendered, { sets, chains }: Touched): void {
    for (const family of FAMILIES)
      for (const name of chains[family]) {
        put(this.#standing.tables[family].filter.chains, name, wanted.tables[family].filter.chains.get(name));
        this.#prints.delete(`${family} filter ${name}`);
      }
    for (const name of sets) put(this.#standing.sets, name, wanted.sets.get(name));
  }

  /** Another tap of the same name has no chain, or one that may not be its own: it is written again. */
  #forgetReplaced({ taps }: Interfaces): void {
    for (const [tap, ifindex] of this.#ifindexes) {
      if (taps.get(tap)?.ifindex === ifindex) continue;
      this.#prints.delete(`link ${chainOf(tap)}`);
      if (this.#standing.links.has(tap)) this.#standing.links.set(tap, []);
      this.#settled = false;
    }
    this.#ifindexes = new Map([...taps].map(([tap, { ifindex }]) => [tap, ifindex]));
  }

  #nowStands(wanted: Rendered): void {
    for (const family of FAMILIES)
      for (const table of TABLES) {
        const { chains, hooks } = wanted.tables[family][table];
        const old = this.#standing.tables[family][table];
        for (const name of new Set([...old.chains.keys(), ...chains.keys()]))
          if (!sameChain(old.chains.get(name), chains.get(name))) this.#prints.delete(`${family} ${table} ${name}`);
        this.#standing.tables[family][table] = {
          chains: new Map(chains),
          hooks: new Map(hooks),
          displaced: new Set(),
        };
      }
    for (const tap of new Set([...this.#standing.links.keys(), ...wanted.links.keys()]))
      if (!sameChain(this.#standing.links.get(tap), wanted.links.get(tap))) this.#prints.delete(`link ${chainOf(tap)}`);
    this.#standing = { ...this.#standing, sets: new Map(wanted.sets), links: new Map(wanted.links) };
  }

  async #readBack(): Promise<void> {
    await this.idle();
    const ahead = this.#ahead;
    this.#ahead = undefined;
    const reading = ahead === undefined || ahead.written.all ? await this.#read() : ahead;
    this.#forget(ahead);
    this.#forget(reading);
    const { standing, drifts } = survivors(this.#standing, this.#prints, reading);
    this.#standing = standing;
    this.drifts += drifts;
  }

  /** Never fails: what has no print is written again. */
  async #print(): Promise<void> {
    const reading = await this.#read().catch(() => undefined);
    this.#forget(reading);
    if (reading === undefined || reading.written.all) return;
    for (const [what, rules] of printsOf(this.#standing, reading)) this.#prints.set(what, rules);
  }

  /** What is enforced stays enforced. */
  async close(): Promise<void> {
    await this.idle();
  }
}

const nameOf = (step: Step): string =>
  step.tool === "iptables" ? `${IPTABLES[step.family]} ${step.table}` : step.tool === "nft" ? LINK_TABLE : "ipset";

/** Steps that follow each other and write the same table of different families. */
function together(steps: readonly Step[]): (readonly Step[])[] {
  const groups: Step[][] = [];
  for (const step of steps) {
    const last = groups.at(-1)?.at(-1);
    const same = step.tool === "iptables" && last?.tool === "iptables" && last.table === step.table;
    if (same) groups.at(-1)?.push(step);
    else groups.push([step]);
  }
  return groups;
}

function put<V>(map: Map<string, V>, name: string, value: V | undefined): void {
  if (value === undefined) map.delete(name);
  else map.set(name, value);
}
