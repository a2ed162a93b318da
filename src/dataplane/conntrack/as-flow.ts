/** A tracked connection in the shape in which flows of the programs are shown, so that one command shows both. Pure. */
import { FlowState } from "../../abi/layout.gen.js";
import type { Bytes } from "../../abi/records.js";
import type { Address } from "../../model/types.js";
import { stateName } from "../bpf/decode-map.js";
import type { FlowEnd, PinnedFlow } from "../bpf/read-flows.js";
import { flowOfEntry } from "../switch/flow.js";
import type { ConntrackEntry } from "./entry.js";

export interface Ends {
  /** Number of the port that has the address; 0: none of this host. */
  readonly owner: (address: Address) => number;
  readonly name: (endpoint: number) => string | undefined;
  readonly isHost: (address: Address) => boolean;
  /** Bits of the connection mark: one side judges every packet. */
  readonly stateless: number;
}

/** Undefined: no connection of a guest. */
export function flowOfConnection(entry: ConntrackEntry, ends: Ends): PinnedFlow | undefined {
  const flow = flowOfEntry(entry, ends.isHost);
  if (flow === undefined) return undefined;
  const [from, to] = [ends.owner(flow.source), ends.owner(flow.destination)];
  if (from === 0 && to === 0) return undefined;
  const { counts } = entry;
  const end = (address: Address, port: number, endpoint: number, count: number): FlowEnd => ({
    address,
    port,
    endpoint,
    name: endpoint === 0 ? null : (ends.name(endpoint) ?? `endpoint ${endpoint}`),
    packets: counts?.[count]?.packets ?? 0n,
    bytes: counts?.[count]?.bytes ?? 0n,
  });
  return {
    key: keyOf(entry),
    family: flow.family,
    protocol: flow.protocol,
    from: end(flow.source, flow.sourcePort, from, 0),
    to: end(flow.destination, flow.destinationPort, to, 1),
    icmp: flow.query === undefined ? null : { ...flow.query, identifier: flow.query.id },
    state: stateName(FlowState[flow.phase]),
    idle: null,
    left: flow.remaining,
    rule: null,
    host: ends.isHost(flow.source) || ends.isHost(flow.destination),
    halfOpen: !flow.answered && to !== 0,
    stateless: (entry.mark & ends.stateless) !== 0,
  };
}

/** Tells connections apart; the kernel's id tells one from another with the same ends. */
const keyOf = ({ original, protocol, zone, id }: ConntrackEntry): Bytes =>
  JSON.stringify([original, protocol, zone, id]) as Bytes;
