/** What the maps' numbers are called on this host. */
import type { Names } from "../dataplane/bpf/decode-map.js";
import type { PinnedEndpoint, PinnedState } from "../dataplane/bpf/read.js";
import { callIt, portsOf, type Port } from "./ports.js";

export interface PortNames extends Names {
  readonly ports: readonly Port[];
}

export function namesOf(state: PinnedState, interfaces: ReadonlyMap<number, string>): PortNames {
  return {
    ...portNames(state.endpoints(), interfaces),
    name: (kind, number) => state.name(kind, number),
    interface: (ifindex) => interfaces.get(ifindex),
  };
}

export function portNames(
  endpoints: readonly PinnedEndpoint[],
  interfaces: ReadonlyMap<number, string>,
): Pick<PortNames, "ports" | "port"> {
  const ports = portsOf(endpoints, interfaces);
  const byNumber = new Map(ports.map((port) => [port.number, callIt(port)]));
  return { ports, port: (number) => byNumber.get(number) };
}
