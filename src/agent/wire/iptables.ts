/** The iptables dataplane as the agent's loop sees it. */
import type { DesiredDelta, DesiredState } from "../../compile/desired.js";
import type { Config } from "../../config/schema.js";
import type { ApplyReport, Interfaces } from "../../dataplane/backend.js";
import type { Counters } from "../../dataplane/bpf/counters.js";
import { Conntrack } from "../../dataplane/conntrack/conntrack.js";
import { hostAddresses } from "../../dataplane/conntrack/host-addresses.js";
import { Revoker } from "../../dataplane/conntrack/revoke.js";
import { IptablesBackend } from "../../dataplane/iptables/backend.js";
import { connectionCounts, dropCounters } from "../../dataplane/iptables/counters.js";
import { readSetInfos } from "../../dataplane/iptables/read-state.js";
import { RESTORES } from "../../dataplane/iptables/tools.js";
import { run } from "../../dataplane/run.js";
import { Standby } from "../../dataplane/standby.js";
import { writeInventory } from "../../dataplane/iptables/inventory.js";
import { bitsOf } from "../../dataplane/iptables/types.js";
import type { EndpointId } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import type { Candidate } from "../../status/judge.js";
import { servedOf } from "./served.js";
import { QuietWriter } from "../quiet-writer.js";
import type { AgentLog, BackendPart, Judge, ReportPart } from "../parts.js";
import type { Steps } from "../../steps.js";

/** What the companions ask of a backend besides what the loop does. */
export interface HostBackend extends BackendPart {
  readBack(candidates: readonly Candidate[]): Promise<ReadonlySet<EndpointId>>;
  counters(): Promise<Counters>;
  /** What judges the taps that are enforced. */
  judge(): Judge;
}

/** @throws UnsupportedError: what this machine lacks and what to do about it */
export async function openIptables(
  config: Config,
  log: AgentLog,
): Promise<{ readonly backend: IptablesPart; readonly adopted: boolean; readonly tools: string }> {
  const { opener, other } = bitsOf(config.markShift);
  const revoker = new Revoker(new Conntrack(), { hostAddresses, stateless: { opener, other } });
  const standby = new Standby(RESTORES);
  const backend = await IptablesBackend.open({
    run: standby.run,
    prefixes: config.interfacePrefix,
    excluded: config.interfaceExclude,
    markShift: config.markShift,
    hostToGuest: config.hostToGuest,
    served: servedOf(config),
    revoke: async (desired, delta) => {
      const { deleted, failed } = await revoker.run(desired, delta);
      const [first] = failed;
      if (first !== undefined) throw first.error;
      return deleted;
    },
  });
  const adopted = await backend.stands();
  const { version } = backend.tools;
  return {
    backend: new IptablesPart(backend, standby, config, log),
    adopted,
    tools: `iptables ${version} and nft`,
  };
}

export class IptablesPart implements HostBackend {
  readonly name = "iptables";
  #present: ReadonlySet<string> = new Set();
  #enforced: ReadonlySet<EndpointId> = new Set();
  /** By endpoint. */
  #taps: ReadonlyMap<EndpointId, string> = new Map();
  /** What the CLI reads about ports. */
  readonly #inventory: QuietWriter;
  #told = false;
  /** The last pass has left all of the rules in place. */
  #whole = false;

  constructor(
    private readonly backend: IptablesBackend,
    private readonly standby: Pick<Standby, "close">,
    private readonly config: Config,
    private readonly log: AgentLog,
  ) {
    this.#inventory = new QuietWriter((err) =>
      this.log.warn({ err }, "what the CLI reads about ports cannot be written"),
    );
  }

  async apply(
    desired: DesiredState,
    interfaces: Interfaces,
    delta?: DesiredDelta,
    steps?: Steps,
  ): Promise<ApplyReport> {
    const before = this.backend.drifts;
    // What is asked for changes in place: until the rules say it, nothing is told of it.
    this.#inventory.hold();
    this.#whole = false;
    const report = await this.backend.apply(desired, interfaces, delta, steps);
    this.#whole = report.failures.length === 0;
    const found = this.backend.drifts - before;
    if (found > 0)
      this.log.warn(
        { found, failures: report.failures.length },
        "somebody changed our rules or sets; they were put back",
      );
    this.#present = new Set(interfaces.taps.keys());
    this.#enforced = report.enforced;
    this.#taps = new Map([...desired.endpoints.values()].map(({ id, interfaceName }) => [id, interfaceName]));
    // What could not be written leaves the kernel as it was, and so what is said of it.
    if (report.failures.length > 0) return report;
    this.#inventory.put(() => writeInventory(this.config.runDir, desired, interfaces));
    // That there is one says that rules enforce here.
    if (!this.#told) this.#inventory.flush();
    this.#told = true;
    return report;
  }

  block(interfaces: Interfaces): Promise<ReportPart> {
    return this.backend.block(interfaces);
  }

  judge(): Judge {
    return this.#whole ? "closed rules" : "rules";
  }

  /** What was written whole stands: the periodic reading back of everything finds what does not. */
  readBack(candidates: readonly Candidate[]): Promise<ReadonlySet<EndpointId>> {
    return Promise.resolve(
      new Set(
        candidates
          .map(({ endpoint }) => endpoint)
          .filter(({ id, interfaceName }) => this.#enforced.has(id) && this.#present.has(interfaceName))
          .map(({ id }) => id),
      ),
    );
  }

  async counters(): Promise<Counters> {
    const drops: Record<string, number> = {};
    const byTap = new Map<string, number>();
    for (const { reason, packets, tap } of await dropCounters()) {
      drops[reason] = (drops[reason] ?? 0) + Number(packets);
      if (tap !== undefined) byTap.set(tap, (byTap.get(tap) ?? 0) + Number(packets));
    }
    const sets = await readSetInfos(run, { policies: [] }).catch(() => []);
    const maps = Object.fromEntries(
      sets.map(({ set, entries, maxEntries, memory }) => [set, { entries, size: maxEntries, memory }]),
    );
    const ports = [...this.#taps].map(([id, tap]) => ({
      id,
      flows: 0,
      opened: null,
      refused: null,
      dropped: byTap.get(tap) ?? 0,
    }));
    return { flows: connectionCounts(), drops, maps: fullest(maps), ports };
  }

  problems(): readonly Problem[] {
    return this.backend.problems();
  }

  readAhead(): Promise<void> {
    return this.backend.readAhead();
  }

  async close(): Promise<void> {
    this.#inventory.flush();
    await this.backend.close();
    this.standby.close();
  }
}

/** Sets told of one by one; there may be thousands, each with its own digest for a name. */
const MOST_SETS = 20;

const fullest = (maps: Counters["maps"]): Counters["maps"] =>
  Object.fromEntries(
    Object.entries(maps)
      .sort(([, a], [, b]) => b.entries / b.size - a.entries / a.size)
      .slice(0, MOST_SETS),
  );
