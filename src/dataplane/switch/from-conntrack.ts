/** The kernel's conntrack as what the programs take flows over from. */
import type { DesiredState } from "../../compile/desired.js";
import type { Address, EndpointId } from "../../model/types.js";
import type { Former, FlowSink } from "../bpf/former.js";
import type { Conntrack } from "../conntrack/conntrack.js";
import { DesiredJudge, type Owner } from "../conntrack/judge.js";
import { flowOfEntry } from "./flow.js";

export class ConntrackFormer implements Former {
  readonly name = "iptables";

  constructor(
    private readonly conntrack: Pick<Conntrack, "each">,
    private readonly hostAddresses: () => ReadonlySet<string>,
  ) {}

  async copyFlows(desired: DesiredState, sink: FlowSink): Promise<void> {
    const judge = new DesiredJudge(desired);
    const hosts = this.hostAddresses();
    const isHost = (address: Address): boolean => hosts.has(address);
    await this.conntrack.each((entry) => {
      const flow = flowOfEntry(entry, isHost);
      // What guests ask of the host is not tracked by the programs; their rules say whether it may be asked.
      if (flow === undefined || isHost(flow.destination)) return;
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

/** Of several that share an address the lowest id, as the programs choose where nobody has announced it. */
function oneOf(owners: readonly Owner[]): Owner | undefined {
  return owners.reduce<Owner | undefined>(
    (best, owner) => (best === undefined || less(owner.id, best.id) ? owner : best),
    undefined,
  );
}

const less = (a: EndpointId, b: EndpointId): boolean => a < b;
