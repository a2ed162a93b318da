/** What the maps' numbers are called on this host. */
import type { Names } from "../dataplane/bpf/decode-map.js";
import type { PinnedState } from "../dataplane/bpf/read.js";
import { callIt, portsOf, type Port } from "./ports.js";

export interface PortNames extends Names {
  readonly ports: readonly Port[];
}

export function namesOf(state: PinnedState, interfaces: ReadonlyMap<number, string>): PortNames {
  const ports = portsOf(state.endpoints(), interfaces);
  const byNumber = new Map(ports.map((port) => [port.number, callIt(port)]));
  return {
    ports,
    name: (kind, number) => state.name(kind, number),
    port: (number) => byNumber.get(number),
    interface: (ifindex) => interfaces.get(ifindex),
  };
}
