/** What enforced before this process and is another dataplane: it goes when ours does, and not before. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { DesiredDelta, DesiredState } from "../../compile/desired.js";
import type { Config } from "../../config/schema.js";
import type { ApplyReport, Interfaces } from "../../dataplane/backend.js";
import type { Counters } from "../../dataplane/bpf/counters.js";
import type { Former, FormerReport } from "../../dataplane/bpf/former.js";
import { mapsDir } from "../../dataplane/bpf/pins.js";
import { Conntrack } from "../../dataplane/conntrack/conntrack.js";
import { hostAddresses } from "../../dataplane/conntrack/host-addresses.js";
import { removeForward } from "../../dataplane/forward-accept.js";
import { removeRules } from "../../dataplane/iptables/remove.js";
import { forgetInventory } from "../../dataplane/iptables/inventory.js";
import { readTable } from "../../dataplane/iptables/read-back.js";
import { bitsOf } from "../../dataplane/iptables/types.js";
import { run } from "../../dataplane/run.js";
import { ConntrackFormer } from "../../dataplane/switch/from-conntrack.js";
import { FormerPrograms } from "../../dataplane/switch/from-programs.js";
import { readLinks } from "../../links/read-links.js";
import type { EndpointId } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import type { Candidate } from "../../status/judge.js";
import type { AgentLog, Judge, ReportPart } from "../parts.js";
import type { HostBackend } from "./iptables.js";
import { ANY_VERSION } from "./pins.js";
import type { Steps } from "../../steps.js";

const NOTHING: ReportPart = { writes: 0, failures: [] };
const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** Directories with pins of the programs, of whichever version. */
export function formerPins({ pinDir }: Config): readonly string[] {
  if (!existsSync(pinDir)) return [];
  return readdirSync(pinDir)
    .filter((name) => ANY_VERSION.test(name) && existsSync(mapsDir(join(pinDir, name))))
    .map((name) => join(pinDir, name));
}

function takingOver(from: string): Problem {
  return {
    where: from,
    code: "TAKING_OVER",
    what: `${from} still enforces what was known when its agent ended`,
    consequence: "changes of policy take effect when the first pass with policy has succeeded",
  };
}

/** Rules of the firewall enforced, on the kernel's conntrack; the programs take over. */
export class FormerRules {
  readonly former: Former;
  readonly #conntrack = new Conntrack();
  #state: "enforce" | "overtaken" | "gone" = "enforce";

  private constructor(
    private readonly whose: string,
    private readonly remove: () => Promise<number>,
    private readonly log: AgentLog,
  ) {
    this.former = new ConntrackFormer(this.#conntrack, hostAddresses, whose);
  }

  /** Ours. */
  static own({ runDir }: Config, log: AgentLog): FormerRules {
    const remove = async (): Promise<number> => {
      const removed = await removeRules();
      forgetInventory(runDir);
      return removed.reduce((sum, { count }) => sum + count, 0);
    };
    return new FormerRules("iptables", remove, log);
  }

  /** Another agent's: who has asked for it (src/incumbent) removes them. */
  static others(whose: string, log: AgentLog): FormerRules {
    return new FormerRules(whose, () => Promise.resolve(0), log);
  }

  /** Whether rules of ours stand here. */
  static async stand(): Promise<boolean> {
    try {
      return (await readTable(run, 4, "raw")).has("TRB-raw") || (await readTable(run, 6, "raw")).has("TRB-raw");
    } catch {
      return false; // no iptables, or it can't be asked
    }
  }

  get enforce(): boolean {
    return this.#state === "enforce";
  }

  overtaken(report: FormerReport): void {
    this.#state = "overtaken";
    this.log.info({ takeover: report }, `took over from ${this.whose}`);
  }

  /** To be called when the programs enforce and the guard knows it. */
  async settle(): Promise<ReportPart> {
    if (this.#state !== "overtaken") return NOTHING;
    try {
      const writes = await this.remove();
      this.#state = "gone";
      this.close();
      return { writes, failures: [] };
    } catch (error) {
      return { writes: 0, failures: [{ where: this.whose, error: asError(error) }] };
    }
  }

  problems(): readonly Problem[] {
    return this.#state === "enforce" ? [takingOver(this.whose)] : [];
  }

  close(): void {
    this.#conntrack.close();
  }
}

/** The programs enforced; iptables takes over. */
export class AfterPrograms implements HostBackend {
  readonly name = "iptables";
  readonly #inner: HostBackend;
  readonly #conntrack = new Conntrack();
  #programs: FormerPrograms | undefined;
  /** The rules stand and what the programs tracked is known to the kernel: they may go. */
  #ready: DesiredState | undefined;

  constructor(
    inner: HostBackend,
    pinDirs: readonly string[],
    config: Config,
    private readonly log: AgentLog,
  ) {
    const { opener, other } = bitsOf(config.markShift);
    this.#inner = inner;
    this.#programs = new FormerPrograms({ pinDirs, conntrack: this.#conntrack, stateless: { opener, other } });
  }

  async apply(
    desired: DesiredState,
    interfaces: Interfaces,
    delta?: DesiredDelta,
    steps?: Steps,
  ): Promise<ApplyReport> {
    const report = await this.#inner.apply(desired, interfaces, delta, steps);
    const taps = new Set(interfaces.taps.keys());
    if (this.#programs === undefined || report.failures.some(({ where }) => !taps.has(where))) return report;
    steps?.begin("copy flows of the programs");
    try {
      await this.#programs.copyFlows(desired);
      await this.#programs.copyFlows(desired);
      this.#ready = desired;
      return report;
    } catch (error) {
      return { ...report, failures: [...report.failures, { where: "conntrack", error: asError(error) }] };
    }
  }

  /** While programs are on some hook the guard is to be awake. */
  judge(): Judge {
    return this.#programs === undefined ? this.#inner.judge() : "rules";
  }

  /** What the programs enforce stays with them, and unknown taps are behind the guard. */
  block(interfaces: Interfaces): Promise<ReportPart> {
    return this.#programs === undefined
      ? (this.#inner.block?.(interfaces) ?? Promise.resolve(NOTHING))
      : Promise.resolve(NOTHING);
  }

  async settle(): Promise<ReportPart> {
    const [programs, desired] = [this.#programs, this.#ready];
    if (programs === undefined || desired === undefined) return NOTHING;
    this.#ready = undefined;
    try {
      const ifindexes = (await readLinks()).map(({ ifindex }) => ifindex);
      const began = performance.now();
      const hooks = programs.detach(ifindexes);
      await programs.copyFlows(desired);
      const report = programs.finish(performance.now() - began);
      await removeForward(run);
      this.#programs = undefined;
      this.#conntrack.close();
      this.log.info({ takeover: report }, "took over from the programs");
      return { writes: hooks + report.created, failures: [] };
    } catch (error) {
      return { writes: 0, failures: [{ where: "programs", error: asError(error) }] };
    }
  }

  readBack(candidates: readonly Candidate[]): Promise<ReadonlySet<EndpointId>> {
    return this.#inner.readBack(candidates);
  }

  counters(): Promise<Counters> {
    return this.#inner.counters();
  }

  problems(): readonly Problem[] {
    return [...(this.#inner.problems?.() ?? []), ...(this.#programs === undefined ? [] : [takingOver("BPF")])];
  }

  async close(): Promise<void> {
    this.#programs?.close();
    this.#conntrack.close();
    await this.#inner.close();
  }
}

/** Another agent's rules enforce, and iptables takes over: until its own stand it closes no tap. */
export class BesideOthers implements HostBackend {
  readonly name = "iptables";
  #enforces = false;

  constructor(private readonly inner: HostBackend) {}

  async apply(desired: DesiredState, interfaces: Interfaces, delta?: DesiredDelta): Promise<ApplyReport> {
    const report = await this.inner.apply(desired, interfaces, delta);
    this.#enforces ||= report.failures.length === 0;
    return report;
  }

  judge(): Judge {
    return "rules";
  }

  block(interfaces: Interfaces): Promise<ReportPart> {
    return this.#enforces ? (this.inner.block?.(interfaces) ?? Promise.resolve(NOTHING)) : Promise.resolve(NOTHING);
  }

  readBack(candidates: readonly Candidate[]): Promise<ReadonlySet<EndpointId>> {
    return this.inner.readBack(candidates);
  }

  counters(): Promise<Counters> {
    return this.inner.counters();
  }

  problems(): readonly Problem[] {
    return this.inner.problems?.() ?? [];
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
