/** The dataplane that the configuration names and the machine can do, as the agent's loop sees it. */
import type { DesiredDelta, DesiredState } from "../../compile/desired.js";
import type { Config } from "../../config/schema.js";
import type { ForeignProgram } from "../../dataplane/bpf/attach.js";
import { BpfBackend } from "../../dataplane/bpf/backend.js";
import { CounterReader, type Counters } from "../../dataplane/bpf/counters.js";
import type { ApplyReport, Interfaces } from "../../dataplane/backend.js";
import { features } from "#libbpf";
import { forgetInventory } from "../../dataplane/iptables/inventory.js";
import type { HookChange } from "../../links/types.js";
import type { EndpointId } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import type { Candidate } from "../../status/judge.js";
import { UnsupportedError } from "../../errors.js";
import { quote } from "../../text.js";
import type { AgentLog, Judge, ReportPart } from "../parts.js";
import { AfterPrograms, BesideOthers, FormerRules, formerPins } from "./former.js";
import { openIptables, type HostBackend } from "./iptables.js";
import { PacketLog } from "./packet-log.js";
import { servedOf } from "./served.js";
import { takeoverProblems, type NotTaken } from "./takeover-problems.js";
import { pinsIn } from "./pins.js";
import { flowTimeouts } from "./timeouts.js";
import type { Steps } from "../../steps.js";

export interface OpenedBackend {
  readonly backend: HostBackend;
  /** Guests were protected before this process. */
  readonly adopted: boolean;
  readonly why: string;
}

/**
 * `auto` really loads the programs, and takes iptables where this machine does not have them.
 * @param beside whose rules enforce now, on the kernel's conntrack: another agent's, who is being replaced
 * @throws UnsupportedError: what this machine lacks and what to do about it; DataplaneError: what is pinned can't be adopted
 */
export async function openBackend(config: Config, log: AgentLog, beside?: string): Promise<OpenedBackend> {
  if (config.dataplane === "iptables") return openRules(config, log, "as configured", beside);
  try {
    return await openPrograms(config, log, beside);
  } catch (error) {
    if (config.dataplane === "bpf" || !(error instanceof UnsupportedError)) throw error;
    if (formerPins(config).length > 0)
      throw new UnsupportedError(
        "PROGRAMS_OUT_OF_REACH",
        `programs are pinned in ${config.pinDir} and enforce, but this process can't handle them: ${error.message}; give it what it lacks, or choose --dataplane iptables with enough privileges to take them off`,
        { cause: error },
      );
    log.warn({ code: error.code, error: error.message }, "the programs can't run here: iptables enforces instead");
    return openRules(config, log, `not BPF, since ${error.message}`, beside);
  }
}

async function openRules(
  config: Config,
  log: AgentLog,
  chosen: string,
  beside: string | undefined,
): Promise<OpenedBackend> {
  const { backend, adopted, tools } = await openIptables(config, log);
  const pinDirs = formerPins(config);
  const from = pinDirs.length > 0 ? `taking over from programs in ${pinDirs.join(", ")}` : undefined;
  return {
    backend:
      pinDirs.length > 0
        ? new AfterPrograms(backend, pinDirs, config, log)
        : beside === undefined
          ? backend
          : new BesideOthers(backend),
    adopted: adopted || from !== undefined,
    why: `${chosen}: ${tools}, ${from ?? (adopted ? "adopted what stood" : "written anew")}`,
  };
}

async function openPrograms(config: Config, log: AgentLog, beside: string | undefined): Promise<OpenedBackend> {
  const notTaken: NotTaken = [];
  const rules = (await FormerRules.stand())
    ? FormerRules.own(config, log)
    : beside === undefined
      ? undefined
      : FormerRules.others(beside, log);
  const backend = await BpfBackend.open({
    pinDir: pinsIn(config.pinDir),
    flows: config.flows,
    remoteAddresses: config.remoteAddresses,
    markShift: config.markShift,
    attach: config.attach,
    timeouts: flowTimeouts(config),
    hostToGuest: config.hostToGuest,
    served: servedOf(config),
    warn: (message) => log.warn({}, message),
    onTakeover: (report) => {
      notTaken.push(...report.unreadable);
      log.info({ takeover: report }, "took over from a build of another layout");
    },
    ...(rules === undefined ? {} : { former: rules.former, onSwitch: (report) => rules.overtaken(report) }),
  }).catch((error: unknown) => {
    rules?.close();
    throw error;
  });
  if (rules === undefined) forgetInventory(config.runDir);
  const from = [...backend.takingOverFrom, ...(rules === undefined ? [] : [rules.former.name])];
  const chosen = config.dataplane === "auto" ? "the best that this machine has" : "as configured";
  const pinned = backend.objects.adopted ? "adopted what was pinned" : "loaded anew";
  return {
    backend: new BpfPart(backend, log, notTaken, rules),
    adopted: backend.objects.adopted || from.length > 0,
    why: `${chosen}: kernel ${features.kernel()}, attached by ${backend.attachMode}, ${from.length > 0 ? `taking over from ${from.join(", ")}` : pinned}`,
  };
}

const CHECKSUMS: Problem = {
  where: `kernel ${features.kernel()}`,
  code: "CHECKSUM_METADATA_UNSEEN",
  what: "before 6.2 the programs cannot see which checksum a guest asks the host to fill in",
  consequence:
    "a guest may have a port overwritten after its packet was judged, where the receiver has no checksum offload; a newer kernel closes this",
};

export class BpfPart implements HostBackend {
  readonly name = "bpf";
  readonly #backend: BpfBackend;
  readonly #packets: PacketLog;
  readonly #counters: CounterReader;
  #foreign: readonly Problem[] = [];
  /** Somebody changed filters: who is on the hooks has to be looked at again. */
  #stale = false;

  readonly #notTaken: NotTaken;

  readonly #rules: FormerRules | undefined;

  /** @param rules enforce until the first pass with policy has succeeded */
  constructor(backend: BpfBackend, log: AgentLog, notTaken: NotTaken = [], rules?: FormerRules) {
    this.#notTaken = notTaken;
    this.#rules = rules;
    this.#backend = backend;
    this.#packets = new PacketLog(backend.objects.maps, log);
    this.#counters = new CounterReader(backend.objects.maps);
  }

  async apply(
    desired: DesiredState,
    interfaces: Interfaces,
    delta?: DesiredDelta,
    steps?: Steps,
  ): Promise<ApplyReport> {
    const stale = this.#stale || delta === undefined;
    this.#stale = false;
    const report = await this.#backend.apply(desired, interfaces, delta, steps);
    steps?.begin("look for programs of others");
    if (stale) this.#foreign = this.#backend.foreign(interfaces).map((program) => foreignProblem(program, interfaces));
    return report;
  }

  block(interfaces: Interfaces): Promise<ReportPart> {
    return this.#backend.block(interfaces);
  }

  settle(): Promise<ReportPart> {
    return this.#rules?.settle() ?? Promise.resolve({ writes: 0, failures: [] });
  }

  judge(): Judge {
    return this.#rules?.enforce === true ? "rules" : "programs";
  }

  async readBack(candidates: readonly Candidate[]): Promise<ReadonlySet<EndpointId>> {
    return new Set((await this.#backend.readBack(candidates)).map(({ endpoint }) => endpoint.id));
  }

  counters(): Promise<Counters> {
    return this.#counters.read();
  }

  problems(): readonly Problem[] {
    const limits = this.#backend.objects.seesChecksums ? [] : [CHECKSUMS];
    return [
      ...limits,
      ...(this.#rules?.problems() ?? []),
      ...this.#foreign,
      ...takeoverProblems(this.#backend.takingOverFrom, this.#notTaken),
    ];
  }

  hookChanged(change: HookChange | undefined): boolean {
    const concerns = this.#backend.hookChanged(change);
    this.#stale ||= concerns;
    return concerns;
  }

  async close(): Promise<void> {
    this.#packets.close();
    this.#rules?.close();
    await this.#backend.close();
  }
}

function foreignProblem({ ifindex, direction, name, before }: ForeignProgram, { taps, uplinks }: Interfaces): Problem {
  const where =
    [...taps.values(), ...uplinks].find((candidate) => candidate.ifindex === ifindex)?.name ?? `interface ${ifindex}`;
  return {
    where,
    code: "FOREIGN_PROGRAM",
    what: `program ${quote(name)} of someone else is on the ${direction} hook${before ? ", ahead of ours" : ""}`,
    consequence: before ? "it may let packets pass that ours would drop" : "it sees only what ours hands on",
  };
}
