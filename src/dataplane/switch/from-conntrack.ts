/** The kernel's conntrack as what the programs take flows over from. */
import type { DesiredState } from "../../compile/desired.js";
import type { Address, EndpointId } from "../../model/types.js";
import type { Former, FlowSink } from "../bpf/former.js";
import type { Conntrack } from "../conntrack/conntrack.js";
import { DesiredJudge, type Owner } from "../conntrack/judge.js";
import type { ConntrackEntry } from "../conntrack/entry.js";
import { flowOfEntry, type Flow } from "./flow.js";

export class ConntrackFormer implements Former {
  /** @param name of what enforced on it, for people */
  constructor(
    private readonly conntrack: Pick<Conntrack, "each">,
    private readonly hostAddresses: () => ReadonlySet<string>,
    readonly name = "iptables",
  ) {}

  async copyFlows(desired: DesiredState, sink: FlowSink): Promise<void> {
    const judge = new DesiredJudge(desired);
    const hosts = this.hostAddresses();
    const isHost = (address: Address): boolean => hosts.has(address);
    await this.conntrack.each((entry) => {
      const flow = trackedFlow(entry, isHost);
      if (flow === undefined) return;
      const [source, destination] = [flow.source, flow.destination].map((address) => oneOf(judge.owners(address)));
      if (source === undefined && destination === undefined) return;
      const numbers = [source, destination].map((owner) => (owner === undefined ? 0 : sink.numberOf(owner.id)));
      const [from, to] = numbers;
      if (from === undefined || to === undefined) return;
      const pairMac = [source, destination].some((owner) => owner?.owned.mac !== undefined);
      sink.put(flow, { source: from, destination: to, pairMac });
    });
  }
}

/** Undefined: nothing that the programs would track. What guests ask of the host they do not; their rules say whether it may be asked. */
function trackedFlow(entry: ConntrackEntry, isHost: (address: Address) => boolean): Flow | undefined {
  const flow = flowOfEntry(entry, isHost);
  return flow === undefined || isHost(flow.destination) ? undefined : flow;
}

/**
 * What the kernel still tracks of flows between guests, or guests and others, although programs have long carried them: who hands the
 * flows back has to forget it first, since it is as old as the programs. What the host itself began is tracked by both.
 */
export async function forgetOutdated(
  conntrack: Pick<Conntrack, "each" | "deleteAll">,
  desired: DesiredState,
  hosts: ReadonlySet<string>,
): Promise<number> {
  const judge = new DesiredJudge(desired);
  const outdated: ConntrackEntry[] = [];
  await conntrack.each((entry) => {
    const flow = trackedFlow(entry, (address) => hosts.has(address));
    if (flow === undefined || flow.byHost) return;
    if ([flow.source, flow.destination].some((address) => judge.owners(address).length > 0)) outdated.push(entry);
  });
  return (await conntrack.deleteAll(outdated)).done;
}

/** Of several that share an address the lowest id, as the programs choose where nobody has announced it. */
function oneOf(owners: readonly Owner[]): Owner | undefined {
  return owners.reduce<Owner | undefined>(
    (best, owner) => (best === undefined || less(owner.id, best.id) ? owner : best),
    undefined,
  );
}

const less = (a: EndpointId, b: EndpointId): boolean => a < b;
