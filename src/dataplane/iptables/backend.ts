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
import { readLinks, readSets, readTable, type Printed } from "./read-back.js";
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

/** As printed right after it was written, by "family table chain". */
type Prints = Map<string, readonly string[]>;

export class IptablesBackend implements Backend {
  readonly name = "iptables";
  readonly #renderer: Renderer;
  #standing: Standing = nothingStands();
  readonly #prints: Prints = new Map();
  #problems: readonly Problem[] = [];
  #rendered: Rendered | undefined;
  #unrevoked = true;
  /** What stands is all that was rendered last. */
  #settled = false;
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
      told?.begin("read rules back");
      if (delta === undefined) await this.#readBack();
      told?.begin("plan rules");
      const only = this.#settled ? wanted.touched : undefined;
      this.#settled = false;
      const steps = planSteps(this.#standing, wanted, only);
      await this.#write(steps, wanted, writes, told, only);
      this.#settled = true;
      told?.begin("read rules back");
      // Where nothing had to be written, all was found as it was printed before.
      if (delta === undefined && steps.length > 0) await this.#print();
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
    for (const step of steps) {
      const name =
        step.tool === "iptables"
          ? `${IPTABLES[step.family]} ${step.table}`
          : step.tool === "nft"
            ? LINK_TABLE
            : "ipset";
      told?.begin("write", name);
      try {
        await runStep(this.run, step);
      } catch (error) {
        this.#standing = nothingStands();
        this.#prints.clear();
        throw error;
      }
      writes[name] = (writes[name] ?? 0) + step.writes;
    }
    if (steps.length === 0) return;
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

  /** What is otherwise than it was left counts as not there, and is written again. */
  async #readBack(): Promise<void> {
    const sets = await readSets(this.run);
    const known = this.#standing.sets;
    for (const [name, set] of known) if (!sameMembers(set.members, sets.get(name)?.members)) this.drifts++;
    const next = { ...nothingStands(), sets };
    for (const family of FAMILIES)
      for (const table of TABLES) {
        const printed = await readTable(this.run, family, table);
        next.tables[family][table] = this.#surviving(family, table, printed);
      }
    const links = await readLinks(this.run);
    for (const [tap, rules] of this.#standing.links) {
      const left = this.#prints.get(`link ${chainOf(tap)}`);
      if (left !== undefined && sameChain(links.get(chainOf(tap)), left)) next.links.set(tap, rules);
      else if (left !== undefined) this.drifts++;
    }
    // Chains of taps that are gone, which a former agent made.
    for (const chain of links.keys()) {
      const tap = tapOf(chain);
      if (tap !== undefined && !next.links.has(tap)) next.links.set(tap, []);
    }
    this.#standing = next;
  }

  #surviving(family: 4 | 6, table: "raw" | "filter", printed: Printed): Standing["tables"][4]["raw"] {
    const standing = this.#standing.tables[family][table];
    const chains = new Map<string, readonly string[]>();
    const hooks = new Map<string, readonly string[]>();
    const displaced = new Set<string>();
    for (const [name, rules] of printed) {
      const isHook = !name.startsWith("TRB-");
      if (isHook) {
        const ours = rules.filter((rule) => / -[jg] TRB-/.test(` ${rule}`));
        const first = rules.slice(0, ours.length).every((rule) => ours.includes(rule));
        const left = standing.hooks.get(name);
        const same = first && sameChain(this.#prints.get(`${family} ${table} ${name}`), ours);
        if (same && left !== undefined) hooks.set(name, left);
        // As printed, so that they can be taken out.
        else if (ours.length > 0) hooks.set(name, ours);
        if (!first) displaced.add(name);
        if (!same && left !== undefined && this.#prints.has(`${family} ${table} ${name}`)) this.drifts++;
        continue;
      }
      const left = this.#prints.get(`${family} ${table} ${name}`);
      const same = sameChain(left, rules);
      if (left !== undefined && !same) this.drifts++;
      // A rule that nobody writes: it differs from whatever is wanted.
      chains.set(name, same ? (standing.chains.get(name) ?? [UNKNOWN]) : [UNKNOWN]);
    }
    for (const name of standing.chains.keys())
      if (!chains.has(name) && this.#prints.has(`${family} ${table} ${name}`)) this.drifts++;
    return { chains, hooks, displaced };
  }

  async #print(): Promise<void> {
    for (const family of FAMILIES)
      for (const table of TABLES)
        for (const [name, rules] of await readTable(this.run, family, table))
          this.#prints.set(
            `${family} ${table} ${name}`,
            name.startsWith("TRB-") ? rules : rules.filter((rule) => / -[jg] TRB-/.test(` ${rule}`)),
          );
    for (const [chain, rules] of await readLinks(this.run)) this.#prints.set(`link ${chain}`, rules);
  }

  /** Takes away all that is ours, the hooks first. Says what it was. */
  static async remove(run: Runner = runProgram): Promise<{ what: string; count: number }[]> {
    const removed: { what: string; count: number }[] = [];
    for (const family of FAMILIES)
      for (const table of ["filter", "raw"] as const) {
        const printed = await readTable(run, family, table).catch(() => new Map<string, readonly string[]>());
        const ours = [...printed.keys()].filter((name) => name.startsWith("TRB-"));
        if (ours.length === 0) continue;
        const lines = [...printed].flatMap(([name, rules]) =>
          name.startsWith("TRB-")
            ? []
            : rules.filter((rule) => / -[jg] TRB-/.test(` ${rule}`)).map((rule) => `-D ${name} ${rule}`),
        );
        const text = [
          `*${table}`,
          ...ours.map((name) => `:${name} - [0:0]`),
          ...lines,
          ...ours.map((name) => `-X ${name}`),
          "COMMIT",
          "",
        ];
        await runStep(run, { tool: "iptables", family, table, text: text.join("\n"), writes: 0 });
        removed.push({ what: `${IPTABLES[family]} ${table} chains`, count: ours.length });
      }
    if ((await run("nft", ["delete", "table", "netdev", LINK_TABLE])).status === 0)
      removed.push({ what: `nft table netdev ${LINK_TABLE}`, count: 1 });
    const sets = await readSets(run).catch((): ReadonlyMap<string, unknown> => new Map());
    if (sets.size > 0) {
      const text = [...sets.keys()].map((name) => `destroy ${name}\n`).join("");
      await runStep(run, { tool: "ipset", text, writes: 0 });
      removed.push({ what: "sets", count: sets.size });
    }
    return removed;
  }

  /** What is enforced stays enforced. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}

function put<V>(map: Map<string, V>, name: string, value: V | undefined): void {
  if (value === undefined) map.delete(name);
  else map.set(name, value);
}

const UNKNOWN = "# not as it was left";

function sameMembers(a: ReadonlySet<string>, b: ReadonlySet<string> | undefined): boolean {
  if (b?.size !== a.size) return false;
  for (const one of a) if (!b.has(one)) return false;
  return true;
}

/** The inverse of chainOf(). */
function tapOf(chain: string): string | undefined {
  return chain.startsWith("t_") ? chain.slice(2).replaceAll("/d", ".").replaceAll("/m", "-") : undefined;
}
